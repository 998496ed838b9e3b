-- Promise: a role sees and moves only the tenant that billing.tenant_id names, by what its level has and nothing else;
-- only a superuser makes an admin; what was given can be taken again.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE access_reader;
CREATE ROLE access_app;
CREATE ROLE access_admin;
CREATE ROLE access_nobody;
CREATE ROLE "Access Login" LOGIN IN ROLE access_app;
RESET client_min_messages;
SELECT billing.grant_access('access_reader', 'reader');
SELECT billing.grant_access('access_app', 'app');
SELECT billing.grant_access('access_admin', 'admin');
SELECT rolname, rolbypassrls FROM pg_roles WHERE rolname LIKE 'access%' ORDER BY rolname;

SELECT tenant_id FROM billing.create_tenant(9301, 'One');
SELECT tenant_id FROM billing.create_tenant(9302, 'Two');
INSERT INTO billing.meter (code) VALUES ('access_calls');

-- A reader sees the tenant it was given, and none without.
SET ROLE access_reader;
SELECT tenant_id, name FROM billing.tenant WHERE tenant_id BETWEEN 9301 AND 9302;
SET billing.tenant_id = '9301';
RESET ROLE;
SET billing.tenant_id = '9301';
SET ROLE access_reader;
SELECT tenant_id, name FROM billing.tenant WHERE tenant_id BETWEEN 9301 AND 9302;
SELECT tenant_id, action FROM billing.audit_log WHERE tenant_id IN (0, 9301, 9302);
SELECT sum('1 USD'::billing.amount) + '1 USD' AS pure FROM billing.meter WHERE code = 'access_calls';
SELECT billing.update_tenant(9301, '{"name": "Mine"}');
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9301, 'e1', 'access_calls');
INSERT INTO billing.meter (code) VALUES ('access_mine');
SELECT billing.grant_access('access_reader', 'app');
RESET ROLE;
RESET billing.tenant_id;

-- An app acts for the tenant it names: by functions, and by usage events.
SET ROLE access_app;
SELECT billing.update_tenant(9301, '{"name": "Mine"}');
SELECT billing.create_tenant(9303, 'Three');
SET billing.tenant_id = '9301';
SELECT name FROM billing.update_tenant(9301, '{"name": "Mine"}', request_id => 'a1');
SELECT billing.update_tenant(9302, '{"name": "Stolen"}');
SELECT billing.close_tenant(9302);
SELECT billing.create_tenant(9303, 'Three');
SELECT billing.update_tenant(9399, '{}');
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9301, 'e1', 'access_calls');
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9302, 'e1', 'access_calls');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at, recorded_at) VALUES (9301, 'e2', 'access_calls', '2100-01-01Z', '2100-01-01Z');
SELECT tenant_id, event_id FROM billing.usage_event WHERE tenant_id BETWEEN 9301 AND 9302;
UPDATE billing.tenant SET name = 'Mine';
INSERT INTO billing.tenant (tenant_id, name) VALUES (9303, 'Three');
DELETE FROM billing.usage_event;
UPDATE billing.counter SET invoice_number = 7;
SET billing.test_clock = '2000-01-01T00:00:00Z';
SELECT billing.grant_access('access_app', 'admin');
SELECT tenant_id, name FROM billing.tenant WHERE tenant_id BETWEEN 9301 AND 9302;
RESET ROLE;
RESET billing.tenant_id;

-- The caller is who called, not whose rights the function has: also behind SET ROLE, and behind a superuser's function.
CREATE FUNCTION public.access_rename(id bigint) RETURNS text LANGUAGE sql SECURITY DEFINER
AS $$ SELECT name FROM billing.update_tenant(id, '{"name": "Renamed"}') $$;
SET ROLE access_app;
SET billing.tenant_id = '9301';
SELECT public.access_rename(9302);
SELECT public.access_rename(9301);
RESET ROLE;
SET SESSION AUTHORIZATION "Access Login";
SELECT name FROM billing.update_tenant(9301, '{"name": "By login"}');
SELECT name FROM billing.update_tenant(9302, '{"name": "By login"}');
RESET SESSION AUTHORIZATION;
RESET billing.tenant_id;
SELECT actor, action, after ->> 'name' AS name FROM billing.audit_log WHERE tenant_id = 9301 AND actor ILIKE 'access%' ORDER BY audit_id;

-- An admin sees all, writes the global tables, and gives the lower levels.
SET ROLE access_admin;
SELECT count(*) FROM billing.tenant WHERE tenant_id BETWEEN 9301 AND 9302;
SELECT name FROM billing.update_tenant(9302, '{"name": "By admin"}');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9301, 'access', 'Access');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9301, 'base', '{"model":"flat","currency":"USD","amount":"1"}');
UPDATE billing.plan SET name = 'Access, renamed' WHERE plan_id = 9301;
INSERT INTO billing.strategy (code, function) VALUES ('access', 'pg_catalog.abs');
UPDATE billing.tenant SET name = 'By hand';
DELETE FROM billing.audit_log;
SELECT billing.grant_access('access_nobody', 'reader');
SELECT billing.grant_access('access_nobody', 'admin');
SELECT billing.revoke_access('access_admin');
SELECT billing.revoke_access('access_nobody');
DELETE FROM billing.price WHERE plan_id = 9301;
DELETE FROM billing.plan WHERE plan_id = 9301;
RESET ROLE;
SELECT tenant_id, actor, action, object, object_id, after ->> 'level' AS level FROM billing.audit_log
WHERE tenant_id = 0 AND (object = 'role' AND object_id ILIKE 'access%' OR actor ILIKE 'access%') AND actor <> session_user ORDER BY audit_id;

-- Bad input.
SELECT billing.grant_access('access_unknown', 'reader');
SELECT billing.grant_access('public', 'reader');
SELECT billing.grant_access('access_nobody', 'owner');
SELECT billing.grant_access(NULL, 'reader');
SELECT billing.grant_access('access_nobody', NULL);
SELECT billing.revoke_access('access_unknown');

-- Nothing of it is left that would hold a role.
SELECT billing.revoke_access(r) FROM unnest('{access_reader,access_app,access_admin}'::text[]) AS r;
SELECT rolname FROM pg_roles WHERE rolname LIKE 'access%' AND rolbypassrls;
DROP FUNCTION public.access_rename(bigint);
DROP ROLE access_reader, access_app, access_admin, access_nobody, "Access Login";
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM billing.request WHERE tenant_id BETWEEN 9301 AND 9303;
DELETE FROM billing.audit_log WHERE tenant_id BETWEEN 9301 AND 9303 OR object = 'role';
DELETE FROM billing.usage_event WHERE tenant_id BETWEEN 9301 AND 9303;
DELETE FROM billing.counter WHERE tenant_id BETWEEN 9301 AND 9303;
DELETE FROM billing.event WHERE tenant_id BETWEEN 9301 AND 9303;
DELETE FROM billing.tenant WHERE tenant_id BETWEEN 9301 AND 9303;
DELETE FROM billing.meter WHERE code = 'access_calls';
COMMIT;
