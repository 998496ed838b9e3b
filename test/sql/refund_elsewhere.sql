-- Promise: a refund that somebody makes in the gateway's own console is booked once, as if he had made it here; what the books do not
-- allow is told, and changes nothing.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-10T00:00:00Z';
-- HMAC-SHA256 by hand, and callbacks signed with it.
CREATE FUNCTION pg_temp.pad(key text, with_byte integer) RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex(CASE WHEN n < length(key) THEN ascii(substr(key, n + 1, 1)) ELSE 0 END # with_byte), 2, '0'), '' ORDER BY n), 'hex')
	FROM generate_series(0, 63) n $$;
CREATE FUNCTION pg_temp.sign(key text, message text) RETURNS text LANGUAGE sql AS $$
	SELECT encode(sha256(pg_temp.pad(key, 92) || sha256(pg_temp.pad(key, 54) || convert_to(message, 'UTF8'))), 'hex') $$;
CREATE FUNCTION pg_temp.tell(id text, type text, pay_no text, amount text, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at,
			format('{"id":"%s","type":"%s","pay_no":"%s","amount":"%s"%s}', id, type, pay_no, amount, more) AS body) m,
		billing.receive_callback('bank', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature', pg_temp.sign(repeat('a', 64), m.at || '.' || m.body)),
			convert_to(m.body, 'UTF8')) r;
	SELECT concat_ws(': ', e.outcome, e.reason) FROM billing.gateway_event e WHERE e.event_id = tell.id $$;
CREATE FUNCTION pg_temp.stripe(id text, type text, object text) RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at,
			format('{"id":"%s","object":"event","type":"%s","created":1767225600,"data":{"object":%s}}', id, type, object) AS body) m,
		billing.receive_callback('stripe', jsonb_build_object('Stripe-Signature', format('t=%s,v1=%s', m.at, pg_temp.sign('whsec_x', m.at || '.' || m.body))),
			convert_to(m.body, 'UTF8')) r;
	SELECT concat_ws(': ', e.outcome, e.reason) FROM billing.gateway_event e WHERE e.event_id = stripe.id $$;
CREATE FUNCTION pg_temp.ledger(tenant bigint) RETURNS TABLE (account text, balance billing.amount) LANGUAGE sql AS
	'SELECT account, balance FROM billing.trial_balance WHERE tenant_id = tenant AND billing.minor_units(balance) <> 0 ORDER BY account COLLATE "C"';
CREATE FUNCTION pg_temp.refunds(tenant bigint) RETURNS TABLE (external_id text, status text, amount billing.amount, cause text, reason text, gateway text, total billing.amount) LANGUAGE sql AS
	'SELECT r.external_id, r.status, r.amount, r.cause, r.reason, r.gateway, n.total FROM billing.refund r LEFT JOIN billing.credit_note n USING (tenant_id, credit_note_id)
	WHERE r.tenant_id = tenant ORDER BY r.refund_id';
