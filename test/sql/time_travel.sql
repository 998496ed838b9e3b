-- A decade is played in one run: 120 monthly bills of a 31-January anchor in America/New_York, each boundary where
-- period_n has it, with no gap; and a run that is rolled back is a forecast that leaves nothing.
LOAD 'billing';
SET timezone = 'America/New_York';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-01-31T00:00:00-05:00';
INSERT INTO billing.meter (code) VALUES ('decade_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9801, 'decade', 'Decade');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(9801, 'base', '{"model":"flat","currency":"USD","amount":"10"}', NULL),
	(9801, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'decade_calls');
SELECT status FROM billing.create_tenant(9801, 'Decade', timezone => 'America/New_York');
SELECT status, anchor, period_start, period_end, due_at FROM billing.subscribe(9801, 'decade');

-- An event in the middle of every month, and one in the last microsecond before its end and the first after.
SET billing.test_clock = '2036-01-30T12:00:00-05:00';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at)
SELECT 9801, format('%s-%s', n, k), 'decade_calls', b + d
FROM generate_series(0, 119) n
CROSS JOIN LATERAL (SELECT lower(billing.period_n('2026-01-31T00:00:00-05:00', '1 month', n, 'America/New_York')) AS b) p
CROSS JOIN (VALUES ('first', '0 s'::interval), ('middle', '15 days'), ('last', '-1 microsecond')) v (k, d)
WHERE k <> 'last' OR n > 0;

CREATE TEMP VIEW made AS
SELECT row_number() OVER (ORDER BY i.invoice_id) - 1 AS n, i.period_start, i.period_end, i.number, i.total, i.invoice_id, i.issued_at
FROM billing.invoice i WHERE i.tenant_id = 9801;

-- The forecast: what four years would bring, undone.
BEGIN;
CALL billing.bill_due('2030-01-30T12:00:00-05:00', 10);
SELECT count(*), sum(total), max(period_end) FROM made;
ROLLBACK;
SELECT count(*), sum(total), max(period_end) FROM made;
SELECT billed_to, due_at, version FROM billing.subscription WHERE tenant_id = 9801;
SELECT invoice_number, chain_no FROM billing.counter WHERE tenant_id = 9801;

-- The decade, in batches of one, as after a sleep of ten years.
CALL billing.bill_due(batch => 1);
SELECT count(*), sum(total), min(number), max(number), min(period_end), max(period_end) FROM made;
SELECT n, period_start, period_end, total FROM made WHERE n BETWEEN 0 AND 4 OR n IN (25, 26, 118, 119) ORDER BY n;
SELECT n AS otherwise, period_start, period_end FROM made m
CROSS JOIN LATERAL (SELECT billing.period_n('2026-01-31T00:00:00-05:00', '1 month', m.n::integer, 'America/New_York') AS p) p
WHERE period_end <> lower(p.p)
	OR period_start <> lower(billing.period_n('2026-01-31T00:00:00-05:00', '1 month', greatest(m.n::integer - 1, 0), 'America/New_York'))
	OR NOT EXISTS (SELECT FROM billing.invoice_item l WHERE l.tenant_id = 9801 AND l.invoice_id = m.invoice_id
		AND l.price_code = 'base' AND tstzrange(l.period_start, l.period_end) = p.p);
SELECT count(*) AS gaps FROM (SELECT period_start, lag(period_end) OVER (ORDER BY n) AS before FROM made) g WHERE before <> period_start;
SELECT count(*) FILTER (WHERE usage_events = 3) AS of_three_events, count(*), sum(quantity), sum(amount)
FROM billing.invoice_item WHERE tenant_id = 9801 AND kind = 'usage';
SELECT count(*) FROM billing.usage_late WHERE tenant_id = 9801;
SELECT status, period_start, period_end, billed_to, due_at FROM billing.subscription WHERE tenant_id = 9801;
CALL billing.bill_due();
SELECT count(*) FROM made;
SELECT * FROM billing.verify_all(9801);
SELECT * FROM billing.audit(9801);

SET client_min_messages = warning;
SET session_replication_role = replica;
DELETE FROM billing.transaction WHERE tenant_id = 9801;
DELETE FROM billing.calculation_log WHERE tenant_id = 9801;
DELETE FROM billing.invoice_item WHERE tenant_id = 9801;
DELETE FROM billing.invoice WHERE tenant_id = 9801;
DELETE FROM billing.usage_rollup WHERE tenant_id = 9801;
DELETE FROM billing.usage_period WHERE tenant_id = 9801;
DELETE FROM billing.usage_horizon WHERE tenant_id = 9801;
DELETE FROM billing.usage_event WHERE tenant_id = 9801;
DELETE FROM billing.subscription_change WHERE tenant_id = 9801;
DELETE FROM billing.subscription WHERE tenant_id = 9801;
DELETE FROM billing.counter WHERE tenant_id = 9801;
DELETE FROM billing.event WHERE tenant_id = 9801;
DELETE FROM billing.tenant WHERE tenant_id = 9801;
DELETE FROM billing.price WHERE plan_id = 9801;
DELETE FROM billing.plan WHERE plan_id = 9801;
DELETE FROM billing.meter WHERE code = 'decade_calls';
