
-- job: what is done again and again ---------------------------------------------------------

CREATE FUNCTION billing.is_job(name text, every interval)
RETURNS boolean
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_job';
COMMENT ON FUNCTION billing.is_job(text, interval)
	IS 'true: a row of billing.job may say so; raises 22023 for a name that is none of billing.job_default''s, and for every that is not from a second to ten years (NULL: the default)';

-- In the order in which they run.  Each is run by src/job.c, which calls the function of its
-- name again and again, with a commit between, until it returns 0.
CREATE VIEW billing.job_default (position, name, every, description) WITH (security_invoker) AS
	VALUES (1, 'bill_due', interval '1 minute', 'bills what is due: starts, renews, ends trials, cancels and expires at the end; late usage, thresholds, drafts that are old enough'),
		(2, 'compact_usage', '5 minutes', 'sums usage up, so that totals stay cheap'),
		(3, 'expire_credit', '1 hour', 'books credit that begins, is renewed or expires'),
		(4, 'expire_payment_methods', '1 day', 'marks cards as expired, and lets other payment methods take their place'),
		(5, 'collect_invoices', '1 minute', 'collects invoices that have become due, where there is a payment method'),
		(6, 'dunning', '6 hours', 'asks for what is due by the timetable, makes subscriptions with overdue invoices past due, suspends them after grace and freezes their tenants, gives up, lets lapse what waits for its first payment'),
		(7, 'retry_payments', '1 hour', 'tries again what failed with a decline code that says when'),
		(8, 'enforce_expirations', '1 day', 'looks at all that is overdue, also where nothing is due: settings may have changed'),
		(9, 'delete_old_events', '1 day', 'deletes events older than setting event_retention_days that wait for no endpoint'),
		(10, 'delete_old_notices', '1 day', 'deletes notifications that expired longer than setting notice_retention_days ago'),
		(11, 'delete_old_gateway_events', '1 day', 'deletes callbacks and requests of payment gateways older than setting gateway_retention_days'),
		(12, 'remind_trials', '10 minutes', 'writes reminders of trials that end'),
		(13, 'remind_renewals', '10 minutes', 'writes reminders of subscriptions that renew or expire'),
		(14, 'remind_invoices', '10 minutes', 'writes reminders of invoices that are due'),
		(15, 'remind_payment_methods', '1 day', 'writes reminders of payment methods that expire');
COMMENT ON VIEW billing.job_default
	IS 'every job there is: its position in the order in which they run, its name, how often it runs at most (every) and what it does; rows of billing.job override it';

CREATE TABLE billing.job (
	name		text COLLATE "C" PRIMARY KEY,
	every		interval,
	is_enabled	boolean NOT NULL DEFAULT true,
	run_at		timestamptz,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	CONSTRAINT job_is_valid CHECK (billing.is_job(name, every))
);
COMMENT ON TABLE billing.job
	IS 'jobs that are run otherwise than billing.job_default says; written by plain DML';
COMMENT ON COLUMN billing.job.name IS 'one of billing.job_default';
COMMENT ON COLUMN billing.job.every IS 'how long after its last start it may start again, from a second to ten years; NULL: the default';
COMMENT ON COLUMN billing.job.is_enabled IS 'whether it runs by itself';
COMMENT ON COLUMN billing.job.run_at IS 'run it once as soon as this is past, whatever else is said here; the present for at once';
SELECT pg_catalog.pg_extension_config_dump('billing.job', '');

CREATE TRIGGER job_audit
AFTER UPDATE OR DELETE ON billing.job
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('name');

CREATE FUNCTION billing.wake_changed()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_wake_changed';
COMMENT ON FUNCTION billing.wake_changed()
	IS 'trigger AFTER a statement: wakes the worker and the sender of this database when the transaction has committed';

-- Also where no event is written that would wake the sender.
CREATE TRIGGER wake AFTER INSERT ON billing.notification
	FOR EACH STATEMENT EXECUTE FUNCTION billing.wake_changed();

