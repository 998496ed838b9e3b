-- What a gateway tells is UTF-8; what of it a database has no characters for is a question mark there, and nothing else is, so that it can be
-- dumped and restored.
\set home :DBNAME
\pset format unaligned
CREATE DATABASE billing_gateway_encoding TEMPLATE template0 ENCODING 'EUC_CN' LC_COLLATE 'C' LC_CTYPE 'C';
\c billing_gateway_encoding
SET client_encoding TO 'UTF8';
CREATE EXTENSION billing;
-- A callback of the manual gateway, signed with a secret of 64 times a: HMAC-SHA256 by hand.
CREATE FUNCTION pg_temp.tell(body text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r.status, r.body) FROM (SELECT extract(epoch FROM clock_timestamp())::bigint::text AS at, convert_to(tell.body, 'UTF8') AS body) m,
		billing.receive_callback('bank', jsonb_build_object('Billing-Timestamp', m.at, 'Billing-Signature',
			encode(sha256(decode(repeat('3d', 64), 'hex') || sha256(decode(repeat('57', 64), 'hex') || convert_to(m.at || '.', 'UTF8') || m.body)), 'hex')), m.body) r;
$$;
SELECT code FROM billing.create_gateway('bank', 'manual', '{}', jsonb_build_object('callback_secret', repeat('a', 64)));
SELECT tenant_id FROM billing.create_tenant(1, '北京公司', 'USD');
SELECT status FROM billing.create_payment(1, NULL, '10 USD', '1_order', 'bank', 'bank_transfer', purpose => 'top_up');
SELECT pg_temp.tell('{"id":"e1","type":"payment.failed","pay_no":"1_order","code":"no_funds","message":"不足 \ud83d\ude00"}');
SELECT status, failure_reason FROM billing.payment;
SELECT pg_temp.tell('{"id":"e2\ud83d\ude00","type":"payment.succeeded","pay_no":"1_order","amount":"10 USD","reference":"汇款 \ud83d\ude00"}');
SELECT pg_temp.tell('{"id":"e3","type":"dispute.opened","pay_no":"1_order","amount":"4 USD","reference":"d1","message":"争议 \ud83d\ude00"}');
SELECT status, external_id FROM billing.payment;
SELECT status, amount, reason FROM billing.dispute;
SELECT event_id, type, outcome FROM billing.gateway_event ORDER BY gateway_event_id;
\c :home
DROP DATABASE billing_gateway_encoding;
