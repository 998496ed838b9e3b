-- Payments by a gateway: what is asked, what it tells in any order and twice, money that comes late, goes back or is disputed.  The
-- ledger balances and nothing is broken behind each step.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SET billing.test_clock TO '2026-01-10T00:00:00Z';
-- A callback of the manual gateway, signed with a secret of 64 times a: HMAC-SHA256 by hand.
CREATE FUNCTION pg_temp.tell(id text, type text, pay_no text, amount text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at,
			format('{"id":"%s","type":"%s","pay_no":"%s","amount":"%s"%s}', id, type, pay_no, amount, more) AS body) m,
		billing.receive_callback('bank', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.' || m.body, 'UTF8'))), 'hex')),
			convert_to(m.body, 'UTF8')) r;
	SELECT concat_ws(': ', e.outcome, e.reason) FROM billing.gateway_event e WHERE e.event_id = tell.id;
$$;
CREATE FUNCTION pg_temp.ledger(tenant bigint) RETURNS TABLE (account text, balance billing.amount) LANGUAGE sql AS
	'SELECT account, balance FROM billing.trial_balance WHERE tenant_id = tenant AND billing.minor_units(balance) <> 0 ORDER BY account COLLATE "C"';
SELECT code FROM billing.create_gateway('bank', 'manual', '{"is_test": "true"}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT code FROM billing.create_gateway('other', 'manual', '{}', jsonb_build_object('callback_secret', repeat('a', 64)));
INSERT INTO billing.plan (code, version, name, cycle, currency, trial_days) VALUES ('pro', 1, 'Pro', '1 month', 'USD', 0);
INSERT INTO billing.price (plan_id, code, tariff, timing) SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"49"}', 'advance' FROM billing.plan;
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 4) t;

-- The first payment: ordered, asked for, told, active; a change of mind closes the first, whose money comes late.
SELECT status FROM billing.subscribe(1, 'pro', activate => 'on_payment');
SELECT invoice_id AS first FROM billing.invoice WHERE tenant_id = 1 \gset
SELECT status, amount, purpose, expires_at FROM billing.create_payment(1, :first, pay_no => '1_first', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, pay_no => '1_first', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, pay_no => '1_first', gateway => 'other', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, '50 USD', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, '49 EUR', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, '0 USD', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, pay_no => '2_first', gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, gateway => 'nobody', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, gateway => 'bank');
SELECT status FROM billing.create_payment(1, NULL, gateway => 'bank', method => 'bank_transfer');
SELECT status FROM billing.create_payment(1, :first, pay_no => '1_second', gateway => 'bank', method => 'bank_transfer');
SELECT pay_no, status, failure_code, failure_reason FROM billing.payment ORDER BY created_at, pay_no;
SELECT pg_temp.tell('e1', 'payment.succeeded', '1_second', '48.00 USD');
SELECT pg_temp.tell('e2', 'payment.succeeded', '1_second', '49.00 EUR');
SELECT pg_temp.tell('e3', 'payment.succeeded', '1_nothing', '49.00 USD');
SELECT pg_temp.tell('e4', 'payment.succeeded', '1_second', '49.00 USD', ',"fee":"1.72 USD"');
SELECT pg_temp.tell('e4', 'payment.succeeded', '1_second', '49.00 USD', ',"fee":"1.72 USD"');
SELECT pg_temp.tell('e5', 'payment.failed', '1_second', '49.00 USD');
SELECT status, fee FROM billing.find_payment(1, '1_second');
SELECT s.status AS subscription, v.status AS invoice, v.paid FROM billing.subscription s, billing.invoice v;
SELECT pg_temp.tell('e6', 'payment.succeeded', '1_first', '49.00 USD');
SELECT status, excess FROM billing.find_payment(1, '1_first');
SELECT billing.wallet_balance(1);
SELECT * FROM pg_temp.ledger(1);
SELECT * FROM billing.audit();

