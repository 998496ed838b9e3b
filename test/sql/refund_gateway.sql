-- Promise: a refund of what came by a gateway is asked of it once, and what it tells of that - twice, late, in another order, or against what
-- a person decided - is told, booked and applied once.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-10T00:00:00Z';
-- A callback of the manual gateway, signed with a secret of 64 times a: HMAC-SHA256 by hand.
CREATE FUNCTION pg_temp.tell(gateway text, id text, body text) RETURNS text LANGUAGE sql AS $$
	SELECT r.status FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at) m,
		billing.receive_callback(gateway, jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.' || body, 'UTF8'))), 'hex')),
			convert_to(body, 'UTF8')) r;
	SELECT concat_ws(': ', e.outcome, e.reason) FROM billing.gateway_event e WHERE e.event_id = tell.id;
$$;
-- Of a payment, and of a refund at an instant.
CREATE FUNCTION pg_temp.paid(gateway text, tenant bigint, no text, amount text) RETURNS text LANGUAGE sql AS $$
	SELECT billing.create_payment(tenant, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = tenant AND status = 'open'), pay_no => no,
		gateway => paid.gateway, method => 'bank_transfer');
	SELECT pg_temp.tell(gateway, 'e' || no, format('{"id":"e%s","type":"payment.succeeded","pay_no":"%s","amount":"%s"}', no, no, amount));
$$;
CREATE FUNCTION pg_temp.told(id text, type text, no text, amount text, at timestamptz, more text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.tell('bank', id, format('{"id":"%s","type":"refund.%s","refund_no":"%s","amount":"%s","at":%s%s}', id, type, no, amount,
		extract(epoch FROM at)::bigint, more));
$$;
CREATE FUNCTION pg_temp.state(no text) RETURNS TABLE (status text, settled_at timestamptz, credit boolean, external_id text, failure text, payment text, version int) LANGUAGE sql AS $$
	SELECT r.status, r.settled_at, r.grant_id IS NOT NULL, r.external_id, concat_ws(': ', r.failure_code, r.failure_reason, r.failed_at::text), p.status, r.version
	FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id) WHERE r.refund_no = no $$;
CREATE FUNCTION pg_temp.ledger(tenant bigint) RETURNS TABLE (account text, balance billing.amount) LANGUAGE sql AS
	'SELECT account, balance FROM billing.trial_balance WHERE tenant_id = tenant AND billing.minor_units(balance) <> 0 ORDER BY account COLLATE "C"';
