-- Accounts at gateways: what is refused, what is changed, and that no secret is shown.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SELECT code, driver, base_url, notify_url, settings, credentials IS NULL AS no_credentials, is_enabled
FROM billing.create_gateway('bank', 'manual', '{"instructions": "IBAN of the company"}');
SELECT billing.create_gateway('other', 'nothing');
SELECT billing.create_gateway('other', 'manual', NULL);
SELECT billing.create_gateway('other', 'manual', base_url => 'http://127.0.0.1:1');
SELECT billing.create_gateway('other', 'manual', base_url => 'https://user@example.com');
\set VERBOSITY terse
SELECT billing.create_gateway('bank', 'manual');
SELECT billing.create_gateway('Bank', 'manual');
SELECT billing.create_gateway('any', 'manual');
SELECT billing.create_gateway('other', 'manual', '{"instructions": 17}');
SELECT billing.create_gateway('other', 'manual', '[]');
SELECT billing.create_gateway('other', 'manual', exponents => '{"usd": 2}');
SELECT billing.create_gateway('other', 'manual', exponents => '{"USD": 7}');
SELECT billing.create_gateway('other', 'manual', base_url => 'ftp://example.com');
SELECT billing.create_gateway('other', 'manual', base_url => 'https://example.com/');
SELECT billing.create_gateway('other', 'manual', notify_url => 'example.com/callbacks');
SELECT billing.create_gateway('other', 'manual', notify_url => 'https://example.com/callbacks?gateway=other');
\set VERBOSITY default
SELECT base_url, notify_url FROM billing.create_gateway('other', 'manual', base_url => 'https://example.com/v1', notify_url => 'http://10.0.0.1/callbacks/other');

-- Retries, and an error that comes with another body.
SELECT code FROM billing.create_gateway('again', 'manual', request_id => 'r1');
SELECT code FROM billing.create_gateway('again', 'manual', request_id => 'r1');
SELECT code FROM billing.create_gateway('another', 'manual', request_id => 'r1');

-- Members are added, replaced, and taken away by null.
SELECT settings FROM billing.update_gateway('bank', '{"settings": {"bank_account": "DE1"}}');
SELECT settings, is_enabled FROM billing.update_gateway('bank', '{"settings": {"instructions": null, "bank_account": "DE2"}, "is_enabled": false}');
SELECT base_url, exponents FROM billing.update_gateway('other', '{"base_url": null, "exponents": {"JPY": 2}}');
SELECT billing.update_gateway('bank', '{"settings": {"account": 1}}');
SELECT billing.update_gateway('bank', '{"settings": null}');
SELECT billing.update_gateway('bank', '{"is_enabled": "no"}');
SELECT billing.update_gateway('bank', '{"driver": "stripe"}');
SELECT billing.update_gateway('bank', '{"base_url": "http://169.254.169.254"}');
SELECT billing.update_gateway('bank', '{"base_url": "http://api.example.com"}');
SELECT billing.update_gateway('bank', '[1]');
SELECT billing.update_gateway('none', '{}');
SELECT billing.update_gateway('bank', NULL);

-- What is of a gateway that is not there, or of nothing.
SELECT billing.receive_callback('none', '{}', 'x');
SELECT billing.receive_callback('bank', NULL, 'x');
SELECT billing.gateway_request('1_nothing');
SELECT billing.gateway_request('nothing');
SELECT billing.gateway_response('9223372036854775808_x', 200, '{}', '');
SELECT billing.gateway_request(NULL);

-- What no gateway may be does not go in by plain DML either.
\set VERBOSITY terse
INSERT INTO billing.gateway (code, driver, settings) VALUES ('a b', 'manual', '{}');
INSERT INTO billing.gateway (code, driver, settings) VALUES ('ab', 'manual', '{"x": {}}');
INSERT INTO billing.gateway (code, driver) VALUES ('ab', 'swift');
INSERT INTO billing.gateway (code, driver, base_url) VALUES ('ab', 'manual', 'https://example.com?x');

-- What no driver of that name reads is misspelt.
SELECT billing.create_gateway('misspelt', 'stripe', '{"returnurl": "https://example.com"}', '{"api_key": "sk_test_0123456789abcdef"}');
SELECT billing.create_gateway('misspelt', 'stripe', '{}', '{"api_key": "sk_test_0123456789abcdef", "webhook_secrets": "whsec_0123456789abcdef"}');
SELECT billing.create_gateway('misspelt', 'manual', '{"istest": "true"}');

-- Nobody but an admin sees or makes one.
SELECT level, object, privileges FROM billing.access_privilege
WHERE object ~ '\.(gateway|gateway_certificate|gateway_event|gateway_request|create_gateway|update_gateway|receive_callback|verify_callback|gateway_response)(\(|$)'
ORDER BY object COLLATE "C", level;

-- What is old goes: what was told and heard behind a year, what could not be verified and names of certificates that nobody has behind a week.
INSERT INTO billing.gateway_event (tenant_id, gateway, event_id, outcome, reason, received_at) VALUES (0, 'bank', 'old', 'ignored', 'x', now() - interval '366 days'),
	(0, 'bank', 'young', 'ignored', 'x', now() - interval '364 days'), (0, 'bank', NULL, 'rejected', 'old', now() - interval '8 days'), (0, 'bank', NULL, 'rejected', 'young too', now() - interval '6 days');
INSERT INTO billing.gateway_certificate (gateway, name, wanted_at, next_attempt_at) VALUES ('bank', 'old', now() - interval '8 days', NULL),
	('bank', 'young', now() - interval '6 days', NULL), ('bank', 'wanted', now() - interval '8 days', now());
SELECT billing.delete_old_gateway_events(1), billing.delete_old_gateway_events(), billing.delete_old_gateway_events();
SELECT coalesce(event_id, reason) AS event FROM billing.gateway_event ORDER BY 1;
SELECT name FROM billing.gateway_certificate ORDER BY 1;
SELECT billing.delete_old_gateway_events(0);
SELECT action, object_id, before IS NOT NULL AS has_before, after ->> 'settings' AS settings FROM billing.audit_log WHERE object = 'gateway' ORDER BY audit_id;

-- Of what anybody can send no more is kept than tells of it; each gateway has its own.
SELECT count(r.status) FROM generate_series(1, 1002) i, billing.receive_callback('bank', '{}', convert_to(i::text, 'UTF8')) r;
SELECT status FROM billing.receive_callback('other', '{}', 'x');
SELECT gateway, count(*) FROM billing.gateway_event WHERE event_id IS NULL AND reason ~ 'signature' GROUP BY gateway ORDER BY gateway;