-- Refused by the bank, then paid after all.
SELECT invoice_id AS one FROM billing.create_invoice(2, 'one', '[{"description": "Work", "amount": "100.00 USD"}]') \gset
SELECT status FROM billing.create_payment(2, :one, '40 USD', '2_part', 'bank', 'bank_transfer');
SELECT pg_temp.tell('f1', 'payment.failed', '2_part', '40.00 USD', ',"code":"no_funds","message":"not enough"');
SELECT status, failure_code, failure_reason, failed_at FROM billing.find_payment(2, '2_part');
SELECT pg_temp.tell('f2', 'payment.succeeded', '2_part', '40.00 USD');
SELECT status, failure_code FROM billing.find_payment(2, '2_part');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :one;

-- Money recorded by hand ends what waits; its late success is too much.
SELECT status FROM billing.create_payment(2, :one, NULL, '2_rest', 'bank', 'bank_transfer');
SELECT status FROM billing.record_payment(2, :one, '60 USD', 'cheque 7');
SELECT status, failure_reason FROM billing.find_payment(2, '2_rest');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :one;
SELECT billing.create_payment(2, :one, NULL, '2_again', 'bank', 'bank_transfer');
SELECT pay_no, status FROM billing.payment WHERE tenant_id = 2 ORDER BY pay_no COLLATE "C";

-- Taken back: the invoice is owed again, by as much as had paid it.
SELECT pg_temp.tell('r1', 'payment.reversed', '2_part', '40.00 USD');
SELECT pg_temp.tell('r2', 'payment.reversed', '2_part', '40.00 USD');
SELECT status, reversed FROM billing.find_payment(2, '2_part');
SELECT status, paid, amount_due, paid_at FROM billing.invoice WHERE invoice_id = :one;
SELECT * FROM pg_temp.ledger(2);
SELECT * FROM billing.audit();

-- What became credit and was used is lost, what is left of it is taken back.
SELECT status FROM billing.create_payment(3, NULL, '30 USD', '3_credit', 'bank', 'bank_transfer', purpose => 'top_up');
SELECT pg_temp.tell('t1', 'payment.succeeded', '3_credit', '30.00 USD', ',"fee":"0.30 USD"');
SELECT billing.consume(3, '12 USD', 'calls', 'c1');
SELECT billing.wallet_balance(3);
SELECT pg_temp.tell('t2', 'payment.reversed', '3_credit', '30.00 USD');
SELECT billing.wallet_balance(3);
SELECT * FROM pg_temp.ledger(3);
SELECT * FROM billing.audit();

-- Disputed: held back, won, and another one lost, which was told as lost first.
SELECT invoice_id AS two FROM billing.create_invoice(3, 'two', '[{"description": "Work", "amount": "80.00 USD"}]') \gset
SELECT status FROM billing.create_payment(3, :two, NULL, '3_two_', 'bank', 'bank_transfer');
SELECT pg_temp.tell('d1', 'payment.succeeded', '3_two_', '80.00 USD');
SELECT pg_temp.tell('d2', 'dispute.opened', '3_two_', '80.00 USD', ',"reference":"dp_1","message":"not mine"');
SELECT pg_temp.tell('d3', 'dispute.opened', '3_two_', '80.00 USD', ',"reference":"dp_1"');
SELECT status, amount, reason FROM billing.dispute;
SELECT * FROM pg_temp.ledger(3);
SELECT * FROM billing.audit();
SELECT pg_temp.tell('d4', 'dispute.won', '3_two_', '80.00 USD', ',"reference":"dp_1"');
SELECT pg_temp.tell('d5', 'dispute.lost', '3_two_', '80.00 USD', ',"reference":"dp_1"');
SELECT status, paid FROM billing.invoice WHERE invoice_id = :two;
SELECT pg_temp.tell('d6', 'dispute.lost', '3_two_', '80.00 USD', ',"reference":"dp_2","fee":"15.00 USD"');
SELECT pg_temp.tell('d7', 'dispute.opened', '3_two_', '80.00 USD', ',"reference":"dp_2"');
SELECT external_id, status, amount FROM billing.dispute ORDER BY dispute_id;
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :two;
SELECT * FROM pg_temp.ledger(3);
SELECT * FROM billing.audit();

