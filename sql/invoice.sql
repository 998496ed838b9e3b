
-- invoice: what a tenant owes --------------------------------------------------

CREATE FUNCTION billing.invoice_total_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_invoice_total_guard';
COMMENT ON FUNCTION billing.invoice_total_guard()
	IS 'trigger AFTER UPDATE FOR EACH ROW of an invoice that becomes final: its lines and taxes are as many as it states and add up to its amounts; raises YB004';

CREATE FUNCTION billing.invoice_part_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_invoice_part_guard';
COMMENT ON FUNCTION billing.invoice_part_guard()
	IS 'trigger BEFORE UPDATE OR DELETE FOR EACH ROW of what belongs to an invoice (tenant_id, invoice_id): only while that is a draft; raises YB004';

CREATE FUNCTION billing.biz_key(subscription_id bigint, boundary timestamptz, kind text, revision integer)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_biz_key';
COMMENT ON FUNCTION billing.biz_key(bigint, timestamptz, text, integer)
	IS 'the natural key of a subscription''s invoice: sub/<subscription>/<boundary in UTC>/<kind>/<revision>';

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
	tax_count		integer NOT NULL DEFAULT 0 CONSTRAINT invoice_tax_count_is_not_negative CHECK (tax_count >= 0),
	subtotal		billing.amount NOT NULL,
	discount		billing.amount NOT NULL,
	tax				billing.amount NOT NULL,
	tax_included	billing.amount,
	excess			billing.amount NOT NULL,
	total			billing.amount NOT NULL,
	credited		billing.amount NOT NULL,
	wallet_applied	billing.amount NOT NULL,
	paid			billing.amount NOT NULL,
	amount_due		billing.amount NOT NULL GENERATED ALWAYS AS (total - credited - wallet_applied - paid) STORED,
	tax_percent		numeric DEFAULT 0,
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
	status_reason	text,
	version			integer NOT NULL DEFAULT 1,
	dunning_at		timestamptz,
	PRIMARY KEY (tenant_id, invoice_id),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	FOREIGN KEY (plan_id) REFERENCES billing.plan,
	CONSTRAINT invoice_biz_key_is_unique UNIQUE (tenant_id, biz_key),
	CONSTRAINT invoice_number_is_unique UNIQUE (tenant_id, number),
	CONSTRAINT invoice_final_has_number CHECK ((status = 'draft') = (number IS NULL)),
	CONSTRAINT invoice_final_has_dates CHECK (status = 'draft' OR (issued_at IS NOT NULL AND due_at IS NOT NULL)),
	CONSTRAINT invoice_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT invoice_of_subscription_has_period CHECK (subscription_id IS NULL OR (period_start IS NOT NULL AND period_end IS NOT NULL)),
	CONSTRAINT invoice_total_adds_up CHECK (CASE WHEN tax_included IS NULL THEN total = subtotal - discount + tax + excess
		ELSE total = subtotal - discount + tax - tax_included + excess END),
	CONSTRAINT invoice_excess_leaves_nothing CHECK (billing.minor_units(excess) = 0 OR (billing.minor_units(excess) > 0 AND billing.minor_units(total) = 0)),
	CONSTRAINT invoice_total_is_not_negative CHECK (billing.minor_units(total) >= 0),
	CONSTRAINT invoice_paid_within_total CHECK (billing.minor_units(paid) >= 0 AND billing.minor_units(total - credited - wallet_applied - paid) >= 0),
	CONSTRAINT invoice_void_holds_no_money CHECK (status <> 'void' OR billing.minor_units(paid) = 0),
	CONSTRAINT invoice_paid_is_settled CHECK (status <> 'paid' OR billing.minor_units(total - credited - wallet_applied - paid) = 0),
	CONSTRAINT invoice_has_no_card CHECK (billing.has_no_card(notes) AND billing.has_no_card(status_reason))
) WITH (fillfactor = 90);
COMMENT ON TABLE billing.invoice
	IS 'what a tenant owes: [period_start, period_end) is what it bills in arrears, at period_end starts the period it bills in advance; excess is what would have made the total negative, and became a grant; final from status open on; written by build_invoice, bill_due and the functions of its name';
