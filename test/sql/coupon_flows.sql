-- Promise: a coupon takes off what its terms say for as long as they say, is reserved with the draft, redeemed with the payment and
-- given back when the invoice is void; each refusal names its rule.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET datestyle TO ISO;
\set VERBOSITY default
SET billing.test_clock TO '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 20);
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro'), (2, 'basic', 'Basic');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(1, 'base', '{"model":"flat","currency":"USD","amount":"100"}', NULL),
	(1, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls'),
	(2, 'base', '{"model":"flat","currency":"USD","amount":"10"}', NULL);
INSERT INTO billing.coupon (code, kind, value, currency, duration, periods) VALUES
	('ONCE10', 'percentage', 10, NULL, 'once', NULL), ('TWICE', 'percentage', 25, NULL, 'repeating', 2), ('EVER', 'percentage', 5, NULL, 'forever', NULL),
	('CREDIT', 'fixed', 250, 'USD', 'once', NULL), ('MONTHLY', 'fixed', 150, 'USD', 'repeating', 2), ('EURO', 'fixed', 5, 'EUR', 'once', NULL);
INSERT INTO billing.coupon (code, kind, value, currency, prices, plans, is_stackable, min_amount, max_discount, valid_from, valid_until, is_active, redemption_limit) VALUES
	('BASE', 'percentage', 50, NULL, '{base}', NULL, true, NULL, NULL, NULL, NULL, true, NULL), ('PRO', 'fixed', 20, 'USD', NULL, '{pro}', true, NULL, NULL, NULL, NULL, true, NULL),
	('ALONE', 'percentage', 30, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, true, NULL), ('OLD', 'percentage', 1, NULL, NULL, NULL, true, NULL, NULL, NULL, '2026-01-01Z', true, NULL),
	('SOON', 'percentage', 1, NULL, NULL, NULL, true, NULL, NULL, '2026-01-01 00:00:01Z', NULL, true, NULL), ('OFF', 'percentage', 1, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, false, NULL),
	('BOUNDED', 'percentage', 50, 'USD', NULL, NULL, true, '50 USD', '30 USD', NULL, NULL, true, NULL), ('CALLS', 'percentage', 50, NULL, '{calls}', NULL, true, NULL, NULL, NULL, NULL, true, NULL),
	('ONE', 'percentage', 50, NULL, NULL, NULL, true, NULL, NULL, NULL, NULL, true, 1);
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(1, 20) t;

-- Which rule refuses.
SELECT c.code, c.plan, c.amount, v.* FROM (VALUES ('ONCE10', NULL, NULL), ('ONCE10', 'pro', '100 USD'), ('once10', NULL, NULL), ('OFF', NULL, NULL), ('SOON', NULL, NULL),
	('OLD', NULL, NULL), ('PRO', 'pro', '100 USD'), ('PRO', 'basic', '100 USD'), ('CALLS', 'pro', '100 USD'), ('CALLS', 'basic', '100 USD'), ('EURO', 'pro', '100 USD'),
	('EURO', NULL, '3 EUR'), ('BOUNDED', NULL, '49.99 USD'), ('BOUNDED', NULL, '50 USD'), ('BOUNDED', NULL, '1000 USD'), ('BOUNDED', NULL, '1000 JPY'), ('CREDIT', 'pro', '100 USD')
	) c (code, plan, amount), billing.validate_coupon(1, c.code, c.plan, c.amount::billing.amount) v;
SELECT * FROM billing.validate_coupon(99, 'ONCE10');
SELECT * FROM billing.validate_coupon(1, NULL);

-- How long each takes off.
SELECT (billing.subscribe(t, 'pro', coupon => c)).coupon FROM unnest('{ONCE10,TWICE,EVER,CREDIT,MONTHLY}'::text[]) WITH ORDINALITY x (c, t);
SET billing.test_clock TO '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT u.coupon, array_agg(i.discount ORDER BY i.invoice_id) AS discounts, array_agg(i.status ORDER BY i.invoice_id) AS statuses, s.coupon AS flag, u.amount_left, u.periods_left
FROM billing.coupon_use u JOIN billing.invoice i ON i.tenant_id = u.tenant_id JOIN billing.subscription s ON s.tenant_id = u.tenant_id
GROUP BY u.use_id, u.coupon, s.coupon, u.amount_left, u.periods_left ORDER BY u.use_id;
SELECT account, sum(amount) FROM billing.ledger_entry WHERE tenant_id = 4 GROUP BY 1 ORDER BY 1;

-- In the order of stacking, whatever they were applied in: 50 % of base, 20 off, 10 % of the rest; then 20 % tax.
SELECT tax_rate FROM billing.update_tenant(6, '{"tax_rate": "vat"}');
SELECT subscription_id AS six FROM billing.subscribe(6, 'pro', at => '2026-05-01T00:00:00Z', coupon => 'ONCE10') \gset
SELECT coupon, amount_left, periods_left, ended_at FROM billing.apply_coupon(6, 'PRO', :six);
SELECT coupon FROM billing.apply_coupon(6, 'BASE', :six, request_id => 'r1');
SELECT coupon FROM billing.apply_coupon(6, 'BASE', :six, request_id => 'r1');
SELECT line, kind, description, quantity, amount FROM billing.preview_invoice(6, :six);
SET billing.test_clock TO '2026-05-01T00:00:00Z';
CALL billing.bill_due();
SELECT invoice_id AS inv6, subtotal, discount, tax, total FROM billing.invoice WHERE tenant_id = 6 \gset
SELECT step, coupon, amount, discount FROM billing.coupon_redemption WHERE tenant_id = 6 ORDER BY 1;
SELECT line, explanation FROM billing.explain_invoice(6, :inv6);
SELECT coupon, discount, status, redeemed_at FROM billing.coupon_usage WHERE tenant_id = 6 ORDER BY 1;
SELECT (billing.record_payment(6, :inv6, (SELECT amount_due FROM billing.invoice WHERE tenant_id = 6 AND invoice_id = :inv6), 'p6')).status;
SELECT coupon, discount, status, redeemed_at FROM billing.coupon_usage WHERE tenant_id = 6 ORDER BY 1;

-- Refusals of apply and remove.
SELECT subscription_id AS seven FROM billing.subscribe(7, 'basic') \gset
SELECT billing.apply_coupon(7, 'PRO', :seven);
SELECT billing.apply_coupon(7, 'CALLS', :seven);
SELECT billing.apply_coupon(7, 'EURO', :seven);
SELECT coupon FROM billing.apply_coupon(7, 'EVER', :seven);
SELECT billing.apply_coupon(7, 'EVER', :seven);
SELECT billing.apply_coupon(7, 'ALONE', :seven);
SELECT coupon, ended_at, released_at FROM billing.remove_coupon(7, 'EVER', :seven);
SELECT coupon FROM billing.apply_coupon(7, 'ALONE', :seven);
SELECT billing.apply_coupon(7, 'TWICE', :seven);
SELECT billing.remove_coupon(7, 'TWICE', :seven);
SELECT billing.apply_coupon(7, 'TWICE');
SELECT billing.apply_coupon(7, 'TWICE', :seven, 1);
SELECT billing.apply_coupon(7, 'TWICE', 999);
SELECT billing.apply_coupon(7, NULL, :seven);
SELECT billing.remove_coupon(7, 'TWICE', invoice_id => 999);
SELECT billing.apply_coupon(7, 'TWICE', invoice_id => (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 7));
SELECT status FROM billing.cancel_subscription(7, :seven, 'now');
SELECT billing.apply_coupon(7, 'TWICE', :seven);
-- Per tenant once, unless it was given back: ALONE was never on an invoice, ONCE10 was.
SELECT coupon, ended_at, released_at FROM billing.coupon_use WHERE tenant_id = 7 ORDER BY use_id;
SELECT valid, reason FROM billing.validate_coupon(7, 'ALONE');
SELECT valid, reason FROM billing.validate_coupon(1, 'ONCE10');
SELECT billing.subscribe(1, 'basic', coupon => 'ONCE10');

-- One-off invoices; a retry is the same.
SELECT invoice_id AS inv8, subtotal, discount, total FROM billing.create_invoice(8, 'a', '[{"description": "x", "amount": "40"}, {"description": "y", "amount": "60", "price_code": "base"}]', 'ONE') \gset
SELECT invoice_id = :inv8 AS same FROM billing.create_invoice(8, 'a', '[{"description": "x", "amount": "40"}, {"description": "y", "amount": "60", "price_code": "base"}]', 'ONE');
SELECT billing.create_invoice(8, 'a', '[{"description": "x", "amount": "40"}, {"description": "y", "amount": "60", "price_code": "base"}]', 'EVER');
SELECT line, amount, discount FROM billing.invoice_item WHERE tenant_id = 8 ORDER BY 1;
SELECT billing.create_invoice(9, 'a', '[{"description": "x", "amount": "40"}]', 'ONE');
SELECT billing.create_invoice(9, 'a', '[{"description": "x", "amount": "40"}]', 'BOUNDED');
SELECT billing.create_invoice(9, 'a', '[{"description": "x", "amount": "40"}]', 'PRO');
SELECT billing.create_invoice(9, 'a', '[{"description": "x", "amount": "40"}]', 'CALLS');
SELECT count(*) FROM billing.invoice WHERE tenant_id = 9;
-- Void gives the slot back, and the coupon; somebody else may have it.
SELECT status FROM billing.void_invoice(8, :inv8);
SELECT coupon, status, discount FROM billing.coupon_usage WHERE tenant_id = 8;
SELECT slot_no, ended_at, released_at FROM billing.coupon_use WHERE tenant_id = 8;
SELECT discount FROM billing.create_invoice(9, 'a', '[{"description": "x", "amount": "40"}]', 'ONE');

-- A draft takes coupons and lets go of them, and follows its lines.
SELECT invoice_id AS inv10 FROM billing.create_invoice(10, 'd', '[{"description": "x", "amount": "40"}]', finalize => false) \gset
SELECT billing.apply_coupon(10, 'BOUNDED', invoice_id => :inv10);
SELECT coupon, amount_left FROM billing.apply_coupon(10, 'CREDIT', invoice_id => :inv10);
SELECT coupon, periods_left FROM billing.apply_coupon(10, 'TWICE', invoice_id => :inv10);
SELECT subtotal, discount, total FROM billing.invoice WHERE tenant_id = 10;
SELECT amount FROM billing.add_item(10, :inv10, 'more', amount => '300 USD');
SELECT subtotal, discount, total FROM billing.invoice WHERE tenant_id = 10;
SELECT coupon, amount, discount FROM billing.coupon_redemption WHERE tenant_id = 10 ORDER BY step;
SELECT coupon, released_at FROM billing.remove_coupon(10, 'CREDIT', invoice_id => :inv10);
SELECT subtotal, discount, total FROM billing.invoice WHERE tenant_id = 10;
SELECT status, discount, total FROM billing.finalize_invoice(10, :inv10);
SELECT billing.remove_coupon(10, 'TWICE', invoice_id => :inv10);

-- Drafts of a subscription: reserved with the draft, given back when it is calculated again.
SELECT count(*) FROM billing.update_tenant(11, '{"settings": {"finalize_after": "3 days"}}');
SELECT subscription_id AS eleven FROM billing.subscribe(11, 'pro', coupon => 'CREDIT') \gset
SELECT status, discount, total FROM billing.invoice WHERE tenant_id = 11;
SELECT amount_left FROM billing.coupon_use WHERE tenant_id = 11;
SELECT amount FROM billing.add_item(11, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 11), 'more', amount => '50 USD');
SELECT amount_left FROM billing.coupon_use WHERE tenant_id = 11;
SELECT count(*) FROM billing.rebuild_invoice(11, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 11));
SELECT amount_left FROM billing.coupon_use WHERE tenant_id = 11;
SET billing.test_clock TO '2026-05-04T00:00:00Z';
CALL billing.bill_due();
SELECT status, discount, total FROM billing.invoice WHERE tenant_id = 11;
SELECT amount_left FROM billing.coupon_use WHERE tenant_id = 11;

