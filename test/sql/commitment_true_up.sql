-- Promise: a period costs its minimum at least and its maximum at most, of a price and of a plan, on stubs their part; late usage does not pay twice.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone = 'UTC';
SELECT t.c, t.min, t.max, billing.true_up(t.c, t.min, t.max) FROM (VALUES ('5 USD'::billing.amount, '10 USD'::billing.amount, '20 USD'::billing.amount),
	('10 USD', '10 USD', '20 USD'), ('15 USD', '10 USD', '20 USD'), ('25 USD', '10 USD', '20 USD'), ('-5 USD', '10 USD', NULL), ('5 USD', NULL, NULL), (NULL, '1 USD', NULL)) t (c, min, max);
SELECT billing.true_up('5 USD', '10 EUR', NULL);

INSERT INTO billing.meter (code, unit) VALUES ('calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, proration, minimum, maximum) VALUES (1, 'price', 'Price', 'day', NULL, NULL), (2, 'plan', 'Plan', 'day', '100 USD', '150 USD'),
	(3, 'both', 'Both', 'day', '40 USD', NULL), (4, 'year', 'Year', 'day', NULL, NULL);
UPDATE billing.plan SET cycle = '1 year', minimum = '1000 USD' WHERE code = 'year';
INSERT INTO billing.price (plan_id, code, name, tariff, meter, cycle, minimum, maximum, sort_order) VALUES
	(1, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"8"}', 'calls', NULL, '10 USD', '30 USD', 1),
	(1, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"50"}', NULL, NULL, NULL, NULL, 0),
	(2, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"8"}', 'calls', NULL, NULL, NULL, 1),
	(2, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"50"}', NULL, NULL, NULL, NULL, 0),
	(3, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"8"}', 'calls', NULL, '30 USD', NULL, 1),
	(4, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"8"}', 'calls', '1 month', NULL, NULL, 1),
	(4, 'base', 'Base', '{"model":"flat","currency":"USD","amount":"365"}', NULL, NULL, NULL, NULL, 0);
CREATE FUNCTION pg_temp.use(t bigint, n numeric, at timestamptz, id text DEFAULT NULL) RETURNS boolean LANGUAGE sql AS
	$$ SELECT billing.record_usage(t, 'calls', n, coalesce(id, t || ' ' || at), at) $$;
CREATE VIEW pg_temp.line AS
	SELECT i.tenant_id AS t, to_char(i.period_end, 'MM-DD') AS at, n.line, n.kind, n.price_code, n.description, n.quantity, n.amount,
		to_char(n.period_start, 'YY-MM-DD') AS "from", to_char(n.period_end, 'YY-MM-DD') AS "to"
	FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) ORDER BY i.tenant_id, i.invoice_id, n.line;

-- A stub of 24 days of 31, then a month, then 25 days of 28; and one month above the maximum.
SET billing.test_clock = '2023-01-08T00:00:00Z';
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 4) t;
SELECT (billing.subscribe(t, p, billing => 'calendar')).plan_id FROM (VALUES (1, 'price'), (2, 'plan'), (3, 'both'), (4, 'year')) v (t, p);
SET billing.test_clock = '2023-01-31T00:00:00Z';
SELECT pg_temp.use(t, 1, '2023-01-10Z') FROM generate_series(1, 4) t;
SET billing.test_clock = '2023-02-01T06:00:00Z';
SELECT kind, price_code, amount FROM billing.preview_invoice(2, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 2));
CALL billing.bill_due();
SELECT * FROM pg_temp.line;
SELECT subtotal, total FROM billing.invoice WHERE tenant_id = 2 ORDER BY invoice_id;
SELECT line, explanation FROM billing.explain_invoice(1, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 1));
SELECT line, explanation FROM billing.explain_invoice(2, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 2)) WHERE line IS NOT NULL;
SELECT * FROM billing.verify_all();