COMMENT ON COLUMN billing.invoice.tenant_id IS 'who owes it';
COMMENT ON COLUMN billing.invoice.invoice_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.invoice.biz_key IS 'natural key: yours, or sub/<subscription>/<boundary>/<kind>/<revision>';
COMMENT ON COLUMN billing.invoice.kind IS 'cycle, final, change, threshold or one_off';
COMMENT ON COLUMN billing.invoice.subscription_id IS 'what it bills; NULL: a one-off invoice';
COMMENT ON COLUMN billing.invoice.plan_id IS 'the plan version it was calculated by';
COMMENT ON COLUMN billing.invoice.number IS 'taken when it becomes final, without a gap per tenant; NULL: a draft';
COMMENT ON COLUMN billing.invoice.status IS 'draft, open, paid, void or uncollectible';
COMMENT ON COLUMN billing.invoice.currency IS 'of all its amounts';
COMMENT ON COLUMN billing.invoice.period_start IS 'of what it bills in arrears';
COMMENT ON COLUMN billing.invoice.period_end IS 'the boundary: where that ends, and what it bills in advance begins';
COMMENT ON COLUMN billing.invoice.item_count IS 'how many lines it has';
COMMENT ON COLUMN billing.invoice.tax_count IS 'how many rows of invoice_tax it has';
COMMENT ON COLUMN billing.invoice.subtotal IS 'sum of the lines';
COMMENT ON COLUMN billing.invoice.discount IS 'taken off before tax';
COMMENT ON COLUMN billing.invoice.tax IS 'sum of its taxes, each rounded once: see invoice_tax';
COMMENT ON COLUMN billing.invoice.tax_included IS 'how much of the tax the subtotal contains; NULL: nothing';
COMMENT ON COLUMN billing.invoice.excess IS 'what would have made the total negative, and became credit';
COMMENT ON COLUMN billing.invoice.total IS 'subtotal - discount + tax - tax_included + excess';
COMMENT ON COLUMN billing.invoice.credited IS 'by credit notes';
COMMENT ON COLUMN billing.invoice.wallet_applied IS 'by credit drawn';
COMMENT ON COLUMN billing.invoice.paid IS 'by payments';
COMMENT ON COLUMN billing.invoice.amount_due IS 'total - credited - wallet_applied - paid; of a void invoice nothing is owed';
COMMENT ON COLUMN billing.invoice.tax_percent IS 'of its only tax, on all lines; 0: it has none; NULL: see invoice_tax';
COMMENT ON COLUMN billing.invoice.issued_at IS 'when it became final';
COMMENT ON COLUMN billing.invoice.due_at IS 'when it is to be paid';
COMMENT ON COLUMN billing.invoice.paid_at IS 'of a paid one: when nothing was due any more';
COMMENT ON COLUMN billing.invoice.voided_at IS 'when it was taken back';
COMMENT ON COLUMN billing.invoice.sent_at IS 'yours to set: nothing here does; billing.notification says what was mailed, and when';
COMMENT ON COLUMN billing.invoice.seller IS 'who sells, as it was when it became final';
COMMENT ON COLUMN billing.invoice.billing_name IS 'who is billed, as it was then';
COMMENT ON COLUMN billing.invoice.billing_email IS 'as it was then';
COMMENT ON COLUMN billing.invoice.billing_address IS 'as it was then';
COMMENT ON COLUMN billing.invoice.tax_id IS 'of who is billed, as it was then';
COMMENT ON COLUMN billing.invoice.notes IS 'for the tenant to read';
COMMENT ON COLUMN billing.invoice.status_reason IS 'why it was voided or given up';
COMMENT ON COLUMN billing.invoice.version IS 'counts its changes';
COMMENT ON COLUMN billing.invoice.dunning_at IS 'when its due date was found to have come while it was not paid: billing.invoice_dunning has what followed; NULL: not';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice', '');

