
-- setting: what an installation decides ----------------------------------------

CREATE FUNCTION billing.is_setting(name text, value text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_setting';
COMMENT ON FUNCTION billing.is_setting(text, text)
	IS 'true of a setting''s name and a valid value of it; raises 22023 of anything else';

CREATE FUNCTION billing.are_settings(settings jsonb, scope text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_are_settings';
COMMENT ON FUNCTION billing.are_settings(jsonb, text)
	IS 'true of an object whose members are settings that scope (installation, plan or tenant) may override, with valid values or null; false of what is no object; raises 22023 of an unknown name, one of another scope, or a bad value';

CREATE FUNCTION billing.setting_defaults(OUT name text, OUT value text, OUT unit text, OUT scope text, OUT description text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'billing_setting_defaults';
COMMENT ON FUNCTION billing.setting_defaults()
	IS 'every setting there is: one row each, as the view setting_default shows them';

CREATE VIEW billing.setting_default WITH (security_invoker) AS
	SELECT name, value, unit, scope, description
	FROM billing.setting_defaults();
COMMENT ON VIEW billing.setting_default
	IS 'every setting there is: its value where nobody overrides it, the unit of the value, who may override it (scope), what it decides';

CREATE TABLE billing.setting (
	name		text COLLATE "C" PRIMARY KEY,
	value		text NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	dunning_policy text COLLATE "C" GENERATED ALWAYS AS (CASE name WHEN 'dunning_policy' THEN nullif(value, 'standard') END) STORED
				CONSTRAINT setting_dunning_policy_exists REFERENCES billing.dunning_policy,
	CONSTRAINT setting_is_valid CHECK (billing.is_setting(name, value))
);
COMMENT ON TABLE billing.setting
	IS 'settings of this installation that differ from billing.setting_default; plan.settings and tenant.settings override them';
COMMENT ON COLUMN billing.setting.name IS 'one of billing.setting_default';
COMMENT ON COLUMN billing.setting.value IS 'as text';
COMMENT ON COLUMN billing.setting.dunning_policy IS 'the policy that it names, which there is as long as it does';
SELECT pg_catalog.pg_extension_config_dump('billing.setting', '');

CREATE FUNCTION billing.effective_setting(name text, tenant_settings jsonb DEFAULT NULL, plan_settings jsonb DEFAULT NULL)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_effective_setting';
COMMENT ON FUNCTION billing.effective_setting(text, jsonb, jsonb)
	IS 'the value of a setting: that of tenant_settings, else of plan_settings, else of billing.setting, else the default; NULL name gives NULL; where neither has it, costs a look-up in billing.setting, so a query over many rows reads the installation''s value once; raises 22023 for an unknown name';
