
-- refund: money that goes back ---------------------------------------------------------

CREATE TABLE billing.refund (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	refund_id		bigint NOT NULL DEFAULT billing.next_id(),
	refund_no		text COLLATE "C" NOT NULL CONSTRAINT refund_no_is_sound CHECK (refund_no <> '' AND octet_length(refund_no) <= 255),
	credit_note_id	bigint,
	invoice_id		bigint,
	payment_id		bigint NOT NULL,
	status			text COLLATE "C" NOT NULL
					CONSTRAINT refund_status_is_known CHECK (status IN ('pending', 'succeeded', 'failed', 'canceled')),
	amount			billing.amount NOT NULL CONSTRAINT refund_amount_is_positive CHECK (billing.minor_units(amount) > 0),
	reference		text,
	status_reason	text,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	settled_at		timestamptz,
	grant_id		bigint,
	gateway			text COLLATE "C" REFERENCES billing.gateway,
	destination		text COLLATE "C" NOT NULL DEFAULT 'method'
					CONSTRAINT refund_destination_is_known CHECK (destination IN ('method', 'wallet')),
	cause			text COLLATE "C" NOT NULL DEFAULT 'credit_note'
					CONSTRAINT refund_cause_is_known CHECK (cause IN ('credit_note', 'reopening', 'excess', 'top_up')),
	reason			text,
	external_id		text COLLATE "C",
	gateway_response jsonb,
	failure_code	text,
	failure_reason	text,
	failed_at		timestamptz,
	version			integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant_id, refund_id),
	FOREIGN KEY (tenant_id, credit_note_id) REFERENCES billing.credit_note,
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	FOREIGN KEY (tenant_id, payment_id) REFERENCES billing.payment,
	FOREIGN KEY (tenant_id, grant_id) REFERENCES billing.credit_grant,
	CONSTRAINT refund_no_is_unique UNIQUE (tenant_id, refund_no),
	CONSTRAINT refund_settled_has_instant CHECK ((status = 'pending') = (settled_at IS NULL)),
	CONSTRAINT refund_that_came_to_nothing_is_credit CHECK ((status IN ('failed', 'canceled') OR destination = 'wallet') = (grant_id IS NOT NULL)),
	CONSTRAINT refund_no_of_gateway_carries_its_tenant CHECK (gateway IS NULL OR billing.is_merchant_no(tenant_id, refund_no)),
	CONSTRAINT refund_to_wallet_is_settled CHECK (destination = 'method' OR status = 'succeeded'),
	CONSTRAINT refund_of_top_up_has_no_invoice CHECK ((cause = 'top_up') = (invoice_id IS NULL)),
	CONSTRAINT refund_has_no_card CHECK (billing.has_no_card(reference) AND billing.has_no_card(status_reason) AND billing.has_no_card(reason))
);
COMMENT ON TABLE billing.refund
	IS 'money that goes back to where a payment came from: pending until somebody says that it went (record_refund) or did not (fail_refund, cancel_refund), which leaves it as credit';
COMMENT ON COLUMN billing.refund.tenant_id IS 'who gets it';
COMMENT ON COLUMN billing.refund.refund_id IS 'from billing.next_id(); its transaction has the same id';
COMMENT ON COLUMN billing.refund.refund_no IS 'natural key, unique per tenant: yours, or number of the credit note, a slash, and from 1 on; of a gateway the number there: the tenant, an underscore, then letters, digits and underscores, 6 to 32 bytes';
COMMENT ON COLUMN billing.refund.credit_note_id IS 'the credit note that gives it back';
COMMENT ON COLUMN billing.refund.invoice_id IS 'the invoice that was paid; NULL: the wallet was';
COMMENT ON COLUMN billing.refund.payment_id IS 'the payment that it gives back a part of, or all';
COMMENT ON COLUMN billing.refund.status IS 'pending, succeeded, failed or canceled';
COMMENT ON COLUMN billing.refund.amount IS 'positive, in the currency of the payment';
COMMENT ON COLUMN billing.refund.reference IS 'what it went with';
COMMENT ON COLUMN billing.refund.status_reason IS 'why a person says it failed or was canceled';
COMMENT ON COLUMN billing.refund.settled_at IS 'when it succeeded, failed or was canceled';
COMMENT ON COLUMN billing.refund.grant_id IS 'of one that came to nothing, or goes to the wallet: the credit that it left';
COMMENT ON COLUMN billing.refund.created_at IS 'when it was decided';
COMMENT ON COLUMN billing.refund.gateway IS 'who is asked for it; NULL: a person sends it';
COMMENT ON COLUMN billing.refund.destination IS 'method: to where the payment came from; wallet: it became credit at once';
COMMENT ON COLUMN billing.refund.cause IS 'credit_note: that gives it back; reopening: its invoice is open again by it; excess: nothing was due for it; top_up: of credit that was bought';
COMMENT ON COLUMN billing.refund.reason IS 'why, for payer and gateway';
COMMENT ON COLUMN billing.refund.external_id IS 'the gateway''s id of it';
COMMENT ON COLUMN billing.refund.gateway_response IS 'what the gateway last said of it, without secrets';
COMMENT ON COLUMN billing.refund.failure_code IS 'of one that the gateway refused: why, in its words; it stays pending, to be asked for again';
COMMENT ON COLUMN billing.refund.failure_reason IS 'and what the gateway says to that';
COMMENT ON COLUMN billing.refund.failed_at IS 'when the gateway refused it last';
COMMENT ON COLUMN billing.refund.version IS 'counts its changes';
SELECT pg_catalog.pg_extension_config_dump('billing.refund', '');

