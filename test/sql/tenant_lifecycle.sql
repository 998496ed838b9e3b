-- Promise: a tenant is created once whatever is retried, changed only by who read its last version, and closed only when
-- nothing is open; every such action stands in the audit log.
SET billing.test_clock = '2026-03-01T00:00:00Z';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
INSERT INTO billing.tax_rate (code, name, percent, is_active) VALUES ('tenant-19', 'VAT', 19, true), ('tenant-16', 'VAT, once', 16, false);
\x on
SELECT * FROM billing.create_tenant(9201, 'Acme', timezone => 'Europe/Berlin', email => 'pay@acme.test', details => '{
	"billing_name": "Acme GmbH", "address": {"city": "Berlin"}, "tax_id": "DE1", "tax_rate": "tenant-19", "locale": "de",
	"settings": {"net_days": 14}, "crm": 77}');
SELECT * FROM billing.create_tenant(9202, 'Plain', 'eur', NULL, details => NULL);
\x off
SELECT tenant_id, invoice_number, chain_no, chain_hash, credit_note_number FROM billing.counter WHERE tenant_id IN (9201, 9202) ORDER BY tenant_id;

-- The same id with the same arguments is a retry, with others it is not.
SELECT tenant_id, name, version FROM billing.create_tenant(9202, 'Plain', 'eur', NULL, details => NULL);
SELECT billing.create_tenant(9202, 'Plain', 'EUR', NULL, details => NULL);
SELECT tenant_id, version FROM billing.create_tenant(9203, 'By key', request_id => 'k1');
SELECT tenant_id, version FROM billing.create_tenant(9203, 'By key', request_id => 'k1');
SELECT tenant_id, version FROM billing.create_tenant(9203, 'By key');
SELECT billing.create_tenant(9203, 'By another', request_id => 'k1');
SELECT billing.create_tenant(9203, 'By another');
INSERT INTO billing.tenant (tenant_id, name) VALUES (9204, 'Loaded');
SELECT billing.create_tenant(9204, 'Loaded');

-- Bad input, and no row of it.
SELECT billing.create_tenant(NULL, 'x');
SELECT billing.create_tenant(9210, NULL);
SELECT billing.create_tenant(9210, '');
SELECT billing.create_tenant(9210, 'Abroad', details => '{"address": {"country": "Germany"}}');
SELECT billing.create_tenant(9210, 'Abroad', details => '{"address": {"country": 49}}');
SELECT billing.update_tenant(9202, '{"address": {"country": "D1"}}');
SELECT billing.create_tenant(0, 'x');
SELECT billing.create_tenant(-1, 'x');
SELECT billing.create_tenant(9210, 'x', 'XYZ');
SELECT billing.create_tenant(9210, 'x', timezone => 'Mars/Olympus');
SELECT billing.create_tenant(9210, 'x', details => '[]');
SELECT billing.create_tenant(9210, 'x', details => '{"tax_rate": "none"}');
SELECT billing.create_tenant(9210, 'x', details => '{"tax_rate": "tenant-16"}');
SELECT billing.create_tenant(9210, 'x', details => '{"settings": {"net_days": -1}}');
SELECT billing.create_tenant(9210, 'x', details => '{"settings": {"currency": "EUR"}}');
SELECT count(*) FROM billing.tenant WHERE tenant_id NOT BETWEEN 9201 AND 9204 AND name IN ('x', '');
SELECT count(*) FROM billing.request WHERE tenant_id = 9210;

-- update_tenant: what is named changes, what is null goes, objects are merged.
SET billing.test_clock = '2026-03-02T00:00:00Z';
\x on
SELECT * FROM billing.update_tenant(9201, '{"name": "Acme AG", "timezone": "Asia/Tokyo", "email": null, "address": null, "tax_rate": null,
	"currency": "jpy", "details": {"crm": null, "vip": {"a": null}}, "settings": {"grace_days": 3}}', 1);