CREATE TRIGGER wake AFTER INSERT OR UPDATE OR DELETE ON billing.job
	FOR EACH STATEMENT EXECUTE FUNCTION billing.wake_changed();
CREATE TRIGGER wake AFTER INSERT OR UPDATE ON billing.webhook_endpoint
	FOR EACH STATEMENT EXECUTE FUNCTION billing.wake_changed();

CREATE TABLE billing.job_state (
	name		text COLLATE "C" PRIMARY KEY,
	started_at	timestamptz NOT NULL,
	duration	interval NOT NULL,
	done		bigint NOT NULL,
	failures	integer NOT NULL
				CONSTRAINT job_state_failures_are_not_negative CHECK (failures >= 0),
	retry_at	timestamptz,
	sqlstate	text COLLATE "C",
	error		text,
	succeeded_at	timestamptz,
	CONSTRAINT job_state_has_error_if_failed CHECK ((failures > 0) = (error IS NOT NULL) AND (failures > 0) = (sqlstate IS NOT NULL)
		AND (failures > 0) = (retry_at IS NOT NULL))
);
COMMENT ON TABLE billing.job_state
	IS 'how each job ran last, by the worker or billing.run_due()';
COMMENT ON COLUMN billing.job_state.name IS 'which';
COMMENT ON COLUMN billing.job_state.started_at IS 'when it started last';
COMMENT ON COLUMN billing.job_state.duration IS 'how long it took, of real time';
COMMENT ON COLUMN billing.job_state.done IS 'how much it did, in the unit of its function''s result';
COMMENT ON COLUMN billing.job_state.failures IS 'how often it failed since it last succeeded';
COMMENT ON COLUMN billing.job_state.retry_at IS 'of a job that failed: when it is tried again, ever later';
COMMENT ON COLUMN billing.job_state.sqlstate IS 'of a job that failed: the error''s code';
COMMENT ON COLUMN billing.job_state.error IS 'and its message';
COMMENT ON COLUMN billing.job_state.succeeded_at IS 'when it started the last time that it succeeded';
SELECT pg_catalog.pg_extension_config_dump('billing.job_state', '');

-- A start that lies ahead was one of a test clock, or before the clock was set back: nothing waits for it.
CREATE VIEW billing.job_schedule WITH (security_invoker) AS
	SELECT d.position, d.name, coalesce(j.every, d.every) AS every, coalesce(j.is_enabled, true) AS is_enabled,
		coalesce(j.run_at <= billing.now() AND (p.started_at < j.run_at) IS NOT FALSE, false) AS is_requested,
		CASE WHEN j.run_at > billing.now() THEN j.run_at END AS requested_at,
		s.failures, CASE WHEN p.started_at IS NOT NULL THEN s.retry_at END AS retry_at, p.started_at
	FROM billing.job_default d
	LEFT JOIN billing.job j ON j.name = d.name
	LEFT JOIN billing.job_state s ON s.name = d.name
	CROSS JOIN LATERAL (SELECT CASE WHEN s.started_at <= billing.now() THEN s.started_at END AS started_at) p;
COMMENT ON VIEW billing.job_schedule
	IS 'every job as it is run: how often (every), whether by itself (is_enabled), whether billing.job asks for a run that has not begun (is_requested) or asks for one later (requested_at), how often it failed in a row and when it is tried again (NULL: at once, where it started ahead of the clock), when it started last (NULL: never, or ahead of the clock)';

