
-- change: another plan or quantity, a pause, and what these owe --------------------------

CREATE FUNCTION billing.calendar_anchor(at timestamptz, cycle interval, timezone text)
RETURNS timestamptz
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calendar_anchor';
COMMENT ON FUNCTION billing.calendar_anchor(timestamptz, interval, text)
	IS 'where periods of a cycle are counted from that are billed by the calendar: the local start of the year, month, week or day that holds at; 22023 for an unknown time zone';

-- The one cycle that prices of a plan have other than its own.
CREATE FUNCTION billing.step_cycle(plan_id bigint, plan_cycle interval)
RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT c.cycle FROM billing.price c
	WHERE c.plan_id = step_cycle.plan_id AND c.cycle IS NOT NULL AND c.cycle IS DISTINCT FROM step_cycle.plan_cycle LIMIT 1);
COMMENT ON FUNCTION billing.step_cycle(bigint, interval)
	IS 'the cycle of those prices of a plan whose cycle is shorter than the plan''s; NULL: all have the plan''s own';

-- Nothing is to be paid whatever happens: no usage is priced, and no fixed price costs anything.
CREATE FUNCTION billing.is_free(plan_id bigint, quantity integer)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN NOT EXISTS (SELECT FROM billing.price p
	WHERE p.plan_id = is_free.plan_id
	  AND (p.meter IS NOT NULL OR p.strategy IS NOT NULL
		OR billing.minor_units(billing.charge(p.tariff, CASE p.quantity_source WHEN 'one' THEN 1 ELSE is_free.quantity END)) <> 0));
COMMENT ON FUNCTION billing.is_free(bigint, integer)
	IS 'whether a plan costs nothing, whatever is used: it has no metered price, and its fixed prices are zero for quantity';

-- What a change of a subscription at at ends and begins, if plan_id is what it changes to.
CREATE FUNCTION billing.change_cut(tenant_id bigint, subscription_id bigint, at timestamptz, plan_id bigint)
RETURNS SETOF billing.boundary
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT b.*
	FROM billing.subscription s
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	JOIN billing.plan p ON p.plan_id = s.plan_id
	JOIN billing.plan n ON n.plan_id = change_cut.plan_id
	CROSS JOIN LATERAL billing.cut_boundary(s.anchor, p.cycle, billing.step_cycle(p.plan_id, p.cycle), s.billing,
		greatest(s.started_at, upper(s.lapses), s.anew_at), s.trial_end, s.period_start, s.period_end, s.billed_to, s.due_at, s.cancel_at,
		s.auto_renew, s.timezone, t.timezone, s.changed_at, change_cut.at, billing.step_cycle(n.plan_id, n.cycle), s.free_from, s.whole_from) b
	WHERE s.tenant_id = change_cut.tenant_id AND s.subscription_id = change_cut.subscription_id;
END;
COMMENT ON FUNCTION billing.change_cut(bigint, bigint, timestamptz, bigint)
	IS 'billing.cut_boundary of a subscription that changes to plan_id at at; NULL where nothing is due any more';

-- What a subscription that begins anew at at begins with: another cycle is counted from there.
CREATE FUNCTION billing.change_start(tenant_id bigint, subscription_id bigint, at timestamptz, plan_id bigint)
RETURNS SETOF billing.boundary
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT b.*
	FROM billing.subscription s
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	JOIN billing.plan n ON n.plan_id = change_start.plan_id
	CROSS JOIN LATERAL billing.next_boundary(
		CASE WHEN s.billing = 'calendar' AND n.cycle IS NOT NULL THEN billing.calendar_anchor(change_start.at, n.cycle, t.timezone)
			ELSE change_start.at END,
		n.cycle, billing.step_cycle(n.plan_id, n.cycle), s.billing, change_start.at, NULL, NULL, NULL, NULL, change_start.at, NULL,
		s.auto_renew, t.timezone, t.timezone) b
	WHERE s.tenant_id = change_start.tenant_id AND s.subscription_id = change_start.subscription_id;