SELECT code FROM billing.create_gateway('quick', 'manual', '{"is_test": "true"}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT code FROM billing.create_gateway('bank', 'manual', '{}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT code FROM billing.create_gateway('stripe', 'stripe', '{}', '{"api_key": "sk_test_x", "webhook_secret": "whsec_x"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 21) t;
SELECT count(billing.create_invoice(t, 'a', '[{"description": "Work", "amount": "100"}]')) FROM generate_series(1, 21) t;
SELECT pg_temp.paid('quick', 1, '1_pay_a', '100.00 USD'), pg_temp.paid('bank', 2, '2_pay_a', '100.00 USD'), pg_temp.paid('bank', 3, '3_pay_a', '100.00 USD');

-- A gateway that needs no network answers at once, to a credit note, too.
SELECT status, gateway, cause FROM billing.refund_payment(1, '1_pay_a', '30 USD', 'damaged', '1_back_a');
SELECT refunded FROM billing.issue_credit_note(1, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1), destination => 'refund');
SELECT status, amount, gateway, billing.is_merchant_no(1, refund_no) AS is_merchant_no FROM billing.refund WHERE tenant_id = 1 ORDER BY refund_id;
SELECT status FROM billing.find_payment(1, '1_pay_a');
SELECT * FROM pg_temp.ledger(1);
SELECT operation, state, outcome, count(*) FROM billing.gateway_request WHERE tenant_id = 1 AND operation LIKE '%refund' GROUP BY 1, 2, 3;
SELECT status FROM billing.refund_payment(2, '2_pay_a', '30 USD', refund_no => 'mine');
SELECT status FROM billing.refund_payment(2, '2_pay_a', '30 USD', refund_no => '1_mine');
SELECT * FROM billing.audit();

-- It went: once, however often that is told, and older news change nothing.
SELECT status FROM billing.refund_payment(2, '2_pay_a', '60 USD', refund_no => '2_back_a');
SELECT pg_temp.told('a1', 'succeeded', '2_back_a', '59.00 USD', '2026-01-05Z');
SELECT pg_temp.told('a2', 'succeeded', '2_back_a', '60.00 USD', '2026-01-05Z', ',"reference":"re_1"');
SELECT pg_temp.told('a2', 'succeeded', '2_back_a', '60.00 USD', '2026-01-05Z', ',"reference":"re_1"');
SELECT pg_temp.told('a3', 'succeeded', '2_back_a', '60.00 USD', '2026-01-06Z', ',"reference":"re_1"');
SELECT pg_temp.told('a4', 'failed', '2_back_a', '60.00 USD', '2026-01-04Z', ',"reference":"re_1","code":"slow"');
SELECT * FROM pg_temp.state('2_back_a');
SELECT status FROM billing.refund_payment(2, '2_pay_a', refund_no => '2_back_b');
SELECT pg_temp.told('a5', 'succeeded', '2_back_b', '40.00 USD', '2026-01-07Z', ',"reference":"re_2"');
SELECT * FROM pg_temp.state('2_back_b');
-- The bank returns it: it is credit, and the payment is not all back any more.
SELECT pg_temp.told('a6', 'failed', '2_back_b', '40.00 USD', '2026-01-08Z', ',"reference":"re_2","code":"account_closed","message":"no such account"');
SELECT pg_temp.told('a7', 'failed', '2_back_b', '40.00 USD', '2026-01-09Z', ',"reference":"re_2","code":"account_closed"');
SELECT pg_temp.told('a8', 'succeeded', '2_back_b', '40.00 USD', '2026-01-07Z', ',"reference":"re_2"');
SELECT * FROM pg_temp.state('2_back_b');
SELECT billing.wallet_balance(2);
SELECT * FROM pg_temp.ledger(2);
SELECT * FROM billing.audit();

\set VERBOSITY terse
-- Refused: still owed, until it is asked for again, or given up for credit.
SELECT status FROM billing.refund_payment(3, '3_pay_a', '10 USD', refund_no => '3_back_a');
SELECT pg_temp.told('b1', 'failed', '3_back_a', '10.00 USD', '2026-01-05Z', ',"reference":"re_3","code":"insufficient_funds","message":"top up first"');
SELECT pg_temp.told('b2', 'failed', '3_back_a', '10.00 USD', '2026-01-05Z', ',"reference":"re_3","code":"insufficient_funds"');
SELECT * FROM pg_temp.state('3_back_a');
SELECT status, failure_code FROM billing.retry_refund(3, '3_back_a');
SELECT status, failure_code FROM billing.retry_refund(3, '3_back_a');
SELECT operation, state, count(*) FROM billing.gateway_request WHERE tenant_id = 3 AND operation LIKE '%refund' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT pg_temp.told('b3', 'succeeded', '3_back_a', '10.00 USD', '2026-01-06Z', ',"reference":"re_4"');
SELECT pg_temp.told('b4', 'failed', '3_back_a', '10.00 USD', '2026-01-07Z', ',"reference":"re_3","code":"insufficient_funds"');
SELECT * FROM pg_temp.state('3_back_a');
SELECT status FROM billing.retry_refund(3, '3_back_a');
-- Given up, and it goes all the same: the credit is taken back as far as it is left, what was used of it is lost.
SELECT status FROM billing.refund_payment(3, '3_pay_a', '50 USD', refund_no => '3_back_b');
SELECT pg_temp.told('b5', 'failed', '3_back_b', '50.00 USD', '2026-01-05Z', ',"code":"declined"');
SELECT status FROM billing.cancel_refund(3, '3_back_b', 'as credit, then');
SELECT billing.consume(3, '20 USD', 'calls', 'c1');
SELECT pg_temp.told('b6', 'failed', '3_back_b', '50.00 USD', '2026-01-09Z', ',"code":"declined"');
SELECT pg_temp.told('b7', 'succeeded', '3_back_b', '50.00 USD', '2026-01-09Z');
SELECT pg_temp.told('b7', 'succeeded', '3_back_b', '50.00 USD', '2026-01-09Z');
SELECT * FROM pg_temp.state('3_back_b');
SELECT billing.wallet_balance(3);
SELECT * FROM pg_temp.ledger(3);
SELECT * FROM billing.audit();
SELECT status FROM billing.refund_payment(3, '3_pay_a', '5 USD', refund_no => '3_back_c');
SELECT status FROM billing.record_refund(3, '3_back_c', reference => 'by hand');
SELECT status FROM billing.record_refund(3, '3_back_c', reference => 'by hand');

-- While a gateway may be making it nobody else says what becomes of it, nor is it asked for twice.
SELECT status FROM billing.create_payment(4, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 4), pay_no => '4_pay_a', gateway => 'stripe', method => 'card',
	return_url => 'https://example.com/');
