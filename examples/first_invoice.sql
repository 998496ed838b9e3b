-- From nothing to a paid invoice: a meter, a plan, a customer, a month of usage, the bill and the payment.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-01-31T09:00:00Z';

INSERT INTO billing.meter (code, name, unit) VALUES ('calls', 'API calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (1, 'starter', 'Starter', 0);
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order) VALUES
	(1, 'base', 'Starter plan', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 1),
	(1, 'calls', 'API calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.001","free_units":"10000"}', 'calls', 2);

\qecho 'A customer in New York subscribes on 31 January. The first month is billed at once:'
SELECT name, currency, timezone FROM billing.create_tenant(1, 'Acme Inc.', 'USD', 'America/New_York');
SELECT status, period_start, period_end FROM billing.subscribe(1, 'starter');
SELECT number, status, total FROM billing.invoice;

\qecho 'It uses something:'
SET billing.test_clock = '2026-02-10T12:00:00Z';
SELECT billing.record_usage(1, 'calls', 12345, 'job 1') AS "new";
SELECT billing.record_usage(1, 'calls', 12345, 'job 1') AS "new, sent again";

\qecho 'The next month, and what the last one used:'
SET billing.test_clock = '2026-02-28T09:00:00Z';
CALL billing.bill_due();
SELECT number, status, total, amount_due FROM billing.invoice ORDER BY number;
SELECT i.line, i.price_code, i.quantity, i.amount, i.period_start, i.period_end
FROM billing.invoice_item i JOIN billing.invoice USING (tenant_id, invoice_id) WHERE number = 'INV-1-000002' ORDER BY line;

\qecho 'It pays in two parts. The same payment told twice counts once:'
SELECT invoice_id FROM billing.invoice WHERE number = 'INV-1-000002' \gset
SELECT pay_no, amount FROM billing.record_payment(1, :invoice_id, '30 USD', 'wire-17');
SELECT pay_no, amount FROM billing.record_payment(1, :invoice_id, '30 USD', 'wire-17');
SELECT number, status, paid, amount_due FROM billing.invoice WHERE number = 'INV-1-000002';
SELECT pay_no, amount FROM billing.record_payment(1, :invoice_id, '1.35 USD', 'wire-18');
SELECT number, status, paid, amount_due FROM billing.invoice WHERE number = 'INV-1-000002';

\qecho 'Nothing differs from its sources, and no invariant is broken:'
SELECT (SELECT count(*) FROM billing.verify_all()) AS differ, (SELECT count(*) FROM billing.audit()) AS broken;