ALTER TABLE billing.invoice DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.invoice REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, invoice_id ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('invoice_item', 'invoice_tax', 'calculation_log', 'transaction', 'wallet_entry');

CREATE TRIGGER invoice_final_guard BEFORE UPDATE OR DELETE ON billing.invoice
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('draft', 'status', 'paid', 'credited', 'wallet_applied', 'paid_at',
		'voided_at', 'sent_at', 'status_reason', 'version', 'dunning_at');
CREATE TRIGGER invoice_state_guard BEFORE UPDATE OF status ON billing.invoice
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('invoice');
CREATE TRIGGER invoice_total_guard AFTER UPDATE OF status ON billing.invoice
	FOR EACH ROW WHEN (OLD.status = 'draft' AND NEW.status <> 'draft') EXECUTE FUNCTION billing.invoice_total_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id, subscription_id, plan_id ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the draft and make another.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be.');

CREATE INDEX invoice_draft ON billing.invoice (tenant_id, invoice_id) WHERE status = 'draft';

-- Those that dunning has not come to stand together, in the order of their due dates.
CREATE INDEX invoice_unpaid ON billing.invoice (dunning_at, due_at, tenant_id) WHERE status IN ('open', 'uncollectible');

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
					CONSTRAINT invoice_item_kind_is_known CHECK (kind IN ('fixed', 'usage', 'adjustment', 'true_up', 'manual', 'interim', 'interim_credit')),
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
	plan_id			bigint REFERENCES billing.plan,
	tax_category	text COLLATE "C",
	discount		billing.amount NOT NULL,
	tax				billing.amount NOT NULL,
	tax_included	billing.amount,
	PRIMARY KEY (tenant_id, invoice_id, line),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	-- Not the line itself: a dump that is restored row by row may bring an adjustment before what it adjusts.
	FOREIGN KEY (tenant_id, adjusts_invoice_id) REFERENCES billing.invoice,
	CONSTRAINT invoice_item_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT invoice_item_adjustment_names_line CHECK ((kind IN ('adjustment', 'interim_credit')) = (adjusts_line IS NOT NULL AND adjusts_invoice_id IS NOT NULL)),
	CONSTRAINT invoice_item_usage_has_digest CHECK (num_nonnulls(usage_events, usage_digest) = CASE WHEN kind IN ('usage', 'interim') THEN 2
		WHEN kind = 'adjustment' THEN CASE WHEN usage_events IS NULL THEN 0 ELSE 2 END ELSE 0 END),
	CONSTRAINT invoice_item_has_no_card CHECK (billing.has_no_card(description))
);
COMMENT ON TABLE billing.invoice_item
	IS 'the lines of invoices: quantity of a price and what it costs in a period of service; unit_amount only where one unit has one price; usage_events and usage_digest: number and order-free digest of the events behind a quantity';
