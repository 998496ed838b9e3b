
-- tax_rate -------------------------------------------------------------------

-- used_at is set when an invoice first states the rate; from then on it does not change.
CREATE TABLE billing.tax_rate (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT tax_rate_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name		text NOT NULL,
	percent		numeric NOT NULL
				CONSTRAINT tax_rate_percent_is_in_range CHECK (percent >= 0 AND percent <= 100)
				CONSTRAINT tax_rate_percent_has_six_decimals CHECK (percent = round(percent, 6)),
	is_inclusive boolean NOT NULL DEFAULT false,
	country		text COLLATE "C"
				CONSTRAINT tax_rate_country_is_code CHECK (country ~ '^[A-Z]{2}$'),
	region		text COLLATE "C"
				CONSTRAINT tax_rate_region_is_not_empty CHECK (region <> ''),
	category	text COLLATE "C"
				CONSTRAINT tax_rate_category_is_name CHECK (category ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	replaces_country boolean NOT NULL DEFAULT false,
	is_reverse_charge boolean NOT NULL DEFAULT false,
	is_active	boolean NOT NULL DEFAULT true,
	used_at		timestamptz,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	CONSTRAINT tax_rate_region_is_of_country CHECK (region IS NULL OR country IS NOT NULL),
	CONSTRAINT tax_rate_of_region_replaces CHECK (NOT replaces_country OR region IS NOT NULL)
);
COMMENT ON TABLE billing.tax_rate
	IS 'tax rates: one that a tenant names is its only one; else those of the country and region of its address, of a price''s tax_category or, where the place has none of that, without one; one that an invoice states is immutable but for is_active and name';
COMMENT ON COLUMN billing.tax_rate.code IS 'what tenant.tax_rate and invoices call it';
COMMENT ON COLUMN billing.tax_rate.name IS 'for people';
COMMENT ON COLUMN billing.tax_rate.percent IS '19 is 19 % of the net amount; at most six decimals';
COMMENT ON COLUMN billing.tax_rate.is_inclusive IS 'true: prices contain it; false: it is added to them';
COMMENT ON COLUMN billing.tax_rate.country IS 'ISO 3166-1 code of where it is taken: member country of tenant.address; NULL: only of who names it';
COMMENT ON COLUMN billing.tax_rate.region IS 'member region of tenant.address; NULL: of the whole country';
COMMENT ON COLUMN billing.tax_rate.category IS 'price.tax_category that it is for; NULL: of what has none of its own there';
COMMENT ON COLUMN billing.tax_rate.replaces_country IS 'of a region''s rate, true: where it is taken, those of the whole country are not';
COMMENT ON COLUMN billing.tax_rate.is_reverse_charge IS 'true: who has a tax_id owes it itself, and is billed none';
COMMENT ON COLUMN billing.tax_rate.is_active IS 'false: retired, taken of nobody but the tenants that name it';
COMMENT ON COLUMN billing.tax_rate.used_at IS 'when an invoice first stated it: from then on it does not change; never by hand';
SELECT pg_catalog.pg_extension_config_dump('billing.tax_rate', '');

CREATE FUNCTION billing.tax_rate_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_tax_rate_guard';
COMMENT ON FUNCTION billing.tax_rate_guard()
	IS 'trigger of billing.tax_rate: of a rate that an invoice states only is_active and name change, and it stays; raises YB004';

CREATE TRIGGER tax_rate_guard
BEFORE UPDATE OR DELETE ON billing.tax_rate
FOR EACH ROW EXECUTE FUNCTION billing.tax_rate_guard();

-- Also where the key stays: no invoice is being made with what a rate was before.
CREATE TRIGGER lock_references
	BEFORE DELETE OR UPDATE OF code, percent, is_inclusive, country, region, category, replaces_country, is_reverse_charge ON billing.tax_rate
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('invoice_tax');
