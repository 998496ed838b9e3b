-- Promise: the number of a card, and the code beside it, is stored nowhere, whatever column of words or JSON it is offered to; what is
-- none passes; and no message repeats it.
\pset format unaligned
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE code text; message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	IF concat(message, detail, hint) ~ '4242|123' THEN
		RETURN 'repeated: ' || concat_ws(' | ', code, message, detail, hint);
	END IF;
	RETURN concat_ws(' | ', code, message, detail);
END $$;

SELECT billing.has_no_card('4242424242424242');
SELECT billing.has_no_card('{"note": {"deep": ["x", {"cvc": "123"}]}}'::jsonb);
SELECT billing.has_no_card(NULL::text), billing.has_no_card(''), billing.has_no_card('{}'::jsonb), billing.has_no_card('null'::jsonb);

-- Test numbers that the brands' gateways publish, whole, in groups, within a sentence.
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L)', t)) AS result, count(*), string_agg(t, ', ' ORDER BY n)
FROM unnest(ARRAY['4242424242424242', '4000056655665556', '4222222222222', '5555555555554444', '2223003122003222', '378282246310005', '6011111111111117',
	'3056930009020004', '36227206271667', '6555900000604105', '3566002020360505', '6205500000000000004', '6200000000000005', '2200000000000053',
	'4242 4242 4242 4242', '4242-4242-4242-4242', '3782 822463 10005', '3056 930902 5904', '6205 5000 0000 0000 004', '42424242 42424242',
	'card 4242424242424242, please', 'No. 5 4242 4242 4242 4242 12/30', '(4242424242424242)', '"4242424242424242"', '-4242424242424242', '4242424242424242.',
	'4242424242424242 12 2030']) WITH ORDINALITY u (t, n) GROUP BY 1 ORDER BY 1;
-- In digits, blanks and dashes of other scripts, and with what nobody sees between: people read it all the same.
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L)', t)) AS result, count(*)
FROM unnest(ARRAY[translate('4242424242424242', '24', U&'\FF12\FF14'), translate('4242 4242 4242 4242', '24 ', U&'\FF12\FF14\3000'),
	translate('4242424242424242', '24', U&'\0662\0664'), translate('4242424242424242', '24', U&'\06F2\06F4'), translate('4242424242424242', '24', U&'\0968\096A'),
	translate('4242424242424242', '24', U&'\+01D7E4\+01D7E6'), translate('4242 4242 4242 4242', ' ', U&'\00A0'), translate('4242-4242-4242-4242', '-', U&'\2013'),
	translate('42424242-42424242', '-', U&'\200B'), U&'\5361\53F7 4242424242424242\3002', translate('CVV: 123', 'CV: 123', U&'\FF23\FF36\FF1A\3000\FF11\FF12\FF13')]) t GROUP BY 1 ORDER BY 1;
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L::jsonb)', t)) AS result, count(*), string_agg(t, ', ' ORDER BY n)
FROM unnest(ARRAY['{"number": 4242424242424242.00}', '{"cvv": ["123"]}', '{"cvv": 123.0}', U&'{"cvv": "\FF11\FF12\FF13"}', '{"cvn2": "123"}', '{"cvv": [12, "x"]}',
	U&'{"n": "\FF14\FF12\FF14\FF12"}']) WITH ORDINALITY u (t, n) GROUP BY 1 ORDER BY 1;
-- What is none: another check digit, another length, a part of an id, of a quantity, of a telephone number; instants; IBANs and their like.
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L)', t)) AS result, count(*), string_agg(t, ', ' ORDER BY n)
FROM unnest(ARRAY['4242424242424241', '424242424242424', '42424242424242424', '1767225600000', '1767225600000000', '1767225600000000000', '20261129160523',
	'pi_4242424242424242', 'ch4242424242424242', '4242424242424242a', 'order_4242424242424242', '4242424242424242.50', '0.4242424242424242', '+4242424242424242',
	'4242 4242 4242 4241', '42424 24242 42424 2', '4242 4242-4242 4242', '7777777777777777', '0000000000000000', '2026-11-29 16:05:23', '555-0100 and 555-0199',
	'DE89 3704 0044 0532 0130 00', 'GB29 NWBK 6016 1331 9268 19', 'RF18 5390 0754 7034', 'INV-1-000042', 'MT940-20260301-4', '12345678901234567890', 'cvv', 'cvv unknown',
	'cvv 12', 'cvv 12345', 'cvc check: pass 1', 'scvv 123', 'securitycode123']) WITH ORDINALITY u (t, n) GROUP BY 1 ORDER BY 1;
-- An IBAN whose groups would pass for a card is told by its check digits; with others it is none.
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L)', t)), t FROM unnest(ARRAY['DE95 4242 4242 4242 4242 42', 'DE12 4242 4242 4242 4242 42']) t;
-- Codes: behind their name, or as the value of a member that has it.
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L)', t)) AS result, count(*), string_agg(t, ', ' ORDER BY n)
FROM unnest(ARRAY['cvv 123', 'CVV: 123', 'cvc=1234', 'CSC 123', 'my cvv2 is 123', 'security code: 123', 'Security-Code 123', 'cvc #123.']) WITH ORDINALITY u (t, n) GROUP BY 1 ORDER BY 1;
SELECT pg_temp.attempt(format('SELECT billing.has_no_card(%L::jsonb)', t)) AS result, count(*), string_agg(t, ', ' ORDER BY n)
FROM unnest(ARRAY['{"cvv": "123"}', '{"CVC": 123}', '{"security_code": "1234"}', '{"card": {"cvc2": " 123 "}}', '{"securityCode": "123"}', '{"card-cvc": "123"}', '{"note": "cvv 123"}',
	'{"number": 4242424242424242}', '{"number": "4242 4242 4242 4242"}', '{"4242424242424242": true}', '["4242424242424242"]', '"4242424242424242"',
	'{"cvc": "pass"}', '{"cvc": null}', '{"cvc": true}', '{"cvc_check": "123"}', '{"code": "123"}', '{"cvv": 12345}', '{"at": 1767225600000, "id": "pi_4242424242424242"}']) WITH ORDINALITY u (t, n)