SELECT method, url FROM billing.gateway_request('4_pay_a');
SELECT status FROM billing.gateway_response('4_pay_a', 200, '{}', '{"id":"cs_1","object":"checkout.session","status":"complete","payment_status":"paid","payment_intent":"pi_1","client_reference_id":"4_pay_a","amount_total":10000,"currency":"usd"}');
SELECT method, url FROM billing.gateway_request('4_pay_a');
SELECT status, fee FROM billing.gateway_response('4_pay_a', 200, '{}', '{"id":"pi_1","object":"payment_intent","status":"succeeded","amount":10000,"amount_received":10000,"currency":"usd","latest_charge":{"id":"ch_1","balance_transaction":{"fee":320,"currency":"usd"}}}');
SELECT status FROM billing.refund_payment(4, '4_pay_a', '40 USD', 'damaged', '4_back_a');
SELECT method, url, body FROM billing.gateway_request('4_pay_a');
SELECT status FROM billing.cancel_refund(4, '4_back_a');
SELECT status FROM billing.record_refund(4, '4_back_a');
SELECT status FROM billing.gateway_response('4_pay_a', 200, '{}', '{"id":"re_1","object":"refund","status":"pending","amount":4000,"currency":"usd","metadata":{"refund_no":"4_back_a"}}');
SELECT * FROM pg_temp.state('4_back_a');
SELECT status FROM billing.fail_refund(4, '4_back_a');
SELECT status FROM billing.retry_refund(4, '4_back_a');
SELECT method, url FROM billing.gateway_request('4_pay_a');
SELECT status FROM billing.gateway_response('4_pay_a', 200, '{}', '{"id":"re_1","object":"refund","status":"pending","amount":4000,"currency":"usd","metadata":{"refund_no":"4_back_a"}}');
SELECT operation, state, count(*) FROM billing.gateway_request WHERE tenant_id = 4 AND operation LIKE '%refund' GROUP BY 1, 2 ORDER BY 1, 2;
-- One that was never sent is called off.
SELECT status FROM billing.refund_payment(4, '4_pay_a', '10 USD', refund_no => '4_back_b');
SELECT status FROM billing.cancel_refund(4, '4_back_b', 'as credit, then');
SELECT operation, state, count(*) FROM billing.gateway_request WHERE tenant_id = 4 AND operation LIKE '%refund' GROUP BY 1, 2 ORDER BY 1, 2;
-- To the wallet no gateway is asked, and what it was is not asked for again.
SELECT status, gateway FROM billing.refund_payment(4, '4_pay_a', '20 USD', refund_no => 'credit 1', destination => 'wallet');
SELECT status FROM billing.retry_refund(4, 'credit 1');
-- Nobody answers for it: what became of it is asked, not the refund again, and a person may say it.
SELECT status FROM billing.refund_payment(4, '4_pay_a', '5 USD', refund_no => '4_back_c');
SELECT method FROM billing.gateway_request('4_pay_a');
SELECT status FROM billing.gateway_response('4_pay_a', 0, NULL, 'timed out');
SELECT * FROM pg_temp.state('4_back_c');
SELECT status FROM billing.retry_refund(4, '4_back_c');
SELECT q.operation, q.state, q.next_attempt_at <= clock_timestamp() AS is_due FROM billing.gateway_request q, billing.refund r
WHERE r.refund_no = '4_back_c' AND q.object_id = r.refund_id AND q.next_attempt_at IS NOT NULL;
UPDATE billing.gateway_request SET state = 'failed', next_attempt_at = NULL WHERE tenant_id = 4 AND operation = 'query_refund' AND state = 'waiting';
SELECT status FROM billing.retry_refund(4, '4_back_c');
SELECT operation, state, count(*) FROM billing.gateway_request WHERE tenant_id = 4 AND operation LIKE '%refund' GROUP BY 1, 2 ORDER BY 1, 2;
UPDATE billing.gateway_request SET state = 'failed', next_attempt_at = NULL WHERE tenant_id = 4 AND operation = 'query_refund' AND state = 'waiting';
SELECT status FROM billing.record_refund(4, '4_back_c');
SELECT * FROM pg_temp.ledger(4);
SELECT * FROM billing.audit();

