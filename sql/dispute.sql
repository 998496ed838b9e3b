
-- dispute: payments that the payer's bank asks back ---------------------------------------

CREATE TABLE billing.dispute (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	dispute_id		bigint NOT NULL DEFAULT billing.next_id(),
	payment_id		bigint NOT NULL,
	gateway			text COLLATE "C" NOT NULL,
	external_id		text COLLATE "C" NOT NULL,
	status			text COLLATE "C" NOT NULL DEFAULT 'open'
					CONSTRAINT dispute_status_is_known CHECK (status IN ('open', 'won', 'lost')),
	amount			billing.amount NOT NULL CONSTRAINT dispute_amount_is_positive CHECK (billing.minor_units(amount) > 0),
	refunded		billing.amount,
	reason			text,
	opened_at		timestamptz NOT NULL,
	closed_at		timestamptz,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, dispute_id),
	FOREIGN KEY (tenant_id, payment_id) REFERENCES billing.payment,
	CONSTRAINT dispute_is_known_once UNIQUE (tenant_id, gateway, external_id),
	CONSTRAINT dispute_refunded_is_part_of_it CHECK (billing.minor_units(refunded) BETWEEN 1 AND billing.minor_units(amount)
		AND billing.currency(refunded) = billing.currency(amount)),
	CONSTRAINT dispute_closed_has_instant CHECK ((status = 'open') = (closed_at IS NULL))
);
COMMENT ON TABLE billing.dispute
	IS 'payments that the payer''s bank asks back: open while the gateway holds the money, then won, or lost, which reverses the payment as far as it had not gone back; written by what gateways tell';
COMMENT ON COLUMN billing.dispute.tenant_id IS 'who paid';
COMMENT ON COLUMN billing.dispute.dispute_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.dispute.payment_id IS 'what is disputed';
COMMENT ON COLUMN billing.dispute.gateway IS 'who told it';
COMMENT ON COLUMN billing.dispute.external_id IS 'the gateway''s id of it';
COMMENT ON COLUMN billing.dispute.status IS 'open, won (by the company) or lost';
COMMENT ON COLUMN billing.dispute.amount IS 'how much of the payment; of one that was lost, how much was';
COMMENT ON COLUMN billing.dispute.refunded IS 'of amount, what had gone back to the payer, or of one that was lost went meanwhile, so that the gateway holds it a second time; if lost, it is lost twice, to bad debt; NULL: nothing';
COMMENT ON COLUMN billing.dispute.reason IS 'the payer''s, in the words of the gateway';
COMMENT ON COLUMN billing.dispute.opened_at IS 'when it was first heard of, as the gateway dates that';
COMMENT ON COLUMN billing.dispute.closed_at IS 'when it was won or lost';
SELECT pg_catalog.pg_extension_config_dump('billing.dispute', '');

CREATE INDEX dispute_of_payment ON billing.dispute (tenant_id, payment_id);

CREATE TRIGGER dispute_final_guard BEFORE UPDATE OR DELETE ON billing.dispute
	FOR EACH ROW EXECUTE FUNCTION billing.final_guard('', 'status', 'closed_at', 'amount', 'refunded');
CREATE TRIGGER dispute_state_guard BEFORE UPDATE OF status ON billing.dispute
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('dispute');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON billing.dispute
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was disputed stays told.');

ALTER TABLE billing.dispute ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.dispute
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);
