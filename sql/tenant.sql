
-- tenant: the billed and isolated party --------------------------------------

-- Updated by flows all the time: room for a new row version beside the old one.
CREATE TABLE billing.tenant (
	tenant_id		bigint PRIMARY KEY
					CONSTRAINT tenant_id_is_positive CHECK (tenant_id > 0),
	name			text NOT NULL CONSTRAINT tenant_name_is_not_empty CHECK (name <> ''),
	currency		text COLLATE "C" NOT NULL DEFAULT 'USD'
					CONSTRAINT tenant_currency_is_known CHECK (billing.currency(billing.from_minor_units(0, currency)) = currency),
	timezone		text COLLATE "C" NOT NULL DEFAULT 'UTC'
					CONSTRAINT tenant_timezone_is_known CHECK (billing.is_timezone(timezone)),
	status			text COLLATE "C" NOT NULL DEFAULT 'active'
					CONSTRAINT tenant_status_is_known CHECK (status IN ('active', 'frozen', 'closed')),
	email			text,
	billing_name	text,
	address			jsonb,
	tax_id			text,
	tax_rate		text COLLATE "C" REFERENCES billing.tax_rate,
	tax_exemption	text CONSTRAINT tenant_tax_exemption_is_not_empty CHECK (tax_exemption <> ''),
	locale			text COLLATE "C" NOT NULL DEFAULT 'en',
	details			jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT tenant_details_is_object CHECK (jsonb_typeof(details) = 'object'),
	settings		jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT tenant_settings_are_valid CHECK (billing.are_settings(settings, 'tenant')),
	version			integer NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	frozen_at		timestamptz,
	status_reason	text,
	closed_at		timestamptz,
	is_unpaid		boolean NOT NULL DEFAULT false,
	dunning_policy	text COLLATE "C" GENERATED ALWAYS AS (nullif(settings ->> 'dunning_policy', 'standard')) STORED
					CONSTRAINT tenant_dunning_policy_exists REFERENCES billing.dunning_policy,
	CONSTRAINT tenant_unpaid_is_frozen CHECK (NOT is_unpaid OR status = 'frozen'),
	CONSTRAINT tenant_frozen_has_instant CHECK ((status = 'frozen') <= (frozen_at IS NOT NULL)),
	CONSTRAINT tenant_closed_has_instant CHECK ((status = 'closed') = (closed_at IS NOT NULL)),
	CONSTRAINT tenant_has_no_card CHECK (billing.has_no_card(name) AND billing.has_no_card(email) AND billing.has_no_card(billing_name)
		AND billing.has_no_card(address) AND billing.has_no_card(tax_id) AND billing.has_no_card(tax_exemption)
		AND billing.has_no_card(details) AND billing.has_no_card(status_reason))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.tenant
	IS 'who is billed: currency and time zone (IANA) of its bills, what its invoices state of it, settings that override those of billing.setting; written by create_tenant, update_tenant, freeze_tenant, unfreeze_tenant, enforce_expiration and close_tenant';
COMMENT ON COLUMN billing.tenant.tenant_id IS 'yours: the customer''s or account''s in your own tables';
COMMENT ON COLUMN billing.tenant.name IS 'for people';
COMMENT ON COLUMN billing.tenant.currency IS 'ISO 4217; what is billed if nothing else is said';
COMMENT ON COLUMN billing.tenant.timezone IS 'IANA name; where its days and months begin';
COMMENT ON COLUMN billing.tenant.status IS 'active, frozen or closed';
COMMENT ON COLUMN billing.tenant.email IS 'where invoices go';
COMMENT ON COLUMN billing.tenant.billing_name IS 'what invoices are made out to; NULL: name';
COMMENT ON COLUMN billing.tenant.address IS 'as invoices state it; members country (ISO 3166-1) and region say which taxes it pays';
COMMENT ON COLUMN billing.tenant.tax_id IS 'as invoices state it';
COMMENT ON COLUMN billing.tenant.tax_rate IS 'code of billing.tax_rate, its only rate; NULL: those of its address, else the setting tax_percent';
COMMENT ON COLUMN billing.tenant.tax_exemption IS 'why it pays no tax, as its invoices say; NULL: it does';
COMMENT ON COLUMN billing.tenant.locale IS 'BCP 47: how it reads amounts';
COMMENT ON COLUMN billing.tenant.details IS 'whatever you want to keep';
COMMENT ON COLUMN billing.tenant.settings IS 'what this tenant overrides: names and values as in billing.setting_default';
COMMENT ON COLUMN billing.tenant.version IS 'counts the changes';
COMMENT ON COLUMN billing.tenant.frozen_at IS 'from then on it takes no usage';
COMMENT ON COLUMN billing.tenant.status_reason IS 'why it is frozen, or active again';
COMMENT ON COLUMN billing.tenant.closed_at IS 'from then on it takes nothing';
COMMENT ON COLUMN billing.tenant.is_unpaid IS 'it is frozen because it did not pay, and is thawed when it has; false: by an admin, or not at all';
COMMENT ON COLUMN billing.tenant.dunning_policy IS 'the policy that its settings name, which there is as long as they do';
SELECT pg_catalog.pg_extension_config_dump('billing.tenant', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id ON billing.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('usage_event', 'invoice', 'transaction', 'wallet_entry', 'event');

ALTER TABLE billing.tenant ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.tenant
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE TRIGGER tenant_state_guard
BEFORE UPDATE OF status ON billing.tenant
FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
EXECUTE FUNCTION billing.state_guard('tenant');

-- The numbers of a tenant's invoices and the head of its calculation chain: a row
-- and not a sequence, so that a rollback leaves no gap.
CREATE TABLE billing.counter (
	tenant_id		bigint PRIMARY KEY REFERENCES billing.tenant,
	invoice_number	bigint NOT NULL DEFAULT 0,
	chain_no		bigint NOT NULL DEFAULT 0,
	chain_hash		bytea NOT NULL DEFAULT '\x',
	credit_note_number bigint NOT NULL DEFAULT 0,
	has_credit		boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.counter
	IS 'per tenant: the last numbers of an invoice and of a credit note, number and hash of the last link of its calculation chain, and whether anything is left in its wallet (has_credit); inserted with the tenant';
COMMENT ON COLUMN billing.counter.tenant_id IS 'whose';
COMMENT ON COLUMN billing.counter.invoice_number IS 'the last number of an invoice';
COMMENT ON COLUMN billing.counter.chain_no IS 'number of the last link of the chain of calculations';
COMMENT ON COLUMN billing.counter.chain_hash IS 'its hash; empty: there is none';
COMMENT ON COLUMN billing.counter.credit_note_number IS 'the last number of a credit note';
COMMENT ON COLUMN billing.counter.has_credit IS 'whether a grant is open: the bill run looks at no other wallets';
SELECT pg_catalog.pg_extension_config_dump('billing.counter', '');

ALTER TABLE billing.counter ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.counter
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.create_tenant(tenant_id bigint, name text, currency text DEFAULT NULL, timezone text DEFAULT 'UTC',
	email text DEFAULT NULL, details jsonb DEFAULT '{}', request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_create_tenant';
COMMENT ON FUNCTION billing.create_tenant(bigint, text, text, text, text, jsonb, text)
	IS 'adds a tenant and returns its row: tenant_id is the caller''s, positive; currency is an ISO 4217 code, NULL the setting currency; timezone an IANA name; members billing_name, address, tax_id, tax_rate, tax_exemption, locale and settings of details become columns, the others stay there; the same id with the same arguments returns the row there is; raises YB001 for a tax rate or dunning policy that does not exist, YB006 for an id or request_id used with other arguments, YB015, 22004, 22023';

CREATE FUNCTION billing.update_tenant(tenant_id bigint, changes jsonb, version integer DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_update_tenant';
COMMENT ON FUNCTION billing.update_tenant(bigint, jsonb, integer, text)
	IS 'changes columns of a tenant and returns its row: changes is an object with members name, currency, timezone, email, billing_name, address, tax_id, tax_rate, tax_exemption, locale, and details and settings, whose members are merged into those there are and removed by null; version is the one the caller read, NULL any; a new time zone takes effect at the next boundary of each subscription; raises YB001, also for a tax rate or dunning policy that does not exist, YB004 for the currency of a tenant that has invoices, YB005 stale version, YB006, YB015, 22004, 22023';

CREATE FUNCTION billing.close_tenant(tenant_id bigint, request_id text DEFAULT NULL)
RETURNS billing.tenant
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_close_tenant';
COMMENT ON FUNCTION billing.close_tenant(bigint, text)
	IS 'closes a tenant for good, by way of frozen, and returns its row; one that is closed already is returned as it is; raises YB004 while it has live subscriptions or draft or open invoices, YB001, YB006, YB015, 22004';