-- One that a person made in the gateway's own console is not applied, and not asked for where that is said.
BEGIN;
SELECT status FROM billing.refund_payment(4, '4_pay_a', '15 USD', refund_no => '4_back_d');
SELECT status, reference FROM billing.record_refund(4, '4_back_d', '2026-01-05 10:00Z', 're_3Px');
COMMIT;
SELECT q.state, q.attempts FROM billing.gateway_request q JOIN billing.refund r ON r.tenant_id = q.tenant_id AND r.refund_id = q.object_id WHERE r.refund_no = '4_back_d';
SELECT * FROM billing.audit(4);

-- What became credit is taken back where the bank takes back the payment, and is not owed of the invoice.
SELECT pg_temp.paid('bank', 5, '5_pay_a', '100.00 USD');
SELECT status FROM billing.refund_payment(5, '5_pay_a', '20 USD', refund_no => 'credit 2', destination => 'wallet');
SELECT status FROM billing.refund_payment(5, '5_pay_a', '30 USD', refund_no => '5_back_a', reopen => true);
SELECT status FROM billing.refund_payment(5, '5_pay_a', '10 USD', refund_no => '5_back_b');
SELECT status FROM billing.cancel_refund(5, '5_back_a');
SELECT billing.wallet_balance(5);
SELECT pg_temp.tell('bank', 'r5', '{"id":"r5","type":"payment.reversed","pay_no":"5_pay_a","amount":"90.00 USD"}');
SELECT status, reversed FROM billing.find_payment(5, '5_pay_a');
SELECT status, total, paid, amount_due FROM billing.invoice WHERE tenant_id = 5;
SELECT billing.wallet_balance(5);
SELECT * FROM pg_temp.ledger(5);
SELECT status FROM billing.refund_payment(5, '5_pay_a', '1 USD', refund_no => '5_back_c');
SELECT * FROM billing.audit();

