-- Promise: with one line of DDL no tenant has more rows in a table of the application's than its limit says, however they come.
LOAD 'billing';
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-10T12:00:00Z';
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset format unaligned
\pset null -

INSERT INTO billing.plan (plan_id, code, name, limits) VALUES
	(9866, 'rows_five', 'Five', '[{"meter": "seats", "limit": 5}, {"meter": "pets", "limit": 1, "soft": true}, {"meter": "half", "limit": "2.9"}]'),
	(9867, 'rows_any', 'Any', '[]');
INSERT INTO billing.price (plan_id, code, tariff)
SELECT p, 'base', '{"model":"flat","currency":"USD","amount":"1"}' FROM generate_series(9866, 9867) p;
SELECT count(billing.create_tenant(t, 'Tenant')) FROM generate_series(9866, 9869) t;
SELECT count(billing.subscribe(t, CASE t WHEN 9868 THEN 'rows_any' ELSE 'rows_five' END)) FROM generate_series(9866, 9868) t;
CREATE SCHEMA "Team's";
CREATE TABLE "Team's"."Member" (tenant_id bigint, id int GENERATED ALWAYS AS IDENTITY, name text);
CREATE INDEX ON "Team's"."Member" (tenant_id);
CREATE TRIGGER seats AFTER INSERT OR UPDATE ON "Team's"."Member" FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats');
CREATE VIEW seats AS SELECT tenant_id, count(*) FROM "Team's"."Member" GROUP BY 1 ORDER BY 1;