CREATE INDEX refund_of_payment ON billing.refund (tenant_id, payment_id);
CREATE INDEX refund_external ON billing.refund (gateway, external_id) WHERE external_id IS NOT NULL;

CREATE TRIGGER refund_final_guard BEFORE UPDATE OR DELETE ON billing.refund
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('', 'status', 'reference', 'status_reason', 'settled_at', 'grant_id',
		'external_id', 'gateway_response', 'failure_code', 'failure_reason', 'failed_at', 'version');
CREATE TRIGGER refund_state_guard BEFORE UPDATE OF status ON billing.refund
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('refund');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.refund
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Money that went back stays told.');

ALTER TABLE billing.refund ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.refund
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.refundable_amount(payment billing.payment)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN (payment).status NOT IN ('succeeded', 'reversed') THEN (payment).amount - (payment).amount
		ELSE greatest((payment).amount - coalesce((payment).excess, (payment).amount - (payment).amount)
			- coalesce((payment).reversed, (payment).amount - (payment).amount) - coalesce((
			SELECT sum(r.amount)
			FROM billing.refund r
			WHERE r.tenant_id = (payment).tenant_id AND r.payment_id = (payment).payment_id AND r.cause <> 'excess'), (payment).amount - (payment).amount) - coalesce((
			SELECT sum(CASE WHEN d.refunded IS NULL THEN d.amount ELSE d.amount - d.refunded END)
			FROM billing.dispute d
			WHERE d.tenant_id = (payment).tenant_id AND d.payment_id = (payment).payment_id AND d.status = 'open'), (payment).amount - (payment).amount), (payment).amount - (payment).amount) END;
END;
COMMENT ON FUNCTION billing.refundable_amount(billing.payment)
	IS 'what is left of a payment that succeeded: less what nothing was due for, what went back, is on its way or became credit, what was taken back, and what is disputed; nothing of another';

CREATE FUNCTION billing.refundable_payments(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (payment_id bigint, received_at timestamptz, gateway text, amount billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT p.payment_id, p.received_at, p.gateway, r.amount
	FROM billing.payment p
	CROSS JOIN LATERAL (SELECT billing.refundable_amount(p) AS amount) r
	WHERE p.tenant_id = refundable_payments.tenant_id AND p.invoice_id = refundable_payments.invoice_id
	  AND p.status IN ('succeeded', 'reversed') AND billing.minor_units(r.amount) > 0;
END;
COMMENT ON FUNCTION billing.refundable_payments(bigint, bigint)
	IS 'the payments of an invoice of which something was not given back, is not on its way and did not become credit, and how much';

-- What is not due was settled: by its credit notes, by money, or by promotional credit.  Behind
-- them a line was paid by those that lower the invoice, which what became excess was not.
CREATE FUNCTION billing.settled_funds(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (creditable billing.amount, amount_due billing.amount, money billing.amount, promotional billing.amount, refundable billing.amount,
	offset_by_lines billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.total - (n.total - n.offset_by_lines), i.amount_due, i.total - i.amount_due - n.credited - d.drawn - n.returned, d.drawn - n.promotional,
		coalesce((SELECT sum(r.amount) FROM billing.refundable_payments(i.tenant_id, i.invoice_id) r), z.nothing),
		w.amount - i.excess - c.amount - n.offset_by_lines
	FROM billing.invoice i
	CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, i.currency) AS nothing) z
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(n.total), z.nothing) AS total, coalesce(sum(n.credited), z.nothing) AS credited,
			coalesce(sum(n.promotional), z.nothing) AS promotional,
			coalesce(sum(n.applied + (n.granted - n.offset_by_lines) + n.refunded), z.nothing) AS returned,
			coalesce(sum(n.offset_by_lines), z.nothing) AS offset_by_lines
		FROM billing.credit_note n
		WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id
	) n
	CROSS JOIN LATERAL (
		SELECT coalesce(-sum(e.amount), z.nothing) AS drawn
		FROM billing.wallet_entry e
		JOIN billing.credit_grant g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id AND NOT g.is_paid
		WHERE e.tenant_id = i.tenant_id AND e.invoice_id = i.invoice_id AND e.kind IN ('draw', 'return')
	) d
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(n.discount - n.amount - n.tax + coalesce(n.tax_included, z.nothing)), z.nothing) AS amount
		FROM billing.invoice_item n
		WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id AND billing.minor_units(n.amount) < 0
	) w
	CROSS JOIN LATERAL (
		SELECT coalesce(sum(c.discount - c.amount - c.tax + c.tax_included), z.nothing) AS amount
		FROM billing.credit_note_item c
		WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND billing.minor_units(c.amount) < 0
	) c
	WHERE i.tenant_id = settled_funds.tenant_id AND i.invoice_id = settled_funds.invoice_id;