-- It went although the bank had taken it, too: it is lost, and no debt of the invoice, which may be void; returned after all, it is lost no longer
-- and nobody's credit.
SELECT pg_temp.paid('bank', 6, '6_pay_a', '100.00 USD');
SELECT status FROM billing.refund_payment(6, '6_pay_a', '60 USD', refund_no => '6_back_a', reopen => true);
SELECT pg_temp.tell('bank', 'r6', '{"id":"r6","type":"payment.reversed","pay_no":"6_pay_a"}');
SELECT status FROM billing.void_invoice(6, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 6));
SELECT pg_temp.told('c1', 'succeeded', '6_back_a', '60.00 USD', '2026-01-07Z');
SELECT * FROM pg_temp.state('6_back_a');
SELECT * FROM pg_temp.ledger(6);
SELECT * FROM billing.audit();
SELECT pg_temp.told('c2', 'failed', '6_back_a', '60.00 USD', '2026-01-08Z', ',"code":"account_closed"');
SELECT * FROM pg_temp.state('6_back_a');
SELECT billing.wallet_balance(6);
SELECT * FROM pg_temp.ledger(6);
SELECT * FROM billing.audit();
-- In the other order, too: what was lost by it stays so behind the void invoice.
SELECT pg_temp.paid('bank', 7, '7_pay_a', '100.00 USD');
SELECT status FROM billing.refund_payment(7, '7_pay_a', '60 USD', refund_no => '7_back_a', reopen => true);
SELECT pg_temp.tell('bank', 'r7', '{"id":"r7","type":"payment.reversed","pay_no":"7_pay_a"}');
SELECT pg_temp.told('d1', 'succeeded', '7_back_a', '60.00 USD', '2026-01-07Z');
SELECT status FROM billing.void_invoice(7, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 7));
SELECT * FROM pg_temp.ledger(7);
SELECT * FROM billing.audit();

-- A dispute holds what is on its way back, too.  Lost, it takes that, so that nobody gets it again as credit; what went meanwhile is lost.
SELECT pg_temp.paid('bank', t, t || '_pay_a', '100.00 USD') FROM generate_series(8, 9) t;
SELECT r.tenant_id, r.status FROM generate_series(8, 9) t CROSS JOIN billing.refund_payment(t, t || '_pay_a', '60 USD', refund_no => t || '_back_a') r;
SELECT pg_temp.told('f1', 'failed', '8_back_a', '60.00 USD', '2026-01-07Z', ',"code":"insufficient_funds"');
SELECT pg_temp.tell('bank', 'f2' || t, format('{"id":"f2%s","type":"dispute.opened","pay_no":"%s_pay_a","amount":"100.00 USD","reference":"dp_%s"}', t, t, t)) FROM generate_series(8, 9) t;
SELECT tenant_id, amount, billing.refundable_amount(p) FROM billing.dispute d JOIN billing.payment p USING (tenant_id, payment_id, amount);
SELECT pg_temp.told('f3', 'succeeded', '9_back_a', '60.00 USD', '2026-01-08Z');
SELECT * FROM billing.audit();
SELECT pg_temp.tell('bank', 'f4' || t, format('{"id":"f4%s","type":"dispute.lost","pay_no":"%s_pay_a","amount":"100.00 USD","reference":"dp_%s"}', t, t, t)) FROM generate_series(8, 9) t;
SELECT r.tenant_id, r.status, p.status, p.reversed, i.amount_due, billing.wallet_balance(r.tenant_id) FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id)
	JOIN billing.invoice i ON i.tenant_id = r.tenant_id AND i.invoice_id = r.invoice_id WHERE r.tenant_id > 7 ORDER BY 1;
SELECT t, l.* FROM generate_series(8, 9) t CROSS JOIN pg_temp.ledger(t) l;
SELECT * FROM billing.audit();

