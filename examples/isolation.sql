-- Who sees what: an application's role sees the tenant that billing.tenant_id names, and nobody else's.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET billing.test_clock = '2026-03-10T09:00:00Z';
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'solo', 'Solo');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"12"}');
SELECT count(billing.create_tenant(n, 'Customer ' || n)) FROM generate_series(1, 3) n \gset
SELECT count((billing.subscribe(n, 'solo')).subscription_id) FROM generate_series(1, 3) n \gset

CREATE ROLE example_app;
SELECT billing.grant_access('example_app', 'app');
SET ROLE example_app;

\qecho 'With no tenant named, nothing:'
SELECT tenant_id, number, total FROM billing.invoice;
SET billing.tenant_id = '2';
\qecho 'With tenant 2:'
SELECT tenant_id, number, total FROM billing.invoice;
\qecho 'To act for another is refused, and so is a write that goes past the functions:'
\set ON_ERROR_STOP off
SELECT billing.record_usage(3, 'requests', 1, 'e1');
UPDATE billing.invoice SET total = '0 USD';
\set ON_ERROR_STOP on
RESET ROLE;
SELECT billing.revoke_access('example_app');
DROP ROLE example_app;
