-- Promise: a setting is the tenant's, else its plan's, else the installation's, else the default; nothing else can be written.
SELECT name, value, unit, scope FROM billing.setting_default ORDER BY name;
SELECT count(*) AS default_is_invalid FROM billing.setting_default
WHERE (scope LIKE '%installation%' AND NOT billing.is_setting(name, value))
   OR (scope LIKE '%tenant%' AND NOT billing.are_settings(jsonb_build_object(name, value), 'tenant'));

BEGIN;
SELECT billing.effective_setting('net_days') AS built_in;
INSERT INTO billing.setting (name, value) VALUES ('net_days', '14'), ('finalize_after', 'never'), ('tax_percent', '8.875');
SELECT billing.effective_setting('net_days') AS installation, billing.effective_setting('net_days', '{}', '{"net_days": 30}') AS plan,
	billing.effective_setting('net_days', '{"net_days": "60"}', '{"net_days": 30}') AS tenant,
	billing.effective_setting('net_days', '{"net_days": null}', '{"grace_days": 1}') AS null_is_none,
	billing.effective_setting('seller', '{"seller": {"name": "Example Ltd"}}') AS object;
UPDATE billing.setting SET value = '21' WHERE name = 'net_days';
SELECT billing.effective_setting('net_days') AS updated, billing.effective_setting(NULL) AS unnamed;
SELECT action, object, object_id, before ->> 'value' AS before, after ->> 'value' AS after FROM billing.audit_log WHERE object = 'setting';
ROLLBACK;

SELECT billing.effective_setting('net_day');
INSERT INTO billing.setting VALUES ('net_day', '1');
INSERT INTO billing.setting VALUES ('net_days', '-1');
INSERT INTO billing.plan (code, name, settings) VALUES ('setting', 'Setting', '{"net_day": 1}');
INSERT INTO billing.plan (code, name, settings) VALUES ('setting', 'Setting', '{"tax_percent": 1}');
\set VERBOSITY terse
INSERT INTO billing.plan (code, name, settings) VALUES ('setting', 'Setting', '[]');
\set VERBOSITY default
INSERT INTO billing.tenant (tenant_id, name, settings) VALUES (9101, 'Setting', '{"currency": "EUR"}');
INSERT INTO billing.tenant (tenant_id, name, settings) VALUES (9101, 'Setting', '{"grace_days": true}');
SELECT billing.are_settings('{}', 'planet');

-- Which values each takes.
CREATE FUNCTION pg_temp.try(name text, value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN billing.is_setting(name, value);
EXCEPTION WHEN invalid_parameter_value OR invalid_text_representation THEN
	RETURN SQLSTATE;
END $$;
SELECT v.name, v.value, pg_temp.try(v.name, v.value) FROM (VALUES
	('collection', 'automatic'), ('collection', 'send_invoice'), ('collection', 'Automatic'),
	('currency', 'EUR'), ('currency', 'eur'), ('currency', 'XYZ'), ('currency', ''),
	('net_days', '0'), ('net_days', '3650'), ('net_days', '3651'), ('net_days', '99999999999999999999'), ('net_days', '1.5'), ('net_days', ' 1'), ('net_days', ''),
	('finalize_after', '0'), ('finalize_after', 'never'), ('finalize_after', '1 hour'), ('finalize_after', '2 days 12 hours'),
	('finalize_after', '1'), ('finalize_after', '-1 hour'), ('finalize_after', '1 hour ago'), ('finalize_after', 'infinity'), ('finalize_after', '01:00'), ('finalize_after', '1 hour '), ('finalize_after', '1 hourly'),
	('pending_timeout', 'never'), ('pending_timeout', '90 minutes'),
	('invoice_prefix', ''), ('invoice_prefix', 'ACME/2026-'), ('invoice_prefix', 'A B'), ('invoice_prefix', repeat('A', 21)), ('invoice_prefix', E'\u00c4-'),
	('seller', '{}'), ('seller', '[]'), ('seller', '{'), ('seller', '"x"'),
	('tax_percent', '100'), ('tax_percent', '100.000'), ('tax_percent', '100.001'), ('tax_percent', '19.5'), ('tax_percent', '.5'), ('tax_percent', '5.'), ('tax_percent', '-1'), ('tax_percent', 'NaN'), ('tax_percent', '1e1')
) AS v (name, value);
