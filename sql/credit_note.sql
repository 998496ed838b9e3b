
-- credit_note: a document that takes back what a final invoice billed ----------------

CREATE FUNCTION billing.credit_share(share billing.amount, amount billing.amount, before billing.amount, part billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_credit_share';
COMMENT ON FUNCTION billing.credit_share(billing.amount, billing.amount, billing.amount, billing.amount)
	IS 'of the discount or tax of a line (share) what goes with a part of its amount, when before was taken already: share x (before + part) / amount less share x before / amount, each rounded half away from zero, so that parts that add up to the line add up to its share; raises YB002, YB003 for what is no part of amount';

-- Final at once.  total is what it takes back; where that went are the five amounts
-- behind it.
CREATE TABLE billing.credit_note (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	credit_note_id	bigint NOT NULL DEFAULT billing.next_id(),
	number			text COLLATE "C" NOT NULL,
	invoice_id		bigint NOT NULL,
	currency		text COLLATE "C" NOT NULL,
	item_count		integer NOT NULL CONSTRAINT credit_note_has_items CHECK (item_count > 0),
	tax_count		integer NOT NULL DEFAULT 0 CONSTRAINT credit_note_tax_count_is_not_negative CHECK (tax_count >= 0),
	subtotal		billing.amount NOT NULL,
	discount		billing.amount NOT NULL,
	tax				billing.amount NOT NULL,
	tax_included	billing.amount NOT NULL,
	total			billing.amount NOT NULL CONSTRAINT credit_note_total_is_positive CHECK (billing.minor_units(total) > 0),
	destination		text COLLATE "C" NOT NULL
					CONSTRAINT credit_note_destination_is_known CHECK (destination IN ('wallet', 'balance', 'refund', 'invoice')),
	to_invoice_id	bigint,
	credited		billing.amount NOT NULL,
	applied			billing.amount NOT NULL,
	granted			billing.amount NOT NULL,
	offset_by_lines	billing.amount NOT NULL,
	promotional		billing.amount NOT NULL,
	refunded		billing.amount NOT NULL,
	grant_id		bigint,
	promotional_grant_id bigint,
	reason			text,
	issued_at		timestamptz NOT NULL,
	seller			jsonb,
	billing_name	text,
	billing_email	text,
	billing_address	jsonb,
	tax_id			text,
	PRIMARY KEY (tenant_id, credit_note_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, to_invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, grant_id) REFERENCES billing.credit_grant,
	FOREIGN KEY (tenant_id, promotional_grant_id) REFERENCES billing.credit_grant,
	CONSTRAINT credit_note_number_is_unique UNIQUE (tenant_id, number),
	CONSTRAINT credit_note_total_adds_up CHECK (total = subtotal - discount + tax - tax_included),
	CONSTRAINT credit_note_is_spread_wholly CHECK (total = credited + applied + granted + promotional + refunded),
	CONSTRAINT credit_note_parts_are_not_negative CHECK (billing.minor_units(credited) >= 0 AND billing.minor_units(applied) >= 0
		AND billing.minor_units(granted) >= 0 AND billing.minor_units(promotional) >= 0 AND billing.minor_units(refunded) >= 0),
	CONSTRAINT credit_note_offset_is_granted CHECK (billing.minor_units(offset_by_lines) BETWEEN 0 AND billing.minor_units(granted)
		AND billing.currency(offset_by_lines) = currency),
	CONSTRAINT credit_note_pays_another_invoice CHECK ((destination = 'invoice') = (to_invoice_id IS NOT NULL) AND to_invoice_id <> invoice_id),
	CONSTRAINT credit_note_applies_to_invoice CHECK (billing.minor_units(applied) = 0 OR destination = 'invoice'),
	CONSTRAINT credit_note_refunds_if_asked CHECK (billing.minor_units(refunded) = 0 OR destination = 'refund'),
	CONSTRAINT credit_note_names_grant CHECK ((grant_id IS NOT NULL) = (billing.minor_units(granted) > 0)
		AND (promotional_grant_id IS NOT NULL) = (billing.minor_units(promotional) > 0)),
	CONSTRAINT credit_note_has_no_card CHECK (billing.has_no_card(reason))
);
COMMENT ON TABLE billing.credit_note
	IS 'takes back parts of a final invoice''s lines, with their discount and tax: total = credited + applied + granted + promotional + refunded says where that went; written by issue_credit_note and by what credits unused time; final at once and never changed';
COMMENT ON COLUMN billing.credit_note.tenant_id IS 'whose invoice it corrects';
COMMENT ON COLUMN billing.credit_note.credit_note_id IS 'from billing.next_id(); its transaction has the same id';
COMMENT ON COLUMN billing.credit_note.number IS 'setting credit_note_prefix, tenant, a hyphen, six digits or more: without a gap per tenant';
COMMENT ON COLUMN billing.credit_note.invoice_id IS 'what it corrects';
COMMENT ON COLUMN billing.credit_note.currency IS 'of all its amounts: the invoice''s';
COMMENT ON COLUMN billing.credit_note.item_count IS 'how many items it has';
COMMENT ON COLUMN billing.credit_note.tax_count IS 'how many rows of credit_note_tax it has';
COMMENT ON COLUMN billing.credit_note.subtotal IS 'sum of its items, before discount and tax';
COMMENT ON COLUMN billing.credit_note.discount IS 'of the items, that they had been given';
COMMENT ON COLUMN billing.credit_note.tax IS 'of the items; the sum of its taxes, see credit_note_tax';
COMMENT ON COLUMN billing.credit_note.tax_included IS 'of tax, what subtotal contains';
COMMENT ON COLUMN billing.credit_note.total IS 'subtotal - discount + tax - tax_included: what it takes back';
COMMENT ON COLUMN billing.credit_note.destination IS 'where money goes back to: wallet, balance, refund or invoice';
COMMENT ON COLUMN billing.credit_note.to_invoice_id IS 'of destination invoice: which one';
COMMENT ON COLUMN billing.credit_note.credited IS 'of total: lowered what was due of its own invoice';
COMMENT ON COLUMN billing.credit_note.applied IS 'of total: lowered what was due of to_invoice_id';
COMMENT ON COLUMN billing.credit_note.granted IS 'of total: money received that became credit, and what offset_by_lines says';
COMMENT ON COLUMN billing.credit_note.offset_by_lines IS 'of granted: what lines that lower the invoice had paid of unused time, owed to the tenant already; 0 unless all items are of unused time';
COMMENT ON COLUMN billing.credit_note.promotional IS 'of total: promotional credit that became such again';
COMMENT ON COLUMN billing.credit_note.refunded IS 'of total: money that goes back to where it came from, by billing.refund';
COMMENT ON COLUMN billing.credit_note.grant_id IS 'the credit that granted became';
COMMENT ON COLUMN billing.credit_note.promotional_grant_id IS 'the credit that promotional became';
COMMENT ON COLUMN billing.credit_note.reason IS 'why, for the tenant to read';
COMMENT ON COLUMN billing.credit_note.issued_at IS 'when';
COMMENT ON COLUMN billing.credit_note.seller IS 'who sold, as it was then';
COMMENT ON COLUMN billing.credit_note.billing_name IS 'who was billed, as it was then';
COMMENT ON COLUMN billing.credit_note.billing_email IS 'as it was then';
COMMENT ON COLUMN billing.credit_note.billing_address IS 'as it was then';
COMMENT ON COLUMN billing.credit_note.tax_id IS 'of who was billed, as it was then';
SELECT pg_catalog.pg_extension_config_dump('billing.credit_note', '');

CREATE INDEX credit_note_of_invoice ON billing.credit_note (tenant_id, invoice_id);
CREATE INDEX credit_note_to_invoice ON billing.credit_note (tenant_id, to_invoice_id) WHERE to_invoice_id IS NOT NULL;

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.credit_note
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('A credit note stays; what it took back is billed again by another invoice.');

ALTER TABLE billing.credit_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.credit_note
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- The parts of a line follow one another: no two begin at the same amount.
CREATE TABLE billing.credit_note_item (
	tenant_id		bigint NOT NULL,
	credit_note_id	bigint NOT NULL,
	line			integer NOT NULL CONSTRAINT credit_note_item_line_is_positive CHECK (line > 0),
	invoice_id		bigint NOT NULL,
	invoice_line	integer NOT NULL,
	price_code		text COLLATE "C",
	description		text,
	amount			billing.amount NOT NULL,
	credited_before	billing.amount NOT NULL,
	discount		billing.amount NOT NULL,
	tax				billing.amount NOT NULL,
	tax_included	billing.amount NOT NULL,
	period_start	timestamptz,
	period_end		timestamptz,
	is_unused		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (tenant_id, credit_note_id, line),
	FOREIGN KEY (tenant_id, credit_note_id) REFERENCES billing.credit_note,
	FOREIGN KEY (tenant_id, invoice_id, invoice_line) REFERENCES billing.invoice_item,
	CONSTRAINT credit_note_item_begins_once UNIQUE (tenant_id, invoice_id, invoice_line, credited_before),
	CONSTRAINT credit_note_item_goes_on CHECK (billing.minor_units(amount) <> 0
		AND sign(billing.minor_units(credited_before)) IN (0, sign(billing.minor_units(amount)))),
	CONSTRAINT credit_note_item_period_is_forward CHECK (period_end >= period_start),
	CONSTRAINT credit_note_item_unused_has_period CHECK (NOT is_unused OR period_start IS NOT NULL AND period_end IS NOT NULL)
);
COMMENT ON TABLE billing.credit_note_item
	IS 'the items of credit notes: each takes back a part of an invoice line, and the part of its discount and tax that goes with it (billing.credit_share)';
COMMENT ON COLUMN billing.credit_note_item.tenant_id IS 'whose invoice is corrected';
COMMENT ON COLUMN billing.credit_note_item.credit_note_id IS 'whose item it is';
COMMENT ON COLUMN billing.credit_note_item.line IS 'from 1';
COMMENT ON COLUMN billing.credit_note_item.invoice_id IS 'the invoice of the note';
COMMENT ON COLUMN billing.credit_note_item.invoice_line IS 'the line that it takes back a part of';
COMMENT ON COLUMN billing.credit_note_item.price_code IS 'that of the line';
COMMENT ON COLUMN billing.credit_note_item.description IS 'for people';
COMMENT ON COLUMN billing.credit_note_item.amount IS 'of the line''s amount, with its sign, before discount and tax';
COMMENT ON COLUMN billing.credit_note_item.credited_before IS 'what earlier items had taken of the line''s amount';
COMMENT ON COLUMN billing.credit_note_item.discount IS 'the part of the line''s discount that goes with it';
COMMENT ON COLUMN billing.credit_note_item.tax IS 'the parts of the line''s shares of taxes that go with it';
COMMENT ON COLUMN billing.credit_note_item.tax_included IS 'of tax, what amount contains';
COMMENT ON COLUMN billing.credit_note_item.period_start IS 'of the service that is taken back';
COMMENT ON COLUMN billing.credit_note_item.period_end IS 'where that ends';
COMMENT ON COLUMN billing.credit_note_item.is_unused IS 'whether the service of the line ended where this begins, by a change, a pause or a cancellation: what the line costs is what the time before does';
SELECT pg_catalog.pg_extension_config_dump('billing.credit_note_item', '');

ALTER TABLE billing.credit_note_item DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.credit_note_item REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references('credit_note', 'item_count', '', 'line');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.credit_note_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('A credit note stays; what it took back is billed again by another invoice.');

ALTER TABLE billing.credit_note_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.credit_note_item
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- What the items bear of each tax of the invoice, as invoice_tax states it.
CREATE TABLE billing.credit_note_tax (
	tenant_id		bigint NOT NULL,
	credit_note_id	bigint NOT NULL,
	line_no			integer NOT NULL CONSTRAINT credit_note_tax_line_no_is_positive CHECK (line_no > 0),
	invoice_id		bigint NOT NULL,
	invoice_line_no	integer NOT NULL,
	tax_rate		text COLLATE "C",
	percent			numeric NOT NULL
					CONSTRAINT credit_note_tax_percent_is_in_range CHECK (percent >= 0 AND percent <= 100),
	is_inclusive	boolean NOT NULL,
	base			billing.amount NOT NULL,
	amount			billing.amount NOT NULL,
	note			text,
	PRIMARY KEY (tenant_id, credit_note_id, line_no),
	FOREIGN KEY (tenant_id, credit_note_id) REFERENCES billing.credit_note,
	FOREIGN KEY (tenant_id, invoice_id, invoice_line_no) REFERENCES billing.invoice_tax,
	CONSTRAINT credit_note_tax_is_stated_once UNIQUE (tenant_id, invoice_id, invoice_line_no, credit_note_id)
);
COMMENT ON TABLE billing.credit_note_tax
	IS 'the taxes of credit notes: what each takes back of a tax of its invoice, over all notes at most that; their sum is the note''s tax';
COMMENT ON COLUMN billing.credit_note_tax.tenant_id IS 'whose invoice is corrected';
COMMENT ON COLUMN billing.credit_note_tax.credit_note_id IS 'whose tax it is';
COMMENT ON COLUMN billing.credit_note_tax.line_no IS 'from 1';
COMMENT ON COLUMN billing.credit_note_tax.invoice_id IS 'the invoice of the note';
COMMENT ON COLUMN billing.credit_note_tax.invoice_line_no IS 'the row of invoice_tax that it takes back a part of';
COMMENT ON COLUMN billing.credit_note_tax.tax_rate IS 'as there: code of billing.tax_rate; NULL: a setting, or none is taken';
COMMENT ON COLUMN billing.credit_note_tax.percent IS 'as there';
COMMENT ON COLUMN billing.credit_note_tax.is_inclusive IS 'as there: whether the items contain it, or it is added to them';
COMMENT ON COLUMN billing.credit_note_tax.base IS 'the items of lines that bear it, less their discounts, without any tax';
COMMENT ON COLUMN billing.credit_note_tax.amount IS 'what is taken back of the tax';
COMMENT ON COLUMN billing.credit_note_tax.note IS 'as there: why it is 0';
SELECT pg_catalog.pg_extension_config_dump('billing.credit_note_tax', '');

ALTER TABLE billing.credit_note_tax DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.credit_note_tax REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references('credit_note', 'tax_count', '', 'line_no');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.credit_note_tax
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('A credit note stays; what it took back is billed again by another invoice.');

ALTER TABLE billing.credit_note_tax ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.credit_note_tax
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

-- An invoice keeps the tax of each line and of each rate; who needs both calculates it again.
CREATE FUNCTION billing.invoice_tax_shares(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (line integer, line_no integer, share billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.line, s.line_no, s.share
	FROM billing.invoice i
	CROSS JOIN LATERAL (
		SELECT array_agg(n.amount ORDER BY n.line) AS amounts, array_agg(n.discount ORDER BY n.line) AS discounts
		FROM billing.invoice_item n
		WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id
	) n
	CROSS JOIN LATERAL (
		SELECT array_agg(ROW(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.note)::billing.applied_tax ORDER BY t.line_no) AS taxes
		FROM billing.invoice_tax t
		WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id
	) t
	CROSS JOIN LATERAL billing.tax_shares(i.currency, n.amounts, n.discounts, t.taxes) s
	WHERE i.tenant_id = invoice_tax_shares.tenant_id AND i.invoice_id = invoice_tax_shares.invoice_id;
END;
COMMENT ON FUNCTION billing.invoice_tax_shares(bigint, bigint)
	IS 'what each line of an invoice has of each of its taxes (line_no: of invoice_tax) that it bears; of an invoice without tax no row';

CREATE FUNCTION billing.credited_lines(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (line integer, price_code text, description text, amount billing.amount, discount billing.amount, tax billing.amount,
	tax_included billing.amount, credited billing.amount, creditable billing.amount, period_start timestamptz, period_end timestamptz, is_deferred boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT n.line, n.price_code, n.description, n.amount, n.discount, n.tax,
		coalesce(n.tax_included, n.amount - n.amount), c.amount, n.amount - c.amount,
		n.period_start, n.period_end, coalesce(n.period_start >= coalesce(i.period_end, i.issued_at), false)
	FROM billing.invoice i
	JOIN billing.invoice_item n ON n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(c.amount), n.amount - n.amount) AS amount
		FROM billing.credit_note_item c
		WHERE c.tenant_id = n.tenant_id AND c.invoice_id = n.invoice_id AND c.invoice_line = n.line
	) c
	WHERE i.tenant_id = credited_lines.tenant_id AND i.invoice_id = credited_lines.invoice_id;
END;
COMMENT ON FUNCTION billing.credited_lines(bigint, bigint)
	IS 'the rows of billing.creditable_lines(), of an unknown invoice none';

CREATE FUNCTION billing.creditable_lines(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (line integer, price_code text, description text, amount billing.amount, discount billing.amount, tax billing.amount,
	tax_included billing.amount, credited billing.amount, creditable billing.amount, period_start timestamptz, period_end timestamptz, is_deferred boolean)
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_creditable_lines';
COMMENT ON FUNCTION billing.creditable_lines(bigint, bigint)
	IS 'the lines of an invoice with what credit notes took back of their amount (credited) and may still (creditable), before discount and tax; is_deferred: it was booked as revenue to come; raises YB001 no such invoice, 22004 an id is NULL';

CREATE FUNCTION billing.issue_credit_note(tenant_id bigint, invoice_id bigint, lines jsonb DEFAULT NULL,
	destination text DEFAULT 'wallet', reason text DEFAULT NULL, to_invoice_id bigint DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.credit_note
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_issue_credit_note';
COMMENT ON FUNCTION billing.issue_credit_note(bigint, bigint, jsonb, text, text, bigint, text)
	IS 'takes back lines of a final invoice, parts of them, or (lines NULL) all that is left of it, with their discount and taxes (credit_note_tax); lines is an array of objects of line, amount (in major units, before discount and tax; all that is left of the line unless stated), period_start and period_end, and description; lowers what is due of the invoice first, which is paid once nothing is due; money received beyond that goes by destination: wallet, balance (credit for invoices, drawn first), refund (rows of billing.refund) or invoice (to_invoice_id, an open one; the rest to the wallet); promotional credit goes back as such; raises YB001 unknown invoice or line, YB002, YB003 more than is left of a line, of a tax or of the invoice, or nothing, YB004 draft or void invoice or nothing left, YB006, YB014 a gateway that cannot be asked to refund, YB015, 22004, 22023';