COMMENT ON COLUMN billing.invoice_item.tenant_id IS 'who owes it';
COMMENT ON COLUMN billing.invoice_item.invoice_id IS 'whose line it is';
COMMENT ON COLUMN billing.invoice_item.line IS 'from 1';
COMMENT ON COLUMN billing.invoice_item.kind IS 'fixed, usage, adjustment, true_up (to a minimum or, negative, a maximum), manual, interim (usage so far) or interim_credit (what that billed, taken off)';
COMMENT ON COLUMN billing.invoice_item.price_code IS 'code of the plan''s price; of a manual line a label; NULL of a true_up: the plan';
COMMENT ON COLUMN billing.invoice_item.meter IS 'whose usage the quantity is';
COMMENT ON COLUMN billing.invoice_item.description IS 'for people';
COMMENT ON COLUMN billing.invoice_item.quantity IS 'what is billed; of an adjustment the difference to what was billed before';
COMMENT ON COLUMN billing.invoice_item.unit_amount IS 'major units per unit, where each costs the same, or the whole of a flat price';
COMMENT ON COLUMN billing.invoice_item.amount IS 'what the line costs, rounded once';
COMMENT ON COLUMN billing.invoice_item.period_start IS 'of the service, which is in advance or in arrears';
COMMENT ON COLUMN billing.invoice_item.period_end IS 'where that ends';
COMMENT ON COLUMN billing.invoice_item.usage_events IS 'how many events make up the quantity';
COMMENT ON COLUMN billing.invoice_item.usage_digest IS 'digest of these, in any order';
COMMENT ON COLUMN billing.invoice_item.adjusts_invoice_id IS 'of an adjustment: the invoice it corrects; of an interim_credit: the one whose line it takes off';
COMMENT ON COLUMN billing.invoice_item.adjusts_line IS 'and the line there';
COMMENT ON COLUMN billing.invoice_item.plan_id IS 'the plan version whose price it is; NULL: that of its invoice, of an adjustment that of the line it corrects';
COMMENT ON COLUMN billing.invoice_item.tax_category IS 'which rates were looked for; NULL: the standard ones';
COMMENT ON COLUMN billing.invoice_item.discount IS 'what coupons took off the amount';
COMMENT ON COLUMN billing.invoice_item.tax IS 'its share of the invoice''s tax';
COMMENT ON COLUMN billing.invoice_item.tax_included IS 'how much of that the amount contains; NULL: nothing';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice_item', '');

ALTER TABLE billing.invoice_item DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.invoice_item REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references('invoice', 'item_count', 'draft', 'line', 'adjusts_line');
CREATE TRIGGER invoice_item_guard BEFORE UPDATE OR DELETE ON billing.invoice_item
	FOR EACH ROW EXECUTE FUNCTION billing.invoice_part_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id, line, adjusts_invoice_id, adjusts_line, plan_id ON billing.invoice_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the line and insert another, while the invoice is a draft.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.invoice_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be; its lines stay.');

ALTER TABLE billing.invoice_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.invoice_item
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- An invoice without tax has no row.  One of an exempt tenant, or whose tax the tenant owes
-- itself, has one of 0 that says so.
CREATE TABLE billing.invoice_tax (
	tenant_id		bigint NOT NULL,
	invoice_id		bigint NOT NULL,
	line_no			integer NOT NULL CONSTRAINT invoice_tax_line_no_is_positive CHECK (line_no > 0),
	tax_rate		text COLLATE "C",
	percent			numeric NOT NULL
					CONSTRAINT invoice_tax_percent_is_in_range CHECK (percent >= 0 AND percent <= 100),
	is_inclusive	boolean NOT NULL,
	lines			integer[],
	base			billing.amount NOT NULL,
	amount			billing.amount NOT NULL,
	note			text,
	PRIMARY KEY (tenant_id, invoice_id, line_no),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tax_rate) REFERENCES billing.tax_rate
);
COMMENT ON TABLE billing.invoice_tax
	IS 'the taxes of invoices: each is percent of base, the net amount of the lines that bear it, rounded once';
COMMENT ON COLUMN billing.invoice_tax.tenant_id IS 'who owes it';
COMMENT ON COLUMN billing.invoice_tax.invoice_id IS 'whose tax it is';
COMMENT ON COLUMN billing.invoice_tax.line_no IS 'from 1';
COMMENT ON COLUMN billing.invoice_tax.tax_rate IS 'code of billing.tax_rate; NULL: a setting, or none is taken';
COMMENT ON COLUMN billing.invoice_tax.percent IS 'of the base';
COMMENT ON COLUMN billing.invoice_tax.is_inclusive IS 'whether the lines contain it, or it is added to them';
COMMENT ON COLUMN billing.invoice_tax.lines IS 'the lines that bear it; NULL: all';
COMMENT ON COLUMN billing.invoice_tax.base IS 'what these are less their discounts, without any tax';
COMMENT ON COLUMN billing.invoice_tax.amount IS 'the tax';
COMMENT ON COLUMN billing.invoice_tax.note IS 'why it is 0: reverse charge, or the tenant''s tax_exemption';
SELECT pg_catalog.pg_extension_config_dump('billing.invoice_tax', '');

