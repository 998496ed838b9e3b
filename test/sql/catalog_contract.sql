-- What every object of the extension promises, whatever it does.  Each query names the violations: none.

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, e.extconfig
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'billing';

CREATE TEMP VIEW routine AS
SELECT p.oid::regprocedure AS signature, p.*, l.lanname
FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
JOIN pg_language l ON l.oid = p.prolang;

CREATE TEMP VIEW relation AS
SELECT c.oid::regclass AS name, c.*, m.extconfig, t.attnum AS tenant_column
FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped;

-- What says nothing of itself: routines, types, tables, views, columns of tables, the schema.
SELECT signature AS uncommented_routine FROM routine WHERE obj_description(oid, 'pg_proc') IS NULL;
SELECT t.oid::regtype AS uncommented_type
FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
WHERE t.typtype <> 'c' AND t.typcategory <> 'A' AND obj_description(t.oid, 'pg_type') IS NULL;
SELECT name AS uncommented_relation FROM relation
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND obj_description(oid, 'pg_class') IS NULL;
SELECT attname AS uncommented_column, name FROM relation JOIN pg_attribute a ON a.attrelid = relation.oid
WHERE relkind IN ('r', 'p', 'f')
  AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('created_at', 'created_by') AND col_description(relation.oid, attnum) IS NULL;
SELECT m.objid::regnamespace AS uncommented_schema FROM member m
WHERE m.classid = 'pg_namespace'::regclass AND obj_description(m.objid, 'pg_namespace') IS NULL;

-- What PUBLIC may use.
SELECT signature AS open_routine FROM routine WHERE has_function_privilege('public', oid, 'EXECUTE');
SELECT t.oid::regtype AS open_type
FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
WHERE t.typtype <> 'c' AND t.typcategory <> 'A' AND has_type_privilege('public', t.oid, 'USAGE');
SELECT name AS open_relation FROM relation
WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
  AND (has_table_privilege('public', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
	OR has_any_column_privilege('public', oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
SELECT name AS open_sequence FROM relation
WHERE CASE relkind WHEN 'S' THEN has_sequence_privilege('public', oid, 'USAGE, SELECT, UPDATE') END;
SELECT m.objid::regnamespace AS open_schema FROM member m
WHERE m.classid = 'pg_namespace'::regclass AND has_schema_privilege('public', m.objid, 'USAGE, CREATE');

-- Routines: one that runs with its owner's rights pins its search_path (consume and use_service where they run SQL, as
-- wallet_rows shows), none is in PL/pgSQL, one in SQL is parsed
-- when it is created and has no SET, one in C that only reads may run in a parallel worker, but for those that run
-- a function of somebody else's, which may not.
SELECT signature AS unpinned FROM routine
WHERE prosecdef AND NOT coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)
	AND prosrc NOT IN ('billing_consume', 'billing_use_service');
SELECT signature AS other_language, lanname FROM routine WHERE lanname NOT IN ('c', 'sql', 'internal');
SELECT signature AS unparsed_sql FROM routine WHERE lanname = 'sql' AND (prosqlbody IS NULL OR proconfig IS NOT NULL);
SELECT signature AS not_parallel_safe FROM routine WHERE lanname = 'c' AND provolatile <> 'v' AND proparallel <> 's'
  AND proname NOT IN ('audit', 'charge_strategy', 'preview_invoice', 'spend', 'verify_all', 'verify_invoice');

-- An argument that a caller may name has a name: all but those of a type's, an operator's, an index's, a cast's or an
-- aggregate's own functions.
SELECT r.signature AS unnamed_argument FROM routine r
WHERE r.pronargs > 0 AND r.prokind IN ('f', 'p')
  AND (r.proargnames IS NULL OR '' = ANY (r.proargnames))
  AND NOT EXISTS (SELECT FROM pg_type t WHERE r.oid = ANY (ARRAY[t.typinput, t.typoutput, t.typreceive, t.typsend,
	t.typmodin, t.typmodout, t.typanalyze, t.typsubscript]::oid[]))
  AND NOT EXISTS (SELECT FROM pg_operator o WHERE r.oid = ANY (ARRAY[o.oprcode, o.oprrest, o.oprjoin]::oid[]))
  AND NOT EXISTS (SELECT FROM pg_amproc a WHERE a.amproc = r.oid)
  AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = r.oid)
  AND NOT EXISTS (SELECT FROM pg_aggregate a WHERE r.oid = ANY (ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn,
	a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]));

