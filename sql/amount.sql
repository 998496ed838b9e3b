
-- amount -------------------------------------------------------------------

CREATE TYPE billing.amount;

CREATE FUNCTION billing.amount_in(cstring)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_in';
COMMENT ON FUNCTION billing.amount_in(cstring)
	IS 'input of billing.amount: 49.00 USD or usd 49; 22P02 if malformed, of an unknown currency or with too many decimals, 22003 beyond 64-bit minor units';

CREATE FUNCTION billing.amount_out(billing.amount)
RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_out';
COMMENT ON FUNCTION billing.amount_out(billing.amount)
	IS 'output of billing.amount: all decimals of the currency, a space, the code';

CREATE FUNCTION billing.amount_recv(internal)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_recv';
COMMENT ON FUNCTION billing.amount_recv(internal)
	IS 'binary input of billing.amount: minor units as int8, then three bytes of code; 22P03 if the currency is unknown';

CREATE FUNCTION billing.amount_send(billing.amount)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_send';
COMMENT ON FUNCTION billing.amount_send(billing.amount)
	IS 'binary output of billing.amount: minor units as int8, then three bytes of code';

CREATE TYPE billing.amount (
	INPUT = billing.amount_in,
	OUTPUT = billing.amount_out,
	RECEIVE = billing.amount_recv,
	SEND = billing.amount_send,
	INTERNALLENGTH = 16,
	ALIGNMENT = double,
	STORAGE = plain
);
COMMENT ON TYPE billing.amount
	IS 'exact money: 64-bit minor units and their ISO 4217 currency; text form 49.00 USD';

CREATE FUNCTION billing.currencies(OUT code text, OUT exponent integer, OUT is_active boolean)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_currencies';
COMMENT ON FUNCTION billing.currencies()
	IS 'every currency an amount can be in: ISO 4217 code, decimals of its minor unit, and whether the code is in force or withdrawn';

-- from and to other types

CREATE FUNCTION billing.amount(number numeric, currency text)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount';
COMMENT ON FUNCTION billing.amount(numeric, text)
	IS 'number of currency units (not minor units) as an amount, rounded half away from zero to the currency''s decimals; 22023 unknown currency, 22003 NaN or infinity, YB003 out of range';

CREATE FUNCTION billing.from_minor_units(units bigint, currency text)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_from_minor_units';
COMMENT ON FUNCTION billing.from_minor_units(bigint, text)
	IS 'number of minor units (cents of USD, yen of JPY) as an amount; 22023 unknown currency';

CREATE FUNCTION billing.minor_units(amount billing.amount)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_minor_units';
COMMENT ON FUNCTION billing.minor_units(billing.amount)
	IS 'the amount in minor units: 4900 of 49.00 USD';

CREATE FUNCTION billing.currency(amount billing.amount)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_currency';
COMMENT ON FUNCTION billing.currency(billing.amount)
	IS 'the ISO 4217 code of the amount, in upper case';

CREATE FUNCTION billing.to_numeric(billing.amount)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_to_numeric';
COMMENT ON FUNCTION billing.to_numeric(billing.amount)
	IS 'the number without its currency, with as many decimals as the currency has; the function of the cast amount::numeric';

CREATE CAST (billing.amount AS numeric) WITH FUNCTION billing.to_numeric(billing.amount);
COMMENT ON CAST (billing.amount AS numeric) IS 'the number without its currency; explicit, because it forgets what the number is of';

CREATE FUNCTION billing.format(amount billing.amount, locale text DEFAULT 'en-US')
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_format';
COMMENT ON FUNCTION billing.format(billing.amount, text)
	IS 'the amount as people of a locale write it, such as $1,234.50; locale is a BCP 47 tag such as de-DE or zh-Hans-CN; every decimal of the currency is written; as 1234.50 EUR where the encoding of the database lacks a character of that; 22023 unknown locale';

CREATE FUNCTION billing.format_date(day date, locale text DEFAULT 'en-US')
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_format_date';
COMMENT ON FUNCTION billing.format_date(date, text)
	IS 'the day in words as people of a locale write it, such as January 31, 2026; of an instant, say the day with AT TIME ZONE first; locale is a BCP 47 tag such as de-DE or zh-Hans-CN; as 2026-01-31 where the encoding of the database lacks a letter of that; 22008 infinity, 22023 unknown locale';

CREATE FUNCTION billing.is_locale(locale text)
RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_locale';
COMMENT ON FUNCTION billing.is_locale(text)
	IS 'whether billing.format() and format_date() take it: a BCP 47 tag of a language that ICU has data for';

-- arithmetic: one currency, exact, rounded once half away from zero

