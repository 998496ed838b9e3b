
-- setting: what an installation decides ----------------------------------------

CREATE TABLE billing.setting (
	name		text COLLATE "C" PRIMARY KEY,
	value		text NOT NULL,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.setting
	IS 'settings of this installation that differ from billing.setting_default; plan.settings and tenant.settings override them';
SELECT pg_catalog.pg_extension_config_dump('billing.setting', '');
