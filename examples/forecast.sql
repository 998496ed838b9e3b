-- A forecast: the rest of the year is billed, looked at, and rolled back.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET billing.test_clock = '2026-03-10T09:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1, 'team', 'Team', 'EUR');
INSERT INTO billing.price (plan_id, code, tariff) VALUES
	(1, 'seats', '{"model":"per_unit","currency":"EUR","unit_amount":"8.50"}');
SELECT count(billing.create_tenant(n, 'Customer ' || n, 'EUR', 'Europe/Paris')) FROM generate_series(1, 20) n \gset
SELECT count((billing.subscribe(n, 'team', quantity => n::int)).subscription_id) FROM generate_series(1, 20) n \gset
SELECT count((billing.cancel_subscription(tenant_id, subscription_id, 'period_end')).status) FROM billing.subscription WHERE tenant_id > 15 \gset

BEGIN;
CALL billing.bill_due('2026-12-31T23:59:00Z');
SELECT to_char(period_end, 'YYYY-MM') AS month, count(*) AS invoices, sum(total) AS billed
FROM billing.invoice GROUP BY 1 ORDER BY 1;
ROLLBACK;

\qecho 'Nothing of it is left:'
SELECT count(*) AS invoices, sum(total) AS billed FROM billing.invoice;