CREATE FUNCTION billing.amount_add(billing.amount, billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_add';
COMMENT ON FUNCTION billing.amount_add(billing.amount, billing.amount)
	IS 'sum of two amounts; YB002 two currencies, YB003 out of range';

CREATE FUNCTION billing.amount_sub(billing.amount, billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_sub';
COMMENT ON FUNCTION billing.amount_sub(billing.amount, billing.amount)
	IS 'difference of two amounts; YB002 two currencies, YB003 out of range';

CREATE FUNCTION billing.amount_neg(billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_neg';
COMMENT ON FUNCTION billing.amount_neg(billing.amount)
	IS 'the amount with the other sign; YB003 of the minimum';

CREATE FUNCTION billing.abs(amount billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_abs';
COMMENT ON FUNCTION billing.abs(billing.amount)
	IS 'the amount without its sign; YB003 of the minimum';

CREATE FUNCTION billing.amount_mul(billing.amount, numeric)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_mul';
COMMENT ON FUNCTION billing.amount_mul(billing.amount, numeric)
	IS 'amount times factor, rounded half away from zero; 22003 NaN or infinity, YB003 out of range';

CREATE FUNCTION billing.numeric_mul_amount(numeric, billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_numeric_mul_amount';
COMMENT ON FUNCTION billing.numeric_mul_amount(numeric, billing.amount)
	IS 'factor times amount, rounded half away from zero; 22003 NaN or infinity, YB003 out of range';

CREATE FUNCTION billing.amount_div(billing.amount, numeric)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_div';
COMMENT ON FUNCTION billing.amount_div(billing.amount, numeric)
	IS 'amount over divisor, rounded half away from zero; 22012 division by zero, 22003 NaN or infinity, YB003 out of range';

CREATE FUNCTION billing.amount_ratio(billing.amount, billing.amount)
RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_ratio';
COMMENT ON FUNCTION billing.amount_ratio(billing.amount, billing.amount)
	IS 'how many times the second amount goes into the first, with the decimals of numeric division; YB002 two currencies, 22012 division by zero';

CREATE OPERATOR pg_catalog.+ (
	FUNCTION = billing.amount_add,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.+)
);
COMMENT ON OPERATOR pg_catalog.+ (billing.amount, billing.amount)
	IS 'add; YB002 two currencies, YB003 out of range';

CREATE OPERATOR pg_catalog.- (
	FUNCTION = billing.amount_sub,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount
);
COMMENT ON OPERATOR pg_catalog.- (billing.amount, billing.amount)
	IS 'subtract; YB002 two currencies, YB003 out of range';

CREATE OPERATOR pg_catalog.- (
	FUNCTION = billing.amount_neg,
	RIGHTARG = billing.amount
);
COMMENT ON OPERATOR pg_catalog.- (NONE, billing.amount)
	IS 'negate; YB003 of the minimum';

CREATE OPERATOR pg_catalog.* (
	FUNCTION = billing.amount_mul,
	LEFTARG = billing.amount,
	RIGHTARG = numeric,
	COMMUTATOR = OPERATOR(pg_catalog.*)
);
COMMENT ON OPERATOR pg_catalog.* (billing.amount, numeric)
	IS 'multiply, rounded half away from zero; 22003 NaN or infinity, YB003 out of range';

CREATE OPERATOR pg_catalog.* (
	FUNCTION = billing.numeric_mul_amount,
	LEFTARG = numeric,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.*)
);
COMMENT ON OPERATOR pg_catalog.* (numeric, billing.amount)
	IS 'multiply, rounded half away from zero; 22003 NaN or infinity, YB003 out of range';

CREATE OPERATOR pg_catalog./ (
	FUNCTION = billing.amount_div,
	LEFTARG = billing.amount,
	RIGHTARG = numeric
);
COMMENT ON OPERATOR pg_catalog./ (billing.amount, numeric)
	IS 'divide, rounded half away from zero; 22012 division by zero, 22003 NaN or infinity, YB003 out of range';

CREATE OPERATOR pg_catalog./ (
	FUNCTION = billing.amount_ratio,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount
);
COMMENT ON OPERATOR pg_catalog./ (billing.amount, billing.amount)
	IS 'ratio; YB002 two currencies, 22012 division by zero';

-- comparison: a total order, currency code first, then units; never raises

CREATE FUNCTION billing.amount_eq(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_eq';
COMMENT ON FUNCTION billing.amount_eq(billing.amount, billing.amount)
	IS 'equal: the same currency and the same units';

CREATE FUNCTION billing.amount_ne(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_ne';
COMMENT ON FUNCTION billing.amount_ne(billing.amount, billing.amount)
	IS 'not equal';

CREATE FUNCTION billing.amount_lt(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_lt';
COMMENT ON FUNCTION billing.amount_lt(billing.amount, billing.amount)
	IS 'before in the order of currency code, then units';

CREATE FUNCTION billing.amount_le(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_le';
COMMENT ON FUNCTION billing.amount_le(billing.amount, billing.amount)
	IS 'before or equal in the order of currency code, then units';

CREATE FUNCTION billing.amount_gt(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_gt';
COMMENT ON FUNCTION billing.amount_gt(billing.amount, billing.amount)
	IS 'after in the order of currency code, then units';

CREATE FUNCTION billing.amount_ge(billing.amount, billing.amount)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_ge';
COMMENT ON FUNCTION billing.amount_ge(billing.amount, billing.amount)
	IS 'after or equal in the order of currency code, then units';

CREATE FUNCTION billing.amount_cmp(billing.amount, billing.amount)
RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_cmp';
COMMENT ON FUNCTION billing.amount_cmp(billing.amount, billing.amount)
	IS '-1, 0 or 1 as the first amount is before, equal to or after the second, by currency code, then units';

CREATE FUNCTION billing.amount_sortsupport(internal)
RETURNS void
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_sortsupport';
COMMENT ON FUNCTION billing.amount_sortsupport(internal)
	IS 'sort support of the btree operator class';

CREATE FUNCTION billing.amount_hash(billing.amount)
RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_hash';
COMMENT ON FUNCTION billing.amount_hash(billing.amount)
	IS '32-bit hash of currency and units';

CREATE FUNCTION billing.amount_hash_extended(billing.amount, bigint)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_hash_extended';
COMMENT ON FUNCTION billing.amount_hash_extended(billing.amount, bigint)
	IS '64-bit hash of currency and units, with a seed';

CREATE OPERATOR pg_catalog.= (
	FUNCTION = billing.amount_eq,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.=),
	NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel,
	JOIN = eqjoinsel,
	HASHES,
	MERGES
);
COMMENT ON OPERATOR pg_catalog.= (billing.amount, billing.amount)
	IS 'equal: the same currency and the same units';

CREATE OPERATOR pg_catalog.<> (
	FUNCTION = billing.amount_ne,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.<>),
	NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel,
	JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (billing.amount, billing.amount)
	IS 'not equal';

CREATE OPERATOR pg_catalog.< (
	FUNCTION = billing.amount_lt,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.>),
	NEGATOR = OPERATOR(pg_catalog.>=),
	RESTRICT = scalarltsel,
	JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (billing.amount, billing.amount)
	IS 'before in the order of currency code, then units';

CREATE OPERATOR pg_catalog.<= (
	FUNCTION = billing.amount_le,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.>=),
	NEGATOR = OPERATOR(pg_catalog.>),
	RESTRICT = scalarlesel,
	JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (billing.amount, billing.amount)
	IS 'before or equal in the order of currency code, then units';

CREATE OPERATOR pg_catalog.> (
	FUNCTION = billing.amount_gt,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.<),
	NEGATOR = OPERATOR(pg_catalog.<=),
	RESTRICT = scalargtsel,
	JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (billing.amount, billing.amount)
	IS 'after in the order of currency code, then units';

CREATE OPERATOR pg_catalog.>= (
	FUNCTION = billing.amount_ge,
	LEFTARG = billing.amount,
	RIGHTARG = billing.amount,
	COMMUTATOR = OPERATOR(pg_catalog.<=),
	NEGATOR = OPERATOR(pg_catalog.<),
	RESTRICT = scalargesel,
	JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (billing.amount, billing.amount)
	IS 'after or equal in the order of currency code, then units';

CREATE OPERATOR CLASS billing.amount_ops
	DEFAULT FOR TYPE billing.amount USING btree AS
	OPERATOR 1 pg_catalog.<,
	OPERATOR 2 pg_catalog.<=,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=,
	OPERATOR 5 pg_catalog.>,
	FUNCTION 1 billing.amount_cmp(billing.amount, billing.amount),
	FUNCTION 2 billing.amount_sortsupport(internal),
	FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS billing.amount_ops USING btree IS 'by currency code, then units';

CREATE OPERATOR CLASS billing.amount_hash_ops
	DEFAULT FOR TYPE billing.amount USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 billing.amount_hash(billing.amount),
	FUNCTION 2 billing.amount_hash_extended(billing.amount, bigint);
COMMENT ON OPERATOR CLASS billing.amount_hash_ops USING hash IS 'currency and units';

-- aggregates: one currency, NULLs skipped, NULL of no rows

CREATE FUNCTION billing.amount_accum(internal, billing.amount)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_accum';
COMMENT ON FUNCTION billing.amount_accum(internal, billing.amount)
	IS 'transition of sum and avg; YB002 two currencies';

CREATE FUNCTION billing.amount_remove(internal, billing.amount)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_remove';
COMMENT ON FUNCTION billing.amount_remove(internal, billing.amount)
	IS 'inverse transition of sum and avg, when a row leaves a window frame';

CREATE FUNCTION billing.amount_combine(internal, internal)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_combine';
COMMENT ON FUNCTION billing.amount_combine(internal, internal)
	IS 'combines two partial sums; YB002 two currencies';

CREATE FUNCTION billing.amount_serialize(internal)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_serialize';
COMMENT ON FUNCTION billing.amount_serialize(internal)
	IS 'a partial sum as bytes';

CREATE FUNCTION billing.amount_deserialize(bytea, internal)
RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_deserialize';
COMMENT ON FUNCTION billing.amount_deserialize(bytea, internal)
	IS 'a partial sum from bytes; 22P03 or 08P01 if they are none';

CREATE FUNCTION billing.amount_sum_final(internal)
RETURNS billing.amount
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_sum_final';
COMMENT ON FUNCTION billing.amount_sum_final(internal)
	IS 'result of sum; YB003 out of range';

CREATE FUNCTION billing.amount_avg_final(internal)
RETURNS billing.amount
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_avg_final';
COMMENT ON FUNCTION billing.amount_avg_final(internal)
	IS 'result of avg, rounded half away from zero';

CREATE FUNCTION billing.amount_smaller(billing.amount, billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_smaller';
COMMENT ON FUNCTION billing.amount_smaller(billing.amount, billing.amount)
	IS 'the smaller of two amounts; YB002 two currencies';

CREATE FUNCTION billing.amount_larger(billing.amount, billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_amount_larger';
COMMENT ON FUNCTION billing.amount_larger(billing.amount, billing.amount)
	IS 'the larger of two amounts; YB002 two currencies';

CREATE AGGREGATE pg_catalog.sum(billing.amount) (
	SFUNC = billing.amount_accum,
	STYPE = internal,
	SSPACE = 48,
	FINALFUNC = billing.amount_sum_final,
	COMBINEFUNC = billing.amount_combine,
	SERIALFUNC = billing.amount_serialize,
	DESERIALFUNC = billing.amount_deserialize,
	MSFUNC = billing.amount_accum,
	MINVFUNC = billing.amount_remove,
	MSTYPE = internal,
	MSSPACE = 48,
	MFINALFUNC = billing.amount_sum_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE pg_catalog.sum(billing.amount)
	IS 'sum of the amounts, NULL of no rows; only the result has to be in range; YB002 two currencies, YB003 out of range';

CREATE AGGREGATE pg_catalog.avg(billing.amount) (
	SFUNC = billing.amount_accum,
	STYPE = internal,
	SSPACE = 48,
	FINALFUNC = billing.amount_avg_final,
	COMBINEFUNC = billing.amount_combine,
	SERIALFUNC = billing.amount_serialize,
	DESERIALFUNC = billing.amount_deserialize,
	MSFUNC = billing.amount_accum,
	MINVFUNC = billing.amount_remove,
	MSTYPE = internal,
	MSSPACE = 48,
	MFINALFUNC = billing.amount_avg_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE pg_catalog.avg(billing.amount)
	IS 'mean of the amounts, rounded half away from zero, NULL of no rows; YB002 two currencies';

-- No SORTOP: an index would give the first row without seeing that others are of
-- another currency.
CREATE AGGREGATE pg_catalog.min(billing.amount) (
	SFUNC = billing.amount_smaller,
	STYPE = billing.amount,
	COMBINEFUNC = billing.amount_smaller,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE pg_catalog.min(billing.amount)
	IS 'smallest of the amounts, NULL of no rows; YB002 two currencies';

CREATE AGGREGATE pg_catalog.max(billing.amount) (
	SFUNC = billing.amount_larger,
	STYPE = billing.amount,
	COMBINEFUNC = billing.amount_larger,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE pg_catalog.max(billing.amount)
	IS 'largest of the amounts, NULL of no rows; YB002 two currencies';

CREATE FUNCTION billing.allocate(whole billing.amount, weights numeric[])
RETURNS billing.amount[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_allocate';
COMMENT ON FUNCTION billing.allocate(billing.amount, numeric[])
	IS 'the amount in parts by weights that sum to it exactly: shares cut to minor units, the units left over one each to the largest remainders, the earlier of equals first; 22023 no weights, more than one dimension, a weight that is NULL, negative, NaN or infinite, or all zero; 54000 more than 10 million weights; 22003 a product beyond the range of numeric';
