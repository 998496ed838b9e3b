-- Usage that comes late for a subscription that has ended is billed by one more invoice, once; what changes no amount by none.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('late_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9301, 'late_month', 'Month');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order) VALUES
	(9301, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 0),
	(9301, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'late_calls', 1);
SELECT (billing.create_tenant(9301, 'Gone')).status;
SELECT status FROM billing.subscribe(9301, 'late_month');
CREATE TEMP VIEW line AS
SELECT regexp_replace(i.biz_key, '^sub/\d+/', '') AS key, i.number, i.status, i.total, l.line, l.kind, l.quantity, l.amount
FROM billing.invoice i LEFT JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id = 9301 ORDER BY i.invoice_id, l.line;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9301, 'e1', 'late_calls', 100, '2026-01-01 00:00Z');
SET billing.test_clock = '2026-01-11T12:00:00Z';
SELECT status FROM billing.cancel_subscription(9301, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9301), 'now');
TABLE line;

-- Nothing late: nothing to do.
CALL billing.bill_due();
SELECT count(*) FROM line;

-- A third of a cent, then more, then less than nothing.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9301, 'late-1', 'late_calls', 0.3, '2026-01-11 11:00Z');
SET billing.test_clock = '2026-01-12T00:00:00Z';
CALL billing.bill_due();
CALL billing.bill_due();
SELECT count(*) FROM line;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9301, 'late-2', 'late_calls', 250, '2026-01-11 11:59:59Z'),
	(9301, 'after', 'late_calls', 999, '2026-01-11 12:00Z');
CALL billing.bill_due();
CALL billing.bill_due();
TABLE line;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9301, 'late-3', 'late_calls', -50, '2026-01-02');
CALL billing.bill_due();
TABLE line;
SELECT amount, source FROM billing.credit_grant WHERE tenant_id = 9301;
SELECT event_id, invoice_id IS NOT NULL AS is_booked FROM billing.usage_late WHERE tenant_id = 9301 ORDER BY event_id;
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all(9301);

-- One that goes on: its next invoice would be negative, and a preview says what is left over of it.
INSERT INTO billing.plan (plan_id, code, name) VALUES (9302, 'late_usage', 'Usage alone');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (9302, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'late_calls');
SELECT (billing.create_tenant(9302, 'Back', details => '{"settings": {"tax_percent": 20}}')).status;
SELECT status FROM billing.subscribe(9302, 'late_usage', trial_days => 0);
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9302, 'e1', 'late_calls', 500, '2026-01-12 00:00Z');
SET billing.test_clock = '2026-02-12T00:00:00Z';
CALL billing.bill_due();
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9302, 'e2', 'late_calls', -200, '2026-01-12 00:00Z');
SELECT p.kind, p.quantity, p.amount FROM billing.get_active_subscription(9302) s, billing.preview_invoice(9302, s.subscription_id) p;
CALL billing.bill_due('2026-03-12');
SELECT subtotal, tax, excess, total FROM billing.invoice WHERE tenant_id = 9302 ORDER BY invoice_id;
-- Where it changes no amount, and nothing else is billed, there is no invoice: it waits for one.
SELECT (billing.create_tenant(9303, 'Rest')).status;
SELECT status FROM billing.subscribe(9303, 'late_usage', at => '2026-01-12Z', trial_days => 0);
CALL billing.bill_due();
SELECT status FROM billing.pause_subscription(9303, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9303));
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9303, 'rest', 'late_calls', 0.3, '2026-01-20 00:00Z');
SET billing.test_clock = '2026-02-13T00:00:00Z';
SELECT status FROM billing.resume_subscription(9303, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9303));
SELECT kind, status, period_end FROM billing.invoice WHERE tenant_id = 9303 ORDER BY invoice_id;
SELECT event_id, invoice_id FROM billing.usage_late WHERE tenant_id = 9303;
SELECT * FROM billing.audit(9303);
\set VERBOSITY sqlstate
SELECT billing.void_invoice(9302, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9302 AND billing.minor_units(excess) > 0));
ROLLBACK;
