
-- transaction_report: money that moved, and how payments went ------------------------------

-- What reached the bank or left it, and what gateways kept of that; what only moves between what is owed is not money that moved.
CREATE VIEW billing.transaction_history WITH (security_invoker) AS
	SELECT t.tenant_id, t.transaction_id, t.kind, m.currency, m.net + m.fee AS amount, m.fee, m.net, t.invoice_id, i.number,
		t.payment_id, p.pay_no, r.refund_no, p.method, p.gateway, t.at AS processed_at
	FROM billing.transaction t
	CROSS JOIN LATERAL (
		SELECT billing.currency(e.amount) AS currency,
			sum(CASE e.account WHEN 'cash' THEN e.amount ELSE e.amount - e.amount END) AS net,
			sum(CASE e.account WHEN 'fees' THEN e.amount ELSE e.amount - e.amount END) AS fee
		FROM ROWS FROM (unnest(t.accounts), unnest(t.amounts)) AS e (account, amount)
		WHERE e.account IN ('cash', 'fees')
		GROUP BY billing.currency(e.amount)
	) m
	LEFT JOIN billing.invoice i ON i.tenant_id = t.tenant_id AND i.invoice_id = t.invoice_id
	LEFT JOIN billing.payment p ON p.tenant_id = t.tenant_id AND p.payment_id = t.payment_id
	LEFT JOIN billing.refund r ON r.tenant_id = t.tenant_id AND r.refund_id = t.transaction_id
	WHERE billing.minor_units(m.net) <> 0 OR billing.minor_units(m.fee) <> 0;
COMMENT ON VIEW billing.transaction_history
	IS 'each movement of money of each tenant: amount, of which gateways kept fee, so that net reached the bank (negative: left it); amount = fee + net';
COMMENT ON COLUMN billing.transaction_history.tenant_id IS 'whose money';
COMMENT ON COLUMN billing.transaction_history.transaction_id IS 'of billing.transaction';
COMMENT ON COLUMN billing.transaction_history.kind IS 'as the ledger has it: payment, recovery, top_up, refund, adjustment, fee, dispute, reversal';
COMMENT ON COLUMN billing.transaction_history.currency IS 'of its amounts';
COMMENT ON COLUMN billing.transaction_history.amount IS 'positive: it came; negative: it went; zero: only a fee was kept';
COMMENT ON COLUMN billing.transaction_history.fee IS 'what a gateway kept; negative: gave back';
COMMENT ON COLUMN billing.transaction_history.net IS 'amount - fee: what reached the bank; negative: left it';
COMMENT ON COLUMN billing.transaction_history.invoice_id IS 'the invoice it is about';
COMMENT ON COLUMN billing.transaction_history.number IS 'and its number';
COMMENT ON COLUMN billing.transaction_history.payment_id IS 'the payment it is about';
COMMENT ON COLUMN billing.transaction_history.pay_no IS 'and its pay_no';
COMMENT ON COLUMN billing.transaction_history.refund_no IS 'of a refund that went';
COMMENT ON COLUMN billing.transaction_history.method IS 'how the payment came';
COMMENT ON COLUMN billing.transaction_history.gateway IS 'by whom it came; NULL: outside any';
COMMENT ON COLUMN billing.transaction_history.processed_at IS 'when it happened';

CREATE FUNCTION billing.transaction_summary(period tstzrange DEFAULT NULL, tenant_id bigint DEFAULT NULL)
RETURNS TABLE (kind text, currency text, count bigint, amount billing.amount, fee billing.amount, net billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT h.kind, h.currency, count(*), sum(h.amount), sum(h.fee), sum(h.net)
	FROM billing.transaction_history h
	WHERE (transaction_summary.period IS NULL OR h.processed_at <@ transaction_summary.period)
	  AND (transaction_summary.tenant_id IS NULL OR h.tenant_id = transaction_summary.tenant_id)
	GROUP BY h.kind, h.currency
	ORDER BY h.currency, h.kind;
END;
COMMENT ON FUNCTION billing.transaction_summary(tstzrange, bigint)
	IS 'the movements of money of a half-open period (NULL: of all time), of a tenant or of all that the caller may see, summed by kind and currency; net over all kinds is what the ledger has as cash';

CREATE VIEW billing.payment_figures WITH (security_invoker) AS
	WITH figure AS (
		SELECT date_trunc('month', p.created_at, 'UTC') AS month, billing.currency(p.amount) AS currency, p.status, p.method,
			coalesce(p.gateway, 'none') AS gateway, p.amount,
			p.status IN ('succeeded', 'refunded', 'reversed') AS has_come
		FROM billing.payment p
	), grouped AS (
		SELECT f.month, f.currency, f.status, f.method, f.gateway, grouping(f.status, f.method, f.gateway) AS dimension, count(*) AS payments,
			sum(f.amount) AS asked, sum(CASE WHEN f.has_come THEN f.amount ELSE f.amount - f.amount END) AS received,
			count(*) FILTER (WHERE f.has_come) AS came, count(*) FILTER (WHERE f.status = 'failed') AS failed
		FROM figure f
		GROUP BY GROUPING SETS ((f.month, f.currency), (f.month, f.currency, f.status), (f.month, f.currency, f.method), (f.month, f.currency, f.gateway))
	)
	SELECT (g.month AT TIME ZONE 'UTC')::date AS month, g.currency, max(g.payments) FILTER (WHERE g.dimension = 7) AS payments,
		max(g.asked) FILTER (WHERE g.dimension = 7) AS asked, max(g.received) FILTER (WHERE g.dimension = 7) AS received,
		round(max(g.came::numeric / nullif(g.came + g.failed, 0)) FILTER (WHERE g.dimension = 7), 6) AS success_rate,
		jsonb_object_agg(g.status, g.payments) FILTER (WHERE g.dimension = 3) AS by_status,
		jsonb_object_agg(g.method, g.payments) FILTER (WHERE g.dimension = 5) AS by_method,
		jsonb_object_agg(g.gateway, g.payments) FILTER (WHERE g.dimension = 6) AS by_gateway
	FROM grouped g
	GROUP BY g.month, g.currency;
COMMENT ON VIEW billing.payment_figures
	IS 'how payments went, by the month (of UTC) in which they were asked for or recorded, and currency';
COMMENT ON COLUMN billing.payment_figures.month IS 'its first day';
COMMENT ON COLUMN billing.payment_figures.currency IS 'of the payments';
COMMENT ON COLUMN billing.payment_figures.payments IS 'how many there are';
COMMENT ON COLUMN billing.payment_figures.asked IS 'what they come to';
COMMENT ON COLUMN billing.payment_figures.received IS 'what came of that, also where it went back later';
COMMENT ON COLUMN billing.payment_figures.success_rate IS 'of those that came or failed the part that came, 0 to 1, to six decimals; one that was called off, or is on its way, is neither; NULL: there is none';
COMMENT ON COLUMN billing.payment_figures.by_status IS 'how many there are in each state';
COMMENT ON COLUMN billing.payment_figures.by_method IS 'and by each method';
COMMENT ON COLUMN billing.payment_figures.by_gateway IS 'and by each gateway; none: outside any';
