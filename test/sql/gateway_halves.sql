-- The two halves of a request, for who sends it himself: what is asked, answers, none, and a claim that nobody came back with.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SELECT code FROM billing.create_gateway('stripe', 'stripe', '{}', '{"api_key": "sk_test_0123456789abcdef", "webhook_secret": "whsec_0123456789abcdef"}');
SELECT tenant_id FROM billing.create_tenant(1, 'Tenant', 'USD');
CREATE FUNCTION pg_temp.requests() RETURNS TABLE (operation text, state text, attempts integer, status integer, error text, outcome text, wait interval) LANGUAGE sql AS
	'SELECT operation, state, attempts, status, error, outcome, date_trunc(''minute'', next_attempt_at - clock_timestamp() + interval ''5 s'') FROM billing.gateway_request ORDER BY gateway_request_id';
SELECT status FROM billing.create_payment(1, NULL, '20 USD', '1_one_', 'stripe', 'elements', purpose => 'top_up');
SELECT method, url, headers ->> 'Authorization' AS key, headers ? 'Idempotency-Key' AS has_key, body ~ 'amount=2000&' AS has_amount FROM billing.gateway_request('1_one_');
SELECT method FROM billing.gateway_request('1_one_');
SELECT status, client_secret IS NOT NULL AS has_secret, external_id FROM billing.gateway_response('1_one_', 200, '{"content-type": "application/json"}',
	'{"id":"pi_1","object":"payment_intent","amount":2000,"amount_received":0,"currency":"usd","status":"requires_payment_method","client_secret":"pi_1_secret","metadata":{"pay_no":"1_one_","begun_by":"elements"}}');
SELECT billing.gateway_response('1_one_', 200, '{}', '{}');
SELECT * FROM pg_temp.requests();