-- Lost in part, then disputed again: the rest goes, too, and no more than that.
SELECT invoice_id AS eight FROM billing.create_invoice(3, 'eight', '[{"description": "Work", "amount": "100.00 USD"}]') \gset
SELECT status FROM billing.create_payment(3, :eight, NULL, '3_eight', 'bank', 'bank_transfer');
SELECT pg_temp.tell('p1', 'payment.succeeded', '3_eight', '100.00 USD');
SELECT pg_temp.tell('p2', 'dispute.lost', '3_eight', '30.00 USD', ',"reference":"dp_3"');
SELECT pg_temp.tell('p3', 'payment.reversed', '3_eight', '30.00 USD');
SELECT status, reversed FROM billing.find_payment(3, '3_eight');
SELECT pg_temp.tell('p4', 'dispute.opened', '3_eight', '50.00 USD', ',"reference":"dp_4"');
SELECT pg_temp.tell('p5', 'payment.reversed', '3_eight', '80.00 USD');
SELECT status, reversed FROM billing.find_payment(3, '3_eight');
SELECT pg_temp.tell('p6', 'dispute.lost', '3_eight', '50.00 USD', ',"reference":"dp_4"');
SELECT pg_temp.tell('p7', 'dispute.opened', '3_eight', '100.00 USD', ',"reference":"dp_5"');
SELECT status, reversed FROM billing.find_payment(3, '3_eight');
SELECT external_id, status, amount FROM billing.dispute WHERE external_id >= 'dp_3' ORDER BY dispute_id;
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :eight;
SELECT pg_temp.tell('p8', 'dispute.lost', '3_eight', '20.00 USD', ',"reference":"dp_5"');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :eight;
SELECT * FROM billing.audit();

-- Taken back in part, then told as a dispute of the same money.
SELECT invoice_id AS nine FROM billing.create_invoice(3, 'nine', '[{"description": "Work", "amount": "100.00 USD"}]') \gset
SELECT status FROM billing.create_payment(3, :nine, NULL, '3_nine_', 'bank', 'bank_transfer');
SELECT pg_temp.tell('q1', 'payment.succeeded', '3_nine_', '100.00 USD');
SELECT pg_temp.tell('q2', 'payment.reversed', '3_nine_', '30.00 USD');
SELECT pg_temp.tell('q3', 'dispute.lost', '3_nine_', '30.00 USD', ',"reference":"dp_6"');
SELECT status, reversed FROM billing.find_payment(3, '3_nine_');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :nine;
SELECT * FROM pg_temp.ledger(3);
SELECT * FROM billing.audit();

-- Of what is disputed a part is lost: the rest comes back, and may be disputed again.
SELECT invoice_id AS ten FROM billing.create_invoice(3, 'ten', '[{"description": "Work", "amount": "50.00 USD"}]') \gset
SELECT status FROM billing.create_payment(3, :ten, NULL, '3_ten_', 'bank', 'bank_transfer');
SELECT pg_temp.tell('z1', 'payment.succeeded', '3_ten_', '50.00 USD');
SELECT pg_temp.tell('z2', 'dispute.opened', '3_ten_', '50.00 USD', ',"reference":"dp_7"');
SELECT pg_temp.tell('z3', 'dispute.lost', '3_ten_', '20.00 USD', ',"reference":"dp_7"');
SELECT status, reversed FROM billing.find_payment(3, '3_ten_');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :ten;
SELECT pg_temp.tell('z4', 'dispute.opened', '3_ten_', '40.00 USD', ',"reference":"dp_8"');
SELECT external_id, status, amount FROM billing.dispute WHERE external_id >= 'dp_7' ORDER BY dispute_id;
SELECT * FROM billing.audit();

