-- Promise: a plan's version that is in use, and its prices, neither change nor go; what a plan could not bill is
-- refused when it is written; and a restore may load all of it in any order the foreign keys allow.
BEGIN;
SET LOCAL billing.test_clock = '2026-03-01T00:00:00Z';
INSERT INTO billing.meter (code, name, unit) VALUES ('guard_calls', 'API calls', 'call'), ('guard_seats', NULL, NULL);
INSERT INTO billing.plan (plan_id, code, version, name, cycle) VALUES
	(9001, 'guard', 1, 'Guard', '1 month'), (9002, 'guard', 2, 'Guard', '1 month'), (9003, 'guard', 1, 'Guard, yearly', '1 year'),
	(9004, 'guard', 1, 'Guard, for life', NULL);
\set ON_ERROR_ROLLBACK on

-- A price is in the currency of its plan; a cycle of its own is a shorter one that divides the plan's.
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9001, 'base', '{"model":"flat","currency":"EUR","amount":"29"}');
INSERT INTO billing.price (plan_id, code, tariff, cycle) VALUES (9001, 'base', '{"model":"flat","currency":"USD","amount":"29"}', '1 month');
INSERT INTO billing.price (plan_id, code, tariff, cycle) VALUES (9003, 'base', '{"model":"flat","currency":"USD","amount":"29"}', '5 months');
INSERT INTO billing.price (plan_id, code, tariff, cycle) VALUES (9003, 'base', '{"model":"flat","currency":"USD","amount":"29"}', '30 days');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9001, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, NULL),
	(9001, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'guard_calls', NULL),
	(9003, 'base', '{"model":"flat","currency":"USD","amount":"290"}', NULL, NULL),
	(9003, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'guard_calls', '1 month'),
	(9004, 'base', '{"model":"flat","currency":"USD","amount":"999"}', NULL, NULL),
	(9004, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'guard_calls', '1 month');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9003, 'seats', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'guard_seats', '3 months');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9999, 'base', '{"model":"flat","currency":"USD","amount":"29"}');

-- A plan that nobody uses may change, but not what its prices were checked against.
UPDATE billing.plan SET trial_days = 14, limits = '[{"meter":"guard_calls","limit":"1000","per":"month","hard":true}]' WHERE plan_id = 9001;
UPDATE billing.plan SET currency = 'EUR' WHERE plan_id = 9001;
UPDATE billing.plan SET cycle = '30 days' WHERE plan_id = 9001;
UPDATE billing.plan SET cycle = '2 months', currency = 'EUR' WHERE plan_id = 9002;
UPDATE billing.price SET tariff = '{"model":"flat","currency":"USD","amount":"19"}' WHERE (plan_id, code) = (9001, 'base');
UPDATE billing.meter SET aggregation = 'max' WHERE code = 'guard_calls';

-- In use: what subscribe() writes.
UPDATE billing.plan SET used_at = billing.now(), price_codes = '{base,calls,late}' WHERE plan_id = 9001;
UPDATE billing.plan SET is_active = false, name = 'Guard, retired', sort_order = 9 WHERE plan_id = 9001;
UPDATE billing.plan SET trial_days = 0 WHERE plan_id = 9001;
UPDATE billing.plan SET used_at = NULL, price_codes = NULL WHERE plan_id = 9001;
UPDATE billing.plan SET price_codes = '{base}' WHERE plan_id = 9001;
DELETE FROM billing.plan WHERE plan_id = 9001;
UPDATE billing.price SET tariff = '{"model":"flat","currency":"USD","amount":"1"}' WHERE (plan_id, code) = (9001, 'base');
UPDATE billing.price SET name = 'Base' WHERE (plan_id, code) = (9001, 'base');
UPDATE billing.price SET plan_id = 9002 WHERE (plan_id, code) = (9001, 'base');
UPDATE billing.price SET plan_id = 9001, code = 'late' WHERE (plan_id, code) = (9003, 'base');
DELETE FROM billing.price WHERE (plan_id, code) = (9001, 'calls');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9001, 'more', '{"model":"flat","currency":"USD","amount":"1"}');
UPDATE billing.meter SET aggregation = 'sum' WHERE code = 'guard_calls';
UPDATE billing.meter SET code = 'guard_other' WHERE code = 'guard_calls';
UPDATE billing.meter SET name = 'Calls', unit = 'calls' WHERE code = 'guard_calls';
DELETE FROM billing.meter WHERE code = 'guard_calls';
SET LOCAL client_min_messages = warning;
TRUNCATE billing.price CASCADE;
TRUNCATE billing.plan CASCADE;
RESET client_min_messages;

-- A restore loads the plan first, then the prices it lists.
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9001, 'late', '{"model":"flat","currency":"USD","amount":"1"}');

-- A version and its prices may be written by one statement.
WITH version AS (
	INSERT INTO billing.plan (code, version, name) VALUES ('guard', 3, 'Guard') RETURNING plan_id
)
INSERT INTO billing.price (plan_id, code, tariff)
SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"31"}' FROM version;

-- Who changed what stands in the audit log, as tenant 0; nothing stands there of an INSERT.
DELETE FROM billing.price WHERE (plan_id, code) = (9003, 'calls');
SELECT tenant_id, at, actor = session_user AS mine, action, object, object_id,
	coalesce(before ->> 'tariff', before ->> 'name') AS before, coalesce(after ->> 'tariff', after ->> 'name') AS after
FROM billing.audit_log WHERE object_id LIKE '900%' AND (object = 'price' OR after -> 'is_active' = 'false') ORDER BY audit_id;
SELECT count(*) FROM billing.audit_log WHERE object = 'plan' AND before IS NULL;
ROLLBACK;
