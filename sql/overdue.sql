
-- overdue: money that does not come -------------------------------------------------------

CREATE VIEW billing.overdue_invoice WITH (security_invoker) AS
	SELECT n.tenant_id, n.invoice_id, n.number, n.subscription_id, n.status, n.amount_due, n.due_at, n.grace_ends_at,
		n.attempts AS dunning_attempts, n.last_attempt_at, n.suspend_at, n.give_up_at, n.policy, n.is_pending, n.has_failed
	FROM billing.dunning_timeline n
	WHERE n.due_at < billing.now();
COMMENT ON VIEW billing.overdue_invoice
	IS 'invoices whose due date is past at billing.now() and that are not paid, given up (uncollectible) or not: due_at, when attempt 0 of collection is; and what follows, by billing.dunning_timeline: grace_ends_at, how many other attempts there are by its policy (dunning_attempts) and when the last one is, suspend_at, give_up_at; is_pending: an attempt is under way; has_failed: one has failed';
COMMENT ON COLUMN billing.overdue_invoice.grace_ends_at IS 'grace_days after due_at';
COMMENT ON COLUMN billing.overdue_invoice.last_attempt_at IS 'when the last attempt of collection is';
COMMENT ON COLUMN billing.overdue_invoice.suspend_at IS 'when its subscription is suspended for it, or its tenant frozen if that has ended; NULL: neither';
COMMENT ON COLUMN billing.overdue_invoice.give_up_at IS 'when it becomes uncollectible; NULL: never by the clock';

-- Money that is under way is waited for: it is past due from the first failure on, and not suspended
-- for an invoice before the last attempt is answered.
CREATE VIEW billing.overdue_subscription WITH (security_invoker) AS
	SELECT o.tenant_id, o.subscription_id, s.status, o.invoices, o.due_at, o.grace_ends_at, o.last_attempt_at, o.suspend_at,
		CASE WHEN s.status = 'suspended' THEN CASE WHEN s.cancel_at <= billing.now() THEN 'canceled'
				WHEN NOT s.auto_renew AND s.period_end <= billing.now() THEN 'expired' ELSE 'suspended' END
			WHEN o.is_over THEN 'suspended' WHEN o.is_unpaid THEN 'past_due' ELSE s.status END AS next_status
	FROM (
		SELECT o.tenant_id, o.subscription_id, count(*) AS invoices, min(o.due_at) AS due_at, min(o.grace_ends_at) AS grace_ends_at,
			min(o.last_attempt_at) AS last_attempt_at, min(o.suspend_at) AS suspend_at,
			bool_or(o.suspend_at <= billing.now() AND NOT o.is_pending) AS is_over, bool_or(o.has_failed OR NOT o.is_pending) AS is_unpaid
		FROM billing.overdue_invoice o
		WHERE o.suspend_at IS NOT NULL
		GROUP BY o.tenant_id, o.subscription_id
	) o
	JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
	WHERE s.status IN ('active', 'past_due', 'suspended');
COMMENT ON VIEW billing.overdue_subscription
	IS 'active, past due and suspended subscriptions with overdue invoices: how many, the instants of the one that is due longest as in billing.overdue_invoice, and next_status: what enforce_expiration makes of it at billing.now(), if no attempt of collection is due before that';
COMMENT ON COLUMN billing.overdue_subscription.next_status IS 'what the clock says; another than status: there is something to do';
COMMENT ON COLUMN billing.overdue_subscription.invoices IS 'how many are overdue';

-- Where a subscription was canceled before it was suspended, nothing of it is suspended any more: the tenant is
-- frozen when it would have been.
CREATE VIEW billing.due_freeze WITH (security_invoker) AS
	SELECT o.tenant_id, o.invoice_id
	FROM billing.overdue_invoice o
	JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
	JOIN billing.invoice_dunning d ON d.tenant_id = o.tenant_id AND d.invoice_id = o.invoice_id
	WHERE o.status = 'open' AND o.suspend_at <= billing.now() AND NOT o.is_pending AND s.ended_at IS NOT NULL AND d.frozen_at IS NULL;
COMMENT ON VIEW billing.due_freeze
	IS 'invoices of ended subscriptions that their tenant is to be frozen for at billing.now(), and was not yet';

-- What an ended subscription owes keeps its tenant frozen, or it would have been enough to cancel; a debt that
-- somebody gave up does not, one that the clock gave up does: to wait would be enough.
CREATE FUNCTION billing.stays_frozen(tenant_id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = stays_frozen.tenant_id AND s.status = 'suspended')
		OR EXISTS (SELECT FROM billing.overdue_invoice o
			JOIN billing.subscription s ON s.tenant_id = o.tenant_id AND s.subscription_id = o.subscription_id
			LEFT JOIN billing.invoice_dunning d ON d.tenant_id = o.tenant_id AND d.invoice_id = o.invoice_id
			WHERE o.tenant_id = stays_frozen.tenant_id AND (o.status = 'open' OR d.given_up_at IS NOT NULL)
			  AND s.ended_at IS NOT NULL AND s.billed_to IS NOT NULL);
END;
COMMENT ON FUNCTION billing.stays_frozen(bigint)
	IS 'whether a tenant that is frozen because it did not pay (is_unpaid) stays so at billing.now(): a subscription of it is suspended, or one that has ended owes an invoice that is overdue and open, or given up by the clock';

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