CREATE FUNCTION billing.note_job(name text, started_at timestamptz, duration interval, done bigint, sqlstate text, error text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_note_job';
COMMENT ON FUNCTION billing.note_job(text, timestamptz, interval, bigint, text, text)
	IS 'keeps in billing.job_state how a job ran; sqlstate and error NULL: it succeeded; 22004';

-- When the jobs that exist only where something is due have something to do: NULL, nothing
-- before somebody writes.
CREATE FUNCTION billing.bill_due_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT least((SELECT min(s.due_at) FROM billing.subscription s WHERE s.due_at IS NOT NULL),
		CASE WHEN EXISTS (SELECT FROM billing.due_drafts(billing.now(), 1, -9223372036854775808, -9223372036854775808))
			OR EXISTS (SELECT FROM billing.due_late(1, -9223372036854775808, -9223372036854775808))
			OR EXISTS (SELECT FROM billing.subscription_threshold)
			OR EXISTS (SELECT FROM billing.plan p WHERE p.usage_thresholds IS NOT NULL OR p.usage_threshold_step IS NOT NULL)
			THEN billing.now() END);
END;
COMMENT ON FUNCTION billing.bill_due_due_at()
	IS 'when bill_due() has something to do: the first boundary, or now where drafts, late usage or thresholds have to be looked at; NULL: nothing';

CREATE FUNCTION billing.dunning_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT least((SELECT min(d.next_at) FROM billing.invoice_dunning d WHERE d.next_at IS NOT NULL),
		(SELECT v.due_at FROM billing.invoice v WHERE v.status IN ('open', 'uncollectible') AND v.dunning_at IS NULL
			ORDER BY v.dunning_at, v.due_at, v.tenant_id LIMIT 1));
END;
COMMENT ON FUNCTION billing.dunning_due_at()
	IS 'when dunning() has something to do: at the first due date of what is not paid and was not looked at, or the first step of what was; NULL: nothing';

-- Of what is due within the hour; behind that it is asked again.  Invoices of tenants without a method are many where nobody has one.
CREATE FUNCTION billing.collect_invoices_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN EXISTS (SELECT FROM billing.payment_method d WHERE d.is_default) THEN coalesce((
			SELECT v.due_at FROM billing.invoice v
			WHERE v.status = 'open' AND v.dunning_at IS NULL AND v.due_at <= billing.now() + interval '1 hour'
			  AND EXISTS (SELECT FROM billing.payment_method m WHERE m.tenant_id = v.tenant_id AND m.is_default)
			  AND billing.collection_method(v.tenant_id, v.invoice_id) IS NOT NULL
			ORDER BY v.dunning_at, v.due_at LIMIT 1), billing.now() + interval '1 hour') END;
END;
COMMENT ON FUNCTION billing.collect_invoices_due_at()
	IS 'when collect_invoices() has something to do: at the first due date of what can be collected, if that is within an hour, else in an hour; NULL: nobody has a payment method';

CREATE FUNCTION billing.retry_payments_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT min(a.retry_at) FROM billing.collection_attempt a WHERE a.retry_at IS NOT NULL;
END;
COMMENT ON FUNCTION billing.retry_payments_due_at()
	IS 'when retry_payments() has something to do: when the first attempt of collection is to be tried again; NULL: none is';

CREATE FUNCTION billing.expire_credit_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT min(least(g.expires_at, g.renews_at)) FROM billing.credit_grant g
	WHERE g.is_open AND least(g.expires_at, g.renews_at) IS NOT NULL;
END;
COMMENT ON FUNCTION billing.expire_credit_due_at()
	IS 'when expire_credit() has something to do; NULL: nothing';

CREATE FUNCTION billing.next_reminder_occasion(setting text, after timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE next_reminder_occasion.setting
	WHEN 'trial_reminder_days' THEN (SELECT s.due_at FROM billing.subscription s
		WHERE s.status = 'trialing' AND s.due_at > next_reminder_occasion.after
		ORDER BY s.due_at LIMIT 1)
	WHEN 'renewal_reminder_days' THEN (SELECT s.due_at FROM billing.subscription s
		WHERE s.status IN ('active', 'past_due') AND s.cancel_at IS NULL AND s.due_at > next_reminder_occasion.after
		ORDER BY s.due_at LIMIT 1)
	WHEN 'invoice_reminder_days' THEN (SELECT v.due_at FROM billing.invoice v
		WHERE v.status = 'open' AND v.dunning_at IS NULL AND v.due_at > next_reminder_occasion.after
		ORDER BY v.dunning_at, v.due_at LIMIT 1)
	WHEN 'payment_method_reminder_days' THEN (SELECT min(billing.month_ends_at(m.exp_year, m.exp_month, 'UTC-14')) FROM billing.payment_method m
		WHERE m.status = 'active' AND m.exp_year IS NOT NULL
		  AND billing.month_ends_at(m.exp_year, m.exp_month, 'UTC-14') > next_reminder_occasion.after)
	END;
COMMENT ON FUNCTION billing.next_reminder_occasion(text, timestamptz)
	IS 'the first instant after another that billing.reminder may have something at which the setting, one of billing.reminder_lead, is for: due_at, by one look into an index; NULL: none';

-- What comes within its lead after the job has run is found by a look for each lead.  What else can make a
-- reminder due - a trial that is shorter, a cancellation that is taken back, a setting, a change of the clocks - is found
-- by a run an hour later, if there is anything to look at.
CREATE FUNCTION billing.reminder_due_at(setting text, job text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT min(a.at)
	FROM (SELECT max(s.succeeded_at) AS at FROM billing.job_state s WHERE s.name = reminder_due_at.job AND s.succeeded_at <= billing.now()) last
	CROSS JOIN LATERAL (
		SELECT billing.next_reminder_occasion(reminder_due_at.setting, coalesce(last.at + l.ahead, '-infinity')) - l.ahead
		FROM (SELECT make_interval(hours => 24 * d.days) AS ahead FROM billing.reminder_lead d WHERE d.setting = reminder_due_at.setting) l
		UNION ALL
		SELECT last.at + interval '1 hour'
		WHERE billing.next_reminder_occasion(reminder_due_at.setting, billing.now()) <= billing.reminder_horizon()
	) a (at);
END;
COMMENT ON FUNCTION billing.reminder_due_at(text, text)
	IS 'when a job that reminds as many days ahead as a setting says has something to do: when the first occasion comes so near after its last run, or an hour after that if there is one within billing.reminder_horizon(); NULL: nothing';

CREATE FUNCTION billing.remind_trials_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN billing.reminder_due_at('trial_reminder_days', 'remind_trials');
COMMENT ON FUNCTION billing.remind_trials_due_at()
	IS 'when remind_trials() has something to do: see billing.reminder_due_at()';

CREATE FUNCTION billing.remind_renewals_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN billing.reminder_due_at('renewal_reminder_days', 'remind_renewals');
COMMENT ON FUNCTION billing.remind_renewals_due_at()
	IS 'when remind_renewals() has something to do: see billing.reminder_due_at()';

CREATE FUNCTION billing.remind_invoices_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN billing.reminder_due_at('invoice_reminder_days', 'remind_invoices');
COMMENT ON FUNCTION billing.remind_invoices_due_at()
	IS 'when remind_invoices() has something to do: see billing.reminder_due_at()';

CREATE FUNCTION billing.remind_payment_methods_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN billing.reminder_due_at('payment_method_reminder_days', 'remind_payment_methods');
COMMENT ON FUNCTION billing.remind_payment_methods_due_at()
	IS 'when remind_payment_methods() has something to do: see billing.reminder_due_at()';

-- Where it is first the first of a month: what expires elsewhere is found by the runs of that day.
CREATE FUNCTION billing.expire_payment_methods_due_at()
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT min(billing.month_ends_at(m.exp_year, m.exp_month, 'UTC-14')) FROM billing.payment_method m
	WHERE m.status = 'active' AND m.exp_year IS NOT NULL;
END;
COMMENT ON FUNCTION billing.expire_payment_methods_due_at()
	IS 'when expire_payment_methods() may have something to do: where the month of the first expiry ends in the first time zone; NULL: nothing expires';

CREATE PROCEDURE billing.run_due(batch integer DEFAULT 10000)
LANGUAGE C
AS 'MODULE_PATHNAME', 'billing_run_due';
COMMENT ON PROCEDURE billing.run_due(integer)
	IS 'runs every job that has something to do at billing.now() and that billing.job does not disable: all that the worker does but deliveries, for pg_cron and any other scheduler; commits after every batch, or not at all inside a transaction block; a job that fails is noted in billing.job_state, warned of and disturbs no other; may be called by several at once and again after any failure; 22004, 22023 batch out of range';
