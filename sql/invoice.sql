
-- invoice: what a tenant owes --------------------------------------------------

CREATE FUNCTION billing.invoice_total_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_invoice_total_guard';
COMMENT ON FUNCTION billing.invoice_total_guard()
	IS 'trigger AFTER UPDATE FOR EACH ROW of an invoice that becomes final: its lines are as many as it states and add up to its subtotal; raises YB004';

CREATE FUNCTION billing.invoice_part_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_invoice_part_guard';
COMMENT ON FUNCTION billing.invoice_part_guard()
	IS 'trigger BEFORE UPDATE OR DELETE FOR EACH ROW of what belongs to an invoice (tenant_id, invoice_id): only while that is a draft; raises YB004';

-- period is what the invoice bills in arrears: [period_start, period_end); its
-- period_end is the boundary it belongs to, where the next period starts that it
-- bills in advance.  At boundary 0 the period is empty.
CREATE TABLE billing.invoice (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	invoice_id		bigint NOT NULL DEFAULT billing.next_id(),
	biz_key			text COLLATE "C" NOT NULL CONSTRAINT invoice_biz_key_is_sound CHECK (biz_key <> '' AND octet_length(biz_key) <= 255),
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT invoice_kind_is_known CHECK (kind IN ('cycle', 'change', 'threshold', 'final', 'one_off')),
	subscription_id	bigint,
	plan_id			bigint,
	number			text COLLATE "C",
	status			text COLLATE "C" NOT NULL
					CONSTRAINT invoice_status_is_known CHECK (status IN ('draft', 'open', 'paid', 'void', 'uncollectible')),
	currency		text COLLATE "C" NOT NULL,
	period_start	timestamptz,
	period_end		timestamptz,
	item_count		integer NOT NULL CONSTRAINT invoice_item_count_is_not_negative CHECK (item_count >= 0),
	subtotal		billing.amount NOT NULL,
	discount		billing.amount NOT NULL,
	tax				billing.amount NOT NULL,
	excess			billing.amount NOT NULL,
	total			billing.amount NOT NULL,
	credited		billing.amount NOT NULL,
	wallet_applied	billing.amount NOT NULL,
	paid			billing.amount NOT NULL,
	amount_due		billing.amount NOT NULL GENERATED ALWAYS AS (total - credited - wallet_applied - paid) STORED,
	tax_percent		numeric NOT NULL DEFAULT 0,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	issued_at		timestamptz,
	due_at			timestamptz,
	paid_at			timestamptz,
	voided_at		timestamptz,
	sent_at			timestamptz,
	seller			jsonb,
	billing_name	text,
	billing_email	text,
	billing_address	jsonb,
	tax_id			text,
	notes			text,
	version			integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant_id, invoice_id),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	FOREIGN KEY (plan_id) REFERENCES billing.plan,
	CONSTRAINT invoice_biz_key_is_unique UNIQUE (tenant_id, biz_key),
	CONSTRAINT invoice_number_is_unique UNIQUE (tenant_id, number),
	CONSTRAINT invoice_final_has_number CHECK ((status = 'draft') = (number IS NULL)),
	CONSTRAINT invoice_final_has_dates CHECK (status = 'draft' OR (issued_at IS NOT NULL AND due_at IS NOT NULL)),
	CONSTRAINT invoice_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT invoice_of_subscription_has_period CHECK (subscription_id IS NULL OR (period_start IS NOT NULL AND period_end IS NOT NULL)),
	CONSTRAINT invoice_total_adds_up CHECK (total = subtotal - discount + tax + excess),
	CONSTRAINT invoice_excess_leaves_nothing CHECK (billing.minor_units(excess) = 0 OR (billing.minor_units(excess) > 0 AND billing.minor_units(total) = 0)),
	CONSTRAINT invoice_total_is_not_negative CHECK (billing.minor_units(total) >= 0),
	CONSTRAINT invoice_paid_within_total CHECK (billing.minor_units(paid) >= 0 AND billing.minor_units(total - credited - wallet_applied - paid) >= 0),
	CONSTRAINT invoice_paid_is_settled CHECK (status <> 'paid' OR billing.minor_units(total - credited - wallet_applied - paid) = 0)
) WITH (fillfactor = 90);
COMMENT ON TABLE billing.invoice
	IS 'what a tenant owes: [period_start, period_end) is what it bills in arrears, at period_end starts the period it bills in advance; excess is what would have made the total negative, and became a grant; final from status open on; written by build_invoice, bill_due and the functions of its name';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, invoice_id ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('invoice_item', 'calculation_log', 'transaction');

CREATE TRIGGER invoice_final_guard BEFORE UPDATE OR DELETE ON billing.invoice
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('draft', 'status', 'paid', 'credited', 'wallet_applied', 'paid_at',
		'voided_at', 'sent_at', 'version');
CREATE TRIGGER invoice_state_guard BEFORE UPDATE OF status ON billing.invoice
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('invoice');
CREATE TRIGGER invoice_total_guard AFTER UPDATE OF status ON billing.invoice
	FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft') EXECUTE FUNCTION billing.invoice_total_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the draft and make another.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be.');

