
-- calculation: the canonical text of what an invoice was calculated from ----------

CREATE FUNCTION billing.calculation_items_step(internal, line integer, kind text, price_code text, formula bytea,
	quantity numeric, amount billing.amount, period_start timestamptz, period_end timestamptz,
	usage_events bigint, usage_digest bigint, adjusts_invoice_id bigint, adjusts_line integer, plan_id bigint,
	discount billing.amount, tax billing.amount, tax_included billing.amount)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_items_step';
COMMENT ON FUNCTION billing.calculation_items_step(internal, integer, text, text, bytea, numeric, billing.amount,
	timestamptz, timestamptz, bigint, bigint, bigint, integer, bigint, billing.amount, billing.amount, billing.amount)
	IS 'transition of aggregate billing.calculation_items';

CREATE FUNCTION billing.calculation_items_final(internal)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_items_final';
COMMENT ON FUNCTION billing.calculation_items_final(internal)
	IS 'result of aggregate billing.calculation_items';

CREATE AGGREGATE billing.calculation_items(line integer, kind text, price_code text, formula bytea,
	quantity numeric, amount billing.amount, period_start timestamptz, period_end timestamptz,
	usage_events bigint, usage_digest bigint, adjusts_invoice_id bigint, adjusts_line integer, plan_id bigint,
	discount billing.amount, tax billing.amount, tax_included billing.amount) (
	SFUNC = billing.calculation_items_step,
	STYPE = internal,
	SSPACE = 2048,
	FINALFUNC = billing.calculation_items_final
);
COMMENT ON AGGREGATE billing.calculation_items(integer, text, text, bytea, numeric, billing.amount, timestamptz,
	timestamptz, bigint, bigint, bigint, integer, bigint, billing.amount, billing.amount, billing.amount)
	IS 'the items of an invoice as canonical JSON, ordered by line; formula is the digest of the tariff or of the strategy''s source; what is NULL is left out, and a discount or tax of 0';

CREATE FUNCTION billing.calculation_tax(tax_rate text, percent numeric, is_inclusive boolean, lines integer[],
	base billing.amount, amount billing.amount, note text)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_tax';
COMMENT ON FUNCTION billing.calculation_tax(text, numeric, boolean, integer[], billing.amount, billing.amount, text)
	IS 'a tax of an invoice as canonical JSON; what is NULL or false is left out';

CREATE FUNCTION billing.calculation_taxes(taxes text[])
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN nullif('[' || array_to_string(taxes, ',') || ']', '[]');
COMMENT ON FUNCTION billing.calculation_taxes(text[])
	IS 'the taxes of an invoice, each as of billing.calculation_tax, as one array; NULL of none';

CREATE FUNCTION billing.calculation_coupon(terms billing.coupon_terms, discount billing.amount)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_coupon';
COMMENT ON FUNCTION billing.calculation_coupon(billing.coupon_terms, billing.amount)
	IS 'a coupon of an invoice and what it takes off as canonical JSON; what is NULL is left out';

CREATE FUNCTION billing.calculation_coupons(coupons text[])
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN nullif('[' || array_to_string(coupons, ',') || ']', '[]');
COMMENT ON FUNCTION billing.calculation_coupons(text[])
	IS 'the coupons of an invoice, each as of billing.calculation_coupon, as one array; NULL of none';

CREATE FUNCTION billing.calculation_inputs(kind text, subscription_id bigint, plan_id bigint, quantity integer,
	timezone text, arrears tstzrange, arrears_whole tstzrange, advance tstzrange, advance_whole tstzrange,
	step_arrears tstzrange, step_arrears_whole tstzrange, step_advance tstzrange, step_advance_whole tstzrange,
	items text, subtotal billing.amount, discount billing.amount, tax_percent numeric, tax billing.amount,
	tax_included billing.amount, taxes text, total billing.amount, coupons text, party bytea)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_inputs';
COMMENT ON FUNCTION billing.calculation_inputs(text, bigint, bigint, integer, text, tstzrange, tstzrange, tstzrange,
	tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, text, billing.amount, billing.amount, numeric,
	billing.amount, billing.amount, text, billing.amount, text, bytea)
	IS 'what an invoice was calculated from, as canonical JSON: no setting changes a byte; items from billing.calculation_items, taxes from billing.calculation_taxes, coupons from billing.calculation_coupons, party a salted digest of who is billed; what is NULL is left out';

CREATE FUNCTION billing.calculation_hash(inputs text)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_calculation_hash';
COMMENT ON FUNCTION billing.calculation_hash(text)
	IS 'SHA-256 of a text in UTF-8';

CREATE FUNCTION billing.chain_link(link bytea, start bytea, hash bytea)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_chain_link';
COMMENT ON FUNCTION billing.chain_link(bytea, bytea, bytea)
	IS 'SHA-256 of the link before (start if it is NULL) and of hash; transition of aggregate billing.chain; 22023 beyond 32 bytes';

CREATE AGGREGATE billing.chain(start bytea, hash bytea) (
	SFUNC = billing.chain_link,
	STYPE = bytea
);
COMMENT ON AGGREGATE billing.chain(bytea, bytea)
	IS 'the link of a hash chain after these hashes, in their order, from link start on; as a window function, each link';

CREATE FUNCTION billing.usage_digest(event_id text, meter text, subscription_id bigint, quantity numeric, at timestamptz)
RETURNS bigint
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_digest';
COMMENT ON FUNCTION billing.usage_digest(text, text, bigint, numeric, timestamptz)
	IS 'digest of one usage event: the first 64 bits of a SHA-256, the same for equal quantities whatever their scale';

CREATE FUNCTION billing.digest_add(a bigint, b bigint)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_digest_add';
COMMENT ON FUNCTION billing.digest_add(bigint, bigint)
	IS 'sum modulo 2^64 of two digests';

CREATE AGGREGATE billing.digest_sum(digest bigint) (
	SFUNC = billing.digest_add,
	STYPE = bigint,
	INITCOND = '0',
	COMBINEFUNC = billing.digest_add,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE billing.digest_sum(bigint)
	IS 'sum modulo 2^64 of digests: the same in any order, 0 of no rows';

CREATE FUNCTION billing.party_digest(salt uuid, billing_name text, billing_email text, billing_address jsonb, tax_id text)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_party_digest';
COMMENT ON FUNCTION billing.party_digest(uuid, text, text, jsonb, text)
	IS 'salted digest of who is billed: what a calculation log states of a person, so that erasing the person and the salt leaves the proof; NULL without a salt';
