-- Promise: a coupon that could take off nothing sound cannot be stored, and one that was applied keeps its terms.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 4) t;

CREATE FUNCTION pg_temp.try(columns text, vals text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
	EXECUTE format('INSERT INTO billing.coupon (code, %s) VALUES (''X'', %s)', columns, vals);
	DELETE FROM billing.coupon WHERE code = 'X';
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS name = CONSTRAINT_NAME;
	RETURN SQLSTATE || coalesce(' ' || nullif(name, ''), '');
END $$;
SELECT columns, vals, pg_temp.try(columns, vals) FROM (VALUES
	('kind, value', $$'percentage', 100$$), ('kind, value', $$'percentage', 0.000001$$), ('kind, value', $$'percentage', 100.000001$$),
	('kind, value', $$'percentage', 0.0000001$$), ('kind, value', $$'percentage', 0$$), ('kind, value', $$'percentage', -1$$),
	('kind, value', $$'percentage', 'NaN'$$), ('kind, value', $$'percentage', 'infinity'$$), ('kind, value', $$'gift', 1$$),
	('kind, value', $$'fixed', 5$$), ('kind, value, currency', $$'fixed', 5, 'USD'$$), ('kind, value, currency', $$'fixed', 5.005, 'USD'$$),
	('kind, value, currency', $$'fixed', 5.5, 'JPY'$$), ('kind, value, currency', $$'fixed', 5, 'usd'$$), ('kind, value, currency', $$'fixed', 5, 'XXX'$$),
	('kind, value, currency', $$'fixed', 1e30, 'USD'$$), ('kind, value, currency', $$'fixed', 'NaN', 'USD'$$),
	('kind, value, min_amount', $$'percentage', 5, '10 USD'$$), ('kind, value, currency, min_amount', $$'percentage', 5, 'USD', '10 USD'$$),
	('kind, value, currency, min_amount', $$'percentage', 5, 'USD', '10 EUR'$$), ('kind, value, currency, max_discount', $$'percentage', 5, 'USD', '10 EUR'$$),
	('kind, value, currency, max_discount', $$'percentage', 5, 'USD', '0 USD'$$), ('kind, value, currency, min_amount', $$'percentage', 5, 'USD', '-1 USD'$$),
	('kind, value, duration', $$'percentage', 5, 'repeating'$$), ('kind, value, duration, periods', $$'percentage', 5, 'repeating', 3$$),
	('kind, value, duration, periods', $$'percentage', 5, 'repeating', 0$$), ('kind, value, periods', $$'percentage', 5, 3$$),
	('kind, value, duration', $$'percentage', 5, 'sometimes'$$), ('kind, value, plans', $$'percentage', 5, '{}'$$), ('kind, value, prices', $$'percentage', 5, '{NULL}'$$),
	('kind, value, redemption_limit', $$'percentage', 5, 0$$), ('kind, value, tenant_limit', $$'percentage', 5, 0$$),
	('kind, value, valid_from, valid_until', $$'percentage', 5, '2026-01-01', '2026-01-01'$$)) v (columns, vals);
SELECT pg_temp.try('kind, value', $$'percentage', 5$$), (SELECT count(*) FROM billing.coupon);
SELECT pg_temp.try('kind, value, name', $$'percentage', 5, NULL), ('has blank', 'percentage', 5, NULL$$),
	pg_temp.try('kind, value, name', $$'percentage', 5, NULL), ('', 'percentage', 5, NULL$$);

-- Before its first use all of it changes, and it goes.
INSERT INTO billing.coupon (code, kind, value, redemption_limit) VALUES ('A', 'percentage', 5, 3), ('B', 'percentage', 5, NULL), ('GONE', 'percentage', 5, 1);
UPDATE billing.coupon SET value = 10, redemption_limit = 2 WHERE code = 'A';
DELETE FROM billing.coupon WHERE code = 'GONE';
SELECT discount FROM billing.create_invoice(1, 'a', '[{"description": "x", "amount": "40"}]', coupon => 'A');
SELECT discount FROM billing.create_invoice(1, 'b', '[{"description": "x", "amount": "40"}]', coupon => 'B');
SELECT code, used_at, slot_count FROM billing.coupon ORDER BY 1;
-- From then on its name, window and limits do.
UPDATE billing.coupon SET name = 'Ten', description = 'off', valid_until = '2027-01-01', tenant_limit = 3, redemption_limit = 3, is_active = false WHERE code = 'A';
UPDATE billing.coupon SET value = 20 WHERE code = 'A';
UPDATE billing.coupon SET is_stackable = false WHERE code = 'A';
UPDATE billing.coupon SET code = 'AA' WHERE code = 'A';
UPDATE billing.coupon SET used_at = NULL WHERE code = 'A';
UPDATE billing.coupon SET redemption_limit = 5 WHERE code = 'B';
DELETE FROM billing.coupon WHERE code = 'A';
TRUNCATE billing.coupon CASCADE;

-- The rows of what was applied stay as they are.
UPDATE billing.coupon_use SET coupon = 'B';
DELETE FROM billing.coupon_use;
UPDATE billing.coupon_redemption SET discount = '1 USD';
DELETE FROM billing.coupon_redemption;
TRUNCATE billing.coupon_redemption;
INSERT INTO billing.coupon_slot (coupon, slot_no, taken_by) VALUES ('A', 9, 1);

-- A limit that is raised gives more, one that is lowered takes free ones away.
UPDATE billing.coupon SET is_active = true WHERE code = 'A';
SELECT (billing.create_invoice(t, 'a2', '[{"description": "x", "amount": "40"}]', coupon => 'A')).discount FROM generate_series(2, 3) t;
SELECT code, redemption_limit, slot_count FROM billing.coupon WHERE code = 'A';
SELECT billing.create_invoice(4, 'a2', '[{"description": "x", "amount": "40"}]', coupon => 'A');
SELECT reason FROM billing.validate_coupon(4, 'A');
UPDATE billing.coupon SET redemption_limit = 5 WHERE code = 'A';
SELECT valid FROM billing.validate_coupon(4, 'A');
SELECT (billing.create_invoice(4, 'a2', '[{"description": "x", "amount": "40"}]', coupon => 'A')).discount;
SELECT slot_no, taken_by FROM billing.coupon_slot WHERE coupon = 'A' ORDER BY 1;
UPDATE billing.coupon SET redemption_limit = 2 WHERE code = 'A';
SELECT reason FROM billing.validate_coupon(2, 'A');
SELECT billing.create_invoice(2, 'a3', '[{"description": "x", "amount": "40"}]', coupon => 'A');
-- A void one gives its slot back, but there are still three, which is more than two.
SELECT status FROM billing.void_invoice(2, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 2 AND biz_key = 'a2'));
SELECT count(*) AS slots, count(taken_by) AS taken FROM billing.coupon_slot WHERE coupon = 'A';
SELECT reason FROM billing.validate_coupon(2, 'A');
SELECT billing.create_invoice(2, 'a4', '[{"description": "x", "amount": "40"}]', coupon => 'A');
SELECT status FROM billing.void_invoice(3, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 3 AND biz_key = 'a2'));
SELECT status FROM billing.void_invoice(4, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 4 AND biz_key = 'a2'));
SELECT (billing.create_invoice(2, 'a5', '[{"description": "x", "amount": "40"}]', coupon => 'A')).discount;
SELECT slot_no, taken_by FROM billing.coupon_slot WHERE coupon = 'A' ORDER BY 1;
SELECT slot_count FROM billing.coupon WHERE code = 'A';
SELECT * FROM billing.audit();

SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
