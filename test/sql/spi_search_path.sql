-- What runs with the caller's rights uses PostgreSQL's operators, whatever stands before them in the caller's search_path.
LOAD 'billing';
SET timezone = 'UTC';
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('path_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9401, 'path_month', 'Month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9401, 'base', '{"model":"flat","currency":"USD","amount":"29"}');
SELECT (billing.create_tenant(9401, 'Path')).status;
CREATE SCHEMA path_evil;
CREATE FUNCTION path_evil.yes(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'not the operator of PostgreSQL'; END $$;
CREATE FUNCTION path_evil.yes(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'not the operator of PostgreSQL'; END $$;
CREATE OPERATOR path_evil.= (FUNCTION = path_evil.yes, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR path_evil.= (FUNCTION = path_evil.yes, LEFTARG = text, RIGHTARG = text);
SET search_path = path_evil, pg_catalog;
SELECT status FROM billing.subscribe(9401, 'path_month');
SELECT billing.record_usage(9401, 'path_calls', 3, 'e1');
SELECT billing.usage(9401, 'path_calls', '[2026-01-01,2026-02-01)');
CALL billing.bill_due('2026-02-01');
CALL billing.compact_usage();
RESET search_path;
SELECT billing.is_trial(9401, subscription_id), billing.days_remaining(9401, subscription_id),
	(SELECT count(*) FROM billing.preview_invoice(9401, subscription_id)) AS preview FROM billing.subscription WHERE tenant_id = 9401;
SELECT number, total FROM billing.invoice WHERE tenant_id = 9401 ORDER BY number;
ROLLBACK;
