
-- composition: what an invoice amounts to ------------------------------------------

CREATE TYPE billing.applied_tax AS (
	tax_rate		text,
	percent			numeric,
	is_inclusive	boolean,
	lines			integer[],
	note			text
);
COMMENT ON TYPE billing.applied_tax
	IS 'a tax on lines of an invoice: code of its rate (NULL: none), percent of the net amount, whether the lines contain it, which lines bear it (from 1; NULL: all), and why it is 0';

CREATE TYPE billing.composition AS (
	subtotal		billing.amount,
	discount		billing.amount,
	tax				billing.amount,
	tax_included	billing.amount,
	total			billing.amount,
	excess			billing.amount,
	tax_percent		numeric,
	line_taxes		billing.amount[],
	line_included	billing.amount[],
	tax_bases		billing.amount[],
	tax_amounts		billing.amount[]
);
COMMENT ON TYPE billing.composition
	IS 'what lines amount to: the columns of billing.invoice (tax_included NULL: nothing; tax_percent NULL: there are several), tax and tax_included of each line, base and amount of each tax';

CREATE FUNCTION billing.choose_taxes(tenant_id bigint, categories text[] DEFAULT NULL)
RETURNS billing.applied_tax[]
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_choose_taxes';
COMMENT ON FUNCTION billing.choose_taxes(bigint, text[])
	IS 'the taxes that lines of these categories (NULL: the standard one; no array: one such line) bear if the tenant is billed now: why it is exempt; else the rate that it names; else its own setting tax_percent; else the active rates of its region and country for the category, or the standard ones; else the setting of all; in the order of their codes; reads as the caller may';

CREATE FUNCTION billing.compose(currency text, amounts billing.amount[], discounts billing.amount[], taxes billing.applied_tax[])
RETURNS billing.composition
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_compose';
COMMENT ON FUNCTION billing.compose(text, billing.amount[], billing.amount[], billing.applied_tax[])
	IS 'what lines of these amounts and discounts amount to with these taxes: each tax of the sum of its lines, rounded once, half away from zero, an included one R(gross * r / (1 + sum of r)), and shared by largest remainder, so that lines, taxes and total agree; a total below zero is excess; raises YB002, YB003, 22004, 22023';

CREATE FUNCTION billing.tax_shares(currency text, amounts billing.amount[], discounts billing.amount[], taxes billing.applied_tax[])
RETURNS TABLE (line integer, line_no integer, share billing.amount)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tax_shares';
COMMENT ON FUNCTION billing.tax_shares(text, billing.amount[], billing.amount[], billing.applied_tax[])
	IS 'what each line has of each tax that it bears (line_no: which of taxes, from 1), as billing.compose shares them; raises YB002, YB003, 22004, 22023';
