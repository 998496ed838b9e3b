-- run_due() runs every job that has something to do, once, and what one fails of disturbs no other.
\set home :DBNAME
CREATE DATABASE billing_job_run_due;
\c billing_job_run_due
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-31T09:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"49"}');
INSERT INTO billing.setting (name, value) VALUES ('net_days', '365');
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD');
SELECT subscription_id, due_at FROM billing.subscribe(1, 'pro');
SELECT grant_id IS NOT NULL AS granted FROM billing.grant_credit(1, '5 USD', expires_at => '2026-02-10Z');

-- Each job of the view has its place in C, and no other name is one.
SELECT bool_and(billing.is_job(name, every)) FROM billing.job_default;
SELECT billing.is_job('', NULL);
SELECT billing.is_job(NULL, '-1 second');
SELECT count(*) = count(DISTINCT name) AND count(*) = max(position) AS is_sound FROM billing.job_default;

-- Nothing is due: what can tell so does not run.
SELECT billing.bill_due_due_at(), billing.expire_credit_due_at();
CALL billing.run_due();
SELECT name, done, failures FROM billing.job_state ORDER BY name;

SET billing.test_clock = '2026-02-10T12:00:00Z';
CALL billing.run_due();
SELECT name, started_at, done, failures FROM billing.job_state WHERE name IN ('bill_due', 'expire_credit') ORDER BY name;

-- In a transaction nothing is committed: a rollback makes a forecast of it.
BEGIN;
SET LOCAL billing.test_clock = '2026-04-30T09:00:00Z';
CALL billing.run_due();
SELECT count(*) FROM billing.invoice;
SELECT name, started_at, done FROM billing.job_state WHERE name IN ('bill_due', 'expire_credit') ORDER BY name;
ROLLBACK;
SELECT count(*) FROM billing.invoice;

SET billing.test_clock = '2026-03-31T09:00:00Z';
CALL billing.run_due();
SELECT number, period_end, status FROM billing.invoice ORDER BY invoice_id;
SELECT kind, amount FROM billing.wallet_entry WHERE tenant_id = 1 ORDER BY entry_id;
SELECT name, started_at, done, failures FROM billing.job_state WHERE name IN ('bill_due', 'expire_credit') ORDER BY name;
CALL billing.run_due();
SELECT count(*) FROM billing.invoice;

-- A job that is disabled does not run, but when it is asked for; once.
INSERT INTO billing.job (name, is_enabled) VALUES ('bill_due', false);
SET billing.test_clock = '2026-04-30T09:00:00Z';
CALL billing.run_due();
SELECT count(*) FROM billing.invoice;
UPDATE billing.job SET run_at = billing.now() WHERE name = 'bill_due';
SELECT is_enabled, is_requested FROM billing.job_schedule WHERE name = 'bill_due';
CALL billing.run_due();
SELECT count(*) FROM billing.invoice;
SELECT is_enabled, is_requested FROM billing.job_schedule WHERE name = 'bill_due';
SELECT action, object, object_id FROM billing.audit_log WHERE object = 'job';
SELECT every FROM billing.job_schedule WHERE name = 'bill_due';
UPDATE billing.job SET every = '5 seconds', is_enabled = true, run_at = '2026-06-01Z' WHERE name = 'bill_due';
SELECT every, is_requested, requested_at FROM billing.job_schedule WHERE name = 'bill_due';
-- A start that lies ahead, as of a clock that was set back, is none.
SET billing.test_clock = '2026-04-01T09:00:00Z';
SELECT started_at FROM billing.job_schedule WHERE name = 'bill_due';

-- One that fails is noted and disturbs no other; ever later the worker tries it again.
SET billing.test_clock = '2026-05-31T09:00:00Z';
ALTER FUNCTION billing.enforce_expirations(integer) RENAME TO away;
CALL billing.run_due();
SELECT name, started_at, failures, retry_at, sqlstate, error, succeeded_at FROM billing.job_state WHERE name IN ('bill_due', 'enforce_expirations') ORDER BY name;
\set VERBOSITY terse
CALL billing.run_due();
CALL billing.run_due();
\set VERBOSITY default
SELECT failures, retry_at FROM billing.job_state WHERE name = 'enforce_expirations';
ALTER FUNCTION billing.away(integer) RENAME TO enforce_expirations;
CALL billing.run_due();
SELECT failures, retry_at, sqlstate, error, succeeded_at FROM billing.job_state WHERE name = 'enforce_expirations';

-- Nor does one of which it cannot be told whether it has something to do: it is run.
ALTER FUNCTION billing.bill_due_due_at() RENAME TO away;
UPDATE billing.job SET is_enabled = true, run_at = NULL WHERE name = 'bill_due';
SET billing.test_clock = '2026-05-31T10:00:00Z';
\set VERBOSITY terse
CALL billing.run_due();
\set VERBOSITY default
SELECT name, started_at, failures FROM billing.job_state WHERE name IN ('bill_due', 'enforce_expirations') ORDER BY name;
ALTER FUNCTION billing.away() RENAME TO bill_due_due_at;

-- What is refused.
INSERT INTO billing.job (name) VALUES ('bill');
INSERT INTO billing.job (name, every) VALUES ('compact_usage', '0.5 seconds');
INSERT INTO billing.job (name, every) VALUES ('compact_usage', '300000 years');
CALL billing.run_due(0);
CALL billing.run_due(NULL);
SELECT billing.note_job(NULL, billing.now(), '0', 0, NULL, NULL);

-- Who has the level admin may call it; the functions it calls have the rights.
CREATE ROLE job_admin;
SELECT billing.grant_access('job_admin', 'admin');
SET billing.test_clock = '2026-06-30T09:00:00Z';
SET ROLE job_admin;
CALL billing.run_due();
INSERT INTO billing.job_state SELECT * FROM billing.job_state;
RESET ROLE;
SELECT name, started_at, failures FROM billing.job_state WHERE name = 'bill_due';
SELECT billing.revoke_access('job_admin');
DROP ROLE job_admin;
SELECT * FROM billing.audit();
\c :home
DROP DATABASE billing_job_run_due;