-- Removed, it leaves the draft when that is calculated again.
SELECT status FROM billing.subscribe(18, 'pro', coupon => 'EVER');
SELECT count(*) FROM billing.update_tenant(18, '{"settings": {"finalize_after": "3 days"}}');
SET billing.test_clock TO '2026-06-04T00:00:00Z';
CALL billing.bill_due();
SELECT status, discount FROM billing.invoice WHERE tenant_id = 18 ORDER BY invoice_id;
SELECT coupon, ended_at, released_at FROM billing.remove_coupon(18, 'EVER', (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 18));
SELECT count(*) FROM billing.rebuild_invoice(18, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 18));
SELECT status, discount FROM billing.finalize_invoice(18, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 18));
SELECT invoice_id = (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 18) AS last, discount, status FROM billing.coupon_usage WHERE tenant_id = 18 ORDER BY 1;

-- Void and reissue: what it took is there again for the one issued in its place.
SELECT status, coupon FROM billing.subscribe(12, 'pro', coupon => 'ONCE10');
SELECT status, discount FROM billing.void_invoice(12, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 12), reissue => true);
SELECT i.status, i.discount, u.status AS coupon FROM billing.invoice i JOIN billing.coupon_usage u USING (tenant_id, invoice_id) WHERE tenant_id = 12 ORDER BY i.invoice_id;
-- Void without: the next invoice has it.
SELECT status FROM billing.void_invoice(12, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 12 AND status = 'open'));
SELECT coupon FROM billing.subscription WHERE tenant_id = 12;
SET billing.test_clock TO '2026-06-04T00:00:00Z';
CALL billing.bill_due();
SELECT status, discount FROM billing.invoice WHERE tenant_id = 12 ORDER BY invoice_id;