-- Of a payment that the bank took a part of the rest goes back, to the unit.
SELECT pg_temp.paid('bank', 10, '10_pay_a', '100.00 USD');
SELECT pg_temp.tell('bank', 'g1', '{"id":"g1","type":"payment.reversed","pay_no":"10_pay_a","amount":"30.00 USD"}');
SELECT billing.refundable_amount(p) FROM billing.payment p WHERE pay_no = '10_pay_a';
SELECT status FROM billing.refund_payment(10, '10_pay_a', '70.01 USD', refund_no => '10_back_a');
SELECT status, amount FROM billing.refund_payment(10, '10_pay_a', '20 USD', refund_no => '10_back_a');
SELECT refunded, granted FROM billing.issue_credit_note(10, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 10), destination => 'refund');
SELECT refund_no = '10_back_a' AS mine, amount, (billing.record_refund(10, refund_no)).status FROM billing.refund WHERE tenant_id = 10 ORDER BY refund_id;
SELECT status FROM billing.refund_payment(10, '10_pay_a', refund_no => '10_back_b');
SELECT status, reversed FROM billing.find_payment(10, '10_pay_a');
SELECT status, paid, credited, amount_due FROM billing.invoice WHERE tenant_id = 10;
SELECT * FROM pg_temp.ledger(10);
SELECT * FROM billing.audit();

-- What had gone back is disputed all the same: held a second time, as far as the gateway says so, and if it is lost, it is lost twice.
SELECT pg_temp.paid('bank', t, t || '_pay_a', '100.00 USD') FROM generate_series(11, 15) t;
SELECT r.tenant_id, (billing.record_refund(t, r.refund_no)).status FROM (VALUES (11, '100 USD'), (12, '100 USD'), (13, '30 USD'), (14, '30 USD'), (15, '100 USD')) w (t, amount)
	CROSS JOIN billing.refund_payment(t, t || '_pay_a', amount::billing.amount, refund_no => t || '_back_a') r;