ALTER TABLE billing.invoice_tax DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.invoice_tax REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references('invoice', 'tax_count', 'draft', 'line_no');
CREATE TRIGGER invoice_tax_guard BEFORE UPDATE OR DELETE ON billing.invoice_tax
	FOR EACH ROW EXECUTE FUNCTION billing.invoice_part_guard();
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, invoice_id, line_no, tax_rate ON billing.invoice_tax
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Delete the row and insert another, while the invoice is a draft.');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.invoice_tax
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Void an invoice that should not be; its taxes stay.');

ALTER TABLE billing.invoice_tax ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.invoice_tax
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
COMMENT ON COLUMN billing.calculation_log.tenant_id IS 'whose';
COMMENT ON COLUMN billing.calculation_log.invoice_id IS 'which invoice';
COMMENT ON COLUMN billing.calculation_log.quantity IS 'of the subscription';
COMMENT ON COLUMN billing.calculation_log.timezone IS 'whose days it was prorated by';
COMMENT ON COLUMN billing.calculation_log.arrears IS 'what it bills in arrears';
COMMENT ON COLUMN billing.calculation_log.arrears_whole IS 'the full period that this is a part of; NULL: it is one';
COMMENT ON COLUMN billing.calculation_log.advance IS 'what it bills in advance';
COMMENT ON COLUMN billing.calculation_log.advance_whole IS 'the full period that this is a part of; NULL: it is one';
COMMENT ON COLUMN billing.calculation_log.step_arrears IS 'the same of prices with a cycle of their own: in arrears';
COMMENT ON COLUMN billing.calculation_log.step_arrears_whole IS 'and its full period';
COMMENT ON COLUMN billing.calculation_log.step_advance IS 'and in advance';
COMMENT ON COLUMN billing.calculation_log.step_advance_whole IS 'and its full period';
COMMENT ON COLUMN billing.calculation_log.inputs IS 'all that it was calculated from and what came of it, in canonical form';
COMMENT ON COLUMN billing.calculation_log.hash IS 'SHA-256 of inputs';
COMMENT ON COLUMN billing.calculation_log.chain_no IS 'which link of the tenants chain; NULL: a draft';
COMMENT ON COLUMN billing.calculation_log.chain_hash IS 'SHA-256 of the previous links and this hash';
COMMENT ON COLUMN billing.calculation_log.party_salt IS 'of the digest of who is billed in inputs; NULL: erased';
COMMENT ON COLUMN billing.calculation_log.calculated_at IS 'when';
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

-- As with usage that came late: which invoice booked the difference, and of those that
-- were voided which knew of it first.
CREATE TABLE billing.rerated_line (
	tenant_id			bigint NOT NULL,
	adjusts_invoice_id	bigint NOT NULL,
	adjusts_line		integer NOT NULL,
	correction_id		bigint NOT NULL REFERENCES billing.price_correction,
	subscription_id		bigint NOT NULL,
	invoice_id			bigint,
	voided_invoice_id	bigint,
	used_to				timestamptz,
	PRIMARY KEY (tenant_id, adjusts_invoice_id, adjusts_line, correction_id),
	FOREIGN KEY (tenant_id, adjusts_invoice_id, adjusts_line) REFERENCES billing.invoice_item
);
COMMENT ON TABLE billing.rerated_line
	IS 'billed lines whose price was corrected since; invoice_id is the invoice that booked the difference, NULL while none has; voided_invoice_id is the first that had booked it and was voided; used_to: the service of the line had ended there when the difference was booked, which is that of the time before (NULL: of all of it)';