-- One that a coupon covers wholly is paid, but not with money: void, the coupon is the tenant's again.
SELECT tenant_id FROM billing.create_tenant(30, 'Covered', 'USD');
INSERT INTO billing.coupon (code, kind, value, redemption_limit) VALUES ('WHOLE', 'percentage', 100, 1);
SELECT invoice_id AS inv30, status, total FROM billing.create_invoice(30, 'whole', '[{"description": "A", "amount": 12}]', coupon => 'WHOLE') \gset inv30_
SELECT :'inv30_status' AS status, :'inv30_total' AS total, (SELECT status FROM billing.coupon_usage WHERE tenant_id = 30) AS coupon;
SELECT status, paid_at FROM billing.void_invoice(30, :inv30_inv30);
SELECT valid, reason FROM billing.validate_coupon(30, 'WHOLE', amount => '12 USD');
SELECT status, total FROM billing.create_invoice(30, 'again', '[{"description": "A", "amount": 12}]', coupon => 'WHOLE');
SELECT * FROM billing.audit(30);

-- One that waits for its first payment: canceled, its invoice is void and the coupon free; paid, it is redeemed.
INSERT INTO billing.coupon (code, kind, value, redemption_limit) VALUES ('FIRST', 'percentage', 10, 1);
SELECT subscription_id AS thirteen, status FROM billing.subscribe(13, 'pro', coupon => 'FIRST', activate => 'on_payment') \gset
SELECT billing.subscribe(14, 'pro', coupon => 'FIRST', activate => 'on_payment');
SELECT status FROM billing.cancel_subscription(13, :thirteen);
SELECT i.status, i.status_reason, i.amount_due, u.status AS coupon FROM billing.invoice i JOIN billing.coupon_usage u USING (tenant_id, invoice_id) WHERE tenant_id = 13;
SELECT slot_no, released_at FROM billing.coupon_use WHERE tenant_id = 13;
SELECT status FROM billing.subscribe(14, 'pro', coupon => 'FIRST', activate => 'on_payment');
SELECT (billing.record_payment(14, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 14), '90 USD', 'p14')).status;
SELECT s.status, u.status AS coupon FROM billing.subscription s JOIN billing.coupon_usage u USING (tenant_id) WHERE s.tenant_id = 14;
-- A coupon that takes all off leaves nothing to wait for.
INSERT INTO billing.coupon (code, kind, value) VALUES ('ALL', 'percentage', 100);
SELECT status FROM billing.subscribe(15, 'pro', coupon => 'ALL', activate => 'on_payment');
SELECT status, total FROM billing.invoice WHERE tenant_id = 15;
-- One that expires takes its coupons with it; a trial that ends unbilled gives them back.
SELECT status FROM billing.subscribe(16, 'pro', coupon => 'EVER', auto_renew => false);
SELECT status FROM billing.subscribe(17, 'pro', coupon => 'EVER', trial_days => 5);
SELECT status FROM billing.cancel_subscription(17, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 17));
SET billing.test_clock TO '2026-07-04T00:00:00Z';
CALL billing.bill_due();
SELECT s.tenant_id, s.status, s.coupon, u.ended_at, u.released_at FROM billing.subscription s JOIN billing.coupon_use u USING (tenant_id) WHERE tenant_id IN (16, 17) ORDER BY 1;
-- Void after the end gives back what the use had.
SELECT status FROM billing.void_invoice(16, (SELECT min(invoice_id) FROM billing.invoice WHERE tenant_id = 16));
SELECT ended_at, released_at FROM billing.coupon_use WHERE tenant_id = 16;

SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- What is changed behind the functions is found.
BEGIN;
SET LOCAL session_replication_role TO replica;
UPDATE billing.coupon SET value = 11 WHERE code = 'ONCE10';
SELECT problem, detail FROM billing.verify_invoice(6, :inv6);
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role TO replica;
UPDATE billing.coupon_redemption SET discount = '1.00 USD' WHERE tenant_id = 6 AND coupon = 'ONCE10';
SELECT problem, detail FROM billing.verify_invoice(6, :inv6);
SELECT invariant, detail FROM billing.audit(6);
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role TO replica;
UPDATE billing.invoice_item SET discount = '1.00 USD' WHERE tenant_id = 6 AND line = 1;
SELECT problem, detail FROM billing.verify_invoice(6, :inv6);
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role TO replica;
DELETE FROM billing.coupon_redemption WHERE tenant_id = 6;
SELECT problem, detail FROM billing.verify_invoice(6, :inv6);
ROLLBACK;
BEGIN;
SET LOCAL session_replication_role TO replica;
UPDATE billing.coupon_use SET amount_left = '1 USD' WHERE tenant_id = 4;
UPDATE billing.coupon_use SET periods_left = 7, released_at = ended_at WHERE tenant_id = 16;
UPDATE billing.subscription SET coupon = 'ALL' WHERE tenant_id = 15;
UPDATE billing.coupon_slot SET taken_by = 3, use_id = 3 WHERE coupon = 'ONE';
UPDATE billing.coupon SET slot_count = 4 WHERE code = 'ONE';
SELECT invariant, tenant_id, detail FROM billing.audit() ORDER BY 1, 2, 3;
ROLLBACK;

