-- Promise: a payload is what receivers were promised: these keys, always all of them, ids and amounts as strings, instants in UTC.

BEGIN;
SET LOCAL timezone TO 'Asia/Tokyo';
SET LOCAL datestyle TO 'SQL, DMY';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-31T12:00:00.25Z';

INSERT INTO billing.meter (code) VALUES ('sent_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, features, limits) VALUES (7201, 'sent', 'Sent', '1 month', 0, '{"export": true}',
	'[{"meter": "sent_calls", "limit": 100.5, "per": "day", "kind": "hard"}]');
UPDATE billing.plan SET usage_thresholds = '{10}' WHERE plan_id = 7201;
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (7201, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL),
	(7201, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'sent_calls');

SELECT tenant_id FROM billing.create_tenant(7201, 'Sent "Ltd" \ 株式会社', details => '{"address": {"country": "JP"}, "crm": {"id": 9007199254740993}}');
SELECT status FROM billing.subscribe(7201, 'sent', metadata => '{"order": 17}');
SELECT (billing.record_payment(7201, invoice_id, '31 USD', 'sent-1')).status FROM billing.invoice WHERE tenant_id = 7201;
SELECT number FROM billing.issue_credit_note(7201, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 7201),
	'[{"line": 1, "amount": "1"}]', 'refund');
SELECT balance FROM billing.grant_credit(7201, '1000 JPY', expires_at => '2026-12-31T15:00Z');
SELECT billing.record_usage(7201, 'sent_calls', 12.5, 'e1');
SET LOCAL billing.test_clock TO '2026-01-31T12:00:01Z';
CALL billing.bill_due();

-- One of each object, ids but the tenant's blanked out.
CREATE FUNCTION pg_temp.shown(payload jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(jsonb_pretty(payload), '"(id|\w+_id)": "(?!720)\d+"', '"\1": "N"', 'g'), 'sub/\d+', 'sub/N') $$;
SELECT DISTINCT ON (t.object COLLATE "C") t.object, pg_temp.shown(e.payload) AS payload
FROM billing.event e JOIN billing.event_type t USING (type) WHERE e.tenant_id = 7201 ORDER BY t.object COLLATE "C", e.event_id;