END;
COMMENT ON FUNCTION billing.change_start(bigint, bigint, timestamptz, bigint)
	IS 'billing.next_boundary of a subscription whose periods are counted from at on, by the cycle of plan_id';

-- Where a resumed subscription stands: the period of its grid that holds at.
CREATE FUNCTION billing.resume_cut(tenant_id bigint, subscription_id bigint, at timestamptz)
RETURNS SETOF billing.boundary
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
	SELECT b.*
	FROM billing.subscription s
	JOIN billing.tenant t ON t.tenant_id = s.tenant_id
	JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT resume_cut.at >= s.period_end AS is_other,
			CASE WHEN resume_cut.at >= s.period_end THEN billing.period_at(s.anchor, p.cycle, resume_cut.at, t.timezone) END AS period
		OFFSET 0
	) g
	CROSS JOIN LATERAL billing.cut_boundary(s.anchor, p.cycle, NULL, s.billing, greatest(s.started_at, upper(s.lapses), s.anew_at), s.trial_end,
		CASE WHEN g.is_other THEN lower(g.period) ELSE s.period_start END,
		CASE WHEN g.is_other THEN upper(g.period) ELSE s.period_end END,
		s.billed_to, CASE WHEN g.is_other THEN upper(g.period) ELSE coalesce(s.period_end, resume_cut.at) END, s.cancel_at,
		s.auto_renew, CASE WHEN g.is_other THEN t.timezone ELSE s.timezone END, t.timezone, s.changed_at, resume_cut.at,
		billing.step_cycle(p.plan_id, p.cycle), s.free_from, s.whole_from) b
	WHERE s.tenant_id = resume_cut.tenant_id AND s.subscription_id = resume_cut.subscription_id;
END;
COMMENT ON FUNCTION billing.resume_cut(bigint, bigint, timestamptz)
	IS 'what a paused subscription that is resumed at at begins with: from there to the end of the period that it was paused in, or of the one of its grid that holds at';

