
-- feature, plan, price: what is offered --------------------------------------

CREATE TABLE billing.feature (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT feature_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name		text,
	description	text,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.feature IS 'what a plan may switch on: the keys of plan.features';
COMMENT ON COLUMN billing.feature.code IS 'what has_feature() asks for';
COMMENT ON COLUMN billing.feature.name IS 'for people';
COMMENT ON COLUMN billing.feature.description IS 'for people';
SELECT pg_catalog.pg_extension_config_dump('billing.feature', '');

CREATE FUNCTION billing.are_limits(limits jsonb)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_are_limits';
COMMENT ON FUNCTION billing.are_limits(jsonb)
	IS 'true of an array of limits, objects {meter, limit, per, kind, per_unit}, no two of one meter in one time; raises 22023 of anything else';

CREATE FUNCTION billing.plan_limits(limits jsonb, OUT meter text, OUT per text, OUT quantity numeric, OUT kind text,
	OUT is_per_unit boolean)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'billing_plan_limits';
COMMENT ON FUNCTION billing.plan_limits(jsonb)
	IS 'the limits of a plan as rows: what is limited, in what time (period, hour, day, week, month, year or total), how much (NULL: no limit), what happens beyond (hard, soft or overage), whether it is times the quantity of the subscription; raises 22023 as billing.are_limits';

CREATE FUNCTION billing.are_thresholds(thresholds numeric[], step numeric)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(step > 0 AND step < 'Infinity', true) AND coalesce(array_ndims(thresholds) = 1 AND array_lower(thresholds, 1) = 1, true)
	AND CASE WHEN cardinality(thresholds) > 100 THEN false
		ELSE NOT EXISTS (SELECT FROM unnest(thresholds) WITH ORDINALITY t (amount, n)
			WHERE NOT coalesce(t.amount > coalesce(thresholds[t.n - 1], 0) AND t.amount < 'Infinity', false)) END;
COMMENT ON FUNCTION billing.are_thresholds(numeric[], numeric)
	IS 'can these be usage thresholds: at most 100 amounts that ascend from above zero, and a positive step, either of which may be NULL';

CREATE FUNCTION billing.threshold_level(thresholds numeric[], step numeric, amount numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT count(*) FROM unnest(thresholds) t (amount) WHERE t.amount <= threshold_level.amount)
	+ coalesce(greatest(floor((amount - coalesce(thresholds[cardinality(thresholds)], 0)) / step), 0), 0);
COMMENT ON FUNCTION billing.threshold_level(numeric[], numeric, numeric)
	IS 'how many thresholds an amount has reached: those given, and behind the last one more with each step';

-- used_at and price_codes are set when a subscription first uses the version;
-- from then on neither it nor its prices may change or go.
CREATE TABLE billing.plan (
	plan_id			bigint PRIMARY KEY DEFAULT billing.next_id(),
	code			text COLLATE "C" NOT NULL
					CONSTRAINT plan_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	version			integer NOT NULL DEFAULT 1
					CONSTRAINT plan_version_is_positive CHECK (version > 0),
	name			text NOT NULL,
	tier			text,
	cycle			interval DEFAULT '1 month'
					CONSTRAINT plan_cycle_is_positive CHECK (billing.cycle_divides(cycle, cycle)),
	currency		text COLLATE "C" NOT NULL DEFAULT 'USD'
					CONSTRAINT plan_currency_is_known CHECK (billing.currency(billing.from_minor_units(0, currency)) = currency),
	trial_days		integer DEFAULT 0
					CONSTRAINT plan_trial_is_not_negative CHECK (trial_days BETWEEN 0 AND 3650),
	original_price	billing.amount,
	minimum			billing.amount
					CONSTRAINT plan_minimum_is_not_negative CHECK (billing.minor_units(minimum) >= 0),
	maximum			billing.amount
					CONSTRAINT plan_maximum_is_not_negative CHECK (billing.minor_units(maximum) >= 0),
	features		jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT plan_features_is_object CHECK (jsonb_typeof(features) = 'object'),
	limits			jsonb NOT NULL DEFAULT '[]'
					CONSTRAINT plan_limits_are_valid CHECK (billing.are_limits(limits)),
	proration		text COLLATE "C" NOT NULL DEFAULT 'second'
					CONSTRAINT plan_proration_is_known CHECK (proration IN ('second', 'day', 'none')),
	settings		jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT plan_settings_are_valid CHECK (billing.are_settings(settings, 'plan')),
	usage_thresholds numeric[],
	usage_threshold_step numeric,
	is_active		boolean NOT NULL DEFAULT true,
	sort_order		integer NOT NULL DEFAULT 0,
	used_at			timestamptz,
	price_codes		text[] COLLATE "C",
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	created_by		text COLLATE "C" NOT NULL DEFAULT session_user,
	dunning_policy	text COLLATE "C" GENERATED ALWAYS AS (nullif(settings ->> 'dunning_policy', 'standard')) STORED
					CONSTRAINT plan_dunning_policy_exists REFERENCES billing.dunning_policy,
	CONSTRAINT plan_version_is_unique UNIQUE NULLS NOT DISTINCT (code, cycle, currency, version),
	CONSTRAINT plan_bounds_are_in_currency CHECK (billing.currency(minimum) = currency AND billing.currency(maximum) = currency),
	CONSTRAINT plan_bounds_are_in_order CHECK (minimum <= maximum),
	CONSTRAINT plan_thresholds_ascend CHECK (billing.are_thresholds(usage_thresholds, usage_threshold_step)),
	CONSTRAINT plan_states_its_prices CHECK ((used_at IS NULL) = (price_codes IS NULL)),
	CONSTRAINT plan_has_no_card CHECK (billing.has_no_card(name))
);
COMMENT ON TABLE billing.plan
	IS 'a priced offer: one row per code, cycle (NULL: lifetime, billed once), currency and version; trial_days NULL: the setting trial_days; proration: the basis by which stubs are prorated; a version that a subscription uses is immutable but for is_active, name and sort_order';
COMMENT ON COLUMN billing.plan.plan_id IS 'of this version';
COMMENT ON COLUMN billing.plan.code IS 'what subscribe() is given';
COMMENT ON COLUMN billing.plan.version IS 'counts from 1; subscriptions stay on theirs';
COMMENT ON COLUMN billing.plan.name IS 'for people';
COMMENT ON COLUMN billing.plan.tier IS 'for people and price lists';
COMMENT ON COLUMN billing.plan.cycle IS 'how long a period is; NULL: a lifetime, billed once';
COMMENT ON COLUMN billing.plan.currency IS 'of all its prices: ISO 4217, upper case';
COMMENT ON COLUMN billing.plan.trial_days IS '0: none; NULL: the setting trial_days';
COMMENT ON COLUMN billing.plan.original_price IS 'for price lists: struck through';
COMMENT ON COLUMN billing.plan.minimum IS 'what a period costs at least, all prices together, before discount and tax; prorated on stubs';
COMMENT ON COLUMN billing.plan.maximum IS 'and at most';
COMMENT ON COLUMN billing.plan.features IS 'an object: what is neither false, null nor 0 is switched on; a number is a limit, too; see billing.has_feature';
COMMENT ON COLUMN billing.plan.limits IS 'an array of {meter, limit, per, kind, per_unit}; see billing.check_limit';
COMMENT ON COLUMN billing.plan.proration IS 'how a part of a period is prorated: second, day or none';
COMMENT ON COLUMN billing.plan.settings IS 'what this plan overrides: names and values as in billing.setting_default';
COMMENT ON COLUMN billing.plan.usage_thresholds IS 'at most 100 amounts of usage, in major units, at which an interim invoice is made; NULL: none';
COMMENT ON COLUMN billing.plan.usage_threshold_step IS 'by how much they go on behind the last; NULL: they do not';
COMMENT ON COLUMN billing.plan.is_active IS 'false: retired, nobody subscribes to it any more';
COMMENT ON COLUMN billing.plan.sort_order IS 'for price lists';
COMMENT ON COLUMN billing.plan.used_at IS 'when its first subscription was made: from then on it does not change; never by hand';
COMMENT ON COLUMN billing.plan.price_codes IS 'the prices it had then; never by hand';
COMMENT ON COLUMN billing.plan.dunning_policy IS 'the policy that its settings name, which there is as long as they do';
SELECT pg_catalog.pg_extension_config_dump('billing.plan', '');

-- digest and unit_amount are what the bill run would else compute for each line.
CREATE TABLE billing.price (
	plan_id			bigint NOT NULL REFERENCES billing.plan,
	code			text COLLATE "C" NOT NULL
					CONSTRAINT price_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name			text,
	tariff			billing.tariff,
	strategy		text COLLATE "C" REFERENCES billing.strategy,
	parameters		jsonb NOT NULL DEFAULT '{}',
	meter			text COLLATE "C" REFERENCES billing.meter,
	cycle			interval
					CONSTRAINT price_cycle_is_positive CHECK (billing.cycle_divides(cycle, cycle)),
	timing			text COLLATE "C"
					CONSTRAINT price_timing_is_known CHECK (timing IN ('advance', 'arrears')),
	quantity_source	text COLLATE "C"
					CONSTRAINT price_quantity_source_is_known CHECK (quantity_source IN ('one', 'subscription', 'meter')),
	is_prorated		boolean,
	minimum			billing.amount
					CONSTRAINT price_minimum_is_not_negative CHECK (billing.minor_units(minimum) >= 0),
	maximum			billing.amount
					CONSTRAINT price_maximum_is_not_negative CHECK (billing.minor_units(maximum) >= 0),
	tax_category	text COLLATE "C"
					CONSTRAINT price_tax_category_is_name CHECK (tax_category ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	sort_order		integer NOT NULL DEFAULT 0,
	digest			bytea GENERATED ALWAYS AS (billing.tariff_digest(tariff)) STORED,
	unit_amount		numeric GENERATED ALWAYS AS (billing.tariff_unit_amount(tariff)) STORED,
	is_advance		boolean GENERATED ALWAYS AS (coalesce(timing = 'advance', meter IS NULL)) STORED,
	is_per_event	boolean GENERATED ALWAYS AS (coalesce(billing.tariff_is_per_event(tariff), false)) STORED,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	created_by		text COLLATE "C" NOT NULL DEFAULT session_user,
	PRIMARY KEY (plan_id, code),
	CONSTRAINT price_bounds_are_in_order CHECK (minimum <= maximum),
	CONSTRAINT price_has_tariff_or_strategy CHECK (num_nonnulls(tariff, strategy) = 1),
	CONSTRAINT price_meter_gives_quantity CHECK (coalesce(quantity_source = 'meter', meter IS NOT NULL) = (meter IS NOT NULL)),
	CONSTRAINT price_metered_is_in_arrears CHECK (meter IS NULL OR timing IS DISTINCT FROM 'advance'),
	CONSTRAINT price_metered_is_not_prorated CHECK (meter IS NULL OR is_prorated IS NOT TRUE),
	CONSTRAINT price_has_no_card CHECK (billing.has_no_card(name))
);
COMMENT ON TABLE billing.price
	IS 'one component of a plan: what its quantity costs (tariff, or a strategy with parameters); meter: usage is the quantity, else it is that of the subscription, or 1 with quantity_source one; cycle: one that divides the plan''s, NULL the plan''s own; timing NULL: fixed prices in advance, metered ones in arrears; is_prorated NULL: fixed prices are prorated on stubs';
COMMENT ON COLUMN billing.price.plan_id IS 'the plan version it is a component of';
COMMENT ON COLUMN billing.price.code IS 'what invoice lines call it';
COMMENT ON COLUMN billing.price.name IS 'for people, as the line describes it';
COMMENT ON COLUMN billing.price.tariff IS 'what a quantity costs; NULL: the strategy says';
COMMENT ON COLUMN billing.price.strategy IS 'code of a custom pricing function; NULL: the tariff says';
COMMENT ON COLUMN billing.price.parameters IS 'what the strategy is given';
COMMENT ON COLUMN billing.price.meter IS 'its usage is the quantity; NULL: a fixed price';
COMMENT ON COLUMN billing.price.cycle IS 'one that divides the plan''s; NULL: the plan''s own';
COMMENT ON COLUMN billing.price.timing IS 'advance or arrears; NULL: fixed prices in advance, metered ones in arrears';
COMMENT ON COLUMN billing.price.quantity_source IS 'of a fixed price: NULL or subscription, that of the subscription; one, always 1';
COMMENT ON COLUMN billing.price.is_prorated IS 'whether parts of a period are prorated; NULL: those of fixed prices are';
COMMENT ON COLUMN billing.price.minimum IS 'what a period of it costs at least, before discount and tax; prorated on stubs, and a line of its own (kind true_up), as what a tariff''s minimum is not';
COMMENT ON COLUMN billing.price.maximum IS 'and at most';
COMMENT ON COLUMN billing.price.tax_category IS 'which rates of a place are taken of it: tax_rate.category; NULL: the standard ones';
COMMENT ON COLUMN billing.price.sort_order IS 'of the lines of an invoice';
COMMENT ON COLUMN billing.price.digest IS 'SHA-256 of the tariff; generated';
COMMENT ON COLUMN billing.price.unit_amount IS 'what one unit costs, where all cost the same, or the whole of a flat price; generated';
COMMENT ON COLUMN billing.price.is_advance IS 'whether a period is billed where it begins, by its timing and meter; generated';
COMMENT ON COLUMN billing.price.is_per_event IS 'whether each event is priced on its own; generated';
SELECT pg_catalog.pg_extension_config_dump('billing.price', '');

CREATE INDEX price_by_meter ON billing.price (meter) WHERE meter IS NOT NULL;
-- The lines of an invoice are in this order.
CREATE INDEX price_in_order ON billing.price (plan_id, sort_order, code);

CREATE FUNCTION billing.plan_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_plan_guard';
COMMENT ON FUNCTION billing.plan_guard()
	IS 'trigger of billing.plan: of a version in use only is_active, name and sort_order change, and of one with prices not its currency and cycle; raises YB004';

CREATE TRIGGER plan_guard
BEFORE UPDATE OR DELETE ON billing.plan
FOR EACH ROW EXECUTE FUNCTION billing.plan_guard();

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF plan_id ON billing.plan
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('invoice');

CREATE FUNCTION billing.price_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_price_guard';
COMMENT ON FUNCTION billing.price_guard()
	IS 'trigger of billing.price: prices of a plan in use do not change, and none is added that the plan does not list (YB004); a tariff, minimum and maximum are in the plan''s currency (YB002); a cycle of its own is shorter than the plan''s, divides it, and is the only one of the plan (22023)';

CREATE TRIGGER price_guard
BEFORE INSERT OR UPDATE OR DELETE ON billing.price
FOR EACH ROW EXECUTE FUNCTION billing.price_guard();

CREATE FUNCTION billing.meter_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_meter_guard';
COMMENT ON FUNCTION billing.meter_guard()
	IS 'trigger of billing.meter: code, aggregation and property do not change once a price of a plan in use names the meter; raises YB004';

CREATE TRIGGER meter_guard
BEFORE UPDATE ON billing.meter
FOR EACH ROW EXECUTE FUNCTION billing.meter_guard();

CREATE FUNCTION billing.truncate_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_truncate_guard';
COMMENT ON FUNCTION billing.truncate_guard()
	IS 'trigger BEFORE TRUNCATE: refuses it, since it would pass by the guards of the rows; raises YB004';

CREATE TRIGGER plan_guard_truncate
BEFORE TRUNCATE ON billing.plan
FOR EACH STATEMENT EXECUTE FUNCTION billing.truncate_guard();

CREATE TRIGGER price_guard_truncate
BEFORE TRUNCATE ON billing.price
FOR EACH STATEMENT EXECUTE FUNCTION billing.truncate_guard();

-- The plan version keeps the price that it had; what was to be paid instead is a row here.
CREATE TABLE billing.price_correction (
	correction_id	bigint PRIMARY KEY DEFAULT billing.next_id(),
	plan_id			bigint NOT NULL,
	price_code		text COLLATE "C" NOT NULL,
	tariff			billing.tariff NOT NULL,
	during			tstzrange NOT NULL CONSTRAINT price_correction_is_of_some_time CHECK (NOT isempty(during)),
	reason			text,
	digest			bytea GENERATED ALWAYS AS (billing.tariff_digest(tariff)) STORED,
	is_per_event	boolean GENERATED ALWAYS AS (billing.tariff_is_per_event(tariff)) STORED,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	created_by		text COLLATE "C" NOT NULL DEFAULT session_user,
	FOREIGN KEY (plan_id, price_code) REFERENCES billing.price,
	CONSTRAINT price_correction_has_no_card CHECK (billing.has_no_card(reason))
);
COMMENT ON TABLE billing.price_correction
	IS 'prices corrected in the past: what a price of a plan version was to cost in the periods of service that start in during; written by rerate; of several the one with the greatest id counts';
COMMENT ON COLUMN billing.price_correction.correction_id IS 'from billing.next_id(); the greatest counts';
COMMENT ON COLUMN billing.price_correction.plan_id IS 'the plan version';
COMMENT ON COLUMN billing.price_correction.price_code IS 'the price';
COMMENT ON COLUMN billing.price_correction.during IS 'the periods of service that start in it';
COMMENT ON COLUMN billing.price_correction.tariff IS 'what it was to cost';
COMMENT ON COLUMN billing.price_correction.reason IS 'why, for people';
COMMENT ON COLUMN billing.price_correction.digest IS 'of the tariff, generated';
COMMENT ON COLUMN billing.price_correction.is_per_event IS 'whether the tariff is judged event by event, generated';
SELECT pg_catalog.pg_extension_config_dump('billing.price_correction', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.price_correction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Correct the price once more by billing.rerate().');
