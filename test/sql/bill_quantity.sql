-- A fixed price is charged for the subscription's quantity, unless it says that it counts once; a flat one costs the same
-- for any. A part of a period is a part of what all of them cost, rounded once.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-11T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, proration) VALUES (9301, 'seats', 'Seats', 'day');
INSERT INTO billing.price (plan_id, code, tariff, quantity_source, sort_order) VALUES
	(9301, 'unsaid', '{"model":"per_unit","currency":"USD","unit_amount":"9.99"}', NULL, 1),
	(9301, 'each', '{"model":"per_unit","currency":"USD","unit_amount":"9.99"}', 'subscription', 2),
	(9301, 'once', '{"model":"per_unit","currency":"USD","unit_amount":"9.99"}', 'one', 3),
	(9301, 'flat', '{"model":"flat","currency":"USD","amount":"9.99"}', NULL, 4),
	(9301, 'tiers', '{"model":"graduated","currency":"USD","tiers":[{"up_to":3,"unit_amount":5},{"up_to":null,"unit_amount":"0.105"}]}', NULL, 5);
SELECT status FROM billing.create_tenant(9301, 'Seats');
SELECT status, quantity FROM billing.subscribe(9301, 'seats', 7, billing => 'calendar');
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT i.period_end::date, l.line, l.price_code, l.quantity, l.unit_amount, l.amount, i.subtotal
FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id = 9301 ORDER BY i.invoice_id, l.line;
SELECT e.explanation FROM billing.invoice i, billing.explain_invoice(9301, i.invoice_id) e
WHERE i.tenant_id = 9301 AND i.period_end = '2026-02-01' AND e.explanation LIKE 'quantity%';
ROLLBACK;
