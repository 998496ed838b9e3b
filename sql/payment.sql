
-- payment: money received -------------------------------------------------------

CREATE FUNCTION billing.new_merchant_no(tenant_id bigint)
RETURNS text
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_new_merchant_no';
COMMENT ON FUNCTION billing.new_merchant_no(bigint)
	IS 'a number for a payment or refund at a gateway: the tenant, an underscore and random characters, which no other has, in a restored database neither';

CREATE FUNCTION billing.is_merchant_no(tenant_id bigint, no text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_merchant_no';
COMMENT ON FUNCTION billing.is_merchant_no(bigint, text)
	IS 'whether a number can be that of a payment or refund of the tenant at any gateway: the tenant, an underscore, then letters, digits and underscores, 6 to 32 bytes in all';

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
	purpose			text COLLATE "C" NOT NULL DEFAULT 'invoice'
					CONSTRAINT payment_purpose_is_known CHECK (purpose IN ('invoice', 'top_up')),
	gateway			text COLLATE "C" REFERENCES billing.gateway,
	payment_method_id bigint,
	payer_id		text,
	description		text,
	return_url		text,
	expires_at		timestamptz,
	attempt_no		integer,
	retry_no		integer,
	external_id		text COLLATE "C",
	payment_url		text,
	client_secret	billing.sealed,
	gateway_response jsonb,
	failure_code	text,
	failure_reason	text,
	failed_at		timestamptz,
	fee				billing.amount CONSTRAINT payment_fee_is_not_negative CHECK (billing.minor_units(fee) >= 0),
	excess			billing.amount,
	reversed		billing.amount CONSTRAINT payment_reversed_is_positive CHECK (billing.minor_units(reversed) > 0),
	lost			billing.amount CONSTRAINT payment_lost_is_positive CHECK (billing.minor_units(lost) > 0),
	metadata		jsonb NOT NULL DEFAULT '{}' CONSTRAINT payment_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
	version			integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant_id, payment_id),
	FOREIGN KEY (tenant_id, invoice_id) REFERENCES billing.invoice,
	CONSTRAINT payment_no_is_unique UNIQUE (tenant_id, pay_no),
	CONSTRAINT payment_no_of_gateway_carries_its_tenant CHECK (gateway IS NULL OR billing.is_merchant_no(tenant_id, pay_no)),
	CONSTRAINT payment_for_invoice_names_it CHECK ((purpose = 'invoice') = (invoice_id IS NOT NULL)),
	CONSTRAINT payment_attempt_is_whole CHECK ((attempt_no IS NULL) = (retry_no IS NULL)),
	CONSTRAINT payment_excess_is_part_of_it CHECK (billing.minor_units(excess) BETWEEN 0 AND billing.minor_units(amount)
		AND billing.currency(excess) = billing.currency(amount)),
	CONSTRAINT payment_has_no_card CHECK (billing.has_no_card(method) AND billing.has_no_card(reference) AND billing.has_no_card(description) AND billing.has_no_card(payer_id) AND billing.has_no_card(pay_no)
		AND billing.has_no_card(return_url)
		AND billing.has_no_card(metadata))
);
COMMENT ON TABLE billing.payment
	IS 'money that is asked for or was received, for an invoice or a wallet; pay_no is unique per tenant and makes a retry harmless; one of an invoice is in flight at a time';
