
-- schema -------------------------------------------------------------------

CREATE SCHEMA billing;
COMMENT ON SCHEMA billing IS 'in-database subscription billing';

-- One sequence for every id: on one machine people see 1, 2, 3.  Its values fill
-- the low 48 bits of an id, the number of the node those above.
CREATE SEQUENCE billing.id_seq MAXVALUE 281474976710655;
COMMENT ON SEQUENCE billing.id_seq IS 'the low 48 bits of every id; taken by billing.next_id()';
SELECT pg_catalog.pg_extension_config_dump('billing.id_seq', '');

CREATE FUNCTION billing.next_id()
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_next_id';
COMMENT ON FUNCTION billing.next_id()
	IS 'the next id: bigint, setting billing.node in the high 15 bits, sequence billing.id_seq in the low 48';