CREATE FUNCTION pg_temp.disputed(id text, tenant bigint, type text, amount text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.tell('bank', id || tenant, format('{"id":"%s%s","type":"%s","pay_no":"%s_pay_a"%s%s}', id, tenant, type, tenant, ',"amount":"' || amount || '"',
		CASE WHEN type LIKE 'dispute.%' THEN format(',"reference":"dp_%s"', tenant) END)) $$;
CREATE TEMP VIEW disputed AS SELECT d.tenant_id, d.status, d.amount, d.refunded, p.status AS payment, p.reversed, billing.refundable_amount(p) AS refundable, i.status AS invoice, i.amount_due
	FROM billing.dispute d JOIN billing.payment p USING (tenant_id, payment_id) JOIN billing.invoice i USING (tenant_id, invoice_id) WHERE d.tenant_id > 10 ORDER BY d.tenant_id;
SELECT pg_temp.disputed('h1', t, 'dispute.opened', '100.00 USD') FROM generate_series(11, 14) t;
SELECT pg_temp.disputed('h1', 15, 'dispute.opened', NULL);
SELECT * FROM disputed;
SELECT t, l.* FROM generate_series(11, 15) t CROSS JOIN pg_temp.ledger(t) l;
SELECT * FROM billing.audit();
SELECT pg_temp.disputed('h2', 11, 'dispute.won', '100.00 USD'), pg_temp.disputed('h2', 12, 'dispute.lost', '100.00 USD'), pg_temp.disputed('h2', 13, 'dispute.lost', '100.00 USD'),
	pg_temp.disputed('h2', 14, 'dispute.lost', '80.00 USD');
SELECT * FROM disputed;
SELECT t, l.* FROM generate_series(11, 15) t CROSS JOIN pg_temp.ledger(t) l;
SELECT * FROM billing.audit();
-- Told again, and as a reversal, it is the same money.
SELECT pg_temp.disputed('h3', t, 'payment.reversed', '80.00 USD'), pg_temp.disputed('h4', t, 'dispute.lost', '100.00 USD') FROM generate_series(12, 14) t;
SELECT * FROM disputed;
SELECT payload->'data'->'object'->>'refunded' AS refunded, type FROM billing.event WHERE type LIKE 'dispute.%' AND tenant_id = 13 ORDER BY event_id;
SELECT * FROM billing.audit();

-- A refund that its bank returns, before, while or after its money is disputed and lost: whatever was told first, the payer has nothing of it, and nobody has lost it.
SELECT pg_temp.paid('bank', t, t || '_pay_a', '100.00 USD') FROM generate_series(16, 20) t;
SELECT r.tenant_id, (billing.record_refund(t, r.refund_no, '2026-01-05Z')).status FROM (VALUES (16, '100 USD'), (17, '100 USD'), (18, '100 USD'), (19, '30 USD'), (20, '60 USD')) w (t, amount)
	CROSS JOIN billing.refund_payment(t, t || '_pay_a', amount::billing.amount, refund_no => t || '_back_a') r;
CREATE FUNCTION pg_temp.returned(t bigint, amount text) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.told('i' || t, 'failed', t || '_back_a', amount, '2026-01-06Z', ',"code":"account_closed"') $$;
CREATE FUNCTION pg_temp.mine() RETURNS TABLE (tenant_id bigint, payment text, reversed billing.amount, lost billing.amount, refund text, wallet billing.amount, disputed text, ledger text) LANGUAGE sql AS $$
	SELECT p.tenant_id, p.status, p.reversed, p.lost, r.status, billing.wallet_balance(p.tenant_id), (SELECT concat_ws(' ', d.status, d.amount, 'refunded', d.refunded) FROM billing.dispute d WHERE d.tenant_id = p.tenant_id),
		(SELECT string_agg(l.account || ' ' || l.balance, ', ') FROM pg_temp.ledger(p.tenant_id) l)
	FROM billing.payment p JOIN billing.refund r USING (tenant_id, payment_id) WHERE p.tenant_id > 15 ORDER BY 1 $$;
SELECT pg_temp.returned(16, '100.00 USD'), pg_temp.disputed('j1', 16, 'dispute.opened', '100.00 USD'), pg_temp.disputed('j2', 16, 'dispute.lost', '100.00 USD');
SELECT pg_temp.disputed('j1', 17, 'dispute.opened', '100.00 USD'), pg_temp.returned(17, '100.00 USD'), pg_temp.disputed('j2', 17, 'dispute.lost', '100.00 USD');
SELECT pg_temp.disputed('j1', 18, 'dispute.opened', '100.00 USD'), pg_temp.disputed('j2', 18, 'dispute.lost', '100.00 USD');
-- Taken back without a dispute, all the same.
SELECT pg_temp.disputed('j' || k, t, 'payment.reversed', '100.00 USD') FROM generate_series(19, 20) t, generate_series(1, 2) k;
SELECT * FROM pg_temp.mine();
SELECT * FROM billing.audit();
SELECT pg_temp.returned(18, '100.00 USD'), pg_temp.returned(19, '30.00 USD');
SELECT * FROM pg_temp.mine();
SELECT * FROM billing.audit();

-- More is lost than was held, since that was not stated.
SELECT pg_temp.paid('bank', 21, '21_pay_a', '100.00 USD');
SELECT (billing.record_refund(21, refund_no, '2026-01-05Z')).status FROM billing.refund_payment(21, '21_pay_a', '30 USD', refund_no => '21_back_a');
SELECT pg_temp.disputed('k1', 21, 'dispute.opened', NULL), pg_temp.disputed('k2', 21, 'dispute.lost', '100.00 USD');
SELECT * FROM pg_temp.mine() WHERE tenant_id = 21;
SELECT * FROM billing.audit();

-- Told in order, each once.
SELECT tenant_id, type, substring(payload->'data'->'object'->>'refund_no' FROM '^._back.*') AS refund_no,
	payload->'data'->'object'->>'failure_code' AS failure_code FROM billing.event WHERE type LIKE 'refund%' OR type = 'payment.refunded' ORDER BY event_id;
