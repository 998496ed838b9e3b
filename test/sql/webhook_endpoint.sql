-- Endpoints: what they may be, whose secret is shown once, and which events are written for them.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-31T09:00:00Z';

-- Filters: a type, in which * stands for any characters.
SELECT f AS filter, billing.event_type_matches('invoice.paid', ARRAY[f])
FROM unnest(ARRAY['invoice.paid', 'invoice.*', '*', '*.paid', 'i*p*d', 'invoice.paid*', '*invoice.paid', 'invoice', 'invoice.', 'invoice.pai',
	'invoice.paid.', '*.created', 'invoice.*.*', '', 'x*', '*x', '**', 'invoice.p?id']) WITH ORDINALITY u(f, n) ORDER BY n;
SELECT billing.event_type_matches('invoice.paid', NULL) AS all, billing.event_type_matches('invoice.paid', '{}') AS none,
	billing.event_type_matches('invoice.paid', '{refund.*,invoice.*}') AS second, billing.event_type_matches('invoice.paid', '{NULL}') AS nothing,
	billing.event_type_matches(NULL, '{*}') AS unknown;

-- One whose secret is made, and shown.
SELECT endpoint_id AS all_events, signing_secret ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS has_secret, public_key IS NULL AS has_no_key
FROM billing.create_webhook_endpoint('https://example.com/all', description => 'everything') \gset all_
SELECT :'all_has_secret' AS has_secret, :'all_has_no_key' AS has_no_public_key;

