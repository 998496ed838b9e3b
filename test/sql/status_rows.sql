-- status() says what runs, what waits and what is wrong, in a database without a worker, too.
\set home :DBNAME
CREATE DATABASE billing_status_rows;
\c billing_status_rows
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET client_min_messages = error;
SET billing.test_clock = '2026-01-01T00:00:00Z';
SELECT kind, name, status, last_at, next_at, count, detail FROM billing.status() WHERE kind NOT IN ('job', 'library');
SELECT kind, name, status, last_at, next_at, count, detail FROM billing.status() WHERE name IN ('bill_due', 'compact_usage');
SELECT kind, name = billing.library_version() AS is_version, status FROM billing.status() WHERE kind = 'library';
SELECT * FROM billing.progress;
SELECT billing.stop_worker();
SELECT name, pid, status FROM unnest('{worker,sender}'::text[]) AS name, billing.process(name);
SELECT * FROM billing.process('launcher');
SELECT billing.job_due_at('bill_due'), billing.job_due_at('compact_usage'), billing.job_due_at('nonsense');

INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'p', 'P');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (1, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 2) t;
SELECT count(billing.subscribe(t, 'p')) FROM generate_series(1, 2) t;
SELECT name, next_at FROM billing.status() WHERE name = 'bill_due';
INSERT INTO billing.job (name, is_enabled, run_at) VALUES ('compact_usage', false, '2026-05-01Z'), ('bill_due', true, '2026-01-20Z');
SELECT name, status, next_at FROM billing.status() WHERE name IN ('bill_due', 'compact_usage') AND kind = 'job';
SET billing.test_clock = '2026-02-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (2, 'e', 'calls', 1e30, '2026-01-20');
ALTER FUNCTION billing.expire_credit(integer) RENAME TO away;
INSERT INTO billing.job (name, run_at) VALUES ('expire_credit', billing.now());
CALL billing.run_due();
SELECT kind, name, status, next_at, count, regexp_replace(detail, '(subscription)=\d+', '\1=') AS detail FROM billing.status()
WHERE name IN ('bill_due', 'expire_credit');
ALTER TABLE billing.event ENABLE TRIGGER ALL;
SELECT kind, name, status, regexp_replace(detail, '\d+', 'N', 'g') AS detail FROM billing.status() WHERE kind = 'reference';

-- What failed in a transaction that went on is not under way.
ALTER FUNCTION billing.late_batch(timestamptz, integer, boolean, bigint, bigint) RENAME TO away;
DO $$
BEGIN
	CALL billing.bill_due();
	RAISE 'it did not fail';
EXCEPTION WHEN undefined_function THEN
END $$;
SELECT * FROM billing.progress;
ALTER FUNCTION billing.away(timestamptz, integer, boolean, bigint, bigint) RENAME TO late_batch;

-- An admin may ask, nobody below.
CREATE ROLE status_admin;
SELECT billing.grant_access('status_admin', 'admin');
SET ROLE status_admin;
SELECT count(*) > 10 AS answers FROM billing.status();
SELECT * FROM billing.progress;
RESET ROLE;
SELECT billing.revoke_access('status_admin');
SELECT billing.grant_access('status_admin', 'reader');
SET ROLE status_admin;
SELECT * FROM billing.status();
RESET ROLE;
SELECT billing.revoke_access('status_admin');
DROP ROLE status_admin;
\c :home
DROP DATABASE billing_status_rows;
