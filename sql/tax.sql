
-- tax_rate -------------------------------------------------------------------

CREATE TABLE billing.tax_rate (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT tax_rate_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$'),
	name		text NOT NULL,
	percent		numeric NOT NULL
				CONSTRAINT tax_rate_percent_is_in_range CHECK (percent >= 0 AND percent <= 100),
	country		text COLLATE "C",
	region		text COLLATE "C",
	is_active	boolean NOT NULL DEFAULT true,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.tax_rate
	IS 'tax rates that tenant.tax_rate names: percent of the net amount, added to it';
COMMENT ON COLUMN billing.tax_rate.code IS 'what tenant.tax_rate names';
COMMENT ON COLUMN billing.tax_rate.name IS 'for people';
COMMENT ON COLUMN billing.tax_rate.percent IS 'of the net amount, added to it: 19 is 19 %';
COMMENT ON COLUMN billing.tax_rate.country IS 'for people';
COMMENT ON COLUMN billing.tax_rate.region IS 'for people';
COMMENT ON COLUMN billing.tax_rate.is_active IS 'false: retired, given to no other tenant';
SELECT pg_catalog.pg_extension_config_dump('billing.tax_rate', '');

CREATE FUNCTION billing.tax(subtotal billing.amount, percent numeric)
RETURNS billing.amount
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN subtotal * (percent * 0.01);
COMMENT ON FUNCTION billing.tax(billing.amount, numeric)
	IS 'the tax on a net amount at percent of it, rounded once, half away from zero; raises YB003';
