
-- late: usage that came late for subscriptions that have ended -----------------------------

CREATE FUNCTION billing.due_late(batch integer, after_tenant_id bigint, after_subscription_id bigint)
RETURNS TABLE (tenant_id bigint, subscription_id bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT s.tenant_id, s.subscription_id
	FROM (
		SELECT l.tenant_id, l.subscription_id
		FROM billing.usage_late l
		WHERE l.invoice_id IS NULL
		  AND (l.tenant_id, l.subscription_id) > (due_late.after_tenant_id, due_late.after_subscription_id)
		UNION
		SELECT r.tenant_id, r.subscription_id
		FROM billing.rerated_line r
		WHERE r.invoice_id IS NULL
		  AND (r.tenant_id, r.subscription_id) > (due_late.after_tenant_id, due_late.after_subscription_id)
	) l
	JOIN billing.subscription s ON s.tenant_id = l.tenant_id AND s.subscription_id = l.subscription_id
	WHERE s.ended_at IS NOT NULL
	ORDER BY s.tenant_id, s.subscription_id
	LIMIT due_late.batch;
END;
COMMENT ON FUNCTION billing.due_late(integer, bigint, bigint)
	IS 'subscriptions that have ended and whose usage came late, or the price of lines of which was corrected; at most batch of them, behind the given position';

CREATE FUNCTION billing.late_batch(at timestamptz, batch integer, wait boolean, after_tenant_id bigint, after_subscription_id bigint,
	OUT claimed bigint, OUT tenant_id bigint, OUT subscription_id bigint)
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_late_batch';
COMMENT ON FUNCTION billing.late_batch(timestamptz, integer, boolean, bigint, bigint)
	IS 'bills the late usage and corrected prices of up to batch subscriptions that have ended, each by an invoice, if it changes an amount, of kind final whose boundary is at; wait: for tenants that somebody else has locked; returns how many there were and the position behind them; what billing.bill_due calls';