-- What corrects a line is of the plan that priced that, whatever plan its invoice is for: here late usage of a plan that was left.
INSERT INTO billing.coupon (code, kind, value, duration, plans) VALUES ('HALFPRO', 'percentage', 50, 'forever', '{pro}');
SELECT quantity FROM billing.subscribe(20, 'pro', coupon => 'HALFPRO');
SELECT subscription_id AS twenty, period_end AS first, period_end + interval '1 month' AS second, period_end + interval '2 months' AS third FROM billing.subscription WHERE tenant_id = 20 \gset
SELECT set_config('billing.test_clock', to_char(timestamptz :'first', 'YYYY-MM-DD"T"HH24:MI:SSOF'), false) IS NULL;
CALL billing.bill_due();
SELECT billing.record_usage(20, 'calls', 1000, 'late', billing.now() - interval '1 day');
SELECT next_plan_id FROM billing.change_plan(20, :twenty, 'basic', effective => 'period_end');
SELECT set_config('billing.test_clock', to_char(timestamptz :'second', 'YYYY-MM-DD"T"HH24:MI:SSOF'), false) IS NULL;
CALL billing.bill_due();
SELECT billing.record_usage(20, 'calls', 100, 'later', timestamptz :'first' - interval '1 day');
SELECT set_config('billing.test_clock', to_char(timestamptz :'third', 'YYYY-MM-DD"T"HH24:MI:SSOF'), false) IS NULL;
CALL billing.bill_due();
SELECT i.kind, i.price_code, i.amount, i.discount, p.code AS of_plan, (SELECT q.code FROM billing.plan q WHERE q.plan_id = v.plan_id) AS for_plan
FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id) LEFT JOIN billing.plan p ON p.plan_id = i.plan_id WHERE tenant_id = 20 ORDER BY invoice_id, line;
SELECT r.* FROM billing.invoice v CROSS JOIN LATERAL billing.rebuild_invoice(20, v.invoice_id) r WHERE v.tenant_id = 20;
SELECT line, explanation FROM billing.invoice v CROSS JOIN LATERAL billing.explain_invoice(20, v.invoice_id) WHERE tenant_id = 20 AND explanation LIKE '%correcting%';
SELECT * FROM billing.verify_all(20);
SELECT * FROM billing.audit(20);