-- One by one, up to the limit, and then no more; another tenant is another matter.
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
INSERT INTO "Team's"."Member" (tenant_id) SELECT 9866 FROM generate_series(1, 4);
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9867);
-- Many at once: all or none, those of several tenants too.
INSERT INTO "Team's"."Member" (tenant_id) SELECT 9867 FROM generate_series(1, 5);
INSERT INTO "Team's"."Member" (tenant_id) SELECT unnest('{9867,9868,9867,9868,9867,9868,9867,9868,9867}'::int[]);
INSERT INTO "Team's"."Member" (tenant_id) SELECT unnest('{9867,9868,9867,9868,9867,9868,9867,9868}'::int[]);
COPY "Team's"."Member" (tenant_id) FROM STDIN;
9868
9867
\.
COPY "Team's"."Member" (tenant_id) FROM STDIN;
9868
9868
9868
\.
SELECT * FROM seats;
-- From one tenant to another; an update of anything else; of what has no tenant nobody asks.
UPDATE "Team's"."Member" SET tenant_id = 9866 WHERE tenant_id = 9867;
UPDATE "Team's"."Member" SET tenant_id = 9868 WHERE tenant_id = 9867 AND id % 2 = 0;
UPDATE "Team's"."Member" SET name = 'x' WHERE tenant_id = 9866;
INSERT INTO "Team's"."Member" (tenant_id) VALUES (NULL), (NULL);
UPDATE "Team's"."Member" SET tenant_id = 9866 WHERE tenant_id IS NULL;
UPDATE "Team's"."Member" SET tenant_id = NULL WHERE tenant_id = 9866 AND id IN (SELECT id FROM "Team's"."Member" WHERE tenant_id = 9866 LIMIT 1);
DELETE FROM "Team's"."Member" WHERE tenant_id = 9868;
SELECT * FROM seats;
-- What is freed in a transaction may be taken in it; a savepoint takes back what it took.
BEGIN;
DELETE FROM "Team's"."Member" WHERE tenant_id = 9866;
INSERT INTO "Team's"."Member" (tenant_id) SELECT 9866 FROM generate_series(1, 4);
SAVEPOINT s;
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
ROLLBACK TO s;
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
SAVEPOINT s;
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
ROLLBACK TO s;
COMMIT;
-- In a level that reads by one snapshot, too.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
ROLLBACK;
-- A limit that is raised, lowered (what there is stays), lifted, frozen.
SELECT quantity FROM billing.override_entitlement(9866, 'seats', '6');
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
SELECT quantity FROM billing.override_entitlement(9866, 'seats', '2');
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
UPDATE "Team's"."Member" SET name = 'y' WHERE tenant_id = 9866;
SELECT quantity FROM billing.override_entitlement(9866, 'seats', '{"limit": null}');
INSERT INTO "Team's"."Member" (tenant_id) SELECT 9866 FROM generate_series(1, 100);
SELECT status FROM billing.freeze_tenant(9866);
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9866);
-- No subscription; no tenant; closed.
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9869);
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9865);
SELECT status FROM billing.close_tenant(9869);
INSERT INTO "Team's"."Member" (tenant_id) VALUES (9869);
-- A soft limit lets through, part of one is none; the column by another name and type; two triggers on one table.
CREATE TABLE pet (owner int, shop smallint);
CREATE TRIGGER pets AFTER INSERT ON pet FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('pets', 'owner');
CREATE TRIGGER half AFTER INSERT ON pet FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('half', 'shop');
INSERT INTO pet VALUES (9867, 9867), (9867, 9867);
INSERT INTO pet VALUES (9867, NULL), (9867, NULL), (9867, 9867);
-- Counted as the owner of the table sees it, by a role that has no other right than to insert, and past its row security.
CREATE ROLE rows_owner;
CREATE ROLE rows_user;
CREATE TABLE room (tenant_id int, holder text DEFAULT current_user);
ALTER TABLE room OWNER TO rows_owner;
ALTER TABLE room ENABLE ROW LEVEL SECURITY;
ALTER TABLE room FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON room USING (holder = 'nobody') WITH CHECK (true);
GRANT INSERT ON room TO rows_user;
SELECT billing.grant_access('rows_owner', 'app');
SET ROLE rows_owner;
CREATE TRIGGER rooms AFTER INSERT OR UPDATE ON room FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('half');
SET ROLE rows_user;
INSERT INTO room VALUES (9867);
INSERT INTO room VALUES (9867);
INSERT INTO room VALUES (9867);
CREATE TEMPORARY TABLE mine (tenant_id int);
CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('half');
RESET ROLE;
-- A partitioned table counts as one, whatever is inserted into.
CREATE TABLE cell (tenant_id int, at int) PARTITION BY LIST (at);
CREATE TABLE cell_1 PARTITION OF cell FOR VALUES IN (1);
CREATE TABLE cell_2 PARTITION OF cell FOR VALUES IN (2);
CREATE TRIGGER cells AFTER INSERT OR UPDATE ON cell FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats');
INSERT INTO cell SELECT 9867, 1 + i % 2 FROM generate_series(1, 5) i;
INSERT INTO cell_2 VALUES (9867, 2);
UPDATE cell SET at = 3 - at;
-- What cannot enforce a limit.
CREATE TABLE wrong (tenant text, code int);
CREATE TRIGGER wrong BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats');
INSERT INTO wrong VALUES ('1');
DROP TRIGGER wrong ON wrong;
CREATE TRIGGER wrong AFTER INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION billing.enforce_limit('seats');
INSERT INTO wrong VALUES ('1');
DROP TRIGGER wrong ON wrong;
CREATE TRIGGER wrong AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit();
INSERT INTO wrong VALUES ('1');
DROP TRIGGER wrong ON wrong;
CREATE TRIGGER wrong AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats');
INSERT INTO wrong VALUES ('1');
DROP TRIGGER wrong ON wrong;
CREATE TRIGGER wrong AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats', 'tenant');
INSERT INTO wrong VALUES ('1');

SET client_min_messages = warning;
DROP SCHEMA "Team's" CASCADE;
DROP TABLE pet, room, cell, wrong;
SELECT billing.revoke_access('rows_owner');
DROP OWNED BY rows_owner, rows_user;
DROP ROLE rows_owner, rows_user;
