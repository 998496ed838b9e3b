
-- coupon: what is taken off an invoice --------------------------------------------------

-- slot_count is how many rows of coupon_slot there are: who claims one makes them as many
-- as redemption_limit says.
CREATE TABLE billing.coupon (
	code			text COLLATE "C" PRIMARY KEY
					CONSTRAINT coupon_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name			text,
	description		text,
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT coupon_kind_is_known CHECK (kind IN ('percentage', 'fixed')),
	value			numeric NOT NULL
					CONSTRAINT coupon_value_is_positive CHECK (value > 0 AND value < 'infinity'),
	currency		text COLLATE "C"
					CONSTRAINT coupon_currency_is_known CHECK (billing.currency(billing.from_minor_units(0, currency)) = currency),
	min_amount		billing.amount
					CONSTRAINT coupon_min_amount_is_positive CHECK (billing.minor_units(min_amount) > 0),
	max_discount	billing.amount
					CONSTRAINT coupon_max_discount_is_positive CHECK (billing.minor_units(max_discount) > 0),
	plans			text[] COLLATE "C"
					CONSTRAINT coupon_plans_are_names CHECK (cardinality(plans) > 0 AND array_position(plans, NULL) IS NULL),
	prices			text[] COLLATE "C"
					CONSTRAINT coupon_prices_are_names CHECK (cardinality(prices) > 0 AND array_position(prices, NULL) IS NULL),
	duration		text COLLATE "C" NOT NULL DEFAULT 'once'
					CONSTRAINT coupon_duration_is_known CHECK (duration IN ('once', 'repeating', 'forever')),
	periods			integer CONSTRAINT coupon_periods_is_positive CHECK (periods > 0),
	is_stackable	boolean NOT NULL DEFAULT true,
	redemption_limit integer CONSTRAINT coupon_redemption_limit_is_in_range CHECK (redemption_limit BETWEEN 1 AND 10000000),
	tenant_limit	integer DEFAULT 1 CONSTRAINT coupon_tenant_limit_is_positive CHECK (tenant_limit > 0),
	valid_from		timestamptz,
	valid_until		timestamptz,
	is_active		boolean NOT NULL DEFAULT true,
	used_at			timestamptz,
	slot_count		integer NOT NULL DEFAULT 0 CONSTRAINT coupon_slot_count_is_not_negative CHECK (slot_count >= 0),
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	created_by		text COLLATE "C" NOT NULL DEFAULT session_user,
	CONSTRAINT coupon_percentage_is_in_range CHECK (kind <> 'percentage' OR (value <= 100 AND round(value, 6) = value)),
	CONSTRAINT coupon_fixed_has_currency CHECK (kind <> 'fixed' OR currency IS NOT NULL),
	CONSTRAINT coupon_fixed_is_in_minor_units CHECK (kind <> 'fixed' OR billing.to_numeric(billing.amount(value, currency)) = value),
	CONSTRAINT coupon_amounts_are_in_its_currency CHECK (num_nonnulls(min_amount, max_discount) = 0
		OR coalesce(currency = coalesce(billing.currency(min_amount), currency)
			AND currency = coalesce(billing.currency(max_discount), currency), false)),
	CONSTRAINT coupon_periods_are_of_repeating CHECK ((duration = 'repeating') = (periods IS NOT NULL)),
	CONSTRAINT coupon_window_is_forward CHECK (valid_until > valid_from),
	CONSTRAINT coupon_has_no_card CHECK (billing.has_no_card(name) AND billing.has_no_card(description))
);
COMMENT ON TABLE billing.coupon
	IS 'coupons: what each takes off the invoices it is applied to; one that was applied is immutable but for its name, description, limits, window and is_active';
