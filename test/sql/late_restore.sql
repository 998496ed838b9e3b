-- Usage that came late and was not yet noted so is told by what the invoices state, once the derived tables are gone: it is billed, once.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('restore_calls'), ('restore_seats');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (9311, 'restore_month', 'Month', 0);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle, sort_order) VALUES
	(9311, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, NULL, 0),
	(9311, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'restore_calls', NULL, 1),
	(9311, 'fees', '{"model":"per_unit","currency":"USD","unit_amount":"0.005"}', 'restore_calls', NULL, 2),
	(9311, 'seats', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'restore_seats', NULL, 3);
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) AS tenants, count(billing.subscribe(t, 'restore_month')) AS subscriptions FROM generate_series(9311, 9317) t;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at)
SELECT t, 'e' || n, 'restore_calls', 100, at, at FROM generate_series(9311, 9316) t, generate_series(1, 10) n,
	LATERAL (SELECT timestamptz '2026-01-10Z' + n * interval '1 day' AS at) a;
-- Recorded when the bill run had begun, and known to it all the same.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at) VALUES (9311, 'begun', 'restore_calls', 1, '2026-01-31Z', '2026-02-05 00:00:01Z');
SET billing.test_clock = '2026-02-05T00:00:00Z';
CALL billing.bill_due();

-- What open transactions leave when they commit: one event; three amid others, and two that were recorded since; two of two
-- transactions with others between, which nothing tells, so that 9313 is billed right and stays named; one of a meter, or a
-- period, without any; a negative one.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at) VALUES
	(9311, 'slow', 'restore_calls', 5000, '2026-01-15Z', '2026-01-15 12:00Z'),
	(9312, 'slow-1', 'restore_calls', 500, '2026-01-15Z', '2026-01-15 12:00Z'), (9312, 'slow-2', 'restore_calls', 500, '2026-01-01Z', '2026-01-15 12:00Z'),
	(9312, 'slow-3', 'restore_calls', 500, '2026-01-16Z', '2026-01-15 12:00Z'),
	(9312, 'since-1', 'restore_calls', 50, '2026-01-31Z', '2026-02-05Z'), (9312, 'since-2', 'restore_calls', 50, '2026-01-12Z', '2026-02-05 10:00Z'),
	(9313, 'slow-1', 'restore_calls', 500, '2026-01-12Z', '2026-01-12 12:00Z'), (9313, 'slow-2', 'restore_calls', 700, '2026-01-15Z', '2026-01-15 12:00Z'),
	(9314, 'slow', 'restore_seats', 3, '2026-01-15Z', '2026-01-15 12:00Z'),
	(9316, 'slow', 'restore_calls', -400, '2026-01-15Z', '2026-01-15 12:00Z'),
	(9317, 'slow', 'restore_calls', 100, '2026-01-15Z', '2026-01-15 12:00Z');
-- One that comes after the bill, and after whose adjustment another will.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at) VALUES (9315, 'late', 'restore_calls', 1000, '2026-01-20Z', '2026-02-06Z');
CREATE TEMP VIEW bill AS
SELECT i.tenant_id, i.total, string_agg(format('%s %s %s', l.price_code, l.kind, l.quantity), ', ' ORDER BY l.line) AS lines
FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id BETWEEN 9311 AND 9317 AND l.kind <> 'fixed' AND l.quantity <> 0
GROUP BY i.tenant_id, i.invoice_id, i.total ORDER BY i.tenant_id, i.invoice_id;
TRUNCATE billing.usage_rollup, billing.usage_period, billing.usage_horizon, billing.usage_floor;
CALL billing.compact_usage();
SELECT tenant_id, event_id FROM billing.usage_late WHERE tenant_id BETWEEN 9311 AND 9317 ORDER BY 1, 2;
SELECT tenant_id, count(*) FROM billing.verify_all() GROUP BY 1;

-- The next invoice books them.
SET billing.test_clock = '2026-03-05T00:00:00Z';
CALL billing.bill_due();
TABLE bill;
-- More, of a period that was billed and adjusted; once the tables are gone again, none is late a second time.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at) VALUES
	(9311, 'slower', 'restore_calls', 10, '2026-01-15Z', '2026-01-15 18:00Z'), (9315, 'slower', 'restore_calls', 10, '2026-01-15Z', '2026-01-15Z'),
	(9315, 'slow', 'restore_calls', 10, '2026-02-19Z', '2026-02-19Z');
TRUNCATE billing.usage_rollup, billing.usage_period, billing.usage_horizon, billing.usage_floor;
CALL billing.compact_usage();
SELECT tenant_id, event_id FROM billing.usage_late WHERE tenant_id BETWEEN 9311 AND 9317 AND invoice_id IS NULL ORDER BY 1, 2;
SELECT tenant_id, count(*) FROM billing.verify_all() GROUP BY 1;
SET billing.test_clock = '2026-04-05T00:00:00Z';
CALL billing.bill_due();
TRUNCATE billing.usage_rollup, billing.usage_period, billing.usage_horizon, billing.usage_floor;
SET billing.test_clock = '2026-05-05T00:00:00Z';
CALL billing.bill_due();
TABLE bill;
SELECT tenant_id, sum(quantity) FILTER (WHERE price_code = 'calls') AS billed,
	billing.usage(tenant_id, 'restore_calls', '[2026-01-01Z,2026-05-01Z)') AS used
FROM billing.invoice_item WHERE tenant_id BETWEEN 9311 AND 9317 GROUP BY tenant_id ORDER BY 1;
SELECT count(*) FROM billing.usage_late WHERE invoice_id IS NULL;
SELECT tenant_id, count(*) FROM billing.verify_all() GROUP BY 1;
SELECT * FROM billing.audit();
ROLLBACK;