-- What was charged by a line that bills a fixed price, and by those of final invoices that
-- corrected its price.  What was credited for the time after at is off, by proportion of the
-- time that it was credited for; what was credited because the service had ended, wholly.
CREATE FUNCTION billing.line_charges(tenant_id bigint, invoice_id bigint, line integer, at timestamptz, proration text, timezone text)
RETURNS TABLE (charge_invoice_id bigint, charge_line integer, is_own boolean, charged billing.amount, creditable billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.invoice_id, i.line, i.kind = 'fixed', i.amount - coalesce(c.behind, z.nothing), i.amount - coalesce(c.credited, z.nothing)
	FROM (
		SELECT i.invoice_id, i.line, i.kind, i.amount
		FROM billing.invoice_item i
		WHERE i.tenant_id = line_charges.tenant_id AND i.invoice_id = line_charges.invoice_id AND i.line = line_charges.line
		UNION ALL
		SELECT i.invoice_id, i.line, i.kind, i.amount
		FROM (SELECT DISTINCT r.invoice_id FROM billing.rerated_line r
			WHERE r.tenant_id = line_charges.tenant_id AND r.adjusts_invoice_id = line_charges.invoice_id
			  AND r.adjusts_line = line_charges.line) r
		JOIN billing.invoice v ON v.tenant_id = line_charges.tenant_id AND v.invoice_id = r.invoice_id AND v.status NOT IN ('draft', 'void')
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind = 'adjustment'
			AND i.adjusts_invoice_id = line_charges.invoice_id AND i.adjusts_line = line_charges.line
	) i
	CROSS JOIN LATERAL (SELECT i.amount - i.amount AS nothing) z
	CROSS JOIN LATERAL (
		SELECT sum(c.amount) AS credited, sum(CASE WHEN c.is_unused OR line_charges.at <= c.period_start THEN c.amount
			WHEN line_charges.at < c.period_end THEN c.amount - billing.prorate(c.amount, tstzrange(c.period_start, c.period_end),
				tstzrange(c.period_start, line_charges.at), line_charges.proration, line_charges.timezone) END) AS behind
		FROM billing.credit_note_item c
		WHERE c.tenant_id = line_charges.tenant_id AND c.invoice_id = i.invoice_id AND c.invoice_line = i.line
	) c;
END;
COMMENT ON FUNCTION billing.line_charges(bigint, bigint, integer, timestamptz, text, text)
	IS 'a billed line of a fixed price (is_own), and the lines of final invoices that adjusted it after its price was corrected: charged, its amount less what was credited for the time from at on, and creditable, what was not credited at all; proration and timezone are those of the line';

-- The lines that bill a fixed price beyond an instant, and how much of each is for the time from
-- there on: what was charged less what the time before costs, which is part of the same
-- whole.  Where the price was corrected, and that is billed, it is what both came to: from the
-- line what is its own, or what is left of that, the rest from what raised it.  A
-- correction that waits to be billed will be that of the time before.
CREATE FUNCTION billing.unused_lines(tenant_id bigint, subscription_id bigint, at timestamptz)
RETURNS TABLE (invoice_id bigint, line integer, amount billing.amount, period_start timestamptz, period_end timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT x.charge_invoice_id, x.charge_line, x.amount, u.period_start, u.period_end
	FROM (
		SELECT i.tenant_id, i.invoice_id, i.line, greatest(i.period_start, unused_lines.at) AS period_start, i.period_end, z.nothing,
			n.proration, coalesce(w.timezone, 'UTC') AS timezone, k.cost, coalesce(r.cost, k.cost) AS corrected_cost
		FROM billing.subscription s
		JOIN billing.invoice v ON v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind = 'fixed'
		JOIN billing.plan n ON n.plan_id = coalesce(i.plan_id, v.plan_id)
		JOIN billing.price p ON p.plan_id = n.plan_id AND p.code = i.price_code
		CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, v.currency) AS nothing OFFSET 0) z
		LEFT JOIN LATERAL billing.line_whole(v.tenant_id, v.invoice_id, v.plan_id, i.plan_id, tstzrange(i.period_start, i.period_end)) w ON true
		CROSS JOIN LATERAL (SELECT CASE
			WHEN unused_lines.at <= i.period_start THEN z.nothing
			WHEN p.is_prorated IS FALSE THEN i.amount
			ELSE billing.prorate(CASE WHEN p.strategy IS NOT NULL
					THEN billing.charge_strategy(p.strategy, i.quantity, p.parameters, v.currency)
					ELSE billing.charge(p.tariff, i.quantity) END,
				coalesce(w.whole, tstzrange(i.period_start, i.period_end)), tstzrange(i.period_start, unused_lines.at),
				n.proration, coalesce(w.timezone, 'UTC')) END AS cost) k
		LEFT JOIN LATERAL (
			SELECT billing.corrected_amount(v.subscription_id, i, c, i.quantity, 0, false, NULL, unused_lines.at) AS cost
			FROM billing.rerated_line r
			JOIN billing.invoice b ON b.tenant_id = r.tenant_id AND b.invoice_id = r.invoice_id AND b.status NOT IN ('draft', 'void')
			JOIN billing.price_correction c ON c.correction_id = r.correction_id
			WHERE r.tenant_id = i.tenant_id AND r.adjusts_invoice_id = i.invoice_id AND r.adjusts_line = i.line
			ORDER BY r.correction_id DESC
			LIMIT 1
		) r ON true
		WHERE s.tenant_id = unused_lines.tenant_id AND s.subscription_id = unused_lines.subscription_id
		  AND v.status <> 'void' AND v.status <> 'draft' AND i.period_end > unused_lines.at
		OFFSET 0
	) u
	CROSS JOIN LATERAL (
		SELECT least(o.creditable, greatest(least(o.own, o.unused), o.unused - o.others)) AS own, o.unused
		FROM (
			SELECT sum(g.creditable) FILTER (WHERE g.is_own) AS creditable, sum(g.charged) FILTER (WHERE g.is_own) - u.cost AS own,
				sum(g.charged) - u.corrected_cost AS unused,
				coalesce(sum(g.creditable) FILTER (WHERE NOT g.is_own AND g.creditable > u.nothing), u.nothing) AS others
			FROM billing.line_charges(u.tenant_id, u.invoice_id, u.line, unused_lines.at, u.proration, u.timezone) g
		) o
		OFFSET 0
	) t
	CROSS JOIN LATERAL (
		SELECT g.charge_invoice_id, g.charge_line,
			CASE WHEN g.is_own THEN t.own ELSE least(g.creditable, t.unused - t.own - coalesce(sum(g.creditable)
				FILTER (WHERE NOT g.is_own AND g.creditable > u.nothing)
				OVER (ORDER BY g.charge_invoice_id, g.charge_line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), u.nothing)) END AS amount
		FROM billing.line_charges(u.tenant_id, u.invoice_id, u.line, unused_lines.at, u.proration, u.timezone) g
	) x
	WHERE x.amount > u.nothing
	ORDER BY x.charge_invoice_id, x.charge_line;