CREATE UNIQUE INDEX invoice_bills_boundary_once ON billing.invoice (tenant_id, subscription_id, period_end, kind)
	WHERE status <> 'void' AND subscription_id IS NOT NULL;

ALTER TABLE billing.invoice ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.invoice
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- usage_events and usage_digest say which events the quantity is of; an adjustment
-- names the line whose period it corrects, and they are of that period as known now.
CREATE TABLE billing.invoice_item (
	tenant_id		bigint NOT NULL,
	invoice_id		bigint NOT NULL,
	line			integer NOT NULL CONSTRAINT invoice_item_line_is_positive CHECK (line > 0),
	kind			text COLLATE "C" NOT NULL
					CONSTRAINT invoice_item_kind_is_known CHECK (kind IN ('fixed', 'usage', 'adjustment', 'manual')),
	price_code		text COLLATE "C",
	meter			text COLLATE "C",
	description		text,
	quantity		numeric NOT NULL DEFAULT 1,
	unit_amount		numeric,
	amount			billing.amount NOT NULL,
	period_start	timestamptz,
	period_end		timestamptz,
	usage_events	bigint,
	usage_digest	bigint,
	adjusts_invoice_id bigint,
	adjusts_line	integer,
	PRIMARY KEY (tenant_id, invoice_id, line),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, adjusts_invoice_id, adjusts_line) REFERENCES billing.invoice_item,
	CONSTRAINT invoice_item_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT invoice_item_adjustment_names_line CHECK ((kind = 'adjustment') = (adjusts_line IS NOT NULL AND adjusts_invoice_id IS NOT NULL)),
	CONSTRAINT invoice_item_usage_has_digest CHECK ((kind IN ('usage', 'adjustment')) = (usage_events IS NOT NULL AND usage_digest IS NOT NULL))
);
COMMENT ON TABLE billing.invoice_item
	IS 'the lines of invoices: quantity of a price and what it costs in a period of service; unit_amount only where one unit has one price; usage_events and usage_digest: number and order-free digest of the events behind a quantity';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice_item', '');

ALTER TABLE billing.invoice_item DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.invoice_item REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references('invoice', 'item_count', 'draft', 'line');
CREATE TRIGGER invoice_item_guard BEFORE UPDATE OR DELETE ON billing.invoice_item
	FOR EACH ROW EXECUTE FUNCTION billing.invoice_part_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id, line, adjusts_invoice_id, adjusts_line ON billing.invoice_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the line and insert another, while the invoice is a draft.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.invoice_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be; its lines stay.');

ALTER TABLE billing.invoice_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.invoice_item
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- What an invoice was calculated from.  The columns up to inputs are what the
-- calculation is run again with; inputs states all it read, in canonical form, and
-- hash is its SHA-256.  chain_hash is SHA-256 of the previous link's and this hash.
CREATE TABLE billing.calculation_log (
	tenant_id			bigint NOT NULL,
	invoice_id			bigint NOT NULL,
	quantity			integer,
	timezone			text COLLATE "C",
	arrears				tstzrange,
	arrears_whole		tstzrange,
	advance				tstzrange,
	advance_whole		tstzrange,
	step_arrears		tstzrange,
	step_arrears_whole	tstzrange,
	step_advance		tstzrange,
	step_advance_whole	tstzrange,
	inputs				text COLLATE "C" NOT NULL,
	hash				bytea NOT NULL,
	chain_no			bigint,
	chain_hash			bytea,
	party_salt			uuid,
	calculated_at		timestamptz NOT NULL,
	PRIMARY KEY (tenant_id, invoice_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	CONSTRAINT calculation_log_chain_no_is_unique UNIQUE (tenant_id, chain_no),
	CONSTRAINT calculation_log_chain_is_whole CHECK ((chain_no IS NULL) = (chain_hash IS NULL))
);
COMMENT ON TABLE billing.calculation_log
	IS 'what each invoice was calculated from, in canonical form, with its SHA-256; chain_no and chain_hash link the final invoices of a tenant in the order of their numbers';
SELECT pg_catalog.pg_extension_config_dump('billing.calculation_log', '');

ALTER TABLE billing.calculation_log DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.calculation_log REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER calculation_log_guard BEFORE UPDATE OR DELETE ON billing.calculation_log
	FOR EACH ROW EXECUTE FUNCTION billing.invoice_part_guard();
CREATE TRIGGER refuse_other_link BEFORE UPDATE OR DELETE ON billing.calculation_log
	FOR EACH ROW WHEN (OLD.chain_no IS NOT NULL)
	EXECUTE FUNCTION billing.refuse_change('A link of the chain is set once, when its invoice becomes final.');
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id ON billing.calculation_log
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the row and insert another, while the invoice is a draft.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.calculation_log
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be; its calculation stays.');

ALTER TABLE billing.calculation_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.calculation_log
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
