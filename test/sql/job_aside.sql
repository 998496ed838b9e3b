-- Who cannot be billed is set aside with the error, tried again ever later, and forgotten once it is done; the others go on.
\set home :DBNAME
CREATE DATABASE billing_job_aside;
\c billing_job_aside
CREATE EXTENSION billing;
LOAD 'billing';
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
\set VERBOSITY terse
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.setting (name, value) VALUES ('net_days', '365');
INSERT INTO billing.meter (code) VALUES ('aside_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'aside', 'Aside');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (1, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'aside_calls');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 3) t;
SELECT count(billing.subscribe(t, 'aside')) FROM generate_series(1, 3) t;
SET billing.test_clock = '2026-02-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'e', 'aside_calls', CASE t WHEN 2 THEN 1e30 ELSE 100 END, '2026-01-20' FROM generate_series(1, 3) t;
CREATE TEMP VIEW aside AS
SELECT a.tenant_id, a.job, a.object, s.due_at IS NOT NULL AS is_due, a.sqlstate, a.error, a.failures, a.retry_at, a.first_at <= a.last_at AS is_sound
FROM billing.set_aside a JOIN billing.subscription s ON s.tenant_id = a.tenant_id AND s.subscription_id = a.object_id;
SET client_min_messages = error;

CALL billing.run_due();
SELECT tenant_id, count(*) FROM billing.invoice GROUP BY 1 ORDER BY 1;
TABLE aside;
SELECT name, done, failures FROM billing.job_state WHERE name = 'bill_due';

-- Until its time jobs pass it over; whoever calls bill_due() does not.
SET billing.test_clock = '2026-02-01T00:00:59Z';
CALL billing.run_due();
SELECT failures, retry_at FROM aside;
CALL billing.bill_due();
SELECT failures, retry_at FROM aside;
SET billing.test_clock = '2026-02-01T00:02:59Z';
CALL billing.run_due();
SELECT failures, retry_at FROM aside;

-- Another month for the others.
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.run_due();
SELECT failures, retry_at FROM aside;
SELECT tenant_id, due_at FROM billing.subscription ORDER BY 1;

-- Put right, it is billed at the next time, or at once if somebody takes it out; then it is forgotten.
SELECT billing.cancel_usage(2, 'e');
CALL billing.run_due();
SELECT failures, retry_at FROM aside;
CREATE ROLE aside_admin;
SELECT billing.grant_access('aside_admin', 'admin');
SET ROLE aside_admin;
DELETE FROM billing.set_aside WHERE tenant_id = 2;
CALL billing.run_due();
RESET ROLE;
SELECT tenant_id, due_at FROM billing.subscription ORDER BY 1;
TABLE aside;
SELECT billing.revoke_access('aside_admin');
DROP ROLE aside_admin;

-- A whole run that does it takes it out, at the same instant, too.
SET billing.test_clock = '2026-04-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (3, 'huge', 'aside_calls', 1e30, '2026-03-20');
CALL billing.bill_due();
SELECT tenant_id, failures FROM aside;
SELECT billing.cancel_usage(3, 'huge');
CALL billing.bill_due();
SELECT tenant_id, failures FROM aside;

SELECT * FROM billing.audit();
\c :home
DROP DATABASE billing_job_aside;