-- pg_dump keeps the data of each table and the position of each sequence, but for what is derived from usage_event and
-- holds snapshots, which mean nothing in another cluster.
SELECT name AS not_dumped FROM relation
WHERE relkind IN ('r', 'p', 'S') AND NOT coalesce(oid = ANY (extconfig), false)
  AND relname NOT IN ('usage_rollup', 'usage_period', 'usage_horizon', 'usage_floor');

-- Tenant tables: tenant_id has one type, leads the primary key, is in each other unique key, and row security is on.
SELECT r.name AS other_tenant_type, a.atttypid::regtype AS type
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = r.tenant_column
WHERE a.atttypid <> 'bigint'::regtype OR (r.relkind IN ('r', 'p') AND NOT a.attnotnull);
SELECT r.name AS key_without_tenant, i.indexrelid::regclass AS index
FROM relation r JOIN pg_index i ON i.indrelid = r.oid
WHERE r.tenant_column IS NOT NULL
  AND (i.indisprimary AND i.indkey[0] <> r.tenant_column
	OR (i.indisunique OR i.indisexclusion)
	AND NOT r.tenant_column = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]));
SELECT name AS without_primary_key FROM relation r
WHERE relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary);
SELECT name AS without_row_security FROM relation
WHERE relkind IN ('r', 'p') AND tenant_column IS NOT NULL AND NOT relrowsecurity;

-- Foreign keys: between tenant tables they carry the tenant to the tenant; a global table names no tenant's row;
-- a parent's end never blanks a child.
SELECT k.conrelid::regclass AS foreign_key_without_tenant, k.conname
FROM pg_constraint k JOIN relation c ON c.oid = k.conrelid JOIN relation p ON p.oid = k.confrelid
WHERE k.contype = 'f' AND c.tenant_column IS NOT NULL AND p.tenant_column IS NOT NULL
  AND NOT EXISTS (SELECT FROM unnest(k.conkey, k.confkey) u(child, parent)
	WHERE u.child = c.tenant_column AND u.parent = p.tenant_column);
SELECT k.conrelid::regclass AS global_names_tenant, k.conname
FROM pg_constraint k JOIN relation c ON c.oid = k.conrelid JOIN relation p ON p.oid = k.confrelid
WHERE k.contype = 'f' AND c.tenant_column IS NULL AND p.tenant_column IS NOT NULL;
SELECT k.conrelid::regclass AS blanks_child, k.conname
FROM pg_constraint k JOIN relation c ON c.oid = k.conrelid
WHERE k.contype = 'f' AND k.confdeltype IN ('n', 'd');

-- Columns: a text key compares by bytes, or a new glibc would break it; ids come from next_id(), not an identity.
SELECT DISTINCT r.name AS key_not_in_c_collation, a.attname
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype IN ('p', 'u', 'x', 'f') AND a.attnum = ANY (k.conkey)
WHERE a.attcollation NOT IN (0, 'pg_catalog."C"'::regcollation)
UNION
SELECT r.name, a.attname
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid
JOIN pg_index i ON i.indrelid = r.oid AND i.indisunique AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
WHERE a.attcollation NOT IN (0, 'pg_catalog."C"'::regcollation);
SELECT r.name AS identity_column, a.attname
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attidentity <> '';

-- Views read with the rights of who asks; no table inherits from another but a partition.
SELECT name AS not_security_invoker FROM relation
WHERE relkind = 'v' AND NOT coalesce(reloptions && '{security_invoker=true,security_invoker=on,security_invoker=1}', false);
SELECT r.name AS inherits, h.inhparent::regclass AS parent
FROM relation r JOIN pg_inherits h ON h.inhrelid = r.oid WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition;

-- Everything it creates is in its schema, but for operators and the aggregates sum, avg, min and max, which must be
-- found where the search_path is pg_catalog alone.
SELECT name::text AS outside_schema FROM relation WHERE relnamespace <> 'billing'::regnamespace
UNION ALL
SELECT signature::text FROM routine WHERE pronamespace <> 'billing'::regnamespace
  AND NOT (prokind = 'a' AND pronamespace = 'pg_catalog'::regnamespace);
