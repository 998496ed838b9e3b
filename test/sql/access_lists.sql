-- Promise: what each level may do is what is written here: whoever adds a table or a function decides whose it is.
SET client_min_messages = warning;
CREATE ROLE access_reader;
CREATE ROLE access_app;
CREATE ROLE access_admin;
RESET client_min_messages;
SELECT billing.grant_access('access_reader', 'reader');
SELECT billing.grant_access('access_app', 'app');
SELECT billing.grant_access('access_admin', 'admin');

-- What no reader sees, and what is the admin's alone.
SELECT relname FROM pg_class WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v')
	AND NOT has_table_privilege('access_reader', oid, 'SELECT') ORDER BY 1;
SELECT relname, privilege FROM pg_class, unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (privilege)
WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('access_app', oid, privilege) ORDER BY 1, 2;
SELECT attrelid::regclass AS app_writes, string_agg(attname, ', ' ORDER BY attnum) AS columns
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND has_column_privilege('access_app', attrelid, attnum, 'INSERT')
GROUP BY 1;
SELECT relname, string_agg(privilege, ', ' ORDER BY n) AS admin_has
FROM pg_class, unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) WITH ORDINALITY AS p (privilege, n)
WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('access_admin', oid, privilege)
GROUP BY 1 ORDER BY 1;
SELECT DISTINCT proname AS admins_alone FROM pg_proc
WHERE pronamespace = 'billing'::regnamespace AND prorettype <> 'trigger'::regtype AND NOT has_function_privilege('access_app', oid, 'EXECUTE') ORDER BY 1;
SELECT proname AS not_even_admins FROM pg_proc
WHERE pronamespace = 'billing'::regnamespace AND prorettype <> 'trigger'::regtype AND NOT has_function_privilege('access_admin', oid, 'EXECUTE') ORDER BY 1;
-- What a reader may call that is not immutable, and an app beyond that.
SELECT DISTINCT proname AS reader_calls FROM pg_proc
WHERE pronamespace = 'billing'::regnamespace AND provolatile <> 'i' AND has_function_privilege('access_reader', oid, 'EXECUTE') ORDER BY 1;
SELECT DISTINCT proname AS app_calls FROM pg_proc
WHERE pronamespace = 'billing'::regnamespace AND has_function_privilege('access_app', oid, 'EXECUTE')
	AND NOT has_function_privilege('access_reader', oid, 'EXECUTE') ORDER BY 1;
SELECT parname, has_parameter_privilege('access_reader', parname, 'SET') AS reader, has_parameter_privilege('access_app', parname, 'SET') AS app,
	has_parameter_privilege('access_admin', parname, 'SET') AS admin
FROM unnest('{billing.key_file,billing.node,billing.tenant_id,billing.test_clock}'::text[]) AS p (parname);

SELECT billing.revoke_access(r) FROM unnest('{access_reader,access_app,access_admin}'::text[]) AS r;
DROP ROLE access_reader, access_app, access_admin;