-- No answer: what became of it is asked, not the payment again.  A connection that was never made: again.
SELECT status FROM billing.create_payment(1, NULL, '30 USD', '1_two_', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_two_');
SELECT status FROM billing.gateway_response('1_two_', 0, NULL, 'reset: it broke off');
SELECT method FROM billing.gateway_request('1_two_');
SELECT operation, state, status, error, outcome FROM pg_temp.requests() OFFSET 3;

-- Claimed, and nobody came back: the claim ends, and the same holds.
SELECT status FROM billing.create_payment(1, NULL, '40 USD', '1_three', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_three');
UPDATE billing.gateway_request SET next_attempt_at = now() WHERE state = 'sending';
SELECT method FROM billing.gateway_request('1_three');
SELECT status FROM billing.find_payment(1, '1_three');
SELECT operation, state, status, error, outcome, wait FROM pg_temp.requests() OFFSET 5;

-- A lie: another amount than what was asked.
SELECT status FROM billing.create_payment(1, NULL, '50 USD', '1_four_', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_four_');
SELECT status, external_id FROM billing.gateway_response('1_four_', 200, '{}',
	'{"id":"pi_4","object":"payment_intent","amount":5001,"amount_received":5001,"currency":"usd","status":"succeeded","metadata":{"pay_no":"1_four_"}}');
SELECT billing.wallet_balance(1);

-- Called off while it waits for a person: closed there.
SELECT status FROM billing.cancel_payment(1, '1_one_');
SELECT method, url FROM billing.gateway_request('1_one_');
SELECT status FROM billing.gateway_response('1_one_', 500, '{}', '');
UPDATE billing.gateway_request SET attempts = 5, next_attempt_at = now() WHERE operation = 'close' AND state = 'waiting' AND tenant_id = 1 AND object_id = (SELECT payment_id FROM billing.payment WHERE pay_no = '1_one_');
SELECT method FROM billing.gateway_request('1_one_');
SELECT status FROM billing.gateway_response('1_one_', 500, '{}', '');
SELECT q.operation, q.state, q.attempts, q.status, q.outcome FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = '1_one_' ORDER BY q.gateway_request_id;

-- Called off while it is being sent: closed behind the answer, whatever that is, and not sent again; one that was paid meanwhile is money.
CREATE FUNCTION pg_temp.of(no text) RETURNS TABLE (operation text, state text, outcome text, is_due boolean) LANGUAGE sql AS
	'SELECT operation, q.state, outcome, next_attempt_at <= clock_timestamp() FROM billing.gateway_request q JOIN billing.payment p ON p.payment_id = q.object_id WHERE p.pay_no = no ORDER BY q.gateway_request_id';
SELECT count(billing.create_payment(1, NULL, '60 USD', '1_off_' || n, 'stripe', 'elements', purpose => 'top_up')) FROM generate_series(1, 3) n;
SELECT url FROM generate_series(1, 3) n, billing.gateway_request('1_off_' || n);
SELECT status FROM generate_series(1, 3) n, billing.cancel_payment(1, '1_off_' || n);
SELECT * FROM pg_temp.of('1_off_1');
SELECT status, payment_url FROM billing.gateway_response('1_off_1', 200, '{}',
	'{"id":"pi_61","object":"payment_intent","amount":6000,"amount_received":0,"currency":"usd","status":"requires_payment_method","client_secret":"pi_61_secret","metadata":{"pay_no":"1_off_1","begun_by":"elements"}}');
SELECT * FROM pg_temp.of('1_off_1');
SELECT method, url FROM billing.gateway_request('1_off_1');
SELECT status FROM billing.gateway_response('1_off_2', 503, '{}', '');
SELECT * FROM pg_temp.of('1_off_2');
SELECT status FROM billing.gateway_response('1_off_3', 200, '{}',
	'{"id":"pi_63","object":"payment_intent","amount":6000,"amount_received":6000,"currency":"usd","status":"succeeded","metadata":{"pay_no":"1_off_3","begun_by":"elements"}}');
SELECT * FROM pg_temp.of('1_off_3');
SELECT billing.wallet_balance(1);
SELECT * FROM billing.audit();

-- Success without an amount is none; nor is a refusal one that is not Stripe's.  A number that jsonb does not hold is kept as text.
SELECT status FROM billing.create_payment(1, NULL, '60 USD', '1_five_', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_five_');
SELECT status, external_id FROM billing.gateway_response('1_five_', 200, '{}', '{"id":"pi_5","object":"payment_intent","currency":"usd","status":"succeeded","metadata":{"pay_no":"1_five_"}}');
SELECT status FROM billing.create_payment(1, NULL, '70 USD', '1_six_x', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_six_x');
SELECT status FROM billing.gateway_response('1_six_x', 403, '{"content-type": "text/html"}', '<html>Forbidden</html>');
SELECT status FROM billing.create_payment(1, NULL, '80 USD', '1_seven', 'stripe', 'elements', purpose => 'top_up');
SELECT method FROM billing.gateway_request('1_seven');
SELECT status, gateway_response ->> 'odd' AS odd FROM billing.gateway_response('1_seven', 200, '{}',
	'{"id":"pi_7","object":"payment_intent","amount":8000,"amount_received":8000,"currency":"usd","status":"succeeded","odd":1e400000,"metadata":{"pay_no":"1_seven"}}');

-- One request at a time, as answers do not say to which they are; that to another refund is none to this one.
SELECT method FROM billing.gateway_request('1_seven');
SELECT status FROM billing.refund_payment(1, '1_seven', '5 USD', refund_no => '1_back');
SELECT method FROM billing.gateway_request('1_seven');
SELECT status, fee FROM billing.gateway_response('1_seven', 200, '{}', '{"id":"pi_7","object":"payment_intent","amount":8000,"amount_received":8000,"currency":"usd","status":"succeeded",
	"metadata":{"pay_no":"1_seven"},"latest_charge":{"id":"ch_7","balance_transaction":{"fee":259,"currency":"usd"}}}');
SELECT method, url FROM billing.gateway_request('1_seven');
SELECT status FROM billing.gateway_response('1_seven', 200, '{}', '{"id":"re_1","object":"refund","amount":500,"currency":"usd","status":"succeeded","metadata":{"pay_no":"1_seven","refund_no":"1_other"}}');
SELECT status, external_id FROM billing.refund;

-- Asked for and not found, long enough behind the request: it never arrived.
UPDATE billing.gateway_request SET claimed_at = claimed_at - interval '10 min', next_attempt_at = CASE WHEN operation = 'query' THEN now() END
	WHERE object_id = (SELECT payment_id FROM billing.payment WHERE pay_no = '1_six_x');
SELECT method, url FROM billing.gateway_request('1_six_x');
SELECT status, failure_code FROM billing.gateway_response('1_six_x', 200, '{}', '{"object":"search_result","data":[],"has_more":false}');
SELECT * FROM billing.audit();