-- By a stored method; what is in flight there is not called off.
SELECT invoice_id AS three FROM billing.create_invoice(4, 'three', '[{"description": "Work", "amount": "10.00 USD"}]') \gset
SELECT billing.pay_invoice(4, :three);
SELECT payment_method_id AS good, status FROM billing.add_payment_method(4, 'bank', 'card', 'tok_unknown') \gset
SELECT status FROM billing.create_payment(4, :three, NULL, '4_card_', payment_method_id => :good);
SELECT status FROM billing.create_payment(4, :three, NULL, '4_bank_', 'bank', 'bank_transfer');
SELECT status FROM billing.cancel_payment(4, '4_card_');
SELECT status FROM billing.confirm_payment(4, '4_card_');
SELECT status FROM billing.confirm_payment(4, '4_card_');
SELECT status FROM billing.fail_payment(4, '4_card_', 'no');
SELECT status, paid FROM billing.invoice WHERE invoice_id = :three;

-- The wallet first, then the method for the rest.
SELECT balance FROM billing.top_up(4, '7 USD', 'bank 1');
SELECT invoice_id AS four, amount_due FROM billing.create_invoice(4, 'four', '[{"description": "Work", "amount": "20.00 USD"}]') \gset
SELECT balance FROM billing.top_up(4, '5 USD', 'bank 2');
SELECT payment_method_id AS good, status FROM billing.add_payment_method(4, 'bank', 'card', 'tok_ok', is_default => true) \gset
SELECT status, total, wallet_applied, paid FROM billing.pay_invoice(4, :four, request_id => 'pay');
SELECT status, total, wallet_applied, paid FROM billing.pay_invoice(4, :four, request_id => 'pay');
SELECT status, total, wallet_applied, paid FROM billing.pay_invoice(4, :four);

-- What waits for a person is called off where the wallet pays; what may be on its way is waited for.
SELECT invoice_id AS five FROM billing.create_invoice(4, 'five', '[{"description": "Work", "amount": "3.00 USD"}]') \gset
SELECT status FROM billing.create_payment(4, :five, NULL, '4_five_', 'bank', 'bank_transfer');
SELECT balance FROM billing.top_up(4, '3 USD', 'bank 3');
UPDATE billing.payment SET status = 'processing', external_id = 'x' WHERE pay_no = '4_five_';
SELECT status FROM billing.pay_invoice(4, :five);
UPDATE billing.payment SET status = 'requires_action' WHERE pay_no = '4_five_';
SELECT status, wallet_applied, paid FROM billing.pay_invoice(4, :five);
SELECT status FROM billing.find_payment(4, '4_five_');

-- A secret is opened for the payer.
UPDATE billing.payment SET client_secret = billing.seal(4, 'client_secret', 'pi_1_secret_2') WHERE pay_no = '4_five_';
SELECT client_secret::text LIKE '%secret_2%' AS is_plain, billing.payment_client_secret(4, '4_five_') FROM billing.find_payment(4, '4_five_');
SELECT billing.payment_client_secret(4, '4_card_') IS NULL AS none;
SELECT billing.payment_client_secret(4, '4_nothing');

-- What the application keeps with a payment.
SELECT status, metadata FROM billing.create_payment(4, NULL, '3 USD', '4_kept_', 'bank', 'bank_transfer', purpose => 'top_up', metadata => '{"order": 17}');
SELECT status, metadata FROM billing.create_payment(4, NULL, '3 USD', '4_kept_', 'bank', 'bank_transfer', purpose => 'top_up', metadata => '{"order": 17}');
SELECT billing.create_payment(4, NULL, '3 USD', '4_kept_', 'bank', 'bank_transfer', purpose => 'top_up');
SELECT billing.create_payment(4, NULL, '3 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up', metadata => '[17]');
SELECT billing.create_payment(4, NULL, '3 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up', metadata => NULL);

-- A credit note that settles an invoice leaves nothing for anybody to pay.
SELECT invoice_id AS seven FROM billing.create_invoice(4, 'seven', '[{"description": "Work", "amount": "8.00 USD"}]') \gset
SELECT status FROM billing.create_payment(4, :seven, NULL, '4_seven', 'bank', 'bank_transfer');
SELECT total, refunded FROM billing.issue_credit_note(4, :seven);
SELECT status FROM billing.invoice WHERE invoice_id = :seven;
SELECT status, failure_reason FROM billing.find_payment(4, '4_seven');

