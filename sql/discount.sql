
-- discount: what coupons take off the lines of an invoice -----------------------------

CREATE TYPE billing.coupon_terms AS (
	coupon			text,
	percent			numeric,
	amount			billing.amount,
	currency		text,
	min_amount		billing.amount,
	max_discount	billing.amount,
	prices			text[],
	plans			text[],
	is_stackable	boolean
);
COMMENT ON TYPE billing.coupon_terms
	IS 'what a coupon takes off: either percent of the lines it is for or up to a fixed amount (what is left of it); currency: of these amounts, NULL any; nothing below min_amount (NULL: none), at most max_discount (NULL: no bound); prices and plans: codes of those whose lines it is for (NULL: all); is_stackable: also beside other coupons';

CREATE TYPE billing.discounted AS (
	discount		billing.amount,
	line_discounts	billing.amount[],
	coupon_discounts billing.amount[],
	coupon_left		billing.amount[]
);
COMMENT ON TYPE billing.discounted
	IS 'what coupons take off: in all, off each line, by each coupon, and what each fixed one leaves of its amount (NULL: a percentage)';

CREATE FUNCTION billing.discount(currency text, amounts billing.amount[], coupons billing.coupon_terms[],
	prices text[] DEFAULT NULL, plans text[] DEFAULT NULL)
RETURNS billing.discounted
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_discount';
COMMENT ON FUNCTION billing.discount(text, billing.amount[], billing.coupon_terms[], text[], text[])
	IS 'what coupons, in the order of stacking, take off lines of these amounts, prices and plans (codes, NULL: none; no array: of none): one after the other off what is left, a percentage of the sum of the lines it is for, rounded once, half away from zero, a fixed amount at most that sum; shared in proportion to what is left of these lines by largest remainder, off negative ones too; min_amount is compared with the lines before any coupon; a coupon whose currency is another takes nothing; NULL if one of the first three is; raises YB002 lines in another currency, YB003, 22004, 22023';
