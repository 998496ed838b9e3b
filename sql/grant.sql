
-- credit_grant: credit in a wallet -----------------------------------------------

CREATE TABLE billing.credit_grant (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	grant_id	bigint NOT NULL DEFAULT billing.next_id(),
	amount		billing.amount NOT NULL CONSTRAINT credit_grant_amount_is_positive CHECK (billing.minor_units(amount) > 0),
	source		text COLLATE "C" NOT NULL CONSTRAINT credit_grant_source_is_known CHECK (source IN ('invoice', 'credit_note', 'refund_failed')),
	invoice_id	bigint,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, grant_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice
);
COMMENT ON TABLE billing.credit_grant
	IS 'credit of a tenant, written where the lines of an invoice would have made its total negative';
SELECT pg_catalog.pg_extension_config_dump('billing.credit_grant', '');

ALTER TABLE billing.credit_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.credit_grant
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