END;
COMMENT ON FUNCTION billing.unused_lines(bigint, bigint, timestamptz)
	IS 'lines of final invoices of a subscription that bill a fixed price beyond at, and those that adjusted them after the price was corrected, and what of each (before discount and tax) is for the time from at on and not credited yet; a price that is not prorated is used up by any time';

CREATE FUNCTION billing.changes_cycle(plan_id bigint, next_plan_id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT n.cycle IS DISTINCT FROM p.cycle FROM billing.plan p, billing.plan n
	WHERE p.plan_id = changes_cycle.plan_id AND n.plan_id = changes_cycle.next_plan_id);
COMMENT ON FUNCTION billing.changes_cycle(bigint, bigint)
	IS 'whether two plan versions have different cycles; NULL where one is NULL';

-- Where the periods after a boundary are counted from, if that begins a plan: another cycle from there.
CREATE FUNCTION billing.boundary_anchor(subscription billing.subscription, plan_id bigint)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT CASE WHEN n.cycle IS NOT DISTINCT FROM p.cycle THEN subscription.anchor
		WHEN subscription.billing = 'calendar' AND n.cycle IS NOT NULL
		THEN billing.calendar_anchor(subscription.due_at, n.cycle, t.timezone)
		ELSE subscription.due_at END
	FROM billing.plan p, billing.plan n, billing.tenant t
	WHERE p.plan_id = subscription.plan_id AND n.plan_id = boundary_anchor.plan_id AND t.tenant_id = subscription.tenant_id);
COMMENT ON FUNCTION billing.boundary_anchor(billing.subscription, bigint)
	IS 'the anchor of a subscription that changes to plan_id at its boundary due_at: as before unless the cycle is another';

CREATE FUNCTION billing.changes_at_boundary(subscription billing.subscription)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN num_nonnulls(subscription.next_plan_id, subscription.next_quantity) > 0
	AND coalesce(subscription.due_at >= subscription.period_end, false)
	AND coalesce(subscription.cancel_at > subscription.due_at, true)
	AND (subscription.auto_renew OR subscription.status = 'trialing');
COMMENT ON FUNCTION billing.changes_at_boundary(billing.subscription)
	IS 'whether a change waits for the boundary due_at of a subscription: its period ends there, and another follows';

