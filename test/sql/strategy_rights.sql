-- A custom strategy prices by its function and nobody gains rights by it: it runs
-- as its own owner, restricted, whoever bills, and only a superuser registers one.
CREATE ROLE billing_author;
CREATE ROLE billing_caller;
CREATE SCHEMA pricing AUTHORIZATION billing_author;
GRANT USAGE ON SCHEMA pricing TO billing_caller;
GRANT USAGE ON SCHEMA billing TO billing_caller, billing_author;
GRANT USAGE ON TYPE billing.amount TO billing_caller;
GRANT EXECUTE ON FUNCTION billing.charge_strategy TO billing_caller;
CREATE TABLE secret AS SELECT 'crown jewels' AS word;

SET ROLE billing_author;
CREATE FUNCTION pricing.square(quantity numeric, parameters jsonb) RETURNS numeric
IMMUTABLE LANGUAGE sql AS $$ SELECT quantity * quantity * (parameters ->> 'factor')::numeric $$;
RESET ROLE;
INSERT INTO billing.strategy (code, function) VALUES ('square', 'pricing.square');
SELECT billing.charge_strategy('square', 1.5, '{"factor": "1.11"}', 'USD');
SET ROLE billing_caller;
SELECT billing.charge_strategy('square', 1.5, '{"factor": "1.11"}', 'JPY');
RESET ROLE;

-- Its author turns it into an attack on whoever bills: a superuser.
SET ROLE billing_author;
CREATE FUNCTION pricing.attempt(command text) RETURNS void VOLATILE LANGUAGE plpgsql AS $$
BEGIN EXECUTE command; END $$;
CREATE OR REPLACE FUNCTION pricing.square(quantity numeric, parameters jsonb) RETURNS numeric
IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE 'runs as %, path %', current_user, current_setting('search_path');
	PERFORM pricing.attempt(parameters ->> 'command');
	RETURN (parameters ->> 'result')::numeric;
END $$;
RESET ROLE;
\set VERBOSITY terse
\set try 'SELECT billing.charge_strategy(''square'', 1, jsonb_build_object(''result'', 1, ''command'', '
:try 'SELECT pg_read_file(''PG_VERSION'')'), 'USD');
:try 'SELECT 1 FROM public.secret'), 'USD');
:try 'RESET ROLE'), 'USD');
:try 'SET ROLE postgres'), 'USD');
:try 'RESET SESSION AUTHORIZATION'), 'USD');
:try 'CREATE TEMP TABLE trap (a int)'), 'USD');
:try 'LISTEN trap'), 'USD');
:try 'DECLARE trap CURSOR WITH HOLD FOR SELECT 1'), 'USD');
:try 'SET billing.test_clock = "2020-01-01T00:00:00Z"'), 'USD');
:try 'SET billing.tenant_id = 2'), 'USD');
:try 'INSERT INTO billing.strategy VALUES (''mine'', ''pricing.square'')'), 'USD');
SET application_name = 'mine';
:try 'SET application_name = "owned"'), 'USD');
SHOW application_name;
\set VERBOSITY default

-- It fails as it likes; nothing of its rights stays behind.
SELECT billing.charge_strategy('square', 1, '{"command": "SELECT 1"}', 'USD');
SELECT billing.charge_strategy('square', 1, '{"command": "SELECT 1", "result": "NaN"}', 'USD');
SELECT billing.charge_strategy('square', 1, '{"command": "SELECT 1", "result": "1e30"}', 'USD');
SELECT current_user = session_user AS still_myself, current_setting('search_path');

-- Nor can a role without SUPERUSER register one, whatever it was granted to read or write.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON billing.strategy TO billing_author;
SET ROLE billing_author;
INSERT INTO billing.strategy (code, function) VALUES ('mine', 'pricing.square');
UPDATE billing.strategy SET function = 'pricing.other';
DELETE FROM billing.strategy;
TRUNCATE billing.strategy;
RESET ROLE;
SET ROLE billing_caller;
SELECT * FROM billing.strategy;
RESET ROLE;

-- A name that cannot be one is refused when it is registered.
INSERT INTO billing.strategy VALUES ('Bad Code', 'pricing.square');
INSERT INTO billing.strategy VALUES ('bare', 'square');
INSERT INTO billing.strategy VALUES ('junk', '"');
INSERT INTO billing.strategy VALUES ('temp', 'pg_temp.square');
INSERT INTO billing.strategy VALUES ('args', 'pricing.square(numeric, jsonb)');
INSERT INTO billing.strategy VALUES (NULL, 'square');
INSERT INTO billing.strategy VALUES ('null', NULL);
UPDATE billing.strategy SET function = 'square';
-- What else is not as it must be is said at the call: the function may come later, or change.
SELECT billing.charge_strategy('cube', 1, '{}', 'USD');
SELECT billing.charge_strategy('square', 1, '{}', 'ABC');
INSERT INTO billing.strategy VALUES ('gone', 'pricing.gone'), ('volatile', 'pricing.volatile'), ('text', '"pricing" . TEXT');
CREATE FUNCTION pricing.volatile(numeric, jsonb) RETURNS numeric LANGUAGE sql AS $$ SELECT 1.0 $$;
CREATE FUNCTION pricing.text(numeric, jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT '1' $$;
SELECT billing.charge_strategy('gone', 1, '{}', 'USD');
SELECT billing.charge_strategy('volatile', 1, '{}', 'USD');
SELECT billing.charge_strategy('text', 1, '{}', 'USD');

DROP SCHEMA pricing CASCADE;
DROP TABLE secret;
DELETE FROM billing.strategy;
REVOKE ALL ON ALL TABLES IN SCHEMA billing FROM billing_author, billing_caller;
REVOKE ALL ON ALL ROUTINES IN SCHEMA billing FROM billing_author, billing_caller;
REVOKE ALL ON TYPE billing.amount FROM billing_caller;
REVOKE ALL ON SCHEMA billing FROM billing_author, billing_caller;
DROP ROLE billing_author, billing_caller;
