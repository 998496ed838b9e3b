-- A subscription that cannot be billed stays due and is named; it keeps nobody else from being billed, and is billed itself
-- when what was wrong is put right.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('failing_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9501, 'failing_month', 'Month');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order) VALUES
	(9501, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 0),
	(9501, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'failing_calls', 1);
SELECT count(billing.create_tenant(9500 + t, 'Tenant ' || t)) FROM generate_series(1, 9) t;
SELECT count(billing.subscribe(9500 + t, 'failing_month')) FROM generate_series(1, 9) t;
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT 9500 + t, 'e', 'failing_calls', 100, '2026-01-20' FROM generate_series(1, 9) t;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9502, 'huge', 'failing_calls', 1e30, '2026-01-20'), (9507, 'huge', 'failing_calls', 1e30, '2026-01-20');

-- What is said of them: the ids are of this run.
SET LOCAL client_min_messages = error;
CALL billing.bill_due();
CREATE TEMP VIEW bill AS
SELECT s.tenant_id, s.due_at, (SELECT string_agg(i.total::text, ' ' ORDER BY i.invoice_id) FROM billing.invoice i WHERE i.tenant_id = s.tenant_id) AS totals
FROM billing.subscription s WHERE s.tenant_id BETWEEN 9501 AND 9509 ORDER BY s.tenant_id;
TABLE bill;

-- Nothing of the attempt is left, and another is as good.
SELECT count(*) FROM billing.invoice WHERE tenant_id IN (9502, 9507) AND period_end = '2026-02-01';
CALL billing.bill_due(batch => 1);
SELECT tenant_id FROM bill WHERE due_at = '2026-02-01';
SELECT * FROM billing.audit();

-- Put right.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9502, 'back', 'failing_calls', -1e30, '2026-01-20'), (9507, 'back', 'failing_calls', -1e30, '2026-01-20');
CALL billing.bill_due();
SELECT tenant_id, totals FROM bill WHERE tenant_id IN (9501, 9502, 9507);
SELECT * FROM billing.audit();
SELECT count(v) FROM generate_series(9501, 9509) t, billing.verify_all(t) v;
ROLLBACK;