SELECT code FROM billing.create_gateway('bank', 'manual', '{}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT code FROM billing.create_gateway('stripe', 'stripe', '{}', '{"api_key": "sk_test_x", "webhook_secret": "whsec_x"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 4) t;

-- Of an invoice: a part, told twice and by two events, then the rest; nobody is asked for it.
SELECT invoice_id AS one FROM billing.create_invoice(1, 'one', '[{"description": "Work", "amount": "100.00 USD"}]') \gset
SELECT status FROM billing.create_payment(1, :one, pay_no => '1_pay_a', gateway => 'bank', method => 'bank_transfer');
SELECT pg_temp.tell('a1', 'refund.succeeded', '1_pay_a', '30.00 USD', ',"reference":"re_1"');
SELECT status FROM billing.find_payment(1, '1_pay_a');
SELECT pg_temp.tell('a2', 'payment.succeeded', '1_pay_a', '100.00 USD');
SELECT pg_temp.tell('a1', 'refund.succeeded', '1_pay_a', '30.00 USD', ',"reference":"re_1"');
SELECT pg_temp.tell('a3', 'refund.succeeded', '1_pay_a', '30.00 USD', ',"reference":"re_1"');
SELECT * FROM pg_temp.refunds(1);
SELECT status, paid, credited FROM billing.invoice WHERE invoice_id = :one;
SELECT * FROM pg_temp.ledger(1);
SELECT pg_temp.tell('a4', 'refund.succeeded', '1_pay_a', '70.01 USD', ',"reference":"re_2"');
SELECT pg_temp.tell('a5', 'refund.succeeded', '1_pay_a', '70.00 EUR', ',"reference":"re_2"');
SELECT pg_temp.tell('a6', 'refund.succeeded', '1_pay_a', '70.00 USD', ',"reference":"re_2"');
SELECT * FROM pg_temp.refunds(1);
SELECT status FROM billing.find_payment(1, '1_pay_a');
SELECT pg_temp.tell('a7', 'refund.succeeded', '1_pay_a', '1.00 USD', ',"reference":"re_3"');
-- The bank returns one of them.
SELECT pg_temp.tell('a8', 'refund.failed', '1_pay_a', '70.00 USD', format(',"reference":"re_2","at":%s', extract(epoch FROM timestamptz '2026-01-11')::bigint));
SET billing.test_clock TO '2026-01-12T00:00:00Z';
SELECT pg_temp.tell('a9', 'refund.failed', '1_pay_a', '70.00 USD', format(',"reference":"re_2","at":%s', extract(epoch FROM timestamptz '2026-01-11')::bigint));
SELECT status, amount, grant_id IS NOT NULL AS is_credit FROM billing.refund WHERE external_id = 're_2';
SELECT billing.wallet_balance(1);
SELECT * FROM pg_temp.ledger(1);
SELECT operation, state, count(*) FROM billing.gateway_request WHERE tenant_id = 1 AND operation LIKE '%refund' GROUP BY 1, 2;
SELECT * FROM billing.audit();

-- Of credit that was bought, as far as it is left.
SELECT status FROM billing.create_payment(2, NULL, '20 USD', pay_no => '2_top_a', gateway => 'bank', method => 'bank_transfer', purpose => 'top_up');
SELECT pg_temp.tell('b1', 'payment.succeeded', '2_top_a', '20.00 USD');
SELECT billing.consume(2, '5 USD', 'calls', 'c1');
SELECT pg_temp.tell('b2', 'refund.succeeded', '2_top_a', '16.00 USD', ',"reference":"re_4"');
SELECT pg_temp.tell('b3', 'refund.succeeded', '2_top_a', '15.00 USD', ',"reference":"re_4"');
SELECT billing.wallet_balance(2);
SELECT * FROM pg_temp.refunds(2);
SELECT * FROM pg_temp.ledger(2);
SELECT * FROM billing.audit();

-- Stripe tells it by the PaymentIntent; while it goes on nothing is booked.
SELECT invoice_id AS three FROM billing.create_invoice(3, 'three', '[{"description": "Work", "amount": "100.00 USD"}]') \gset
SELECT status FROM billing.create_payment(3, :three, pay_no => '3_pay_a', gateway => 'stripe', method => 'elements');
SELECT method FROM billing.gateway_request('3_pay_a');
SELECT status FROM billing.gateway_response('3_pay_a', 200, '{}', '{"id":"pi_3","object":"payment_intent","amount":10000,"amount_received":10000,"currency":"usd","status":"succeeded","metadata":{"pay_no":"3_pay_a","begun_by":"elements"}}');
SELECT pg_temp.stripe('evt_1', 'refund.created', '{"id":"re_5","object":"refund","amount":2500,"currency":"usd","status":"pending","payment_intent":"pi_3","charge":"ch_3","metadata":{}}');
SELECT pg_temp.stripe('evt_2', 'refund.updated', '{"id":"re_5","object":"refund","amount":2500,"currency":"usd","status":"succeeded","payment_intent":"pi_3","charge":"ch_3","metadata":{}}');
SELECT pg_temp.stripe('evt_3', 'charge.refunded', '{"id":"ch_3","object":"charge","amount":10000,"currency":"usd","payment_intent":"pi_3","metadata":{},"refunds":{"data":[{"id":"re_5","object":"refund","amount":2500,"currency":"usd","status":"succeeded","payment_intent":"pi_3","charge":"ch_3","metadata":{}}]}}');
SELECT pg_temp.stripe('evt_4', 'refund.updated', '{"id":"re_6","object":"refund","amount":2500,"currency":"usd","status":"succeeded","payment_intent":"pi_none","charge":"ch_3","metadata":{}}');
SELECT * FROM pg_temp.refunds(3);
SELECT * FROM pg_temp.ledger(3);

-- What a person has recorded already is known by its reference, which is the gateway's id.
BEGIN;
SELECT status FROM billing.refund_payment(3, '3_pay_a', '5 USD', refund_no => '3_console');
SELECT status FROM billing.record_refund(3, '3_console', reference => 're_8');
COMMIT;
SELECT operation, state FROM billing.gateway_request WHERE tenant_id = 3 AND operation LIKE '%refund';
SELECT pg_temp.stripe('evt_8', 'refund.updated', '{"id":"re_8","object":"refund","amount":500,"currency":"usd","status":"succeeded","payment_intent":"pi_3","charge":"ch_3","metadata":{}}');
SELECT * FROM pg_temp.refunds(3);

-- Of an invoice of which a credit note took all back already it is money beyond that.
SELECT credited, refunded FROM billing.issue_credit_note(3, :three);
SELECT pg_temp.stripe('evt_5', 'refund.updated', '{"id":"re_7","object":"refund","amount":100,"currency":"usd","status":"succeeded","payment_intent":"pi_3","charge":"ch_3","metadata":{}}');
SELECT * FROM pg_temp.refunds(3);
SELECT outcome, count(*) FROM billing.gateway_event GROUP BY outcome ORDER BY outcome;
SELECT * FROM billing.audit();