-- One that signs with Ed25519: the first key of RFC 8032, section 7.1, whose public key is known.
SELECT endpoint_id AS id, signing_secret, public_key, public_key = 'whpk_' || encode('\xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', 'base64') AS is_right
FROM billing.create_webhook_endpoint('https://example.com/invoices', ARRAY['invoice.*'], 'v1a',
	'whsk_' || encode('\x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'base64'), request_id => 'one') \gset invoices_
SELECT :'invoices_signing_secret' AS signing_secret, :'invoices_is_right' AS is_right;

-- A retry returns the same endpoint, and no secret; with other arguments it is refused.
SELECT endpoint_id = :invoices_id AS is_same, signing_secret, public_key IS NOT NULL AS has_public_key
FROM billing.create_webhook_endpoint('https://example.com/invoices', ARRAY['invoice.*'], 'v1a',
	'whsk_' || encode('\x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'base64'), request_id => 'one');
SELECT billing.create_webhook_endpoint('https://example.com/invoices', request_id => 'one');
SELECT count(*) FROM billing.request WHERE tenant_id = 0 AND result ~ 'whs';

SELECT endpoint_id AS id FROM billing.create_webhook_endpoint('http://example.com:8080/two?a=b', headers => '{"Authorization": "Bearer s3cr3t", "X-Two": "2"}',
	rate_limit => 10, is_ordered => true, only_tenant_id => 2) \gset two_
SELECT url, description, event_types, only_tenant_id, rate_limit, is_ordered, is_enabled, secret IS NOT NULL AS has_secret,
	public_key IS NOT NULL AS has_public_key, headers IS NOT NULL AS has_headers, headers::text ~ 's3cr3t' AS shows_header
FROM billing.webhook_endpoint ORDER BY endpoint_id;

-- What no endpoint may be.
SELECT billing.create_webhook_endpoint(NULL);
SELECT billing.create_webhook_endpoint('ftp://example.com/');
SELECT billing.create_webhook_endpoint('example.com');
SELECT billing.create_webhook_endpoint('https://user:pass@example.com/');
SELECT billing.create_webhook_endpoint('https://');
SELECT billing.create_webhook_endpoint('http://127.0.0.1/');
SELECT billing.create_webhook_endpoint('http://0x7f.1/');
SELECT billing.create_webhook_endpoint('http://2130706433/');
SELECT billing.create_webhook_endpoint('http://[::1]:80/');
SELECT billing.create_webhook_endpoint('http://[::ffff:10.0.0.1]/');
SELECT billing.create_webhook_endpoint('http://169.254.169.254/latest/meta-data/');
SELECT billing.create_webhook_endpoint(E'https://example.com/a\nb');
SELECT billing.create_webhook_endpoint('https://example.com/', ARRAY['invoice.payed']);
SELECT billing.create_webhook_endpoint('https://example.com/', '{}');
SELECT billing.create_webhook_endpoint('https://example.com/', ARRAY['invoice.*', NULL]);
SELECT billing.create_webhook_endpoint('https://example.com/', scheme => 'v2');
SELECT billing.create_webhook_endpoint('https://example.com/', secret => 'secret');
SELECT billing.create_webhook_endpoint('https://example.com/', secret => 'whsec_!');
SELECT billing.create_webhook_endpoint('https://example.com/', secret => 'whsec_' || encode('twenty-three bytes long', 'base64'));
SELECT billing.create_webhook_endpoint('https://example.com/', secret => 'whsk_' || encode('\x9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'base64'));
SELECT billing.create_webhook_endpoint('https://example.com/', scheme => 'v1a', secret => 'whsk_' || encode('twenty-four bytes long..', 'base64'));
SELECT billing.create_webhook_endpoint('https://example.com/' || repeat('x', 2048));
SELECT billing.create_webhook_endpoint('https://example.com/', rate_limit => 0);
SELECT billing.create_webhook_endpoint('https://example.com/', rate_limit => 100001);
SELECT billing.create_webhook_endpoint('https://example.com/', only_tenant_id => 0);
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '[]');
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '{"Host": "a"}');
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '{"Webhook-Id": "a"}');
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '{"X Y": "a"}');
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '{"X-Y": 1}');
SELECT billing.create_webhook_endpoint('https://example.com/', headers => '{"X-Y": "a\r\nX-Z: b"}');

-- Changes.
SELECT url, event_types, headers IS NULL AS has_none, rate_limit, is_ordered, only_tenant_id, description
FROM billing.update_webhook_endpoint(:two_id, '{"url": "https://example.com/2", "event_types": ["tenant.created", "invoice.*"], "headers": null,
	"rate_limit": null, "description": "second"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"secret": "x"}');
SELECT billing.update_webhook_endpoint(:two_id, '[]');
SELECT billing.update_webhook_endpoint(:two_id, '{"url": "http://10.0.0.1/"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"url": null}');
SELECT billing.update_webhook_endpoint(:two_id, '{"is_ordered": null}');
SELECT billing.update_webhook_endpoint(:two_id, '{"is_ordered": "yes"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"headers": "X-Two: 2"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"description": 2}');
SELECT billing.update_webhook_endpoint(:two_id, '{"rate_limit": 0}');
SELECT billing.update_webhook_endpoint(:two_id, '{"rate_limit": 1.5}');
SELECT billing.update_webhook_endpoint(:two_id, '{"rate_limit": "many"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"rate_limit": 99999999999999999999}');
SELECT billing.update_webhook_endpoint(:two_id, '{"only_tenant_id": -1}');
SELECT rate_limit, only_tenant_id, is_ordered FROM billing.update_webhook_endpoint(:two_id, '{"rate_limit": 5, "only_tenant_id": "2", "is_ordered": true}');
SELECT billing.update_webhook_endpoint(:two_id, '{"event_types": "invoice.*"}');
SELECT billing.update_webhook_endpoint(:two_id, '{"event_types": [1]}');
SELECT billing.update_webhook_endpoint(:two_id, '{"event_types": ["nothing"]}');
SELECT billing.update_webhook_endpoint(0, '{}');
SELECT billing.update_webhook_endpoint(NULL, '{}');

-- Rotation: both secrets count for a while, and the one before is gone at once where nobody wants it.
SELECT signing_secret LIKE 'whsec_%' AS has_secret, public_key, previous_until > now() + interval '59 minutes' AS is_kept
FROM billing.rotate_webhook_secret(:all_all_events, '1 hour', request_id => 'r1');
SELECT signing_secret, public_key, previous_until > now() + interval '59 minutes' AS is_kept
FROM billing.rotate_webhook_secret(:all_all_events, '1 hour', request_id => 'r1');
SELECT signing_secret LIKE 'whsk_%' AS has_secret, public_key LIKE 'whpk_%' AS has_public_key, previous_until
FROM billing.rotate_webhook_secret(:all_all_events, '0', 'v1a');
SELECT previous_secret, previous_until FROM billing.webhook_endpoint WHERE endpoint_id = :all_all_events;
SELECT billing.rotate_webhook_secret(:all_all_events, '-1 hour');
SELECT billing.rotate_webhook_secret(0);

-- What happens is written for each enabled endpoint that wants it: of this tenant, and of what its filters say.
SELECT status FROM billing.create_tenant(1, 'One');
SELECT status FROM billing.create_tenant(2, 'Two');
SELECT reason IS NULL AS has_none, (e).is_enabled, (e).disabled_reason, (e).disabled_at
FROM (SELECT e, NULL AS reason FROM billing.enable_webhook_endpoint(:all_all_events, false, 'it moves') e) x;
SELECT status FROM billing.create_tenant(3, 'Three');
SELECT is_enabled, disabled_reason, disabled_at FROM billing.enable_webhook_endpoint(:all_all_events);
SELECT billing.enable_webhook_endpoint(0);
SELECT e.type, d.tenant_id, p.url, d.state, d.is_ordered, d.attempts, d.next_attempt_at IS NOT NULL AS is_due
FROM billing.webhook_delivery d JOIN billing.event e USING (tenant_id, event_id) JOIN billing.webhook_endpoint p USING (endpoint_id)
ORDER BY d.event_id, p.endpoint_id;
SELECT url, is_enabled, waiting, oldest, failed, last_error FROM billing.webhook_status ORDER BY endpoint_id;

-- Again: to those it was for, to one that did not want it, never to that of another tenant.
SELECT event_id AS id FROM billing.event WHERE tenant_id = 1 \gset first_
UPDATE billing.webhook_delivery SET state = 'failed', attempts = 10, next_attempt_at = NULL WHERE tenant_id = 1;
SELECT billing.redeliver(1, :first_id);
SELECT billing.redeliver(1, :first_id, :invoices_id);
SELECT billing.redeliver(1, :first_id, :two_id);
SELECT billing.redeliver(1, 0);
SELECT billing.redeliver(1, NULL);
SELECT billing.redeliver(4, 1);
SELECT p.url, d.state, d.attempts, d.next_attempt_at IS NOT NULL AS is_due
FROM billing.webhook_delivery d JOIN billing.webhook_endpoint p USING (endpoint_id) WHERE d.tenant_id = 1 ORDER BY p.endpoint_id;
UPDATE billing.webhook_delivery SET state = CASE tenant_id WHEN 1 THEN 'failed' ELSE 'delivered' END, next_attempt_at = NULL;
SELECT billing.redeliver_range(:all_all_events, '2026-01-31T09:00:00Z', '2026-01-31T09:00:00Z') AS before,
	billing.redeliver_range(:all_all_events, '2026-01-31T09:00:01Z') AS after;
SELECT billing.redeliver_range(:all_all_events, '2026-01-31T09:00:00Z') AS failed;
SELECT billing.redeliver_range(:all_all_events, '2026-01-31T09:00:00Z', '2026-01-31T09:00:01Z', only_failed => false, tenant_id => 2) AS of_two;
SELECT billing.redeliver_range(0, '2026-01-31T09:00:00Z');
SELECT billing.redeliver_range(:two_id, '2026-01-31T09:00:00Z', tenant_id => 1);

-- What failed is also what waits for its next attempt, and what waits behind that.
BEGIN;
UPDATE billing.webhook_delivery SET state = 'pending', attempts = CASE WHEN tenant_id = 1 THEN 9 ELSE 0 END, next_attempt_at = now() + interval '24 hours'
WHERE endpoint_id = :all_all_events;
SELECT billing.redeliver_range(:all_all_events, '2026-01-31T09:00:00Z') AS waiting, billing.redeliver_range(:all_all_events, '2026-01-31T09:00:00Z') AS due;
SELECT count(*) FROM billing.webhook_delivery WHERE endpoint_id = :all_all_events AND state = 'pending' AND attempts = 0 AND next_attempt_at <= now();
ROLLBACK;
SELECT billing.redeliver_range(:all_all_events, NULL);

-- A test event goes to one endpoint, whatever it wants.
SELECT d.tenant_id, d.endpoint_id = :two_id AS is_two, d.state FROM billing.send_test_event(:two_id) d;
SELECT e.type, e.payload #>> '{data,object,endpoint_id}' = :'two_id' AS names_it, count(*)
FROM billing.event e JOIN billing.webhook_delivery d USING (tenant_id, event_id) WHERE e.type = 'webhook.test' GROUP BY 1, 2;
SELECT billing.send_test_event(:two_id, 1);
SELECT billing.send_test_event(:all_all_events, 4711);
SELECT billing.send_test_event(0);
SELECT is_enabled FROM billing.enable_webhook_endpoint(:two_id, false);
SELECT billing.send_test_event(:two_id);

-- What is old goes, with its deliveries, but for what waits for an enabled endpoint.
SELECT state, count(*) FROM billing.webhook_delivery GROUP BY 1 ORDER BY 1;
SET billing.test_clock = '2026-03-02T08:59:59Z';
SELECT billing.delete_old_events();
SET billing.test_clock = '2026-03-02T09:00:01Z';
SELECT billing.delete_old_events(1), billing.delete_old_events(1), billing.delete_old_events(), billing.delete_old_events();
SELECT d.state, e.type, count(*) FROM billing.webhook_delivery d JOIN billing.event e USING (tenant_id, event_id) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT billing.delete_old_events(0);
SELECT billing.delete_old_events(NULL);

-- Only what somebody wants is written, if so chosen.
SELECT billing.wanted_events() IS NULL AS all_are;
INSERT INTO billing.setting (name, value) VALUES ('events', 'subscribed');
SELECT is_enabled FROM billing.enable_webhook_endpoint(:all_all_events, false);
SELECT billing.wanted_events();
SELECT status FROM billing.create_tenant(5, 'Five');
SELECT count(*) FROM billing.event WHERE tenant_id = 5;
DELETE FROM billing.setting;

-- What was done stands in the audit log, without any secret.
SELECT action, object, count(*), bool_or(before::text ~ 'whs|s3cr3t' OR after::text ~ 'whs|s3cr3t') AS shows_secret
FROM billing.audit_log WHERE object = 'webhook_endpoint' GROUP BY 1, 2 ORDER BY 1, 2;

-- What is stored keeps its promises whoever writes it.
\set VERBOSITY terse
INSERT INTO billing.webhook_endpoint (url, secret) VALUES ('file:///etc/passwd', billing.seal(0, 'webhook_secret', 'x'));
UPDATE billing.webhook_endpoint SET event_types = ARRAY['Invoice Paid'];
UPDATE billing.webhook_endpoint SET previous_secret = secret;
UPDATE billing.webhook_delivery SET state = 'lost';
UPDATE billing.webhook_delivery SET next_attempt_at = NULL WHERE state = 'pending';
\set VERBOSITY default
UPDATE billing.webhook_delivery SET event_id = 0;
TRUNCATE billing.webhook_delivery;
INSERT INTO billing.webhook_delivery (tenant_id, event_id, endpoint_id) VALUES (1, 0, :two_id);
INSERT INTO billing.webhook_delivery (tenant_id, event_id, endpoint_id) VALUES (1, :first_id, 0);
DELETE FROM billing.webhook_endpoint WHERE endpoint_id = :all_all_events;

-- Who may: a tenant sees its deliveries and asks for one again, and no more.
CREATE ROLE webhook_app;
SELECT billing.grant_access('webhook_app', 'app');
ALTER ROLE webhook_app SET billing.tenant_id = '1';
SET ROLE webhook_app;
SET billing.tenant_id = '1';
SELECT count(*), min(tenant_id), max(tenant_id) FROM billing.webhook_delivery;
SELECT billing.redeliver(1, :first_id);
SELECT billing.redeliver(2, :first_id);
SELECT billing.redeliver(1, :first_id, :two_id);
SELECT count(*) FROM billing.webhook_endpoint;
SELECT billing.create_webhook_endpoint('https://example.com/');
SELECT billing.send_test_event(:two_id);
UPDATE billing.webhook_delivery SET state = 'delivered';
RESET ROLE;
SELECT billing.revoke_access('webhook_app');
DROP ROLE webhook_app;

SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
