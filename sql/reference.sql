
-- reference: foreign keys of tables that are written in bulk ---------------------

-- Such a table declares its foreign keys and switches their row-by-row check off
-- (ALTER TABLE ... DISABLE TRIGGER ALL, before any trigger of ours and before a
-- table that names it: those stay on); check_references does it once a statement,
-- and lock_references, on the parents, closes the race with a delete.

CREATE FUNCTION billing.check_references()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_check_references';
COMMENT ON FUNCTION billing.check_references()
	IS 'trigger AFTER INSERT ... REFERENCING NEW TABLE, for each statement: checks every foreign key of the table, each distinct key once; arguments, if given: a parent table, its column that counts its children, its status while it does not yet, the column that numbers them, and the column of rows that name one by its number; raises 23503, YB004';

CREATE FUNCTION billing.lock_references()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_lock_references';
COMMENT ON FUNCTION billing.lock_references()
	IS 'trigger BEFORE DELETE OR UPDATE OF the key of a parent, for each statement: locks the tables it is given, whose check is check_references, in SHARE ROW EXCLUSIVE mode';

CREATE VIEW billing.reference_check WITH (security_invoker) AS
	SELECT c.relname::text AS table_name,
		bool_and(s.tgenabled <> 'D') AS is_checked,
		bool_and(r.tgenabled = 'D') AS is_setwise,
		format('ALTER TABLE %I.%I ', n.nspname, c.relname)
			|| string_agg(format('DISABLE TRIGGER %I', r.tgname), ', ' ORDER BY r.tgname) FILTER (WHERE r.tgenabled <> 'D')
			|| ';' AS remedy
	FROM pg_trigger s
	JOIN pg_class c ON c.oid = s.tgrelid
	JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_trigger r ON r.tgrelid = c.oid AND r.tgisinternal
	JOIN pg_proc f ON f.oid = r.tgfoid
	WHERE s.tgfoid = 'billing.check_references()'::regprocedure
	  AND f.proname IN ('RI_FKey_check_ins', 'RI_FKey_check_upd')
	GROUP BY n.nspname, c.relname;
COMMENT ON VIEW billing.reference_check
	IS 'tables whose foreign keys are checked once a statement: is_checked, that check is on; is_setwise, the row-by-row check is off, which pg_upgrade forgets; remedy: what switches it off again';
