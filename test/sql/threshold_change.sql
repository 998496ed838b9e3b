-- What an interim invoice billed is taken off in the name of the plan that priced it: where another plan begins before the period
-- ends, coupons of the first plan lower the usage and what is taken off alike.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('cutover');
INSERT INTO billing.plan (plan_id, code, name, cycle, usage_thresholds) VALUES (9721, 'cutover_team', 'Team', '1 month', '{5}'), (9722, 'cutover_basic', 'Basic', '1 month', NULL);
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(9721, 'api', '{"model":"per_unit","currency":"USD","unit_amount":"0.10"}', 'cutover'),
	(9722, 'api', '{"model":"per_unit","currency":"USD","unit_amount":"0.20"}', 'cutover');
INSERT INTO billing.coupon (code, kind, value, plans, duration) VALUES ('CUTOVER', 'percentage', 50, '{cutover_team}', 'forever');
SELECT FROM billing.create_tenant(9721, 'Acme', 'USD');
SELECT FROM billing.subscribe(9721, 'cutover_team', coupon => 'CUTOVER');
SET LOCAL billing.test_clock = '2026-01-05T00:00:00Z';
SELECT billing.record_usage(9721, 'cutover', 100, 'e1');
SET LOCAL billing.test_clock = '2026-01-06T00:00:00Z';
CALL billing.bill_due();
SET LOCAL billing.test_clock = '2026-01-10T00:00:00Z';
SELECT FROM billing.change_plan(9721, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9721), 'cutover_basic');
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
-- 100 x 0.10 less a half is 5.00, and billed once.
SELECT v.kind AS invoice, i.line, i.kind, i.plan_id, i.quantity, i.amount, i.discount, v.total, v.excess
FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id) WHERE v.tenant_id = 9721 ORDER BY v.invoice_id, i.line;
SELECT * FROM billing.verify_all(9721);
SELECT * FROM billing.audit(9721);
ROLLBACK;
