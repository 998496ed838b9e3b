-- What comes off an invoice and on it: coupons that stack, two taxes on one line, one contained in the price, none for who is exempt.
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Pro plan', '{"model":"flat","currency":"USD","amount":"100"}');
INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, region) VALUES
	('ca-gst', 'GST', 5, false, 'CA', NULL), ('ca-qst', 'QST', 9.975, false, 'CA', 'QC'), ('jp-10', 'Consumption tax', 10, true, 'JP', NULL);
INSERT INTO billing.coupon (code, kind, value, currency, min_amount, duration, periods) VALUES
	('WELCOME', 'percentage', 20, NULL, NULL, 'once', NULL),
	('CREDIT', 'fixed', 150, 'USD', NULL, 'once', NULL),
	('BULK', 'percentage', 10, 'USD', '500 USD', 'repeating', 3);

SELECT status FROM billing.create_tenant(1, 'Québec', 'USD', details => '{"address": {"country": "CA", "region": "QC"}}');
SELECT status FROM billing.create_tenant(2, '東京', 'USD', details => '{"address": {"country": "JP"}}');
SELECT status FROM billing.create_tenant(3, 'Charity', 'USD', details => '{"address": {"country": "CA"}, "tax_exemption": "a charity"}');

-- May it be used, and what would it take off?
SELECT c.code, v.valid, v.reason, v.discount FROM billing.coupon c, billing.validate_coupon(1, c.code, 'pro', '100 USD') v ORDER BY c.code;

SELECT status FROM billing.subscribe(1, 'pro', coupon => 'WELCOME');
SELECT status FROM billing.subscribe(2, 'pro');
SELECT status FROM billing.subscribe(3, 'pro', coupon => 'CREDIT');
SELECT i.tenant_id, i.subtotal, i.discount, i.tax, i.tax_included, i.total FROM billing.invoice i ORDER BY 1;
SELECT e.explanation FROM billing.explain_invoice(1, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1)) e;

-- What of a fixed amount is larger than the invoice is carried over to the next ones.
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT i.number, i.discount, i.total FROM billing.invoice i WHERE i.tenant_id = 3 ORDER BY 1;
SELECT coupon, discount, status FROM billing.coupon_usage ORDER BY tenant_id, invoice_id;

-- A rule that refuses says so.
\set ON_ERROR_STOP off
SELECT billing.apply_coupon(1, 'WELCOME', (SELECT subscription_id FROM billing.get_active_subscription(1)));
\set ON_ERROR_STOP on