CREATE FUNCTION billing.change_plan(tenant_id bigint, subscription_id bigint, plan text DEFAULT NULL, quantity integer DEFAULT NULL,
	effective text DEFAULT 'now', proration text DEFAULT 'prorate', cycle interval DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_change_plan';
COMMENT ON FUNCTION billing.change_plan(bigint, bigint, text, integer, text, text, interval, text)
	IS 'puts a subscription on the newest active version of another plan, or gives it another quantity (NULL: as it is); cycle NULL: its own if the plan has that, else the only one, 0: lifetime; effective now, or period_end: the bill run does it there, and a later call says otherwise; proration prorate: what was charged in advance for the time from now on is credited at once, discount included, and the new plan''s rest of the period is billed with the next invoice; invoice_now: that is billed at once, with what the old plan owes; none: neither, the new plan is billed from the next period on; usage is priced by the plan that was in force when it happened, from this instant on the new one; another cycle, or from free to paid, begins a period now, billed at once; in a trial no money moves; to what it is already, only drops a change that waits; returns the subscription; 22023 nothing to change to, or a bad value, YB001 no such tenant, subscription, plan or cycle, YB002 plan not in its currency, YB004 it has ended, is paused or suspended, waits for its first payment, or is canceled and would begin a period, or the plan is retired; YB010 tenant frozen; 22004 a NULL that is not allowed, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.cancel_scheduled_change(tenant_id bigint, subscription_id bigint, request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_cancel_scheduled_change';
COMMENT ON FUNCTION billing.cancel_scheduled_change(bigint, bigint, text)
	IS 'drops the change of plan or quantity that waits for the end of a subscription''s period; returns the subscription; YB004 none waits, or it has ended; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.pause_subscription(tenant_id bigint, subscription_id bigint, reason text DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_pause_subscription';
COMMENT ON FUNCTION billing.pause_subscription(bigint, bigint, text, text)
	IS 'pauses an active subscription: what it owes up to now is billed, nothing falls due and its usage is not billed until it is resumed; what was charged in advance for the time from now on is credited, unless setting pause_credit of its plan or tenant is false; returns the subscription; YB004 it is not active; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

CREATE FUNCTION billing.resume_subscription(tenant_id bigint, subscription_id bigint, request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_resume_subscription';
COMMENT ON FUNCTION billing.resume_subscription(bigint, bigint, text)
	IS 'goes on with a paused subscription: periods are counted as before, and the time from now to the end of the one that runs is billed at once, but for what is paid already because it was not credited; returns the subscription; YB004 it is not paused; YB010 tenant frozen; 22004 a NULL that is not allowed, YB001 no such tenant or subscription, YB015 other tenant, YB006 request_id reused';

-- What is charged in advance and not final yet: lines of drafts, and of parts that wait.
CREATE FUNCTION billing.open_charges(tenant_id bigint, subscription_id bigint)
RETURNS TABLE (source text, price_code text, description text, quantity numeric, amount billing.amount, period_start timestamptz,
	period_end timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT format('invoice %s', i.invoice_id), i.price_code, i.description, i.quantity, i.amount, i.period_start, i.period_end
	FROM billing.invoice v
	JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind = 'fixed'
	WHERE v.tenant_id = open_charges.tenant_id AND v.subscription_id = open_charges.subscription_id AND v.status = 'draft'
	UNION ALL
	SELECT format('part %s', d.part_no), m.price_code, m.description, m.quantity, m.amount, m.period_start, m.period_end
	FROM billing.due_part d
	JOIN billing.plan p ON p.plan_id = d.plan_id
	CROSS JOIN LATERAL billing.invoice_lines(d.tenant_id, d.subscription_id, d.plan_id, p.cycle, p.currency, d.quantity, p.proration,
		d.timezone, '{}', NULL, NULL, d.advance, d.advance_whole, NULL, NULL, d.step_advance, d.step_advance_whole, false) m
	WHERE d.tenant_id = open_charges.tenant_id AND d.subscription_id = open_charges.subscription_id AND d.is_pending;
END;
COMMENT ON FUNCTION billing.open_charges(bigint, bigint)
	IS 'fixed prices that a subscription is charged in advance by what is not final yet: lines of its drafts, and of parts that wait to be billed; source says which';

-- What a change made of a subscription's charges: its credit notes and invoices are those with ids
-- behind since, and before is what billing.open_charges gave.
CREATE FUNCTION billing.change_effect(tenant_id bigint, subscription_id bigint, since bigint, before jsonb)
RETURNS TABLE (kind text, price_code text, description text, quantity numeric, amount billing.amount, period_start timestamptz,
	period_end timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	WITH effect AS (
		SELECT 'credit' AS kind, c.price_code, c.description, NULL::numeric AS quantity, c.discount - c.amount AS amount, c.period_start,
			c.period_end
		FROM billing.credit_note n
		JOIN billing.credit_note_item c ON c.tenant_id = n.tenant_id AND c.credit_note_id = n.credit_note_id
		WHERE n.tenant_id = change_effect.tenant_id AND n.credit_note_id > change_effect.since
		UNION ALL
		SELECT CASE WHEN i.period_start >= s.changed_at THEN 'charge' ELSE 'arrears' END, i.price_code, i.description, i.quantity,
			i.amount - i.discount, i.period_start, i.period_end
		FROM billing.subscription s
		JOIN billing.invoice v ON v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		WHERE s.tenant_id = change_effect.tenant_id AND s.subscription_id = change_effect.subscription_id
		  AND v.invoice_id > change_effect.since AND v.status <> 'draft'
		UNION ALL
		SELECT CASE WHEN d.amount < z.nothing THEN 'credit' ELSE 'charge' END, d.price_code, d.description, d.quantity, d.amount,
			d.period_start, d.period_end
		FROM (
			SELECT coalesce(a.price_code, b.price_code) AS price_code, coalesce(a.description, b.description) AS description,
				CASE WHEN b.source IS NULL THEN a.quantity END AS quantity,
				coalesce(a.amount, b.amount - b.amount) - coalesce(b.amount, a.amount - a.amount) AS amount,
				CASE WHEN b.source IS NULL THEN a.period_start ELSE coalesce(a.period_end, b.period_start) END AS period_start,
				CASE WHEN b.source IS NULL THEN a.period_end ELSE b.period_end END AS period_end
			FROM (
				SELECT o.source, o.price_code, o.description, o.quantity, o.amount, o.period_start, o.period_end
				FROM billing.open_charges(change_effect.tenant_id, change_effect.subscription_id) o
				UNION ALL
				-- What waited and was billed up to the change is charged still: only what is behind it is taken back.
				SELECT b.source, i.price_code, i.description, i.quantity, i.amount, i.period_start, i.period_end
				FROM jsonb_to_recordset(change_effect.before) b (source text, price_code text, period_start timestamptz)
				JOIN billing.subscription s ON s.tenant_id = change_effect.tenant_id AND s.subscription_id = change_effect.subscription_id
				JOIN billing.invoice v ON v.tenant_id = s.tenant_id AND v.subscription_id = s.subscription_id
					AND v.invoice_id > change_effect.since AND v.status <> 'draft'
				JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind = 'fixed'
					AND i.price_code = b.price_code AND i.period_start = b.period_start AND i.period_start < s.changed_at
				WHERE b.source ^@ 'part '
			) a
			FULL JOIN jsonb_to_recordset(change_effect.before) b (source text, price_code text, description text, quantity numeric,
				amount billing.amount, period_start timestamptz, period_end timestamptz)
				ON b.source = a.source AND b.price_code = a.price_code AND b.period_start = a.period_start
		) d
		CROSS JOIN LATERAL (SELECT d.amount - d.amount AS nothing) z
		WHERE d.amount <> z.nothing
	)
	SELECT e.kind, e.price_code, e.description, e.quantity, e.amount, e.period_start, e.period_end
	FROM effect e
	WHERE billing.minor_units(e.amount) <> 0
	UNION ALL
	SELECT 'net', NULL, NULL, NULL, coalesce(sum(e.amount) FILTER (WHERE e.kind <> 'arrears'), billing.from_minor_units(0, s.currency)),
		NULL, NULL
	FROM billing.subscription s
	LEFT JOIN effect e ON true
	WHERE s.tenant_id = change_effect.tenant_id AND s.subscription_id = change_effect.subscription_id
	GROUP BY s.currency;
END;
COMMENT ON FUNCTION billing.change_effect(bigint, bigint, bigint, jsonb)
	IS 'what a change of a subscription credited and charged, before tax and with discounts: what has ids behind since, and what became of before, which billing.open_charges gave; then a row of kind net';

CREATE FUNCTION billing.preview_change(tenant_id bigint, subscription_id bigint, plan text DEFAULT NULL, quantity integer DEFAULT NULL,
	proration text DEFAULT 'prorate', cycle interval DEFAULT NULL)
RETURNS TABLE (kind text, price_code text, description text, quantity numeric, amount billing.amount, period_start timestamptz,
	period_end timestamptz)
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_preview_change';
COMMENT ON FUNCTION billing.preview_change(bigint, bigint, text, integer, text, interval)
	IS 'what billing.change_plan would credit and charge now, before tax and with discounts, and nothing of it is kept: rows of kind credit (negative), charge, arrears (what the old plan owes anyway, where it is billed at once), then one of kind net: charge less credit; raises as change_plan does';

CREATE FUNCTION billing.move_subscriptions(plan text, to_plan text, effective text DEFAULT 'period_end', proration text DEFAULT 'prorate')
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_move_subscriptions';
COMMENT ON FUNCTION billing.move_subscriptions(text, text, text, text)
	IS 'moves every subscriber of a plan, of any tenant and version, to the newest active version of another in its own cycle and currency; returns how many; period_end: where its period ends, by the bill run, one statement for all; now: as change_plan, with its proration, each in turn; those whose tenant is not active stay, as do those that are pending, paused or suspended, for which the other plan is not offered, and, with period_end, that end there or have no end; calling it again moves whoever came since; for admins; raises YB001 no such plan, 22023, 22004, and with now what change_plan raises';

-- What is tailored is a version of the plan that nobody else is on.
CREATE FUNCTION billing.override_price(tenant_id bigint, subscription_id bigint, price text, tariff billing.tariff,
	effective text DEFAULT 'now', proration text DEFAULT 'prorate', request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_override_price';
COMMENT ON FUNCTION billing.override_price(bigint, bigint, text, billing.tariff, text, text, text)
	IS 'gives a subscription another tariff for a price of its plan: puts it on a version of the plan of its own, retired for all others, as change_plan does, with its effective and proration; it keeps that until it changes its plan; for admins; returns the subscription; raises YB001 for a price that the plan has not, YB002, and what change_plan raises';

CREATE FUNCTION billing.add_addon(tenant_id bigint, subscription_id bigint, addon text, quantity integer DEFAULT 1,
	effective text DEFAULT 'now', proration text DEFAULT 'prorate', request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_add_addon';
COMMENT ON FUNCTION billing.add_addon(bigint, bigint, text, integer, text, text, text)
	IS 'adds the prices of another plan, an add-on of the same cycle and currency, to those of a subscription, with its features: puts it on a version of its plan of its own, as change_plan does, in which they have the codes addon.code; quantity is that of the add-on''s fixed prices; returns the subscription; raises YB001 and YB002 where the add-on is not offered so, YB004 if the subscription has it, 22023, and what change_plan raises';

CREATE FUNCTION billing.remove_addon(tenant_id bigint, subscription_id bigint, addon text,
	effective text DEFAULT 'now', proration text DEFAULT 'prorate', request_id text DEFAULT NULL)
RETURNS billing.subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_remove_addon';
COMMENT ON FUNCTION billing.remove_addon(bigint, bigint, text, text, text, text)
	IS 'takes the prices of an add-on from a subscription, as change_plan does; its features stay until the plan is changed; returns the subscription; raises YB001 if it has no such add-on, and what change_plan raises';
