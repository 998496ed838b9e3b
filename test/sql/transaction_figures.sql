-- Promise: each movement of money shows what came or went, what a gateway kept of it and what reached the bank; sums by period are the ledger's,
-- and who may see one tenant sees its own.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-10T00:00:00Z';
CREATE FUNCTION pg_temp.tell(id text, type text, pay_no text, amount text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at,
			format('{"id":"%s","type":"%s","pay_no":"%s","amount":"%s"%s}', id, type, pay_no, amount, more) AS body) m,
		billing.receive_callback('bank', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.' || m.body, 'UTF8'))), 'hex')),
			convert_to(m.body, 'UTF8')) r;
	SELECT concat_ws(': ', e.outcome, e.reason) FROM billing.gateway_event e WHERE e.event_id = tell.id;
$$;
SELECT code FROM billing.create_gateway('bank', 'manual', '{"is_test": "true"}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT count(billing.create_tenant(t, 'Tenant ' || t, CASE WHEN t < 3 THEN 'USD' ELSE 'JPY' END)) FROM generate_series(1, 3) t;
SELECT invoice_id AS a FROM billing.create_invoice(1, 'a', '[{"description": "Work", "amount": "100"}]') \gset
SELECT invoice_id AS b FROM billing.create_invoice(2, 'b', '[{"description": "Work", "amount": "80"}]') \gset
SELECT invoice_id AS c FROM billing.create_invoice(3, 'c', '[{"description": "Work", "amount": "5000"}]') \gset

-- Received less a fee that is known with it; one that is told later, in another currency; a refund; a dispute that is lost and costs.
SELECT status FROM billing.create_payment(1, :a, NULL, '1_pay_a', 'bank', 'bank_transfer');
SELECT pg_temp.tell('e1', 'payment.succeeded', '1_pay_a', '100.00 USD', ',"fee":"3.20 USD"');
SELECT status FROM billing.create_payment(2, :b, '30 USD', '2_pay_a', 'bank', 'bank_transfer');
SELECT pg_temp.tell('e2', 'payment.failed', '2_pay_a', '30.00 USD', ',"code":"no_funds"');
SELECT status FROM billing.create_payment(2, :b, '30 USD', '2_pay_b', 'bank', 'card');
SELECT pg_temp.tell('e3', 'payment.succeeded', '2_pay_b', '30.00 USD');
SELECT pg_temp.tell('e4', 'payment.succeeded', '2_pay_b', '30.00 USD', ',"fee":"1.10 EUR"');
SELECT status FROM billing.create_payment(2, :b, '50 USD', '2_pay_c', 'bank', 'card');
SELECT status FROM billing.cancel_payment(2, '2_pay_c');
SELECT status FROM billing.record_payment(3, :c, '5000 JPY', 'wire 1', 'bank_transfer');
SELECT balance FROM billing.top_up(2, '20 USD', 'cash 1', method => 'cash');
SELECT status FROM billing.refund_payment(1, '1_pay_a', '40 USD', refund_no => '1_back_a');
SET billing.test_clock TO '2026-02-03T00:00:00Z';
SELECT pg_temp.tell('e5', 'dispute.lost', '1_pay_a', '60.00 USD', ',"reference":"dp_1","fee":"15.00 USD"');
SELECT invoice_id AS d FROM billing.create_invoice(1, 'd', '[{"description": "Work", "amount": "1"}]') \gset
SELECT status FROM billing.create_payment(1, :d, NULL, '1_pay_d', 'bank', 'card');
SELECT tenant_id, kind, currency, amount, fee, net, number, pay_no, refund_no, method, gateway, processed_at FROM billing.transaction_history ORDER BY transaction_id, currency;
SELECT * FROM billing.transaction_summary();
SELECT * FROM billing.transaction_summary('[2026-01-10,2026-02-01)');
SELECT * FROM billing.transaction_summary('[2026-02-01,)', 1);
SELECT * FROM billing.transaction_summary(tenant_id => 4);
-- The ledger has the same.
SELECT currency, sum(net) AS net, sum(fee) AS fee FROM billing.transaction_summary() GROUP BY 1 ORDER BY 1;
SELECT currency, account, sum(balance) FROM billing.trial_balance WHERE account IN ('cash', 'fees') GROUP BY 1, 2 ORDER BY 1, 2;
\x
SELECT * FROM billing.payment_figures ORDER BY month, currency;
\x
SELECT * FROM billing.audit();

-- One tenant sees its own.
CREATE ROLE report_app;
SELECT billing.grant_access('report_app', 'reader');
SET billing.tenant_id TO '3';
SET ROLE report_app;
SELECT kind, amount FROM billing.transaction_history;
SELECT kind, amount FROM billing.transaction_summary();
SELECT month, currency, payments, received, success_rate FROM billing.payment_figures;
RESET ROLE;
RESET billing.tenant_id;
SELECT billing.revoke_access('report_app');
DROP ROLE report_app;