GROUP BY 1 ORDER BY 1;

-- Everywhere it is offered.
SET billing.test_clock = '2026-03-01T00:00:00Z';
INSERT INTO billing.gateway (code, driver, settings) VALUES ('card_gateway', 'manual', '{"is_test": "true"}');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (42150, 'card_pro', 'Pro', '1 month', 0);
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (42150, 'base', 'Pro', '{"model":"flat","currency":"USD","amount":"10"}');
SELECT tenant_id FROM billing.create_tenant(42151, 'Card');
SELECT status FROM billing.subscribe(42151, 'card_pro');
SELECT balance FROM billing.grant_credit(42151, '5 USD', scope => 'consume');
SELECT invoice_id AS invoice, subscription_id AS subscription FROM billing.invoice WHERE tenant_id = 42151 \gset
SELECT n, pg_temp.attempt(c) AS result FROM unnest(ARRAY[
	$$SELECT billing.create_tenant(42152, 'Card 4242424242424242')$$,
	$$SELECT billing.create_tenant(42152, 'Card', details => '{"card": "4242 4242 4242 4242"}')$$,
	$$SELECT billing.create_tenant(42152, 'Card', details => '{"billing_name": "4242424242424242"}')$$,
	$$SELECT billing.update_tenant(42151, '{"address": {"street": "4242-4242-4242-4242"}}')$$,
	$$SELECT billing.update_tenant(42151, '{"details": {"cvv": 123}}')$$,
	$$SELECT billing.freeze_tenant(42151, 'stole 4242424242424242')$$,
	$$SELECT billing.subscribe(42151, 'card_pro', metadata => '{"card": 4242424242424242}')$$,
	format($$SELECT billing.update_subscription(42151, %s, '{"metadata": {"cvc": "123"}}')$$, :'subscription'),
	format($$SELECT billing.cancel_subscription(42151, %s, reason => 'uses 4242424242424242')$$, :'subscription'),
	$$SELECT billing.create_invoice(42151, 'one', '[{"description": "by 4242424242424242", "amount": "5 USD"}]')$$,
	$$SELECT billing.create_invoice(42151, 'two', '[{"description": "x", "amount": "5 USD"}]', notes => 'cvv 123')$$,
	format($$SELECT billing.record_payment(42151, %s, '1 USD', 'p1', reference => '4242424242424242')$$, :'invoice'),
	format($$SELECT billing.void_invoice(42151, %s, reason => '4242424242424242')$$, :'invoice'),
	$$SELECT billing.grant_credit(42151, '5 USD', reason => '4242424242424242')$$,
	$$SELECT billing.consume(42151, '1 USD', '4242424242424242', 'c1')$$,
	$$SELECT billing.override_entitlement(42151, 'beta', 'true', reason => '4242424242424242')$$,
	$$SELECT billing.create_payment(42151, NULL, '5 USD', gateway => 'card_gateway', method => 'bank_transfer', purpose => 'top_up', metadata => '{"card": "4242424242424242"}')$$,
	$$SELECT billing.create_payment(42151, NULL, '5 USD', gateway => 'card_gateway', method => 'bank_transfer', purpose => 'top_up', description => 'cvv 123')$$,
	$$SELECT billing.create_payment(42151, NULL, '5 USD', gateway => 'card_gateway', method => 'bank_transfer', purpose => 'top_up', return_url => 'https://example.com/?card=4242424242424242')$$,
	format($$SELECT billing.record_payment(42151, %s, '1 USD', '4242 4242 4242 4242')$$, :'invoice'),
	$$SELECT billing.top_up(42151, '1 USD', '4242424242424242')$$,
	$$SELECT billing.cancel_payment(42151, '42151_card', 'paid by 4242424242424242')$$,
	$$SELECT billing.fail_payment(42151, '42151_card', 'declined', 'cvv 123')$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', '4242424242424242')$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', '4242 4242 4242 4242')$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', translate('4242424242424242', '24', U&'\FF12\FF14'))$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', 'tok_ok', metadata => '{"security_code": "123"}')$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', 'tok_ok', billing_address => '{"line1": "4242424242424242"}')$$,
	$$SELECT billing.add_payment_method(42151, 'card_gateway', 'card', 'tok_ok', brand => '4242424242424242')$$,
	$$INSERT INTO billing.plan (code, name) VALUES ('card', '4242424242424242')$$,
	$$INSERT INTO billing.coupon (code, kind, value, description) VALUES ('CARD', 'percentage', 10, '4242424242424242')$$
]) WITH ORDINALITY u (c, n) ORDER BY n;
-- And by no other way, which is what CHECK constraints are for.
SELECT pg_temp.attempt($$UPDATE billing.subscription SET metadata = '{"a": "4242424242424242"}' WHERE tenant_id = 42151$$);
SELECT conrelid::regclass, count(*) FROM pg_constraint WHERE contype = 'c' AND connamespace = 'billing'::regnamespace AND pg_get_constraintdef(oid) LIKE '%has_no_card%'
GROUP BY 1 ORDER BY 1::text;
