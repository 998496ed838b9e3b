-- One run bills all that is due, however far behind each subscription is and however many a batch takes: cycles of a day
-- and of a year in one batch, and one that cannot be billed among them.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('catch_up_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES
	(9601, 'catch_up_1', 'Day', '1 day'), (9602, 'catch_up_2', 'Week', '7 days'), (9603, 'catch_up_3', 'Month', '1 month'),
	(9604, 'catch_up_4', 'Year', '1 year'), (9605, 'catch_up_5', 'Calls', '1 day');
INSERT INTO billing.price (plan_id, code, tariff)
SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"1"}' FROM billing.plan WHERE plan_id BETWEEN 9601 AND 9604;
INSERT INTO billing.price (plan_id, code, tariff, meter)
VALUES (9605, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'catch_up_calls');
SELECT count(billing.create_tenant(9600 + n, 'Tenant ' || n)) FROM generate_series(1, 5) n;
SELECT count(billing.subscribe(9600 + n, 'catch_up_' || n, at => timestamptz '2026-01-01' + n * interval '1 hour')) FROM generate_series(1, 5) n;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9605, 'huge', 'catch_up_calls', 1e30, '2026-01-01 12:00Z');
SET LOCAL billing.test_clock = '2026-03-02T00:30:00Z';
CREATE TEMP VIEW bill AS
SELECT s.tenant_id, count(i), max(i.period_end), s.due_at
FROM billing.subscription s LEFT JOIN billing.invoice i USING (tenant_id, subscription_id)
WHERE s.tenant_id BETWEEN 9601 AND 9605 GROUP BY s.tenant_id, s.subscription_id ORDER BY s.tenant_id;

SET LOCAL client_min_messages = error;
SAVEPOINT behind;
CALL billing.bill_due();
TABLE bill;
ROLLBACK TO behind;
CALL billing.bill_due(batch => 2);
TABLE bill;
SELECT * FROM billing.audit();
ROLLBACK;