END;
COMMENT ON FUNCTION billing.settled_funds(bigint, bigint)
	IS 'the row of billing.invoice_funds(), of an unknown invoice none';

CREATE FUNCTION billing.invoice_funds(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (creditable billing.amount, amount_due billing.amount, money billing.amount, promotional billing.amount, refundable billing.amount,
	offset_by_lines billing.amount)
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_invoice_funds';
COMMENT ON FUNCTION billing.invoice_funds(bigint, bigint)
	IS 'of an invoice what credit notes may still take back (creditable), what is due of it (amount_due), and what settled it that was not given back yet: money, promotional credit; refundable: of its payments; offset_by_lines: what lines that lower it took off, less what became excess and what was given back, which only a credit for unused time takes; raises YB001 no such invoice, 22004 an id is NULL';

CREATE FUNCTION billing.record_refund(tenant_id bigint, refund_no text, at timestamptz DEFAULT NULL, reference text DEFAULT NULL)
RETURNS billing.refund
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_record_refund';
COMMENT ON FUNCTION billing.record_refund(bigint, text, timestamptz, text)
	IS 'a person says that a pending refund went; at NULL: billing.now(); a payment all of which went back is refunded; a retry returns the refund; raises YB001, YB004 failed or canceled, or it may be on its way at its gateway, YB006 recorded with another instant or reference, YB015, 22004, 22023 an instant more than a day ahead';

CREATE FUNCTION billing.fail_refund(tenant_id bigint, refund_no text, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.refund
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_fail_refund';
COMMENT ON FUNCTION billing.fail_refund(bigint, text, text, text)
	IS 'a person says that a pending refund could not be made: its money becomes credit in the wallet; raises YB001, YB004 not pending, or it may be on its way at its gateway, YB006, YB015, 22004';

CREATE FUNCTION billing.cancel_refund(tenant_id bigint, refund_no text, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.refund
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_cancel_refund';
COMMENT ON FUNCTION billing.cancel_refund(bigint, text, text, text)
	IS 'decides that a pending refund is not made, nor asked of its gateway: its money becomes credit in the wallet; raises YB001, YB004 not pending, or it may be on its way at its gateway, YB006, YB015, 22004';

CREATE FUNCTION billing.retry_refund(tenant_id bigint, refund_no text)
RETURNS billing.refund
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_retry_refund';
COMMENT ON FUNCTION billing.retry_refund(bigint, text)
	IS 'asks the gateway again for a pending refund that it has refused; of one that nobody answered for it asks now what became of it, and while that or the refund itself is being asked nothing; returns its row; raises YB001, YB004 not pending or of no gateway, YB014 what the gateway cannot be asked, YB015, 22004';

CREATE FUNCTION billing.refund_payment(tenant_id bigint, pay_no text, amount billing.amount DEFAULT NULL, reason text DEFAULT NULL,
	refund_no text DEFAULT NULL, destination text DEFAULT 'method', reopen boolean DEFAULT false, excess boolean DEFAULT false)
RETURNS billing.refund
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_refund_payment';
COMMENT ON FUNCTION billing.refund_payment(bigint, text, billing.amount, text, text, text, boolean, boolean)
	IS 'gives money of a payment that succeeded back and returns the refund: amount (NULL: all that is left), to where it came from (destination method) or as credit at once (wallet); a credit note takes back as much of the invoice, whole lines in order and parts of those where that ends, or (reopen) the invoice is owed again; of a top-up, and (excess) of what nothing was due for, its credit is taken, as far as it is left; refund_no (NULL: one is made) is unique per tenant and makes a retry harmless: 1 to 255 bytes, of a payment by a gateway the tenant, an underscore, then letters, digits and underscores, 6 to 32 bytes; raises YB001, YB002, YB003 more than is left (detail left=), YB004 a payment that did not succeed, or of which nothing is left, YB006 refund_no of another refund, YB014 what the gateway cannot be asked, YB015, 22004, 22023 amount not positive, an unknown destination, one of credit or excess to the wallet or reopened, or an amount that no parts of lines come to (detail below=, above=)';
