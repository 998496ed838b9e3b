-- What calls itself pg_restore and is a superuser loads rows in any order; nobody else does, and nothing of it stays.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;

-- Every table with a foreign key lets a restore be.
SELECT DISTINCT k.conrelid::regclass AS without_trust
FROM pg_constraint k
WHERE k.contype = 'f' AND k.connamespace = 'billing'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = k.conrelid AND t.tgfoid = 'billing.trust_restore()'::regprocedure);

PREPARE child AS INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, discount, tax)
	VALUES (1, 1, 1, 'manual', '1 USD', '0 USD', '0 USD');
EXECUTE child;
SET application_name TO 'pg_restore';
BEGIN;
EXECUTE child;
COPY billing.usage_event (tenant_id, event_id, meter) FROM stdin;
1	e	calls
\.
INSERT INTO billing.counter (tenant_id) VALUES (1);
SHOW session_replication_role;
INSERT INTO billing.meter (code) VALUES ('calls');
INSERT INTO billing.tenant (tenant_id, name) VALUES (1, 'Acme');
COMMIT;
SHOW session_replication_role;
SELECT (SELECT count(*) FROM billing.invoice_item) AS items, (SELECT count(*) FROM billing.usage_event) AS events, (SELECT count(*) FROM billing.counter) AS counters;
RESET application_name;
INSERT INTO billing.counter (tenant_id) VALUES (2);

SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_billing_loader;
RESET client_min_messages;
CREATE ROLE regress_billing_loader BYPASSRLS;
SELECT billing.grant_access('regress_billing_loader', 'admin');
SET ROLE regress_billing_loader;
SET application_name TO 'pg_restore';
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9, 'e', 'calls');
BEGIN;
SELECT name FROM billing.create_tenant(2, 'A flow');
SHOW session_replication_role;
COMMIT;
RESET application_name;
RESET ROLE;
DROP OWNED BY regress_billing_loader;
DROP ROLE regress_billing_loader;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
