-- The manual gateway tells who pays where to, and believes what an import reports only if it is signed with the secret, fresh, and whole.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
-- Signed with a secret of 64 times a, of which the two pads are these: HMAC-SHA256 by hand.
CREATE FUNCTION pg_temp.sign(body text, stamp text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('billing-timestamp', stamp, 'BILLING-SIGNATURE',
		encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(stamp || '.' || body, 'UTF8'))), 'hex'));
$$;
CREATE FUNCTION pg_temp.verify(body text, stamp text DEFAULT '1767225600', gateway text DEFAULT 'bank',
	OUT is_valid boolean, OUT problem text, OUT subject text, OUT pay_no text, OUT outcome text)
LANGUAGE sql AS $$
	SELECT v.is_valid, v.problem, v.subject, v.pay_no, v.outcome
	FROM billing.verify_callback(gateway, pg_temp.sign(body, stamp), convert_to(body, 'UTF8'), to_timestamp(1767225600)) v;
$$;
SELECT billing.create_gateway('bank', 'manual', '{"is_test": "yes"}');
SELECT billing.create_gateway('bank', 'manual', '{}', '{"callback_secret": "too short"}');
SELECT code FROM billing.create_gateway('bank', 'manual', '{"instructions": "State the reference.", "bank_account": "DE02 1203"}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT code FROM billing.create_gateway('deaf', 'manual');
SELECT code FROM billing.create_gateway('play', 'manual', '{"is_test": "true"}');

-- What is told of.
SELECT * FROM pg_temp.verify('{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": "49.00 USD", "at": 1767225000, "fee": "0.20 EUR"}');
SELECT * FROM pg_temp.verify('{"id": "1", "type": "payment.failed", "pay_no": "1_order1", "code": "no_funds"}');
SELECT * FROM pg_temp.verify('{"id": "1", "type": "payment.reversed", "pay_no": "1_order1"}');
SELECT * FROM pg_temp.verify('{"id": "1", "type": "refund.succeeded", "refund_no": "1_refund1", "amount": "10 USD"}');
SELECT * FROM pg_temp.verify('{"id": "1", "type": "refund.failed", "refund_no": "1_refund1"}');
SELECT * FROM pg_temp.verify('{"id": "1", "type": "balance", "amount": "1000 USD"}');

-- Five minutes old or ahead, and no more.
SELECT stamp, v.is_valid, v.problem FROM unnest('{1767225300,1767225900,1767225299,1767225901,"",x,1767225600x,99999999999999999999}'::text[]) AS stamp,
	pg_temp.verify('{"id": "1", "type": "balance"}', stamp) v;

-- What is not signed, or with another secret, or was changed.
SELECT v.is_valid, v.problem FROM billing.verify_callback('bank', '{}', 'x') v;
SELECT v.is_valid, v.problem FROM billing.verify_callback('bank', '{"Billing-Timestamp": "1767225600"}', 'x') v;
SELECT v.is_valid, v.problem FROM billing.verify_callback('bank', pg_temp.sign('{"id": "1"}', '1767225600'), '{"id": "2"}', to_timestamp(1767225600)) v;
SELECT v.is_valid, v.problem FROM billing.verify_callback('bank', pg_temp.sign('{"id": "1", "type": "x"}', '1767225600') || '{"billing-timestamp": "1767225601"}', '{"id": "1", "type": "x"}', to_timestamp(1767225600)) v;
SELECT v.is_valid, v.problem FROM pg_temp.verify('{"id": "1", "type": "balance"}', gateway => 'deaf') v;

-- What is signed and says nothing, or not enough.
SELECT body, v.problem FROM unnest(ARRAY['', 'x', '[]', '{}', '{"id": 1}', '{"id": "", "type": "payment.succeeded"}', '{"id": "1", "type": "payment.succeeded"}',
	'{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1"}', '{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": "49"}',
	'{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": "-49 USD"}', '{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": "49.001 USD"}',
	'{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": {"value": 49}}', '{"id": "1", "type": "payment.succeeded", "pay_no": "1_order1", "amount": "49 USD", "fee": "x"}',
	'{"id": "1", "type": "refund.succeeded", "pay_no": "1_order1", "amount": "49 USD"}']) AS body, pg_temp.verify(body) v;

-- Who pays is told where to.
SELECT billing.create_tenant(1, 'One', 'USD') IS NOT NULL AS created;
SELECT status, payment_url, gateway_response FROM billing.create_payment(1, NULL, '49 USD', '1_transfer', 'bank', 'bank_transfer', purpose => 'top_up');
SELECT status FROM billing.create_payment(1, NULL, '49 USD', '1_card', 'bank', 'card', purpose => 'top_up');

-- Where it is played, tokens say what becomes of it.
SELECT t AS token, m.status, m.failure_code FROM unnest('{tok_ok,tok_declined_card_expired,tok_unknown,tok_processing,tok_requires_action,tok_retry}'::text[]) AS t,
	billing.add_payment_method(1, 'play', 'card', t) m;
SELECT m.status FROM billing.add_payment_method(1, 'play', 'card', 'tok_none') m;
SELECT m.status FROM billing.add_payment_method(1, 'play', 'card', 'tok_declined_') m;
SELECT m.status FROM billing.add_payment_method(1, 'bank', 'card', 'tok_ok') m;
SELECT p.status, p.failure_code, p.failure_reason FROM billing.payment_method m,
	billing.create_payment(1, NULL, '5 USD', purpose => 'top_up', payment_method_id => m.payment_method_id) p
WHERE m.status = 'active' AND m.gateway = 'play' ORDER BY m.payment_method_id;
SELECT billing.wallet_balance(1);
