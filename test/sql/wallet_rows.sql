-- consume() does the ordinary case row by row and leaves the rest to statements: both write the same, and what
-- a statement would obey is obeyed.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';

-- Two tenants with the same credit.
CREATE FUNCTION pg_temp.fill(tenant bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM billing.create_tenant(tenant, 'Acme', 'USD');
	PERFORM billing.top_up(tenant, '10 USD', 'w1');
	PERFORM billing.top_up(tenant, '10 EUR', 'w2');
	PERFORM billing.grant_credit(tenant, '1 USD', expires_at => '2026-06-01Z', reason => 'spring');
	PERFORM billing.grant_credit(tenant, '2 USD', expires_at => '2026-06-01Z', is_paid => true, reason => 'money');
	PERFORM billing.grant_credit(tenant, '3 USD', expires_at => '2026-03-01Z', scope => 'consume');
	PERFORM billing.grant_credit(tenant, '4 USD', priority => 1, scope => 'invoice');
	PERFORM billing.grant_credit(tenant, '5 USD', priority => 2, effective_at => '2026-01-20Z', recurrence => '1 month', rollover_max => '1 USD');
END $$;
SELECT pg_temp.fill(1);
SELECT pg_temp.fill(2);

-- What a tenant has, without the ids.
CREATE VIEW written AS
	SELECT e.tenant_id, 'entry' AS what, concat_ws(' ', e.kind, e.amount, e.at, e.consume_no, e.part, coalesce(e.reason, '-'), e.requested, e.balance,
		e.created_at, g.source, g.amount, g.priority, e.invoice_id) AS row
	FROM billing.wallet_entry e LEFT JOIN billing.credit_grant g USING (tenant_id, grant_id)
	UNION ALL
	SELECT g.tenant_id, 'grant', concat_ws(' ', g.source, g.amount, g.balance, g.is_paid, g.scope, g.priority, g.effective_at, g.expires_at, g.recurrence,
		g.rollover_max, g.renewals, g.renews_at, g.voided_at, g.reason, g.created_at, g.is_open)
	FROM billing.credit_grant g
	UNION ALL
	SELECT t.tenant_id, 'transaction', concat_ws(' ', t.kind, t.at, t.accounts, t.amounts, e.consume_no)
	FROM billing.transaction t LEFT JOIN billing.wallet_entry e ON e.tenant_id = t.tenant_id AND e.entry_id = t.transaction_id;

-- A trigger of the user's leaves its table to statements, and fires.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% of %', lower(TG_OP), TG_TABLE_NAME;
	RETURN NEW;
END $$;
CREATE TRIGGER tell AFTER INSERT ON billing.wallet_entry FOR EACH STATEMENT EXECUTE FUNCTION tell();
SET client_min_messages = debug1;
SELECT billing.consume(2, '0.50 USD', 'first', 'c1');
RESET client_min_messages;

-- The rest of the second tenant's calls, by statements.
SET client_min_messages = warning;
SELECT billing.consume(2, '2 USD', NULL, 'c2') AS left, billing.consume(2, '0.49 USD', 'two in one statement', 'c3') AS less;
SELECT billing.consume(2, '1 EUR', '', 'c4');
SELECT billing.use_service(2, '0.01 EUR', 'service', 'c5');
SET billing.test_clock = '2026-01-20T00:00:00Z';
SELECT billing.consume(2, '0.75 USD', 'effective', 'c6');
SET billing.test_clock = '2026-04-01T00:00:00Z';
SELECT billing.consume(2, '0.75 USD', 'renewed and expired', 'c7');
SELECT billing.consume(2, '0.75 USD', 'renewed', 'c8');
RESET client_min_messages;
DROP TRIGGER tell ON billing.wallet_entry;

-- Those of the first, by rows: nothing says that it would not be.
SET client_min_messages = debug1;
SET billing.test_clock = '2026-01-01T00:00:00Z';
SELECT billing.consume(1, '0.50 USD', 'first', 'c1');
SELECT billing.consume(1, '2 USD', NULL, 'c2') AS left, billing.consume(1, '0.49 USD', 'two in one statement', 'c3') AS less;
SELECT billing.consume(1, '1 EUR', '', 'c4');
SELECT billing.use_service(1, '0.01 EUR', 'service', 'c5');
SET billing.test_clock = '2026-01-20T00:00:00Z';
SELECT billing.consume(1, '0.75 USD', 'effective', 'c6');
SET billing.test_clock = '2026-04-01T00:00:00Z';
SELECT billing.consume(1, '0.75 USD', 'renewed and expired', 'c7');
SELECT billing.consume(1, '0.75 USD', 'renewed', 'c8');
RESET client_min_messages;

SELECT what, count(*) AS rows FROM written WHERE tenant_id = 1 GROUP BY what ORDER BY what;
(SELECT what, row FROM written WHERE tenant_id = 1 EXCEPT ALL SELECT what, row FROM written WHERE tenant_id = 2)
UNION ALL (SELECT what, row FROM written WHERE tenant_id = 2 EXCEPT ALL SELECT what, row FROM written WHERE tenant_id = 1);
SELECT * FROM billing.audit();

-- A retry and a key used again, tenants that are frozen, closed, or not there.
SELECT billing.consume(1, '0.75 USD', 'renewed', 'c8');
SELECT billing.consume(1, '0.76 USD', 'renewed', 'c8');
SELECT status FROM billing.freeze_tenant(1, 'unpaid');
SELECT billing.consume(1, '0.01 USD', NULL, 'c9');
SELECT status FROM billing.unfreeze_tenant(1);
SELECT billing.consume(9, '0.01 USD', NULL, 'c9');

-- What this transaction has written is seen; an error in a part of it takes back that part, and what follows works.
BEGIN;
SELECT status FROM billing.create_tenant(3, 'New', 'USD');
SELECT amount FROM billing.top_up(3, '10 USD', 'w1');
SELECT billing.consume(3, '1 USD', NULL, 'c1');
SAVEPOINT part;
SELECT billing.consume(3, '2 USD', NULL, 'c2');
SELECT billing.consume(3, '99 USD', NULL, 'c3');
ROLLBACK TO part;
SELECT billing.consume(3, '4 USD', NULL, 'c2');
COMMIT;
SELECT consume_no, amount, balance FROM billing.wallet_entry WHERE tenant_id = 3 AND kind = 'consume';

-- A CHECK and an index of the user's are obeyed, in the session that has used the table, too.
\set SHOW_CONTEXT never
ALTER TABLE billing.wallet_entry ADD CONSTRAINT wallet_entry_has_reason CHECK (kind <> 'consume' OR reason IS NOT NULL) NOT VALID;
SET client_min_messages = debug1;
SELECT billing.consume(3, '1 USD', NULL, 'c4');
SELECT billing.consume(3, '1 USD', 'told', 'c4');
RESET client_min_messages;
ALTER TABLE billing.wallet_entry DROP CONSTRAINT wallet_entry_has_reason;

-- One that calls a function of the user's leaves its table to statements.
CREATE FUNCTION is_told(reason text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$SELECT reason IS NOT NULL$$;
ALTER TABLE billing.wallet_entry ADD CONSTRAINT wallet_entry_is_told CHECK (kind <> 'consume' OR is_told(reason)) NOT VALID;
SET client_min_messages = debug1;
SELECT billing.consume(3, '1 USD', NULL, 'c5');
RESET client_min_messages;

-- The function that it calls is another one at once.
CREATE OR REPLACE FUNCTION is_told(reason text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$SELECT reason LIKE 'because%'$$;
SELECT billing.consume(3, '1 USD', 'told', 'c5');
SELECT billing.consume(3, '1 USD', 'because', 'c5');

-- A function of the user's finds what the owner means, whatever path the caller has.
CREATE SCHEMA caller;
CREATE FUNCTION caller.lower(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'the caller''s code ran as the owner'; END$$;
CREATE OR REPLACE FUNCTION is_told(reason text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$SELECT lower(reason) LIKE 'because%'$$;
SET search_path TO caller, billing, public, pg_catalog;
SELECT consume(3, '0.01 USD', 'Because of the path', 'path');
ALTER TABLE billing.wallet_entry DROP CONSTRAINT wallet_entry_is_told;
SET client_min_messages = debug1;
SELECT consume(3, '0.01 USD', 'why not', 'path too');
RESET client_min_messages;
RESET search_path;
DROP FUNCTION caller.lower;
DROP SCHEMA caller;
CREATE UNIQUE INDEX told_once ON billing.wallet_entry (tenant_id, lower(reason)) WHERE tenant_id = 3;
SELECT billing.consume(3, '0.10 USD', 'Because', 'c6');
SELECT billing.consume(3, '0.10 USD', 'why', 'c6');
SELECT billing.consume(3, '0.10 USD', 'WHY', 'c7');
DROP INDEX billing.told_once;

-- A CHECK of one of our own columns holds: nothing is written that it refuses.
ALTER TABLE billing.credit_grant ADD CONSTRAINT credit_grant_keeps_some CHECK (tenant_id <> 3 OR billing.minor_units(balance) > 200);
SELECT billing.consume(3, '0.10 USD', NULL, 'c7');
SELECT billing.consume(3, '0.90 USD', NULL, 'c8');
SELECT consume_no FROM billing.wallet_entry WHERE tenant_id = 3 AND consume_no = 'c8';
ALTER TABLE billing.credit_grant DROP CONSTRAINT credit_grant_keeps_some;

-- So does one of columns that do not change, if rows may be that it refuses, and one of the whole row.
ALTER TABLE billing.credit_grant ADD CONSTRAINT credit_grant_has_reason CHECK (tenant_id <> 3 OR reason IS NOT NULL) NOT VALID;
SELECT billing.consume(3, '0.10 USD', NULL, 'c8');
ALTER TABLE billing.credit_grant DROP CONSTRAINT credit_grant_has_reason;
ALTER TABLE billing.credit_grant ADD CONSTRAINT credit_grant_row_is_short CHECK (octet_length(credit_grant::text) < 10) NOT VALID;
SELECT billing.consume(3, '0.10 USD', NULL, 'c8');
ALTER TABLE billing.credit_grant DROP CONSTRAINT credit_grant_row_is_short;

-- A partial index has the rows that it should, and no other.
CREATE INDEX told ON billing.wallet_entry (tenant_id, entry_id) WHERE reason = 'in it';
SET client_min_messages = debug1;
SELECT billing.consume(3, '0.01 USD', 'not in it', 'out');
SELECT billing.consume(3, '0.01 USD', 'in it', 'in');
SELECT billing.consume(3, '0.01 USD', NULL, 'neither');
RESET client_min_messages;
SET enable_seqscan = off;
SELECT consume_no FROM billing.wallet_entry WHERE tenant_id = 3 AND reason = 'in it';
RESET enable_seqscan;
CREATE EXTENSION IF NOT EXISTS amcheck;
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid CROSS JOIN LATERAL bt_index_check(c.oid, true)
WHERE i.indrelid IN ('billing.wallet_entry'::regclass, 'billing.transaction'::regclass, 'billing.credit_grant'::regclass) ORDER BY c.relname COLLATE "C";
DROP EXTENSION amcheck;
DROP INDEX billing.told;

-- What else a statement would do is left to it.
SET client_min_messages = debug1;
ALTER TABLE billing.wallet_entry ADD COLUMN mine integer DEFAULT 42;
SELECT billing.consume(3, '0.10 USD', NULL, 'c9');
ALTER TABLE billing.wallet_entry DROP COLUMN mine;
SELECT billing.consume(3, '0.10 USD', NULL, 'c10');
CREATE TRIGGER tell AFTER UPDATE OF balance ON billing.credit_grant FOR EACH ROW EXECUTE FUNCTION tell();
SELECT billing.consume(3, '0.10 USD', NULL, 'c11');
DROP TRIGGER tell ON billing.credit_grant;
RESET client_min_messages;
CREATE INDEX brief ON billing.transaction USING brin (at);
SET client_min_messages = debug1;
SELECT billing.consume(3, '0.10 USD', NULL, 'c12');
DROP INDEX billing.brief;
ALTER TABLE billing.credit_grant FORCE ROW LEVEL SECURITY;
SELECT billing.consume(3, '0.10 USD', NULL, 'c13');
ALTER TABLE billing.credit_grant NO FORCE ROW LEVEL SECURITY;
RESET client_min_messages;
SELECT consume_no, amount, balance FROM billing.wallet_entry WHERE tenant_id = 3 AND kind = 'consume' ORDER BY entry_id;

-- One snapshot for the transaction, and none that writes.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT billing.consume(3, '0.10 USD', NULL, 'c14');
COMMIT;
BEGIN READ ONLY;
SELECT billing.consume(3, '0.10 USD', NULL, 'c15');
ROLLBACK;
SELECT billing.wallet_balance(3);
SELECT * FROM billing.audit();
DROP VIEW written;
DROP FUNCTION tell;
DROP FUNCTION is_told;