-- What came late fills the minimum first, and then costs as any other.
SELECT pg_temp.use(1, 0.1, '2023-01-12Z'), pg_temp.use(2, 1, '2023-01-12Z'), pg_temp.use(3, 3, '2023-01-12Z');
SET billing.test_clock = '2023-02-27T00:00:00Z';
SELECT pg_temp.use(1, 5, '2023-02-10Z'), pg_temp.use(2, 20, '2023-02-10Z'), pg_temp.use(3, 4, '2023-02-10Z'), pg_temp.use(4, 50, '2023-02-10Z');
SET billing.test_clock = '2023-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.line WHERE at = '03-01';
SELECT line, explanation FROM billing.explain_invoice(2, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 2)) WHERE line = 4;
SELECT * FROM billing.verify_all();
-- January in all: price 24/31 of 10; plan 24/31 of 100 (150 at most); both 24/31 of 40.
SELECT t, sum(amount) FROM pg_temp.line WHERE "from" = '23-01-08' AND t < 4 GROUP BY t ORDER BY t;

-- An end in the middle of a period.
SET billing.test_clock = '2023-03-15T00:00:00Z';
SELECT count(billing.cancel_subscription(tenant_id, subscription_id, 'now')) FROM billing.subscription WHERE tenant_id IN (1, 3);
SELECT * FROM pg_temp.line WHERE at = '03-15';
-- A year that is billed by months: what they come to, and the base, count.
SET billing.test_clock = '2024-01-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.line WHERE t = 4 AND at = '01-01';
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();

-- What is given back of a time that was had, an outage, lowers no minimum; the unused rest of a time does.
SELECT (billing.create_tenant(t, 'Tenant ' || t)).status FROM generate_series(5, 6) t;
SELECT s.quantity FROM billing.subscribe(5, 'plan', trial_days => 0), billing.subscribe(6, 'plan', trial_days => 0) s;
SET billing.test_clock = '2024-01-20T00:00:00Z';
SELECT total FROM billing.issue_credit_note(5, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 5), '[{"line": 1, "amount": "20"}]', reason => 'outage');
SELECT quantity FROM billing.change_plan(6, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 6), quantity => 2);
SET billing.test_clock = '2024-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.line WHERE t IN (5, 6) AND at = '02-01';
SELECT * FROM billing.verify_all();

-- What was billed in advance where a period began counts for a part of it that begins later, also when that is calculated again.
SELECT (billing.create_tenant(t, 'Tenant ' || t)).status FROM generate_series(7, 8) t;
UPDATE billing.tenant SET settings = '{"pause_credit": "false"}' WHERE tenant_id = 8;
SELECT s.quantity FROM billing.subscribe(7, 'plan', trial_days => 0), billing.subscribe(8, 'plan', trial_days => 0) s;
SET billing.test_clock = '2024-02-11T00:00:00Z';
SELECT quantity FROM billing.change_plan(7, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 7), quantity => 2, proration => 'none');
SELECT status FROM billing.pause_subscription(8, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 8));
SET billing.test_clock = '2024-02-15T00:00:00Z';
SELECT status FROM billing.resume_subscription(8, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 8));
SET billing.test_clock = '2024-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT pg_temp.use(t, 0.5, '2024-02-20Z') FROM generate_series(7, 8) t;
SET billing.test_clock = '2024-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.line WHERE t IN (7, 8) AND kind IN ('true_up', 'adjustment');
SELECT * FROM billing.verify_all();

-- A draft, calculated again; what was taken back is issued again.
SELECT (billing.void_invoice(2, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 2), reissue => true)).total;
SELECT kind, price_code, amount FROM pg_temp.line WHERE t = 2 ORDER BY at DESC, line DESC LIMIT 3;
SELECT * FROM billing.verify_all();

\set VERBOSITY terse
-- Refused: another currency, the wrong order, less than nothing.
INSERT INTO billing.plan (code, name, minimum) VALUES ('bad', 'Bad', '1 EUR');
INSERT INTO billing.plan (code, name, minimum, maximum) VALUES ('bad', 'Bad', '2 USD', '1 USD');
INSERT INTO billing.plan (code, name, maximum) VALUES ('bad', 'Bad', '-1 USD');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9, 'good', 'Good');
INSERT INTO billing.price (plan_id, code, tariff, minimum) VALUES (9, 'bad', '{"model":"flat","currency":"USD","amount":"50"}', '1 EUR');
INSERT INTO billing.price (plan_id, code, tariff, maximum) VALUES (9, 'bad', '{"model":"flat","currency":"USD","amount":"50"}', '-1 USD');
UPDATE billing.plan SET minimum = '1 USD' WHERE code = 'plan';
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
