-- Promise: move_subscriptions moves every subscriber of a plan to another of their cycle and currency, at the end of their
-- periods or at once, and leaves alone whoever cannot be moved.

SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (9101, 'move_old', 'Old', '1 month', 'USD'), (9102, 'move_old', 'Old', '1 year', 'USD'),
	(9103, 'move_old', 'Old', '1 month', 'EUR'), (9104, 'move_new', 'New', '1 month', 'USD'), (9105, 'move_new', 'New', '1 month', 'EUR');
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', format('{"model":"flat","currency":"%s","amount":"31"}', currency)::billing.tariff
FROM billing.plan WHERE plan_id BETWEEN 9101 AND 9105;
SELECT count(billing.create_tenant(t, 'Tenant', CASE t WHEN 9203 THEN 'EUR' ELSE 'USD' END)) FROM generate_series(9201, 9206) t;
SELECT count(billing.subscribe(t, 'move_old', cycle => CASE t WHEN 9202 THEN interval '1 year' ELSE '1 month' END)) FROM generate_series(9201, 9206) t;
SELECT status FROM billing.cancel_subscription(9204, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9204));
SELECT status FROM billing.pause_subscription(9205, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9205));
SELECT status FROM billing.freeze_tenant(9206);
CREATE TEMP VIEW subscriber AS
SELECT s.tenant_id, p.code, s.currency, p.cycle, s.status, s.next_plan_id FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id BETWEEN 9201 AND 9206 ORDER BY 1;

-- Of another cycle, canceled at the end, paused, frozen: these stay.
SELECT billing.move_subscriptions('move_old', 'move_new') AS moved;
TABLE subscriber;
SELECT billing.move_subscriptions('move_old', 'move_new') AS moved_again;
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
TABLE subscriber;
SELECT tenant_id, kind, effective_at FROM billing.subscription_change WHERE tenant_id IN (9201, 9203) ORDER BY tenant_id, change_no;
SELECT i.tenant_id, i.amount, i.period_start FROM billing.invoice_item i WHERE i.tenant_id IN (9201, 9203) ORDER BY 1, i.invoice_id;

-- And back at once, which credits.
SET LOCAL billing.test_clock = '2026-02-15T00:00:00Z';
SELECT billing.move_subscriptions('move_new', 'move_old', 'now') AS moved;
TABLE subscriber;
SELECT tenant_id, subtotal, reason FROM billing.credit_note WHERE tenant_id IN (9201, 9203) ORDER BY 1;
SELECT f.* FROM generate_series(9201, 9206) t, billing.audit(t) f;
SELECT p.* FROM generate_series(9201, 9206) t, billing.verify_all(t) p;
SELECT action, object_id FROM billing.audit_log WHERE tenant_id = 0 AND action = 'move_subscriptions' ORDER BY audit_id;
ROLLBACK;

SELECT billing.move_subscriptions('move_old', 'move_new');
SELECT billing.move_subscriptions('move_old', NULL);
SELECT billing.move_subscriptions('move_old', 'move_new', 'soon');
