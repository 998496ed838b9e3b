
-- tenant: the billed and isolated party --------------------------------------

-- Updated by flows all the time: room for a new row version beside the old one.
CREATE TABLE billing.tenant (
	tenant_id		bigint PRIMARY KEY,
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
	locale			text COLLATE "C" NOT NULL DEFAULT 'en',
	details			jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT tenant_details_is_object CHECK (jsonb_typeof(details) = 'object'),
	settings		jsonb NOT NULL DEFAULT '{}'
					CONSTRAINT tenant_settings_are_valid CHECK (billing.are_settings(settings, 'tenant')),
	version			integer NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	frozen_at		timestamptz,
	closed_at		timestamptz,
	CONSTRAINT tenant_frozen_has_instant CHECK ((status = 'frozen') <= (frozen_at IS NOT NULL)),
	CONSTRAINT tenant_closed_has_instant CHECK ((status = 'closed') = (closed_at IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.tenant
	IS 'who is billed: currency and time zone (IANA) of its bills, what its invoices state of it, settings that override those of billing.setting; written by create_tenant, update_tenant and close_tenant';
SELECT pg_catalog.pg_extension_config_dump('billing.tenant', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id ON billing.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('usage_event', 'transaction');

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
	chain_hash		bytea NOT NULL DEFAULT '\x'
) WITH (fillfactor = 80);
COMMENT ON TABLE billing.counter
	IS 'per tenant: the last invoice number, and number and hash of the last link of its calculation chain; inserted with the tenant';
SELECT pg_catalog.pg_extension_config_dump('billing.counter', '');

ALTER TABLE billing.counter ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.counter
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