-- Issued again, an invoice has the discount that it had: also when the subscription has ended, the coupon is retired, out of its window and its
-- limit reached; void without, the coupon is free.
SELECT count(billing.create_tenant(t, 'Ended ' || t, 'USD')) FROM generate_series(31, 33) t;
SET billing.test_clock TO '2026-08-04T00:00:00Z';
INSERT INTO billing.coupon (code, kind, value, redemption_limit, valid_until) VALUES ('LATE', 'percentage', 12.5, 1, '2026-08-05 00:00Z');
INSERT INTO billing.coupon (code, kind, value, duration, currency) VALUES ('PART', 'fixed', 20, 'once', 'USD'), ('OTHER', 'fixed', 7, 'forever', 'USD');
SELECT subscription_id AS s31 FROM billing.subscribe(31, 'pro', coupon => 'LATE') \gset
SELECT subscription_id AS s32 FROM billing.subscribe(32, 'pro', coupon => 'PART') \gset
SELECT tenant_id, status, discount, total FROM billing.invoice WHERE tenant_id IN (31, 32) ORDER BY tenant_id;
SET billing.test_clock TO '2026-08-06T00:00:00Z';
SELECT status FROM billing.cancel_subscription(31, :s31, 'now', proration => 'none');
SELECT status FROM billing.cancel_subscription(32, :s32, 'now', proration => 'none');
UPDATE billing.coupon SET is_active = false WHERE code = 'LATE';
CREATE FUNCTION pg_temp.again(t bigint, reissue boolean) RETURNS TABLE (status text, discount billing.amount, total billing.amount) LANGUAGE sql AS $$
	SELECT v.status, v.discount, v.total FROM (SELECT max(invoice_id) AS invoice_id FROM billing.invoice WHERE tenant_id = t AND status <> 'void'
		AND billing.minor_units(total) > 0) i
	CROSS JOIN LATERAL billing.void_invoice(t, i.invoice_id, reissue => reissue) v $$;
SELECT * FROM pg_temp.again(31, true);
SELECT * FROM pg_temp.again(31, true);
SELECT * FROM pg_temp.again(32, true);
SELECT tenant_id, coupon, ended_at IS NOT NULL AS ended, released_at, amount_left, periods_left FROM billing.coupon_use WHERE tenant_id IN (31, 32) ORDER BY 1;
SELECT taken_by FROM billing.coupon_slot WHERE coupon = 'LATE';
SELECT * FROM billing.audit(31);
SELECT * FROM billing.audit(32);
SELECT status FROM pg_temp.again(31, false);
SELECT released_at, slot_no FROM billing.coupon_use WHERE tenant_id = 31;
SELECT taken_by FROM billing.coupon_slot WHERE coupon = 'LATE';
SELECT * FROM billing.audit(31);
-- A coupon that took its place since is for the next invoice.
SELECT subscription_id AS s33 FROM billing.subscribe(33, 'pro', coupon => 'PART') \gset
SELECT ended_at IS NOT NULL AS ended, released_at FROM billing.remove_coupon(33, 'PART', :s33);
SELECT coupon FROM billing.apply_coupon(33, 'OTHER', :s33);
SELECT * FROM pg_temp.again(33, true);
SELECT coupon FROM billing.subscription WHERE tenant_id = 33;
SELECT * FROM billing.audit(33);

SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