COMMENT ON COLUMN billing.payment.tenant_id IS 'who paid';
COMMENT ON COLUMN billing.payment.payment_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.payment.pay_no IS 'yours or the bank''s, unique per tenant: what makes a retry harmless; of a gateway the order number there: the tenant, an underscore, then letters, digits and underscores, 6 to 32 bytes';
COMMENT ON COLUMN billing.payment.invoice_id IS 'what it pays; NULL: the wallet';
COMMENT ON COLUMN billing.payment.status IS 'pending: what is asked of the gateway waits; processing: it was sent, or the gateway works on it; requires_action: of a person, at payment_url or with client_secret; unknown: nobody answered, it is asked for again; succeeded, failed or canceled, and after the first refunded or reversed; see billing.state_transition';
COMMENT ON COLUMN billing.payment.amount IS 'positive, in the currency of the invoice';
COMMENT ON COLUMN billing.payment.method IS 'how it came';
COMMENT ON COLUMN billing.payment.reference IS 'what it came with';
COMMENT ON COLUMN billing.payment.received_at IS 'when it came';
COMMENT ON COLUMN billing.payment.created_at IS 'when it was asked for or recorded';
COMMENT ON COLUMN billing.payment.purpose IS 'invoice, or top_up: credited to the wallet once it succeeds';
COMMENT ON COLUMN billing.payment.gateway IS 'who is asked for it; NULL: it came outside any';
COMMENT ON COLUMN billing.payment.payment_method_id IS 'the stored method that it is taken by; NULL: a person goes on with it';
COMMENT ON COLUMN billing.payment.payer_id IS 'who pays, where the gateway must be told';
COMMENT ON COLUMN billing.payment.description IS 'what the payer reads';
COMMENT ON COLUMN billing.payment.return_url IS 'where the payer is sent back to';
COMMENT ON COLUMN billing.payment.expires_at IS 'until when it can be paid; NULL: as the gateway says';
COMMENT ON COLUMN billing.payment.attempt_no IS 'of the attempt of collection that it serves; NULL: none';
COMMENT ON COLUMN billing.payment.retry_no IS 'of the same';
COMMENT ON COLUMN billing.payment.external_id IS 'the gateway''s id of it';
COMMENT ON COLUMN billing.payment.payment_url IS 'where a person pays it, or what a QR code says';
COMMENT ON COLUMN billing.payment.client_secret IS 'what the gateway''s own form in a browser needs; sealed for purpose client_secret';
COMMENT ON COLUMN billing.payment.gateway_response IS 'what the gateway last said of it, without secrets';
COMMENT ON COLUMN billing.payment.failure_code IS 'why it failed, in the words of the gateway; see billing.decline_code';
COMMENT ON COLUMN billing.payment.failure_reason IS 'and what the gateway says to that';
COMMENT ON COLUMN billing.payment.failed_at IS 'when it failed';
COMMENT ON COLUMN billing.payment.fee IS 'what the gateway kept of it; NULL: not said';
COMMENT ON COLUMN billing.payment.excess IS 'of amount, what nothing was due for when it came: credit in the wallet, or a refund; NULL: it has not come, or came before that was kept';
COMMENT ON COLUMN billing.payment.reversed IS 'of amount, what the payer''s bank took back';
COMMENT ON COLUMN billing.payment.lost IS 'what the payer''s bank took without a dispute though it had gone back: bad debt; of disputes see billing.dispute.refunded';
COMMENT ON COLUMN billing.payment.metadata IS 'what the application keeps with it; no gateway is told';
COMMENT ON COLUMN billing.payment.version IS 'counts its changes';
SELECT pg_catalog.pg_extension_config_dump('billing.payment', '');

CREATE UNIQUE INDEX payment_in_flight_is_one ON billing.payment (tenant_id, invoice_id)
	WHERE status IN ('pending', 'processing', 'requires_action', 'unknown');
CREATE INDEX payment_of_invoice ON billing.payment (tenant_id, invoice_id);
CREATE INDEX payment_external ON billing.payment (gateway, external_id) WHERE external_id IS NOT NULL;

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF tenant_id, payment_id ON billing.payment
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('transaction');
CREATE TRIGGER payment_final_guard BEFORE UPDATE OR DELETE ON billing.payment
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('', 'status', 'received_at', 'external_id', 'payment_url', 'client_secret',
		'gateway_response', 'failure_code', 'failure_reason', 'failed_at', 'fee', 'excess', 'reversed', 'lost', 'version');
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
	IS 'money received for an invoice outside a gateway; what is more than was due is credit, or goes back, by setting overpayment; the invoice is paid once nothing is due, and a subscription that waits for it starts, at that instant, or at the one it was ordered for if that is later; at NULL: billing.now(); pay_no, of 1 to 255 bytes, is unique per tenant: a retry returns the payment; raises YB001, YB002, YB004 invoice not owed, YB006 pay_no of another payment, YB015, 22004, 22023 amount not positive, or an instant more than a day ahead';