COMMENT ON COLUMN billing.coupon.code IS 'what a customer enters; upper and lower case differ';
COMMENT ON COLUMN billing.coupon.name IS 'for people';
COMMENT ON COLUMN billing.coupon.description IS 'for people';
COMMENT ON COLUMN billing.coupon.kind IS 'percentage or fixed';
COMMENT ON COLUMN billing.coupon.value IS 'percent of what it is for (20 is 20 %), or an amount in major units of currency';
COMMENT ON COLUMN billing.coupon.currency IS 'of its amounts, ISO 4217: it takes nothing off invoices in another; NULL: a percentage, of any';
COMMENT ON COLUMN billing.coupon.min_amount IS 'it takes nothing where the lines it is for come to less, before any coupon; NULL: none';
COMMENT ON COLUMN billing.coupon.max_discount IS 'the most it takes off one invoice; NULL: no bound';
COMMENT ON COLUMN billing.coupon.plans IS 'codes of the plans whose lines it is for; NULL: all lines';
COMMENT ON COLUMN billing.coupon.prices IS 'codes of the prices whose lines it is for; NULL: all lines';
COMMENT ON COLUMN billing.coupon.duration IS 'of a subscription: once, repeating (periods invoices) or forever; a fixed amount that is larger than the invoice carries its rest over if once, loses it otherwise';
COMMENT ON COLUMN billing.coupon.periods IS 'of a repeating one: off how many invoices';
COMMENT ON COLUMN billing.coupon.is_stackable IS 'false: beside no other coupon';
COMMENT ON COLUMN billing.coupon.redemption_limit IS 'how often it is applied in all, to a subscription or a one-off invoice; NULL: no limit';
COMMENT ON COLUMN billing.coupon.tenant_limit IS 'how often by one tenant; NULL: no limit';
COMMENT ON COLUMN billing.coupon.valid_from IS 'since when it can be applied; NULL: always';
COMMENT ON COLUMN billing.coupon.valid_until IS 'until when it can be applied, exclusive: what it was applied to keeps it; NULL: for ever';
COMMENT ON COLUMN billing.coupon.is_active IS 'false: retired, applied no more; what it was applied to keeps it';
COMMENT ON COLUMN billing.coupon.used_at IS 'when it was first applied: from then on it does not change; never by hand';
COMMENT ON COLUMN billing.coupon.slot_count IS 'rows of coupon_slot; never by hand';
SELECT pg_catalog.pg_extension_config_dump('billing.coupon', '');

CREATE FUNCTION billing.coupon_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_coupon_guard';
COMMENT ON FUNCTION billing.coupon_guard()
	IS 'trigger of billing.coupon: of one that was applied only name, description, limits, window and is_active change, and it stays; raises YB004';

CREATE TRIGGER coupon_guard BEFORE UPDATE OR DELETE ON billing.coupon
	FOR EACH ROW EXECUTE FUNCTION billing.coupon_guard();
CREATE TRIGGER truncate_guard BEFORE TRUNCATE ON billing.coupon
	FOR EACH STATEMENT EXECUTE FUNCTION billing.truncate_guard();