-- The same keys in every event of an object, whatever it is.
SELECT t.object, string_agg(DISTINCT k.keys, ' / ') AS keys FROM billing.event e JOIN billing.event_type t USING (type)
CROSS JOIN LATERAL (SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(e.payload #> '{data,object}') k) k (keys)
GROUP BY t.object HAVING count(DISTINCT k.keys) <> 1;

-- What a session sets changes no byte of it.
SELECT md5(string_agg(e.payload::text, ',' ORDER BY e.event_id)) = (
	SELECT md5(string_agg(billing.event_payload(e.tenant_id, e.event_id, e.type, e.created_at, e.payload #> '{data,object}')::text, ',' ORDER BY e.event_id))
	FROM billing.event e WHERE e.tenant_id = 7201) AS is_whole FROM billing.event e WHERE e.tenant_id = 7201;
-- Written at once, it is to the byte what jsonb makes of its text; also where an object of a person's is no object.
CREATE FUNCTION pg_temp.is_jsonb(made jsonb) RETURNS boolean LANGUAGE sql
	AS 'SELECT made = made::text::jsonb AND pg_column_size(made) = pg_column_size(made::text::jsonb) AND made::text = made::text::jsonb::text';
SELECT count(*) FILTER (WHERE NOT pg_temp.is_jsonb(billing.event_payload(tenant_id, event_id, type, created_at, payload #> '{data,object}'))) AS differ
FROM billing.event WHERE tenant_id = 7201;
SELECT count(*) FILTER (WHERE NOT pg_temp.is_jsonb(billing.invoice_object(i))) AS differ FROM billing.invoice i WHERE tenant_id = 7201;
SELECT m.metadata, pg_temp.is_jsonb(o.object), o.object -> 'metadata' = m.metadata AS is_kept
FROM unnest('{"{}","[]","[1]","{\"a\": {\"b\": [null]}}","5.50","true","null","\"text\"","\"\""}'::jsonb[]) m (metadata)
CROSS JOIN LATERAL (SELECT billing.subscription_object(jsonb_populate_record(s, jsonb_build_object('metadata', m.metadata)), 'sent') AS object
	FROM billing.subscription s WHERE tenant_id = 7201) o;
SELECT billing.event_instant(a::timestamptz) FROM unnest('{2026-01-31 23:30:00.000001+09:30,10000-01-01 00:00+00,infinity}'::text[]) a;
SET LOCAL timezone TO 'America/New_York';
SET LOCAL datestyle TO 'German';
SET LOCAL extra_float_digits TO 0;
SELECT billing.event_instant('2026-07-01 00:00:00+00');
SELECT billing.invoice_object(i) = (SELECT e.payload #> '{data,object}' FROM billing.event e WHERE e.tenant_id = 7201 AND e.type = 'invoice.finalized'
	AND e.payload #>> '{data,object,id}' = i.invoice_id::text) AS is_as_told FROM billing.invoice i WHERE i.tenant_id = 7201 AND i.kind = 'threshold';
ROLLBACK;

-- Setting events: with subscribed, what nothing sends is not written.
BEGIN;
INSERT INTO billing.setting (name, value) VALUES ('events', 'subscribed');
SELECT status FROM billing.create_tenant(7202, 'Untold');
SELECT status FROM billing.create_invoice(7202, 'a', '[{"description": "Setup", "unit_amount": "50"}]');
SELECT count(*) FROM billing.event WHERE tenant_id = 7202;
UPDATE billing.setting SET value = 'all' WHERE name = 'events';
SELECT status FROM billing.update_tenant(7202, '{"name": "Told"}');
SELECT type FROM billing.event WHERE tenant_id = 7202;
INSERT INTO billing.setting (name, value) VALUES ('events', 'some');
ROLLBACK;

-- It stays as it is, and is of a tenant that there is.
BEGIN;
\set VERBOSITY terse
SELECT status FROM billing.create_tenant(7203, 'Kept');
SAVEPOINT s;
UPDATE billing.event SET type = 'x.y' WHERE tenant_id = 7203;
ROLLBACK TO s;
TRUNCATE billing.event CASCADE;
ROLLBACK TO s;
INSERT INTO billing.event (tenant_id, type, payload) VALUES (7204, 'x.y', '{}');
ROLLBACK TO s;
INSERT INTO billing.event (tenant_id, type, payload) VALUES (7203, 'x.y', '[]');
ROLLBACK TO s;
INSERT INTO billing.event (tenant_id, type, payload) VALUES (7203, '', '{}');
ROLLBACK TO s;
DELETE FROM billing.counter WHERE tenant_id = 7203;
DELETE FROM billing.tenant WHERE tenant_id = 7203;
ROLLBACK;

-- audit() finds a payload that is of another event, and a type that nobody knows.
BEGIN;
SET LOCAL billing.test_clock TO '2026-01-31T12:00Z';
SELECT status FROM billing.create_tenant(7205, 'Forged');
SET LOCAL session_replication_role TO replica;
INSERT INTO billing.event (tenant_id, event_id, type, payload) VALUES (7205, 1, 'tenant.sold', billing.event_payload(7205, 1, 'tenant.sold', billing.now(), '{}')),
	(7205, 2, 'tenant.updated', billing.event_payload(7205, 1, 'tenant.updated', billing.now(), '{}')), (7205, 3, 'tenant.updated', '{}'),
	(7206, 4, 'tenant.updated', billing.event_payload(7206, 4, 'tenant.updated', billing.now(), '{}'));
SET LOCAL session_replication_role TO origin;
SELECT * FROM billing.audit(7205) ORDER BY object, invariant;
SELECT * FROM billing.audit() WHERE tenant_id = 7206;
ROLLBACK;

-- A payload is not so large that the others would have to wait for it.
BEGIN;
SELECT count(*) FROM billing.create_tenant(7206, 'Small');
\set VERBOSITY terse
SELECT billing.update_tenant(7206, jsonb_build_object('details', jsonb_build_object('x', repeat(chr(1), 1048576))));
\set VERBOSITY default
ROLLBACK;

-- A role sees the events of the tenant that billing.tenant_id names, and writes none.
BEGIN;
SELECT count(*) FROM billing.create_tenant(7207, 'Mine') a, billing.create_tenant(7208, 'Theirs') b;
CREATE ROLE event_app;
CREATE ROLE event_reader;
SELECT billing.grant_access('event_app', 'app'), billing.grant_access('event_reader', 'reader');
SET LOCAL ROLE event_app;
SELECT count(*) FROM billing.event;
SET LOCAL billing.tenant_id TO '7207';
SELECT status FROM billing.update_tenant(7207, '{"name": "Still mine"}');
SELECT tenant_id, type, payload #>> '{data,object,name}' AS name FROM billing.event ORDER BY event_id;
SELECT count(*) > 0 AS has_catalogue FROM billing.event_type;
SAVEPOINT s;
INSERT INTO billing.event (tenant_id, type, payload) VALUES (7207, 'tenant.updated', '{}');
ROLLBACK TO s;
DELETE FROM billing.event;
ROLLBACK TO s;
RESET ROLE;
SET LOCAL billing.tenant_id TO '7208';
SET LOCAL ROLE event_reader;
SELECT tenant_id, type FROM billing.event ORDER BY event_id;
SELECT billing.tenant_object(t) ->> 'name' AS name FROM billing.tenant t;
ROLLBACK;
