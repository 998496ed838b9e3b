-- A subscription, late usage or a draft that cannot be billed is named and waits; it keeps nobody else from being billed, and
-- is billed itself when what was wrong is put right.
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

-- The same of usage that comes late for subscriptions that have ended (9501 to 9504), and of drafts (9505 to 9508).
SELECT count(billing.cancel_subscription(tenant_id, subscription_id, 'now')) FROM billing.subscription WHERE tenant_id BETWEEN 9501 AND 9504;
SELECT count(billing.update_tenant(t, '{"settings": {"finalize_after": "1 day"}}')) FROM generate_series(9505, 9508) t;
SET LOCAL billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
CREATE TEMP VIEW last AS
SELECT DISTINCT ON (i.tenant_id) i.tenant_id, i.status, i.total, i.excess FROM billing.invoice i WHERE i.tenant_id BETWEEN 9501 AND 9508
ORDER BY i.tenant_id, i.invoice_id DESC;
TABLE last;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 9500 + t, 'late', 'failing_calls', CASE WHEN t IN (2, 3, 7) THEN 1e30 ELSE 300 END, '2026-01-21' FROM generate_series(1, 8) t;
SET LOCAL billing.test_clock = '2026-03-02T00:00:00Z';
CALL billing.bill_due();
TABLE last;
CALL billing.bill_due(batch => 1);
TABLE last;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 9500 + t, 'later', 'failing_calls', -1e30, '2026-01-21' FROM unnest('{2,3,7}'::int[]) t;
CALL billing.bill_due();
TABLE last;
SELECT * FROM billing.audit();
SELECT count(v) FROM generate_series(9501, 9509) t, billing.verify_all(t) v;
ROLLBACK;