-- A step that could not be taken is tried again (dunning.c); this says when there is another.
CREATE VIEW billing.dunning_next WITH (security_invoker) AS
	SELECT d.tenant_id, d.invoice_id,
		CASE WHEN n.invoice_id IS NULL THEN (
				SELECT CASE WHEN w.lapse_at > billing.now() THEN least(w.lapse_at, billing.now() + interval '1 day')
					ELSE billing.now() + interval '1 hour' END
				FROM billing.invoice v
				JOIN billing.subscription o ON o.tenant_id = v.tenant_id AND o.subscription_id = v.subscription_id
				LEFT JOIN billing.waiting_subscription w ON w.tenant_id = o.tenant_id AND w.subscription_id = o.subscription_id
				WHERE v.tenant_id = d.tenant_id AND v.invoice_id = d.invoice_id
				  AND (w.subscription_id IS NOT NULL OR (o.status = 'past_due' OR o.status = 'suspended' AND o.due_at IS NULL)
					AND NOT EXISTS (SELECT FROM billing.overdue_invoice l
						WHERE l.tenant_id = o.tenant_id AND l.subscription_id = o.subscription_id)))
			WHEN n.status = 'uncollectible' AND (s.subscription_id IS NULL OR s.ended_at IS NOT NULL
				OR s.status = 'suspended' AND s.cancel_at IS NULL AND (s.auto_renew OR s.period_end IS NULL)) THEN NULL
			ELSE least(billing.now() + interval '1 day', (
				SELECT min(i.at)
				FROM (
					VALUES (n.due_at + interval '1 microsecond'), (n.suspend_at), (n.give_up_at),
						((SELECT w.lapse_at FROM billing.waiting_subscription w
							WHERE w.tenant_id = n.tenant_id AND w.subscription_id = n.subscription_id)),
						(CASE WHEN s.status = 'suspended' THEN least(s.cancel_at, CASE WHEN NOT s.auto_renew THEN s.period_end END) END)
					UNION ALL
					SELECT billing.after_grace(n.due_at, n.timezone, a.day)
					FROM unnest(n.days) AS a (day)
					WHERE n.status = 'open' AND n.collection = 'automatic' AND NOT n.is_stopped
					UNION ALL
					SELECT a.created_at + n.pending_timeout
					FROM billing.collection_attempt a
					WHERE a.tenant_id = n.tenant_id AND a.invoice_id = n.invoice_id AND a.status = 'pending'
				) AS i (at)
				WHERE i.at > billing.now())) END AS next_at
	FROM billing.invoice_dunning d
	LEFT JOIN billing.dunning_timeline n ON n.tenant_id = d.tenant_id AND n.invoice_id = d.invoice_id
	LEFT JOIN billing.subscription s ON s.tenant_id = n.tenant_id AND s.subscription_id = n.subscription_id;
COMMENT ON VIEW billing.dunning_next
	IS 'when each row of billing.invoice_dunning is to be looked at after billing.now(): at the next step of its timetable, and at the latest a day from now, since settings may change; NULL: nothing follows, since it is settled, or was given up and whoever owes it has ended or rests';

CREATE FUNCTION billing.dunning(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_dunning';
COMMENT ON FUNCTION billing.dunning(integer)
	IS 'takes the steps of dunning that are due at billing.now(), for up to batch invoices of all tenants, in one transaction: attempts of collection, past due, suspended and frozen, given up, and what waited for its first payment for too long lapses; passes over tenants that somebody else has locked; one that fails is warned of, set aside (billing.set_aside), tried again ever later, and keeps no other waiting; returns how many invoices it looked at: call it until that is 0; for admins; 22004, 22023';

CREATE FUNCTION billing.collect_invoices(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_collect_invoices';
COMMENT ON FUNCTION billing.collect_invoices(integer)
	IS 'what billing.dunning() does, of tenants with invoices that have become due at billing.now(), were not looked at yet and can be collected by a payment method; returns how many of these, up to batch, it looked at: call it until that is 0; for admins; 22004, 22023';

CREATE FUNCTION billing.retry_payments(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_retry_payments';
COMMENT ON FUNCTION billing.retry_payments(integer)
	IS 'tries again what failed with a decline code that says when, for up to batch attempts of all tenants whose retry_at is at or before billing.now(), in one transaction; passes over tenants that somebody else has locked; returns how many it looked at: call it until that is 0; for admins; 22004, 22023';

CREATE FUNCTION billing.retry_payment(tenant_id bigint, invoice_id bigint, request_id text DEFAULT NULL)
RETURNS billing.collection_attempt
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_retry_payment';
COMMENT ON FUNCTION billing.retry_payment(bigint, bigint, text)
	IS 'tries again from now to collect an open invoice whose last attempt failed, also for good (class hard): where the payer has another means of payment, say; makes an attempt at once and returns its row: the last one of the timetable that is due by now and was not made, else a retry of the last one; then the timetable goes on; raises YB001 no such invoice, YB004 not open, not collected automatically, or its last attempt has not failed, YB006, YB015, 22004';

CREATE FUNCTION billing.fail_attempt(tenant_id bigint, invoice_id bigint, code text, gateway text DEFAULT 'manual', message text DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.collection_attempt
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_fail_attempt';
COMMENT ON FUNCTION billing.fail_attempt(bigint, bigint, text, text, text, text)
	IS 'says why the last attempt to collect an invoice failed, for an application that collects by itself, and returns its row: one that is under way, or that nobody here could make (code no_payment_method); code in the words of the gateway, whose meaning billing.decline_code has; what follows of the failure follows at once; raises YB001 no such invoice, YB004 no attempt waits for an answer, YB006, YB015, 22004, 22023';