COMMENT ON COLUMN billing.rerated_line.tenant_id IS 'whose';
COMMENT ON COLUMN billing.rerated_line.adjusts_invoice_id IS 'the invoice of the line';
COMMENT ON COLUMN billing.rerated_line.adjusts_line IS 'and the line';
COMMENT ON COLUMN billing.rerated_line.correction_id IS 'which correction of its price';
COMMENT ON COLUMN billing.rerated_line.subscription_id IS 'whose next invoice books it';
COMMENT ON COLUMN billing.rerated_line.invoice_id IS 'which booked the difference; NULL: none yet';
COMMENT ON COLUMN billing.rerated_line.voided_invoice_id IS 'the first that had booked it and was voided';
COMMENT ON COLUMN billing.rerated_line.used_to IS 'where the service had ended when it was booked; NULL: all of it counts';
SELECT pg_catalog.pg_extension_config_dump('billing.rerated_line', '');

CREATE INDEX rerated_line_pending ON billing.rerated_line (tenant_id, subscription_id) WHERE invoice_id IS NULL;

ALTER TABLE billing.rerated_line ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.rerated_line
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.line_correction(tenant_id bigint, invoice_id bigint, line integer, known_to bigint)
RETURNS SETOF billing.price_correction
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT c.*
	FROM billing.rerated_line r
	JOIN billing.price_correction c ON c.correction_id = r.correction_id
	WHERE r.tenant_id = line_correction.tenant_id AND r.adjusts_invoice_id = line_correction.invoice_id
	  AND r.adjusts_line = line_correction.line
	  AND (line_correction.known_to IS NULL OR least(r.invoice_id, r.voided_invoice_id) <= line_correction.known_to)
	ORDER BY r.correction_id DESC
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.line_correction(bigint, bigint, integer, bigint)
	IS 'the correction of its price that a billed line has, as known to an invoice that books the difference (NULL: at present); no row: none';