-- The one thing tenants share: who applies a coupon takes a free slot, passing over those
-- that others are taking, and only when there are no more waits for these.
CREATE TABLE billing.coupon_slot (
	coupon		text COLLATE "C" NOT NULL REFERENCES billing.coupon,
	slot_no		integer NOT NULL,
	taken_by	bigint,
	use_id		bigint,
	PRIMARY KEY (coupon, slot_no),
	CONSTRAINT coupon_slot_is_taken_by_use CHECK ((taken_by IS NULL) = (use_id IS NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.coupon_slot
	IS 'a total redemption limit is that many rows; made when the coupon is next applied after the limit was set, raised or lowered; written by apply_coupon and what gives a coupon back';
COMMENT ON COLUMN billing.coupon_slot.coupon IS 'of which coupon';
COMMENT ON COLUMN billing.coupon_slot.slot_no IS 'which of them';
COMMENT ON COLUMN billing.coupon_slot.taken_by IS 'which tenant has it; NULL: it is free';
COMMENT ON COLUMN billing.coupon_slot.use_id IS 'and for what: coupon_use.use_id';
SELECT pg_catalog.pg_extension_config_dump('billing.coupon_slot', '');

-- Free ones are few of many taken.
CREATE INDEX coupon_slot_free ON billing.coupon_slot (coupon, slot_no) WHERE taken_by IS NULL;

-- A use holds its slot until it is released, which it is when it is over and no invoice
-- has it: an invoice that is void gave it back.
CREATE TABLE billing.coupon_use (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	use_id			bigint NOT NULL DEFAULT billing.next_id(),
	coupon			text COLLATE "C" NOT NULL REFERENCES billing.coupon,
	subscription_id	bigint,
	invoice_id		bigint,
	slot_no			integer,
	amount_left		billing.amount CONSTRAINT coupon_use_amount_left_is_not_negative CHECK (billing.minor_units(amount_left) >= 0),
	periods_left	integer CONSTRAINT coupon_use_periods_left_is_not_negative CHECK (periods_left >= 0),
	applied_at		timestamptz NOT NULL DEFAULT billing.now(),
	ended_at		timestamptz,
	released_at		timestamptz,
	PRIMARY KEY (tenant_id, use_id),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	CONSTRAINT coupon_use_is_of_subscription_or_invoice CHECK (num_nonnulls(subscription_id, invoice_id) = 1),
	CONSTRAINT coupon_use_released_is_over CHECK (released_at IS NULL OR (ended_at IS NOT NULL AND slot_no IS NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.coupon_use
	IS 'a coupon as it is applied to a subscription, or to one invoice, and what is left of it; one use counts once for the limits of the coupon, however many invoices it takes something off; written by apply_coupon and the functions of its name';
COMMENT ON COLUMN billing.coupon_use.tenant_id IS 'whose';
COMMENT ON COLUMN billing.coupon_use.use_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.coupon_use.coupon IS 'code of the coupon';
COMMENT ON COLUMN billing.coupon_use.subscription_id IS 'whose invoices it takes something off';
COMMENT ON COLUMN billing.coupon_use.invoice_id IS 'or the one invoice';
COMMENT ON COLUMN billing.coupon_use.slot_no IS 'the slot it has of a coupon with a limit';
COMMENT ON COLUMN billing.coupon_use.amount_left IS 'of a fixed amount, once: what is left of it; NULL: it is whole each time, or a percentage';
COMMENT ON COLUMN billing.coupon_use.periods_left IS 'off how many invoices more; NULL: no bound';
COMMENT ON COLUMN billing.coupon_use.applied_at IS 'when it was applied';
COMMENT ON COLUMN billing.coupon_use.ended_at IS 'when it was removed, or what it was applied to ended or became void; NULL: it goes on';
COMMENT ON COLUMN billing.coupon_use.released_at IS 'when it was given back, since no invoice has it: it counts for no limit; NULL: it counts';
SELECT pg_catalog.pg_extension_config_dump('billing.coupon_use', '');

CREATE INDEX coupon_use_by_subscription ON billing.coupon_use (tenant_id, subscription_id) WHERE subscription_id IS NOT NULL;
CREATE INDEX coupon_use_by_invoice ON billing.coupon_use (tenant_id, invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, use_id, coupon, subscription_id, invoice_id, applied_at ON billing.coupon_use
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Remove the coupon and apply another.');
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON billing.coupon_use
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Remove the coupon by billing.remove_coupon(); that it was applied stays.');

ALTER TABLE billing.coupon_use ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.coupon_use
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- Reserved while its invoice is a draft or owed, redeemed when that is paid, released when
-- it is void: the status is the invoice's, so that no flow has to keep it.
CREATE TABLE billing.coupon_redemption (
	tenant_id	bigint NOT NULL,
	invoice_id	bigint NOT NULL,
	use_id		bigint NOT NULL,
	step		integer NOT NULL CONSTRAINT coupon_redemption_step_is_positive CHECK (step > 0),
	coupon		text COLLATE "C" NOT NULL REFERENCES billing.coupon,
	amount		billing.amount,
	discount	billing.amount NOT NULL CONSTRAINT coupon_redemption_discount_is_positive CHECK (billing.minor_units(discount) > 0),
	reserved_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, invoice_id, use_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, use_id) REFERENCES billing.coupon_use
);
COMMENT ON TABLE billing.coupon_redemption
	IS 'what a coupon takes off an invoice; amount: of a fixed one, what there was of it; view coupon_usage says what became of it';
COMMENT ON COLUMN billing.coupon_redemption.tenant_id IS 'whose';
COMMENT ON COLUMN billing.coupon_redemption.invoice_id IS 'off which invoice';
COMMENT ON COLUMN billing.coupon_redemption.use_id IS 'by which use';
COMMENT ON COLUMN billing.coupon_redemption.step IS 'from 1, in the order in which they take off';
COMMENT ON COLUMN billing.coupon_redemption.coupon IS 'code of the coupon';
COMMENT ON COLUMN billing.coupon_redemption.amount IS 'of a fixed one: what there was of it; NULL: a percentage';
COMMENT ON COLUMN billing.coupon_redemption.discount IS 'what it takes off in all';
COMMENT ON COLUMN billing.coupon_redemption.reserved_at IS 'when the invoice was calculated';
SELECT pg_catalog.pg_extension_config_dump('billing.coupon_redemption', '');

CREATE INDEX coupon_redemption_by_use ON billing.coupon_redemption (tenant_id, use_id);

CREATE TRIGGER coupon_redemption_guard BEFORE UPDATE OR DELETE ON billing.coupon_redemption
	FOR EACH ROW EXECUTE FUNCTION billing.invoice_part_guard();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.coupon_redemption
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be; what was taken off it stays stated.');

ALTER TABLE billing.coupon_redemption ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.coupon_redemption
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE VIEW billing.coupon_usage WITH (security_invoker) AS
	SELECT r.tenant_id, r.invoice_id, r.use_id, r.coupon, u.subscription_id, r.discount,
		CASE v.status WHEN 'paid' THEN 'redeemed' WHEN 'void' THEN 'released' ELSE 'reserved' END AS status,
		r.reserved_at, v.paid_at AS redeemed_at, v.voided_at AS released_at
	FROM billing.coupon_redemption r
	JOIN billing.coupon_use u ON u.tenant_id = r.tenant_id AND u.use_id = r.use_id
	JOIN billing.invoice v ON v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id;
COMMENT ON VIEW billing.coupon_usage
	IS 'what coupons took off invoices: reserved while the invoice is a draft or owed, redeemed when it is paid, released when it is void';
COMMENT ON COLUMN billing.coupon_usage.invoice_id IS 'the invoice that it took something off';
COMMENT ON COLUMN billing.coupon_usage.use_id IS 'row of billing.coupon_use: the coupon applied once, to a subscription or an invoice';
COMMENT ON COLUMN billing.coupon_usage.coupon IS 'its code';
COMMENT ON COLUMN billing.coupon_usage.subscription_id IS 'what it was applied to; NULL: to the invoice alone';
COMMENT ON COLUMN billing.coupon_usage.discount IS 'what it took off that invoice';
COMMENT ON COLUMN billing.coupon_usage.status IS 'reserved, redeemed or released, as the invoice is';
COMMENT ON COLUMN billing.coupon_usage.reserved_at IS 'when it was taken off';
COMMENT ON COLUMN billing.coupon_usage.redeemed_at IS 'when the invoice was paid';
COMMENT ON COLUMN billing.coupon_usage.released_at IS 'when the invoice was voided';

-- What a coupon takes off with what is left of it, in the order of stacking.
CREATE FUNCTION billing.terms_of_coupon(coupon billing.coupon, amount_left billing.amount)
RETURNS billing.coupon_terms
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(coupon.code, CASE WHEN coupon.kind = 'percentage' THEN coupon.value END,
	CASE WHEN coupon.kind = 'fixed' THEN coalesce(amount_left, billing.amount(coupon.value, coupon.currency)) END, coupon.currency,
	coupon.min_amount, coupon.max_discount, coupon.prices, coupon.plans, coupon.is_stackable)::billing.coupon_terms;
COMMENT ON FUNCTION billing.terms_of_coupon(billing.coupon, billing.amount)
	IS 'a coupon as billing.discount takes it; amount_left: of a fixed one, NULL all of it';

-- The uses that took something off the invoice in whose place this one is issued, also where
-- they are over: it was billed with them.
CREATE FUNCTION billing.reissued_uses(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (use_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT r.use_id
	FROM billing.invoice i
	JOIN billing.invoice v ON v.tenant_id = i.tenant_id AND v.status = 'void'
		AND v.biz_key = CASE WHEN i.subscription_id IS NOT NULL THEN billing.biz_key(i.subscription_id, i.period_end, i.kind,
			(regexp_match(i.biz_key, '/([0-9]+)$'))[1]::integer - 1) END
	JOIN billing.coupon_redemption r ON r.tenant_id = v.tenant_id AND r.invoice_id = v.invoice_id
	JOIN billing.coupon_use u ON u.tenant_id = r.tenant_id AND u.use_id = r.use_id AND u.released_at IS NULL
	WHERE i.tenant_id = reissued_uses.tenant_id AND i.invoice_id = reissued_uses.invoice_id;
END;
COMMENT ON FUNCTION billing.reissued_uses(bigint, bigint)
	IS 'of an invoice that is issued in the place of a void one the uses of coupons (coupon_use.use_id) that took something off that one and were not given back; of another no row';

CREATE FUNCTION billing.live_coupons(tenant_id bigint, subscription_id bigint, invoice_id bigint)
RETURNS TABLE (step integer, use_id bigint, coupon text, amount billing.amount, is_alone boolean, terms billing.coupon_terms)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH reissued AS MATERIALIZED (
		SELECT r.use_id
		FROM billing.reissued_uses(live_coupons.tenant_id, live_coupons.invoice_id) r
	), live AS (
		SELECT u.use_id, u.coupon, u.amount_left, u.periods_left
		FROM billing.coupon_use u
		WHERE u.tenant_id = live_coupons.tenant_id AND u.ended_at IS NULL
		  AND (u.subscription_id = live_coupons.subscription_id OR u.invoice_id = live_coupons.invoice_id)
		  AND NOT EXISTS (SELECT FROM reissued)
		UNION ALL
		SELECT u.use_id, u.coupon, u.amount_left, u.periods_left
		FROM reissued r
		JOIN billing.coupon_use u ON u.tenant_id = live_coupons.tenant_id AND u.use_id = r.use_id
	)
	SELECT (row_number() OVER (ORDER BY c.prices IS NULL, c.plans IS NULL, u.use_id))::integer, u.use_id, u.coupon,
		(t.terms).amount, NOT c.is_stackable, t.terms
	FROM live u
	JOIN billing.coupon c ON c.code = u.coupon
	CROSS JOIN LATERAL (SELECT billing.terms_of_coupon(c, u.amount_left) AS terms) t
	WHERE coalesce(billing.minor_units(u.amount_left) > 0, true) AND coalesce(u.periods_left > 0, true);
END;
COMMENT ON FUNCTION billing.live_coupons(bigint, bigint, bigint)
	IS 'the coupons of a subscription and of one invoice (NULL: none) that something is left of, of an invoice issued again those of the one in whose place it is, if it had any; in the order of stacking: for prices, for plans, general, then as they were applied';

CREATE FUNCTION billing.validate_coupon(tenant_id bigint, code text, plan text DEFAULT NULL, amount billing.amount DEFAULT NULL,
	OUT valid boolean, OUT reason text, OUT discount billing.amount)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_validate_coupon';
COMMENT ON FUNCTION billing.validate_coupon(bigint, text, text, billing.amount)
	IS 'whether a tenant may apply a coupon now, to a subscription to plan (its code; NULL: not judged), and what it takes off amount (of lines it is for; NULL: not judged); reason names the rule that refuses it: unknown, inactive, not_yet_valid, expired, plan, price, currency, min_amount, limit or tenant_limit; raises YB001 no such tenant, YB015, 22004';

CREATE FUNCTION billing.apply_coupon(tenant_id bigint, code text, subscription_id bigint DEFAULT NULL, invoice_id bigint DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.coupon_use
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_apply_coupon';
COMMENT ON FUNCTION billing.apply_coupon(bigint, text, bigint, bigint, text)
	IS 'applies a coupon to a subscription, whose invoices it takes something off from the next one on, or to one draft; returns the use; raises YB007 it is not applicable (detail: rule=, as of billing.validate_coupon, attached: it is applied already, or stacking), YB001, YB004 subscription ended or invoice final, YB006, YB015, 22004, 22023 neither or both';

CREATE FUNCTION billing.remove_coupon(tenant_id bigint, code text, subscription_id bigint DEFAULT NULL, invoice_id bigint DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.coupon_use
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_remove_coupon';
COMMENT ON FUNCTION billing.remove_coupon(bigint, text, bigint, bigint, text)
	IS 'ends a use of a coupon: invoices there are keep what it took off, but a draft; one that no invoice has is given back and counts for no limit; returns the use; raises YB001 it is not applied there, YB004 invoice final, YB006, YB015, 22004, 22023 neither or both';