CREATE FUNCTION billing.create_payment(tenant_id bigint, invoice_id bigint, amount billing.amount DEFAULT NULL, pay_no text DEFAULT NULL, gateway text DEFAULT NULL,
	method text DEFAULT NULL, return_url text DEFAULT NULL, expires_at timestamptz DEFAULT NULL, purpose text DEFAULT 'invoice',
	payment_method_id bigint DEFAULT NULL, payer_id text DEFAULT NULL, description text DEFAULT NULL, metadata jsonb DEFAULT '{}',
	request_id text DEFAULT NULL)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_create_payment';
COMMENT ON FUNCTION billing.create_payment(bigint, bigint, billing.amount, text, text, text, text, timestamptz, text, bigint, text, text, jsonb, text)
	IS 'asks a gateway for a payment and returns its row: of an invoice (amount NULL: all that is due), or, purpose top_up and invoice_id NULL, of credit; method is one that the page of the gateway names, which a person goes on with at payment_url or with client_secret, or payment_method_id a stored one that is charged without him; return_url is where he comes back to, payer_id who he is there where the page of the gateway asks for it, description what he reads; pay_no, the order number at the gateway, is unique per tenant and makes a retry harmless: the tenant, an underscore, then letters, digits and underscores, 6 to 32 bytes, NULL makes one; expires_at is until when it can be paid, NULL for setting pending_timeout; one that waits for a person is called off by it; metadata, an object, is kept with it; raises YB001, YB002, YB004 invoice not owed, or a payment of it may be on its way, YB006, YB014 what the gateway cannot be asked, YB015, 22004, 22023';

CREATE FUNCTION billing.cancel_payment(tenant_id bigint, pay_no text, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_cancel_payment';
COMMENT ON FUNCTION billing.cancel_payment(bigint, text, text, text)
	IS 'calls off a payment that waits, here and at its gateway, and returns its row; money that comes for it all the same is credit, or goes back, by setting overpayment; raises YB001, YB004 one that may be on its way or is over, YB006, YB015, 22004';

CREATE FUNCTION billing.confirm_payment(tenant_id bigint, pay_no text, at timestamptz DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_confirm_payment';
COMMENT ON FUNCTION billing.confirm_payment(bigint, text, timestamptz, text)
	IS 'a person says that a payment of a gateway of driver manual, or one that is unknown, has come, at NULL now, and all that follows from that is done; returns its row; raises YB001, YB004 one that its gateway knows, YB006, YB015, 22004';

CREATE FUNCTION billing.fail_payment(tenant_id bigint, pay_no text, code text, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_fail_payment';
COMMENT ON FUNCTION billing.fail_payment(bigint, text, text, text, text)
	IS 'a person says that a payment of a gateway of driver manual, or one that is unknown, did not come, and why: code as of billing.decline_code; returns its row; raises YB001, YB004 one that its gateway knows, YB006, YB015, 22004';

CREATE FUNCTION billing.resync_payment(tenant_id bigint, pay_no text)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_resync_payment';
COMMENT ON FUNCTION billing.resync_payment(bigint, text)
	IS 'asks the gateway as soon as this transaction has committed what became of a payment, and returns its row as it is; raises YB001, YB004 outside any gateway, YB015, 22004';

CREATE FUNCTION billing.payment_client_secret(tenant_id bigint, pay_no text)
RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_payment_client_secret';
COMMENT ON FUNCTION billing.payment_client_secret(bigint, text)
	IS 'payment.client_secret, opened: what the gateway''s own form in the payer''s browser needs, for the payer alone; NULL: there is none; raises YB001, YB015, 22004, and what opening a sealed value raises';

CREATE FUNCTION billing.find_payment(tenant_id bigint, pay_no text)
RETURNS billing.payment
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_find_payment';
COMMENT ON FUNCTION billing.find_payment(bigint, text)
	IS 'the payment of a pay_no; raises YB001, 22004';

CREATE FUNCTION billing.pay_invoice(tenant_id bigint, invoice_id bigint, payment_method_id bigint DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_pay_invoice';
COMMENT ON FUNCTION billing.pay_invoice(bigint, bigint, bigint, text)
	IS 'pays what is due of an open invoice by the credit in the wallet, then by a stored method: the one given, else that of billing.collection_method(), which is none where that is a bank transfer; returns its row, which is paid once the gateway has said so; raises YB001 also for want of a method, YB004 not owed, or a payment of it may be on its way, YB006, YB014, YB015, 22004';
