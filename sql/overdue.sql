
-- overdue: money that does not come -------------------------------------------------------

-- When what happens is a rule of the due date alone, by the settings as they are: attempt 0 of
-- collection is at the due date, the others follow it, and a day after the last one, or where
-- the grace ends if that is later, the subscription is suspended.  The installation's settings
-- are read once.
CREATE VIEW billing.overdue_invoice WITH (security_invoker) AS
	WITH installation AS MATERIALIZED (
		SELECT billing.effective_setting('grace_days')::integer AS grace_days,
			billing.effective_setting('dunning_attempts')::integer AS attempts,
			billing.effective_setting('dunning_interval_days')::integer AS interval_days
	)
	SELECT v.tenant_id, v.invoice_id, v.number, v.subscription_id, v.status, v.amount_due, v.due_at,
		billing.after_grace(v.due_at, t.timezone, n.grace_days) AS grace_ends_at, n.attempts AS dunning_attempts,
		billing.after_grace(v.due_at, t.timezone, n.attempts * n.interval_days) AS last_attempt_at,
		CASE WHEN s.status IN ('active', 'past_due', 'suspended')
			THEN greatest(billing.after_grace(v.due_at, t.timezone, n.grace_days),
				billing.after_grace(v.due_at, t.timezone, n.attempts * n.interval_days + 1)) END AS suspend_at
	FROM billing.invoice v
	CROSS JOIN installation g
	JOIN billing.tenant t ON t.tenant_id = v.tenant_id
	LEFT JOIN billing.subscription s ON s.tenant_id = v.tenant_id AND s.subscription_id = v.subscription_id
	LEFT JOIN billing.plan p ON p.plan_id = s.plan_id
	CROSS JOIN LATERAL (
		SELECT coalesce((t.settings ->> 'grace_days')::integer, (p.settings ->> 'grace_days')::integer, g.grace_days) AS grace_days,
			coalesce((t.settings ->> 'dunning_attempts')::integer, (p.settings ->> 'dunning_attempts')::integer, g.attempts) AS attempts,
			coalesce((t.settings ->> 'dunning_interval_days')::integer, (p.settings ->> 'dunning_interval_days')::integer,
				g.interval_days) AS interval_days
	) n
	WHERE v.status IN ('open', 'uncollectible') AND v.due_at < billing.now();
COMMENT ON VIEW billing.overdue_invoice
	IS 'invoices whose due date is past at billing.now() and that are not paid, given up (uncollectible) or not: due_at, when attempt 0 of collection is; grace_ends_at and last_attempt_at, days of the tenant''s wall clock later, by the settings grace_days, dunning_attempts and dunning_interval_days of the tenant, its subscription''s plan or the installation; suspend_at: when the subscription is suspended for it, the later of grace_ends_at and a day after last_attempt_at; NULL of a one-off invoice, and where the subscription is not one that can be';
COMMENT ON COLUMN billing.overdue_invoice.grace_ends_at IS 'grace_days after due_at';
COMMENT ON COLUMN billing.overdue_invoice.last_attempt_at IS 'when the last attempt of collection is';
COMMENT ON COLUMN billing.overdue_invoice.suspend_at IS 'when its subscription is suspended for it; NULL: none is';

CREATE VIEW billing.overdue_subscription WITH (security_invoker) AS
	SELECT s.tenant_id, s.subscription_id, s.status, o.invoices, o.due_at, o.grace_ends_at, o.last_attempt_at, o.suspend_at,
		CASE WHEN s.status = 'suspended' THEN CASE WHEN s.cancel_at <= billing.now() THEN 'canceled'
				WHEN NOT s.auto_renew AND s.period_end <= billing.now() THEN 'expired' ELSE 'suspended' END
			WHEN o.suspend_at <= billing.now() THEN 'suspended' ELSE 'past_due' END AS next_status
	FROM (
		SELECT o.tenant_id, o.subscription_id, count(*) AS invoices, min(o.due_at) AS due_at, min(o.grace_ends_at) AS grace_ends_at,
			min(o.last_attempt_at) AS last_attempt_at, min(o.suspend_at) AS suspend_at
		FROM billing.overdue_invoice o
		WHERE o.suspend_at IS NOT NULL
		GROUP BY o.tenant_id, o.subscription_id
	) o
	JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id;
COMMENT ON VIEW billing.overdue_subscription
	IS 'active, past due and suspended subscriptions with overdue invoices: how many, the instants of the one that is due longest as in billing.overdue_invoice, and next_status: what enforce_expiration makes of it at billing.now()';
COMMENT ON COLUMN billing.overdue_subscription.next_status IS 'what the clock says; another than status: there is something to do';
COMMENT ON COLUMN billing.overdue_subscription.invoices IS 'how many are overdue';

-- What an ended subscription owes keeps its tenant frozen, or it would have been enough to cancel; a debt that
-- was given up does not.
CREATE FUNCTION billing.stays_frozen(tenant_id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = stays_frozen.tenant_id AND s.status = 'suspended')
		OR EXISTS (SELECT FROM billing.overdue_invoice o
			JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
			WHERE o.tenant_id = stays_frozen.tenant_id AND o.status = 'open' AND s.ended_at IS NOT NULL AND s.billed_to IS NOT NULL);
END;
COMMENT ON FUNCTION billing.stays_frozen(bigint)
	IS 'whether a tenant that is frozen because it did not pay (is_unpaid) stays so at billing.now(): a subscription of it is suspended, or one that has ended owes an invoice that is open and overdue';

CREATE FUNCTION billing.enforce_expiration(tenant_id bigint, request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_enforce_expiration';
COMMENT ON FUNCTION billing.enforce_expiration(bigint, text)
	IS 'makes of a tenant and its subscriptions what they are by billing.now(), and returns the tenant''s row: those whose end was reached have ended; active ones with an overdue invoice are past_due, and suspended from suspend_at of billing.overdue_invoice on, from this instant: what they owe up to it is billed, nothing falls due any more, and the tenant is frozen (is_unpaid); suspended ones that end meanwhile have ended; those that owe nothing overdue any more are active, and the tenant is thawed; its entitlements are refreshed; changes nothing where all is so; raises YB001, YB004, YB006, YB015, 22004';

CREATE FUNCTION billing.enforce_expirations(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_enforce_expirations';
COMMENT ON FUNCTION billing.enforce_expirations(integer)
	IS 'does what overdue invoices ask for, as billing.enforce_expiration, for up to batch subscriptions of all tenants whose next_status is another, those due longest first; passes over tenants that somebody else has locked, and lets those go on that could not when what they owed was settled; one that fails is warned of, waits and keeps no other waiting; returns how many changed their state: 0 when nothing is left that can be done; for admins; 22004, 22023';
