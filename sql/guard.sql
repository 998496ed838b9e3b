
-- guard: triggers that keep what was stated ----------------------------------------

CREATE FUNCTION billing.refuse_change()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_refuse_change';
COMMENT ON FUNCTION billing.refuse_change()
	IS 'trigger BEFORE UPDATE, DELETE or TRUNCATE: refuses it; its argument is the hint; raises YB004';

CREATE FUNCTION billing.final_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_final_guard';
COMMENT ON FUNCTION billing.final_guard()
	IS 'trigger BEFORE UPDATE OR DELETE FOR EACH ROW of a table with a column status: once that is not the first argument (empty: always), only the columns of the other arguments change and the row stays; raises YB004';
