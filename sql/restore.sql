
-- restore: a parallel restore loads tables in any order ----------------------------

CREATE FUNCTION billing.trust_restore()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_trust_restore';
COMMENT ON FUNCTION billing.trust_restore()
	IS 'trigger BEFORE INSERT, for each statement: in a superuser''s session whose application_name is pg_restore it sets session_replication_role to replica until the transaction ends, so that rows are loaded in any order';

-- Every table with a foreign key.
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.calculation_log
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.collection_attempt
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.counter
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.coupon_redemption
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.coupon_slot
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.coupon_use
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.credit_grant
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.credit_note
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.credit_note_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.credit_note_tax
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.dispute
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.due_part
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.entitlement
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.entitlement_limit
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.entitlement_override
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.gateway_certificate
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.gateway_customer
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.gateway_event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.gateway_request
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.invoice
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.invoice_dunning
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.invoice_item
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.invoice_tax
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.mirrored_subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.notification
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.payment
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.payment_method
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.payment_method_change
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.plan
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.price
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.price_correction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.refund
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.rerated_line
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.set_aside
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.setting
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.settlement_line
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.subscription_change
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.subscription_threshold
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.tenant
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.transaction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.usage_correction
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.usage_event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.usage_late
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.wallet_entry
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
CREATE TRIGGER trust_restore BEFORE INSERT ON billing.webhook_delivery
	FOR EACH STATEMENT EXECUTE FUNCTION billing.trust_restore();