-- What has expired already is not asked for.
SELECT billing.create_payment(4, NULL, '3 USD', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up', expires_at => '2026-01-10T00:00:00Z');

-- Excess that goes back instead.
INSERT INTO billing.setting (name, value) VALUES ('overpayment', 'refund');
SELECT pg_temp.tell('x1', 'payment.succeeded', '2_rest', '60.00 USD');
SELECT status, excess FROM billing.find_payment(2, '2_rest');
SELECT cause, status, amount FROM billing.refund;
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :one;
SELECT * FROM pg_temp.ledger(2);

-- What was to go back is not, once the bank has taken all; a void invoice keeps nothing of a refund that waits.
SELECT pg_temp.tell('y1', 'payment.reversed', '2_rest', '60.00 USD');
SELECT status, reversed FROM billing.find_payment(2, '2_rest');
SELECT cause, status, status_reason FROM billing.refund WHERE tenant_id = 2;
SELECT invoice_id AS six FROM billing.create_invoice(2, 'six', '[{"description": "Work", "amount": "9.00 USD"}]') \gset
SELECT status FROM billing.record_payment(2, :six, '9 USD', 'cash 6', 'cash');
SELECT status, cause FROM billing.refund_payment(2, 'cash 6', reopen => true);
SELECT status, amount_due FROM billing.void_invoice(2, :six);
SELECT * FROM billing.audit();
-- The tenant is told each of that.
SELECT kind, document, description, amount FROM billing.tenant_statement(2);

-- A dispute is of no other payment.
SELECT pg_temp.tell('z9', 'dispute.lost', '3_eight', '30.00 USD', ',"reference":"dp_8"');
-- Of another tenant, gateway or caller.
SELECT billing.cancel_payment(1, '2_rest');
SELECT billing.resync_payment(2, 'cheque 7');
SELECT status FROM billing.resync_payment(4, '4_card_');
SELECT type, count(*) FROM billing.event WHERE type ~ '^(payment|dispute)\.' GROUP BY type ORDER BY type COLLATE "C";
SELECT outcome, count(*) FROM billing.gateway_event GROUP BY outcome ORDER BY outcome;
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- Who has a card and pays his first invoice in another way is not charged by the clock meanwhile; then he is.
SELECT status FROM billing.create_tenant(5, 'Tenant 5', 'USD');
SELECT status FROM billing.add_payment_method(5, 'bank', 'card', 'tok_ok');
SELECT status FROM billing.subscribe(5, 'pro', activate => 'on_payment');
SELECT p.status FROM billing.invoice v, billing.create_payment(5, v.invoice_id, NULL, '5_first', 'bank', 'bank_transfer') p WHERE v.tenant_id = 5;
SELECT billing.dunning() > 0 AS is_looked_at;
SELECT pay_no, status FROM billing.payment WHERE tenant_id = 5;
SELECT status FROM billing.cancel_payment(5, '5_first');
SELECT status FROM billing.enforce_expiration(5);
SELECT p.status, p.payment_method_id IS NOT NULL AS is_by_card, s.status AS subscription
FROM billing.payment p JOIN billing.subscription s USING (tenant_id) WHERE tenant_id = 5 ORDER BY 2;
SELECT * FROM billing.audit();

-- A bank takes back what came: not anything in another currency.
SELECT tenant_id FROM billing.create_tenant(6, 'Tenant 6', 'USD');
SELECT status FROM billing.create_payment(6, NULL, '30 USD', '6_credit', 'bank', 'bank_transfer', purpose => 'top_up');
SELECT pg_temp.tell('c_usd', 'payment.succeeded', '6_credit', '30.00 USD');
SELECT pg_temp.tell('c_eur', 'payment.reversed', '6_credit', '30.00 EUR');
SELECT status, reversed FROM billing.find_payment(6, '6_credit');

-- A charge that its gateway could not take yet: nothing has happened, so that it is called off where the invoice is paid, or a person says so, and nothing is closed.
SELECT tenant_id FROM billing.create_tenant(7, 'Tenant 7', 'USD', details => '{"settings": {"overpayment": "wallet"}}');
SELECT code FROM billing.create_gateway('stripe', 'stripe', '{}', '{"api_key": "sk_test_x", "webhook_secret": "whsec_x"}');
INSERT INTO billing.payment_method (tenant_id, payment_method_id, gateway, type, status, token, customer_id) VALUES (7, 7, 'stripe', 'card', 'active', billing.seal(7, 'token', 'pm_1'), 'cus_1');
SELECT is_default FROM billing.set_default_payment_method(7, 7);
CREATE FUNCTION pg_temp.charge(pay_no text, http_status int) RETURNS text LANGUAGE sql AS $$
	SELECT p.status FROM billing.create_invoice(7, pay_no, '[{"description": "Work", "amount": "30.00 USD"}]') v, billing.create_payment(7, v.invoice_id, NULL, pay_no, payment_method_id => 7) p;
	SELECT method FROM billing.gateway_request(pay_no);
	SELECT status FROM billing.gateway_response(pay_no, http_status, '{}', '{"error": {"type": "api_error", "message": "later"}}');
$$;
SELECT pg_temp.charge('7_later_a', 429), pg_temp.charge('7_later_b', 429), pg_temp.charge('7_later_c', 429), pg_temp.charge('7_maybe_d', 0);
SELECT p.pay_no, p.status, r.operation, r.state, r.outcome FROM billing.payment p JOIN billing.gateway_request r ON r.tenant_id = 7 AND r.object_id = p.payment_id WHERE p.pay_no ~ '^7_[a-z]*_[a-d]' ORDER BY 1, r.gateway_request_id;
SELECT name, status, count > 3 AS are_several, detail FROM billing.status() WHERE kind = 'queue' AND name = 'gateways';
SELECT status, amount FROM billing.record_payment(7, (SELECT invoice_id FROM billing.payment WHERE pay_no = '7_later_a'), '30 USD', 'cash a', 'cash');
SELECT status, excess FROM billing.record_payment(7, (SELECT invoice_id FROM billing.payment WHERE pay_no = '7_maybe_d'), '30 USD', 'cash d', 'cash');
SELECT status FROM billing.cancel_payment(7, '7_later_b');
SELECT p.status FROM billing.payment w, billing.create_payment(7, w.invoice_id, NULL, '7_other_c', 'bank', 'bank_transfer') p WHERE w.pay_no = '7_later_c';
SELECT status, amount FROM billing.record_payment(7, (SELECT invoice_id FROM billing.payment WHERE pay_no = '7_other_c'), '1 USD', 'cash c', 'cash');
SELECT p.pay_no, p.status, p.failure_reason, r.operation, r.state FROM billing.payment p JOIN billing.gateway_request r ON r.tenant_id = 7 AND r.object_id = p.payment_id WHERE p.pay_no ~ '^7_[a-z]*_[a-d]' ORDER BY 1, r.gateway_request_id;
SELECT method FROM billing.gateway_request('7_later_a');

-- What nothing was due for went back in the gateway's console: it is that credit.
SELECT status, amount FROM billing.record_payment(7, (SELECT invoice_id FROM billing.payment WHERE pay_no = '7_other_c'), '29 USD', 'cash c 2', 'cash');
SELECT pg_temp.tell('e7', 'payment.succeeded', '7_other_c', '30.00 USD');
SELECT status, excess, billing.wallet_balance(7) FROM billing.find_payment(7, '7_other_c');
SELECT pg_temp.tell('e8', 'refund.succeeded', '7_other_c', '29.50 USD', ',"reference":"re_1"');
SELECT pg_temp.tell('e9', 'refund.succeeded', '7_other_c', '0.51 USD', ',"reference":"re_2"');
SELECT cause, status, amount, billing.wallet_balance(7) FROM billing.refund WHERE tenant_id = 7;
SELECT status FROM billing.record_payment(7, (SELECT min(invoice_id) FROM billing.invoice WHERE tenant_id = 7), '30 USD', '7_later_c');
SELECT * FROM pg_temp.ledger(7);
SELECT * FROM billing.audit();
