
-- tariff -------------------------------------------------------------------

CREATE TYPE billing.tariff;

CREATE FUNCTION billing.tariff_in(cstring)
RETURNS billing.tariff
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_in';
COMMENT ON FUNCTION billing.tariff_in(cstring)
	IS 'input of billing.tariff: JSON; raises 22P02, and 22003 for a number with more than 18 digits before or behind the point';

CREATE FUNCTION billing.tariff_out(billing.tariff)
RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_out';
COMMENT ON FUNCTION billing.tariff_out(billing.tariff)
	IS 'output of billing.tariff: canonical JSON, alike for equal formulas';

CREATE FUNCTION billing.tariff_recv(internal)
RETURNS billing.tariff
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_recv';
COMMENT ON FUNCTION billing.tariff_recv(internal)
	IS 'binary input of billing.tariff: byte 1, then JSON; raises as billing.tariff_in, and 22P03 for another version';

CREATE FUNCTION billing.tariff_send(billing.tariff)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_send';
COMMENT ON FUNCTION billing.tariff_send(billing.tariff)
	IS 'binary output of billing.tariff: byte 1, then canonical JSON';

CREATE TYPE billing.tariff (
	INPUT = billing.tariff_in,
	OUTPUT = billing.tariff_out,
	RECEIVE = billing.tariff_recv,
	SEND = billing.tariff_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE billing.tariff IS 'one validated price formula in one currency';

CREATE FUNCTION billing.tariff_eq(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_eq';
COMMENT ON FUNCTION billing.tariff_eq(billing.tariff, billing.tariff)
	IS 'implementation of = operator: are the two the same formula?';

CREATE FUNCTION billing.tariff_ne(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_ne';
COMMENT ON FUNCTION billing.tariff_ne(billing.tariff, billing.tariff)
	IS 'implementation of <> operator: are the two different formulas?';

CREATE FUNCTION billing.tariff_lt(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_lt';
COMMENT ON FUNCTION billing.tariff_lt(billing.tariff, billing.tariff)
	IS 'implementation of < operator: before in an order that is total and has no meaning';

CREATE FUNCTION billing.tariff_le(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_le';
COMMENT ON FUNCTION billing.tariff_le(billing.tariff, billing.tariff)
	IS 'implementation of <= operator: before or the same in an order that is total and has no meaning';

CREATE FUNCTION billing.tariff_gt(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_gt';
COMMENT ON FUNCTION billing.tariff_gt(billing.tariff, billing.tariff)
	IS 'implementation of > operator: after in an order that is total and has no meaning';

CREATE FUNCTION billing.tariff_ge(a billing.tariff, b billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_ge';
COMMENT ON FUNCTION billing.tariff_ge(billing.tariff, billing.tariff)
	IS 'implementation of >= operator: after or the same in an order that is total and has no meaning';

CREATE FUNCTION billing.tariff_cmp(a billing.tariff, b billing.tariff)
RETURNS integer
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_cmp';
COMMENT ON FUNCTION billing.tariff_cmp(billing.tariff, billing.tariff)
	IS 'less than, equal to or greater than 0, in an order that is total and has no meaning';

CREATE FUNCTION billing.tariff_hash(value billing.tariff)
RETURNS integer
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_hash';
COMMENT ON FUNCTION billing.tariff_hash(billing.tariff) IS 'hash, equal for equal formulas';

CREATE FUNCTION billing.tariff_hash_extended(value billing.tariff, seed bigint)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_hash_extended';
COMMENT ON FUNCTION billing.tariff_hash_extended(billing.tariff, bigint)
	IS '64-bit hash with a seed, equal for equal formulas';

CREATE OPERATOR pg_catalog.= (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_eq,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (billing.tariff, billing.tariff) IS 'same formula';

CREATE OPERATOR pg_catalog.<> (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_ne,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (billing.tariff, billing.tariff) IS 'different formula';

CREATE OPERATOR pg_catalog.< (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_lt,
	COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (billing.tariff, billing.tariff) IS 'order without meaning, for sorting';

CREATE OPERATOR pg_catalog.<= (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_le,
	COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (billing.tariff, billing.tariff) IS 'order without meaning, for sorting';

CREATE OPERATOR pg_catalog.> (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_gt,
	COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (billing.tariff, billing.tariff) IS 'order without meaning, for sorting';

CREATE OPERATOR pg_catalog.>= (
	LEFTARG = billing.tariff, RIGHTARG = billing.tariff, FUNCTION = billing.tariff_ge,
	COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (billing.tariff, billing.tariff) IS 'order without meaning, for sorting';

CREATE OPERATOR CLASS billing.tariff_ops
DEFAULT FOR TYPE billing.tariff USING btree AS
	OPERATOR 1 pg_catalog.< (billing.tariff, billing.tariff),
	OPERATOR 2 pg_catalog.<= (billing.tariff, billing.tariff),
	OPERATOR 3 pg_catalog.= (billing.tariff, billing.tariff),
	OPERATOR 4 pg_catalog.>= (billing.tariff, billing.tariff),
	OPERATOR 5 pg_catalog.> (billing.tariff, billing.tariff),
	FUNCTION 1 billing.tariff_cmp(billing.tariff, billing.tariff),
	FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS billing.tariff_ops USING btree IS 'total order without meaning';

CREATE OPERATOR CLASS billing.tariff_hash_ops
DEFAULT FOR TYPE billing.tariff USING hash AS
	OPERATOR 1 pg_catalog.= (billing.tariff, billing.tariff),
	FUNCTION 1 billing.tariff_hash(billing.tariff),
	FUNCTION 2 billing.tariff_hash_extended(billing.tariff, bigint);
COMMENT ON OPERATOR CLASS billing.tariff_hash_ops USING hash IS 'the formula';

CREATE FUNCTION billing.tariff(formula jsonb)
RETURNS billing.tariff
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_from_jsonb';
COMMENT ON FUNCTION billing.tariff(jsonb)
	IS 'the tariff that formula describes; raises 22P02 and 22003 as the input of the type (a repeated key is not seen: jsonb has dropped it)';

CREATE FUNCTION billing.tariff_to_jsonb(tariff billing.tariff)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_to_jsonb';
COMMENT ON FUNCTION billing.tariff_to_jsonb(billing.tariff)
	IS 'the tariff as jsonb; its numbers are strings, so that no reader makes a float of them';

CREATE FUNCTION billing.tariff_to_json(tariff billing.tariff)
RETURNS json
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_to_json';
COMMENT ON FUNCTION billing.tariff_to_json(billing.tariff)
	IS 'the canonical text of the tariff as json';

CREATE CAST (jsonb AS billing.tariff) WITH FUNCTION billing.tariff(jsonb);
COMMENT ON CAST (jsonb AS billing.tariff) IS 'validated as the input of the type';
CREATE CAST (billing.tariff AS jsonb) WITH FUNCTION billing.tariff_to_jsonb(billing.tariff);
COMMENT ON CAST (billing.tariff AS jsonb) IS 'canonical, numbers as strings';
-- The functions that build JSON nest a value as an object only if its type has a cast to json.
CREATE CAST (billing.tariff AS json) WITH FUNCTION billing.tariff_to_json(billing.tariff);
COMMENT ON CAST (billing.tariff AS json) IS 'canonical, numbers as strings';

CREATE FUNCTION billing.tariff_currency(tariff billing.tariff)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_currency';
COMMENT ON FUNCTION billing.tariff_currency(billing.tariff)
	IS 'the ISO 4217 code of the currency a tariff charges in';

CREATE FUNCTION billing.charge(tariff billing.tariff, quantity numeric, events bigint DEFAULT 0)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_charge';
COMMENT ON FUNCTION billing.charge(billing.tariff, numeric, bigint)
	IS 'what quantity costs, rounded once, half away from zero, to the currency; a negative quantity bills as zero; events: how many events make up the quantity, for event_amount; raises 22023 for a tariff judged event by event and for negative events, 22003 for a quantity that is not finite, YB003 beyond the range of billing.amount';

CREATE FUNCTION billing.charge_exact(tariff billing.tariff, quantity numeric, events bigint DEFAULT 0)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_charge_exact';
COMMENT ON FUNCTION billing.charge_exact(billing.tariff, numeric, bigint)
	IS 'what quantity costs before rounding, in major units of the tariff''s currency; raises 22023 and 22003 as billing.charge';

CREATE FUNCTION billing.explain_charge(tariff billing.tariff, quantity numeric, events bigint DEFAULT 0,
	OUT tier integer, OUT from_quantity numeric, OUT to_quantity numeric, OUT units numeric,
	OUT unit_amount numeric, OUT flat_amount numeric, OUT subtotal numeric, OUT note text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'billing_explain_charge';
COMMENT ON FUNCTION billing.explain_charge(billing.tariff, numeric, bigint)
	IS 'how billing.charge comes about: one row per tier that units fall in, and one each for free units, events and a bound that applies (tier is NULL there, note says which); the subtotals, in major units, add up to billing.charge_exact; raises as it';

CREATE FUNCTION billing.charge_events_step(internal, tariff billing.tariff, quantity numeric)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_charge_events_step';
COMMENT ON FUNCTION billing.charge_events_step(internal, billing.tariff, numeric)
	IS 'transition of aggregate billing.charge_events';

CREATE FUNCTION billing.charge_events_final(internal)
RETURNS billing.amount
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_charge_events_final';
COMMENT ON FUNCTION billing.charge_events_final(internal)
	IS 'result of aggregate billing.charge_events';

CREATE AGGREGATE billing.charge_events(tariff billing.tariff, quantity numeric) (
	SFUNC = billing.charge_events_step,
	STYPE = internal,
	FINALFUNC = billing.charge_events_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE billing.charge_events(billing.tariff, numeric)
	IS 'what the events cost together under one tariff, each judged in the order of the call: say ORDER BY at; rounded once; a NULL quantity is no event, no row at all gives NULL; raises 22023 when the tariff differs between rows, 22003 for a quantity that is not finite, YB003';

-- what a price keeps beside its tariff

CREATE FUNCTION billing.tariff_digest(tariff billing.tariff)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_digest';
COMMENT ON FUNCTION billing.tariff_digest(billing.tariff)
	IS 'SHA-256 of the canonical text of a tariff, 32 bytes: what a calculation log names it by';

CREATE FUNCTION billing.tariff_unit_amount(tariff billing.tariff)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_unit_amount';
COMMENT ON FUNCTION billing.tariff_unit_amount(billing.tariff)
	IS 'what one unit costs (per_unit) or the whole (flat), in major units of the currency; NULL where units have several prices';

CREATE FUNCTION billing.tariff_is_per_event(tariff billing.tariff)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tariff_is_per_event';
COMMENT ON FUNCTION billing.tariff_is_per_event(billing.tariff)
	IS 'whether the tariff is judged event by event, so that only billing.charge_events can price with it';