-- What a line is a part of: the range that it was calculated from, of the boundary or of a
-- part beside it, says so.
CREATE FUNCTION billing.line_whole(tenant_id bigint, invoice_id bigint, plan_id bigint, priced_by bigint, period tstzrange)
RETURNS TABLE (whole tstzrange, timezone text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE line_whole.period WHEN w.arrears THEN w.arrears_whole WHEN w.advance THEN w.advance_whole
			WHEN w.step_arrears THEN w.step_arrears_whole ELSE w.step_advance_whole END, w.timezone
	FROM (
		SELECT 0 AS part_no, l.timezone, l.arrears, l.arrears_whole, l.advance, l.advance_whole, l.step_arrears, l.step_arrears_whole,
			l.step_advance, l.step_advance_whole
		FROM billing.calculation_log l
		WHERE l.tenant_id = line_whole.tenant_id AND l.invoice_id = line_whole.invoice_id
		  AND coalesce(line_whole.priced_by, line_whole.plan_id) = line_whole.plan_id
		UNION ALL
		SELECT d.part_no, d.timezone, d.arrears, d.arrears_whole, d.advance, d.advance_whole, d.step_arrears, d.step_arrears_whole,
			d.step_advance, d.step_advance_whole
		FROM billing.due_part d
		WHERE d.tenant_id = line_whole.tenant_id AND d.invoice_id = line_whole.invoice_id
		  AND d.plan_id = coalesce(line_whole.priced_by, line_whole.plan_id)
	) w
	WHERE line_whole.period IN (w.arrears, w.advance, w.step_arrears, w.step_advance)
	ORDER BY w.part_no
	LIMIT 1;
END;
COMMENT ON FUNCTION billing.line_whole(bigint, bigint, bigint, bigint, tstzrange)
	IS 'the full period that a line of an invoice is a part of (NULL: it is that), and by whose days it was prorated; plan_id is the invoice''s, priced_by the line''s own, period the line''s';

-- What an invoice of a tenant is made with; plan_id is NULL for one-off invoices.
CREATE FUNCTION billing.invoice_terms(tenant_id bigint, plan_id bigint)
RETURNS TABLE (timezone text, net_days integer, invoice_prefix text, seller jsonb,
	billing_name text, billing_email text, billing_address jsonb, tax_id text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT t.timezone,
		billing.effective_setting('net_days', t.settings, p.settings)::integer,
		billing.effective_setting('invoice_prefix', t.settings, p.settings),
		billing.effective_setting('seller', t.settings, p.settings)::jsonb,
		coalesce(t.billing_name, t.name), t.email, t.address, t.tax_id
	FROM billing.tenant t
	LEFT JOIN billing.plan p ON p.plan_id = invoice_terms.plan_id
	WHERE t.tenant_id = invoice_terms.tenant_id;
END;
COMMENT ON FUNCTION billing.invoice_terms(bigint, bigint)
	IS 'what an invoice of a tenant on a plan (NULL: none) is made with: time zone, net days, number prefix, and the parties it will state';

-- A line is revenue, less its discount and without tax, and revenue to come if its period lies behind
-- the boundary that the invoice belongs to; one-off invoices have none, the day of issue is theirs.
CREATE FUNCTION billing.invoice_posting(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (at timestamptz, accounts text[], amounts billing.amount[])
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.issued_at, '{receivable,revenue,deferred_revenue,tax_payable,customer_credit}'::text[],
		ARRAY[i.total, s.deferred - s.revenue, -s.deferred, -i.tax, -i.excess]
	FROM billing.invoice i
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(n.net), i.total - i.total) AS revenue,
			coalesce(sum(n.net) FILTER (WHERE n.period_start >= coalesce(i.period_end, i.issued_at)), i.total - i.total) AS deferred
		FROM (
			SELECT r.period_start,
				CASE WHEN r.tax_included IS NULL THEN r.amount - r.discount ELSE r.amount - r.discount - r.tax_included END AS net
			FROM billing.invoice_item r
			WHERE r.tenant_id = i.tenant_id AND r.invoice_id = i.invoice_id
		) n
	) s
	WHERE i.tenant_id = invoice_posting.tenant_id AND i.invoice_id = invoice_posting.invoice_id
	  AND (billing.minor_units(s.revenue) <> 0 OR billing.minor_units(s.deferred) <> 0 OR billing.minor_units(i.tax) <> 0);
END;
COMMENT ON FUNCTION billing.invoice_posting(bigint, bigint)
	IS 'the ledger''s lines of an invoice when it becomes final: receivable against revenue, revenue to come (lines whose period starts at the invoice''s boundary or later) and tax; none where all is zero';

CREATE FUNCTION billing.manual_lines(items jsonb, currency text, OUT line integer, OUT description text,
	OUT quantity numeric, OUT unit_amount numeric, OUT amount billing.amount, OUT price_code text,
	OUT period_start timestamptz, OUT period_end timestamptz, OUT tax_category text)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 5
AS 'MODULE_PATHNAME', 'billing_manual_lines';
COMMENT ON FUNCTION billing.manual_lines(jsonb, text)
	IS 'the lines that a JSON array states: objects of description, quantity (1 unless stated), either amount (in major units, with its currency or without) or unit_amount (times quantity, rounded once), price_code, period_start and period_end, tax_category; raises 22023 and names the line, 22P02, 22007, 22008, YB002, YB003';

CREATE FUNCTION billing.find_invoice(tenant_id bigint, biz_key text)
RETURNS billing.invoice
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_find_invoice';
COMMENT ON FUNCTION billing.find_invoice(bigint, text)
	IS 'the invoice of a natural key, with the rights of the caller; raises YB001 if there is none that it may see, 22004';

CREATE FUNCTION billing.pending_invoices(tenant_id bigint DEFAULT NULL)
RETURNS SETOF billing.invoice
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.*
	FROM billing.invoice i
	WHERE i.status = 'open' AND (pending_invoices.tenant_id IS NULL OR i.tenant_id = pending_invoices.tenant_id)
	ORDER BY i.due_at, i.tenant_id, i.invoice_id;
END;
COMMENT ON FUNCTION billing.pending_invoices(bigint)
	IS 'the open invoices of a tenant (NULL: of all that the caller may see), the longest due first';

CREATE FUNCTION billing.create_invoice(tenant_id bigint, biz_key text, items jsonb, coupon text DEFAULT NULL,
	currency text DEFAULT NULL, due_at timestamptz DEFAULT NULL, finalize boolean DEFAULT true, notes text DEFAULT NULL)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_create_invoice';
COMMENT ON FUNCTION billing.create_invoice(bigint, text, jsonb, text, text, timestamptz, boolean, text)
	IS 'bills stated items once, final at once or (finalize false) as a draft; items as billing.manual_lines reads them; currency NULL: the tenant''s; coupon: the code of one that takes something off; due_at NULL: the setting net_days after the issue; biz_key, of 1 to 255 bytes and not beginning with sub/, is unique per tenant: a retry with the same arguments returns the invoice as it was made; raises YB001 unknown tenant, YB002, YB003 negative sum, YB004 closed tenant, YB006 biz_key that was used with other arguments, YB007 coupon not applicable, YB015, 22004, 22023';

CREATE FUNCTION billing.add_item(tenant_id bigint, invoice_id bigint, description text, quantity numeric DEFAULT 1,
	unit_amount numeric DEFAULT NULL, amount billing.amount DEFAULT NULL, price_code text DEFAULT NULL,
	period_start timestamptz DEFAULT NULL, period_end timestamptz DEFAULT NULL, tax_category text DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.invoice_item
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_add_item';
COMMENT ON FUNCTION billing.add_item(bigint, bigint, text, numeric, numeric, billing.amount, text, timestamptz, timestamptz, text, text)
	IS 'a line at the end of a draft, whose totals and tax follow: either amount, or unit_amount (in major units) times quantity, rounded once; tax_category as of a price; returns the line; raises YB001, YB002 amount in another currency, YB003 negative sum, YB004 final invoice, YB006, YB015, 22004, 22023';

CREATE FUNCTION billing.finalize_invoice(tenant_id bigint, invoice_id bigint, request_id text DEFAULT NULL)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_finalize_invoice';
COMMENT ON FUNCTION billing.finalize_invoice(bigint, bigint, text)
	IS 'makes a draft final: open with the tenant''s next number, issue and due date, the parties as they are at present, its link of the chain and its transaction; a total of zero is paid at once; raises YB001, YB004 no draft or no lines, YB006, YB015, 22004';

CREATE FUNCTION billing.void_invoice(tenant_id bigint, invoice_id bigint, reason text DEFAULT NULL,
	reissue boolean DEFAULT false, request_id text DEFAULT NULL)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_void_invoice';
COMMENT ON FUNCTION billing.void_invoice(bigint, bigint, text, boolean, text)
	IS 'takes a final invoice back for which no money came, also one that credit or coupons cover wholly: it keeps its number and states nothing owed, a transaction reverses it, late usage that it booked waits for the next invoice, what it drew of credit and what coupons took off is theirs again; its period does not become due again, but with reissue the boundary of a subscription is billed again at once, under the next revision of its biz_key; returns the voided invoice, with reissue the one issued again; raises YB001, YB004 a draft or void, with something paid, credited by a credit note or a payment in flight, one that left credit (excess), or (reissue) of a one-off invoice, an interim one whose period has ended or one that another invoice corrects, YB006, YB015, 22004';

CREATE FUNCTION billing.mark_uncollectible(tenant_id bigint, invoice_id bigint, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_mark_uncollectible';
COMMENT ON FUNCTION billing.mark_uncollectible(bigint, bigint, text, text)
	IS 'gives up on what is due of an open invoice: a write-off to bad debt; a payment may still come and is a recovery; raises YB001, YB004 not open, YB006, YB015, 22004';
