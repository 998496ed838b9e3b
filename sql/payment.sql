
-- payment: money received -------------------------------------------------------

CREATE TABLE billing.payment (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	payment_id		bigint NOT NULL DEFAULT billing.next_id(),
	pay_no			text COLLATE "C" NOT NULL,
	invoice_id		bigint,
	status			text COLLATE "C" NOT NULL
					CONSTRAINT payment_status_is_known CHECK (status IN ('pending', 'processing', 'requires_action',
						'succeeded', 'failed', 'canceled', 'unknown', 'refunded', 'reversed')),
	amount			billing.amount NOT NULL CONSTRAINT payment_amount_is_positive CHECK (billing.minor_units(amount) > 0),
	method			text NOT NULL,
	reference		text,
	received_at		timestamptz,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, payment_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	CONSTRAINT payment_no_is_unique UNIQUE (tenant_id, pay_no)
);
COMMENT ON TABLE billing.payment
	IS 'money received for an invoice; pay_no is unique per tenant and makes a retry harmless';
COMMENT ON COLUMN billing.payment.tenant_id IS 'who paid';
COMMENT ON COLUMN billing.payment.payment_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.payment.pay_no IS 'yours or the bank''s, unique per tenant: what makes a retry harmless';
COMMENT ON COLUMN billing.payment.invoice_id IS 'what it pays';
COMMENT ON COLUMN billing.payment.status IS 'succeeded when it was recorded';
COMMENT ON COLUMN billing.payment.amount IS 'positive, in the currency of the invoice';
COMMENT ON COLUMN billing.payment.method IS 'how it came';
COMMENT ON COLUMN billing.payment.reference IS 'what it came with';
COMMENT ON COLUMN billing.payment.received_at IS 'when it came';
SELECT pg_catalog.pg_extension_config_dump('billing.payment', '');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, payment_id ON billing.payment
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('transaction');
CREATE TRIGGER payment_final_guard BEFORE UPDATE OR DELETE ON billing.payment
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('', 'status', 'received_at');
CREATE TRIGGER payment_state_guard BEFORE UPDATE OF status ON billing.payment
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('payment');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.payment
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Money that was received stays.');

ALTER TABLE billing.payment ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.payment
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.record_payment(tenant_id bigint, invoice_id bigint, amount billing.amount, pay_no text,
	method text DEFAULT 'bank_transfer', at timestamptz DEFAULT NULL, reference text DEFAULT NULL)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_record_payment';
COMMENT ON FUNCTION billing.record_payment(bigint, bigint, billing.amount, text, text, timestamptz, text)
	IS 'money received for an invoice outside a gateway, at most what is due; the invoice is paid once nothing is due, and a subscription that waits for it starts, at that instant, or at the one it was ordered for if that is later; at NULL: billing.now(); pay_no, of 1 to 255 bytes, is unique per tenant: a retry returns the payment; raises YB001, YB002, YB004 invoice not owed, YB006 pay_no of another payment, YB015, 22004, 22023 amount not positive or beyond what is due, or an instant more than a day ahead';