SELECT * FROM billing.update_tenant(9201, '{"settings": {"net_days": null}, "details": {}}');
\x off
SELECT billing.update_tenant(9201, '{"name": "Other"}', 2);
SELECT (billing.update_tenant(9201, '{"name": "Keyed"}', 3, 'u1')).version;
SELECT (billing.update_tenant(9201, '{"name": "Keyed"}', 3, 'u1')).*;
SELECT billing.update_tenant(9201, '{"name": "Keyed twice"}', 3, 'u1');
SELECT billing.update_tenant(9201, '{"name": ""}');
SELECT billing.update_tenant(9201, '{"name": null}');
SELECT billing.update_tenant(9201, '{"timezone": "Nowhere"}');
SELECT billing.update_tenant(9201, '{"currency": "XYZ"}');
SELECT billing.update_tenant(9201, '{"tax_rate": "none"}');
SELECT billing.update_tenant(9201, '{"status": "closed"}');
SELECT billing.update_tenant(9201, '{"settings": {"net_day": 1}}');
SELECT billing.update_tenant(9201, '{"settings": [1]}');
SELECT billing.update_tenant(9201, '"name"');
SELECT billing.update_tenant(9201, NULL);
SELECT billing.update_tenant(NULL, '{}');
SELECT billing.update_tenant(9299, '{}');

-- A state that may not follow is refused whoever writes it.
UPDATE billing.tenant SET status = 'closed', closed_at = billing.now() WHERE tenant_id = 9202;
UPDATE billing.tenant SET status = 'active' WHERE tenant_id = 9202;

-- Not while something is open.
INSERT INTO billing.plan (plan_id, code, name) VALUES (9201, 'tenant', 'Tenant');
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at)
VALUES (9201, 9201, 9201, 'active', 'USD', billing.now(), 'UTC', billing.now());
SELECT billing.close_tenant(9201);
UPDATE billing.subscription SET status = 'canceled', ended_at = billing.now() WHERE tenant_id = 9201;
INSERT INTO billing.invoice (tenant_id, invoice_id, biz_key, kind, number, status, currency, item_count, subtotal, discount, tax, total, credited,
	wallet_applied, paid, excess, issued_at, due_at)
VALUES (9201, 9201, 'one', 'one_off', 'T-1', 'open', 'JPY', 0, '5 JPY', '0 JPY', '0 JPY', '5 JPY', '0 JPY', '0 JPY', '0 JPY', '0 JPY', billing.now(), billing.now());
SELECT billing.close_tenant(9201);
SELECT billing.update_tenant(9201, '{"currency": "USD"}');
SELECT currency, version FROM billing.update_tenant(9201, '{"currency": "jpy"}');
UPDATE billing.invoice SET status = 'uncollectible' WHERE tenant_id = 9201;
SET billing.test_clock = '2026-03-03T00:00:00Z';
SELECT status, frozen_at, closed_at, version FROM billing.close_tenant(9201, 'c1');
SELECT status, frozen_at, closed_at, version FROM billing.close_tenant(9201, 'c1');
SET datestyle = 'German';
SET timezone = 'Asia/Tokyo';
SELECT status, frozen_at, closed_at, version FROM billing.close_tenant(9201, 'c1');
RESET datestyle;
RESET timezone;
SELECT status, frozen_at, closed_at, version FROM billing.close_tenant(9201);
SELECT status, closed_at FROM billing.close_tenant(9299);
UPDATE billing.tenant SET status = 'active', closed_at = NULL WHERE tenant_id = 9201;
-- Which of the tables that name it is told depends on the order of the constraints' ids.
\set VERBOSITY sqlstate
DELETE FROM billing.tenant WHERE tenant_id = 9201;
\set VERBOSITY default

-- The log.
SELECT tenant_id, at, actor = session_user AS mine, action, object, object_id, before ->> 'name' AS before, after ->> 'name' AS after,
	after ->> 'version' AS version
FROM billing.audit_log WHERE tenant_id BETWEEN 9201 AND 9299 ORDER BY audit_id;
SELECT tenant_id, function, request_id, octet_length(arguments) AS bytes FROM billing.request WHERE tenant_id BETWEEN 9201 AND 9299 ORDER BY 1, 2, 3;

-- Leave nothing to the tests that follow.
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM billing.request WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.audit_log WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.invoice WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.subscription WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.counter WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.event WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.tenant WHERE tenant_id BETWEEN 9201 AND 9299;
DELETE FROM billing.plan WHERE plan_id = 9201;
DELETE FROM billing.tax_rate WHERE code LIKE 'tenant-%';
COMMIT;
