
-- boundary: what happens to a subscription where a period ends and the next begins --

-- A range is half-open; its _whole is the full period it is a part of, NULL where it
-- is that itself.  step_ is the period of prices whose cycle is shorter than the plan's.
CREATE TYPE billing.boundary AS (
	kind				text COLLATE "C",
	status				text COLLATE "C",
	ends				boolean,
	anchor				timestamptz,
	period_start		timestamptz,
	period_end			timestamptz,
	due_at				timestamptz,
	arrears				tstzrange,
	arrears_whole		tstzrange,
	advance				tstzrange,
	advance_whole		tstzrange,
	step_arrears		tstzrange,
	step_arrears_whole	tstzrange,
	step_advance		tstzrange,
	step_advance_whole	tstzrange,
	timezone			text COLLATE "C"
);
COMMENT ON TYPE billing.boundary
	IS 'what happens at a boundary: kind of invoice, the subscription''s state, anchor, period and next boundary after it, what is billed in arrears and in advance, the time zone of the period after it';

CREATE FUNCTION billing.next_boundary(anchor timestamptz, cycle interval, step_cycle interval, billing text,
	started_at timestamptz, trial_end timestamptz, period_start timestamptz, period_end timestamptz,
	billed_to timestamptz, due_at timestamptz, cancel_at timestamptz, auto_renew boolean,
	timezone text, tenant_timezone text, changed_at timestamptz DEFAULT NULL)
RETURNS billing.boundary
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_next_boundary';
COMMENT ON FUNCTION billing.next_boundary(timestamptz, interval, interval, text, timestamptz, timestamptz, timestamptz,
	timestamptz, timestamptz, timestamptz, timestamptz, boolean, text, text, timestamptz)
	IS 'what happens to a subscription at its boundary due_at (NULL: none, gives NULL): the arguments are its columns, the cycle of its plan (NULL: lifetime) and of the prices that have a shorter one, the time zones its boundaries were computed in and its tenant has, and changed_at, from where on arrears are those of this plan; raises 22023 and 22008 as billing.period_at';

CREATE FUNCTION billing.cut_boundary(anchor timestamptz, cycle interval, step_cycle interval, billing text,
	started_at timestamptz, trial_end timestamptz, period_start timestamptz, period_end timestamptz,
	billed_to timestamptz, due_at timestamptz, cancel_at timestamptz, auto_renew boolean,
	timezone text, tenant_timezone text, changed_at timestamptz, at timestamptz, new_step_cycle interval DEFAULT NULL,
	free_from timestamptz DEFAULT NULL, whole_from timestamptz DEFAULT NULL)
RETURNS billing.boundary
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_cut_boundary';
COMMENT ON FUNCTION billing.cut_boundary(timestamptz, interval, interval, text, timestamptz, timestamptz, timestamptz,
	timestamptz, timestamptz, timestamptz, timestamptz, boolean, text, text, timestamptz, timestamptz, interval, timestamptz, timestamptz)
	IS 'what a change at at, within the period of a subscription, ends (arrears) and begins (advance, to the end of the period, or, where that was extended, to free_from, as a part of [whole_from, free_from)): parts of the whole that the boundaries have; new_step_cycle is that of the plan after the change; other arguments as of billing.next_boundary; in a trial, and before anything was billed, neither; NULL where due_at or at is NULL';
