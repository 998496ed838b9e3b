-- Usage that comes after its month was billed becomes a signed line of the next invoice; the first one stays as it is.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, name, unit) VALUES ('calls', 'API calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (1, 'metered', 'Metered', 0);
INSERT INTO billing.price (plan_id, code, name, tariff, meter) VALUES
	(1, 'calls', 'API calls', '{"model":"graduated","currency":"USD","tiers":[
		{"up_to":"1000","unit_amount":"0.01"},{"up_to":null,"unit_amount":"0.005"}]}', 'calls');
SELECT tenant_id FROM billing.create_tenant(1, 'Acme Inc.') \gset
SELECT status FROM billing.subscribe(1, 'metered') \gset

\qecho '800 calls are known when January is billed:'
SET billing.test_clock = '2026-01-15T12:00:00Z';
SELECT billing.record_usage(1, 'calls', 800, 'e1') \gset
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT number, total FROM billing.invoice WHERE total > '0 USD' ORDER BY number;

\qecho '700 more of January arrive in February, beside 100 of February and a correction of -50:'
SET billing.test_clock = '2026-02-10T00:00:00Z';
SELECT billing.record_usage(1, 'calls', 700, 'e2', '2026-01-20 12:00Z') \gset
SELECT billing.record_usage(1, 'calls', 100, 'e3', '2026-02-05 12:00Z') \gset
SELECT billing.record_usage(1, 'calls', -50, 'e4', '2026-01-15 12:00Z') \gset
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT number, total FROM billing.invoice WHERE total > '0 USD' ORDER BY number;
\qecho 'Why:'
\pset tuples_only on
\pset format unaligned
SELECT e.explanation FROM billing.invoice i, billing.explain_invoice(i.tenant_id, i.invoice_id) e
WHERE i.period_end = '2026-03-01 00:00Z' AND e.line IS NOT NULL;
