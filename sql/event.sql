
-- event: facts for the outside world ----------------------------------------------------

-- Written by the flow that makes what it tells of, in its transaction, under the lock of the
-- tenant: so ids ascend per tenant in the order of what happened.
CREATE TABLE billing.event (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	event_id	bigint NOT NULL DEFAULT billing.next_id(),
	type		text COLLATE "C" NOT NULL
				CONSTRAINT event_type_is_sound CHECK (type <> '' AND octet_length(type) <= 63),
	payload		jsonb NOT NULL
				CONSTRAINT event_payload_is_object CHECK (jsonb_typeof(payload) = 'object')
				CONSTRAINT event_payload_is_in_range CHECK (pg_column_size(payload) <= 1048576),
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, event_id)
);
COMMENT ON TABLE billing.event
	IS 'what happened, for the outside world: written once by what made it happen, in its transaction, in the order of event_id per tenant; payload is what is sent; the types are those of billing.event_type';
COMMENT ON COLUMN billing.event.tenant_id IS 'whose';
COMMENT ON COLUMN billing.event.event_id IS 'from billing.next_id(): ascends per tenant in the order in which it happened';
COMMENT ON COLUMN billing.event.type IS 'what happened: one of billing.event_type';
COMMENT ON COLUMN billing.event.payload IS 'the event as JSON: tenant_id, event_id, type, timestamp, version, and under data.object the state of what it is about; a megabyte at most, since many are sent at a time';
COMMENT ON COLUMN billing.event.created_at IS 'when, by billing.now()';
SELECT pg_catalog.pg_extension_config_dump('billing.event', '');

-- For who asks by time: retention, and what is sent again after an outage.  Not BRIN: where old rows go and
-- new ones take their place, a range of pages would soon span all of the time there is.
CREATE INDEX event_created_at ON billing.event (created_at);

ALTER TABLE billing.event DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.event REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON billing.event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What happened stays told until it is old.');

ALTER TABLE billing.event ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.event
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE VIEW billing.event_type (type, object, description) WITH (security_invoker) AS
	VALUES ('tenant.created', 'tenant', 'a tenant was created'),
		('tenant.updated', 'tenant', 'what is stated of a tenant was changed'),
		('tenant.frozen', 'tenant', 'a tenant was frozen, by somebody or because it did not pay'),
		('tenant.unfrozen', 'tenant', 'a tenant is active again'),
		('tenant.closed', 'tenant', 'a tenant was closed for good'),
		('subscription.created', 'subscription', 'a tenant was put on a plan, from now on or later'),
		('subscription.updated', 'subscription', 'it began, its trial ended, its plan, quantity or terms changed or are to change, it was paused, resumed, or goes on since its overdue invoices are paid'),
		('subscription.trial_ending', 'subscription', 'its trial ends soon'),
		('subscription.renewing', 'subscription', 'its next period begins soon'),
		('subscription.expiring', 'subscription', 'it ends soon with its period, since it does not renew'),
		('subscription.renewed', 'subscription', 'a period of its plan''s cycle ended and the next began'),
		('subscription.past_due', 'subscription', 'an invoice of it is overdue'),
		('subscription.suspended', 'subscription', 'it was suspended since an invoice of it stayed overdue'),
		('subscription.canceled', 'subscription', 'it ended by cancellation'),
		('subscription.expired', 'subscription', 'its last period ended and it does not renew'),
		('invoice.created', 'invoice', 'an invoice was made: a draft, or final at once, which invoice.finalized follows'),
		('invoice.finalized', 'invoice', 'an invoice became final and has its number'),
		('invoice.due_soon', 'invoice', 'an open invoice is due soon'),
		('invoice.paid', 'invoice', 'nothing of an invoice is due any more'),
		('invoice.overdue', 'invoice', 'an invoice is due and not paid: an attempt to collect it has failed, or none is made; not of one that a subscription waits for'),
		('invoice.voided', 'invoice', 'an invoice was taken back'),
		('invoice.uncollectible', 'invoice', 'what is due of an invoice was given up'),
		('payment.created', 'payment', 'a payment was asked of a gateway'),
		('payment.succeeded', 'payment', 'money came'),
		('payment.failed', 'payment', 'a payment failed'),
		('payment.canceled', 'payment', 'a payment was called off'),
		('payment.refunded', 'payment', 'all of a payment went back'),
		('payment.reversed', 'payment', 'the payer''s bank took a payment back'),
		('dispute.opened', 'dispute', 'a payer disputes a payment, and the gateway holds the money'),
		('dispute.won', 'dispute', 'a dispute was won: the money is back'),
		('dispute.lost', 'dispute', 'a dispute was lost: its payment is reversed, as far as that had not gone back'),
		('refund.created', 'refund', 'money is to go back'),
		('refund.succeeded', 'refund', 'money went back'),
		('refund.refused', 'refund', 'a gateway does not make a refund, which is still owed: retry_refund() asks again'),
		('refund.failed', 'refund', 'money could not go back, or came back, and became credit'),
		('refund.canceled', 'refund', 'money is not to go back after all, and became credit'),
		('credit_note.issued', 'credit_note', 'a credit note was issued'),
		('wallet.topped_up', 'grant', 'money was received as credit'),
		('wallet.granted', 'grant', 'credit was granted: by a person, by an invoice below zero, by a credit note, or by a refund that came to nothing'),
		('wallet.renewed', 'grant', 'credit that recurs was granted again: renewals says how often'),
		('wallet.voided', 'grant', 'what was left of a grant was taken back'),
		('wallet.expired', 'grant', 'what was left of a grant expired'),
		('usage.threshold_reached', 'threshold', 'usage passed a threshold and was billed'),
		('entitlement.changed', 'entitlement', 'what a tenant may use, now or later, is another'),
		('mirrored_subscription.updated', 'mirrored_subscription', 'a subscription that a gateway keeps is mirrored, or is another than before'),
		('payment_method.added', 'payment_method', 'a payment method was added; its gateway is asked whether it is good'),
		('payment_method.updated', 'payment_method', 'a payment method is good, has expired, or what is stated of it changed'),
		('payment_method.removed', 'payment_method', 'a payment method was removed'),
		('payment_method.default_changed', 'payment_method', 'this payment method is the tenant''s default now, or was the last one'),
		('payment_method.failed', 'payment_method', 'a payment method is not good, or not any more'),
		('payment_method.expiring', 'payment_method', 'a payment method expires soon'),
		('webhook.test', 'webhook', 'somebody tests an endpoint, by send_test_event; only that one gets it');
COMMENT ON VIEW billing.event_type
	IS 'every type of event, the object that its payload shows, and what it tells';

CREATE FUNCTION billing.event_instant(at timestamptz)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_event_instant';
COMMENT ON FUNCTION billing.event_instant(timestamptz)
	IS 'an instant as payloads of events write it: ISO 8601 in UTC, with the decimals it needs; NULL: one that is infinite';

CREATE FUNCTION billing.event_payload(tenant_id bigint, event_id bigint, type text, created_at timestamptz, object jsonb)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_event_payload';
COMMENT ON FUNCTION billing.event_payload(bigint, bigint, text, timestamptz, jsonb)
	IS 'the payload of an event about an object';

CREATE FUNCTION billing.tenant_object(tenant billing.tenant)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_tenant_object';
COMMENT ON FUNCTION billing.tenant_object(billing.tenant)
	IS 'what an event shows of a tenant';

CREATE FUNCTION billing.subscription_object(subscription billing.subscription, plan text)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_subscription_object';
COMMENT ON FUNCTION billing.subscription_object(billing.subscription, text)
	IS 'what an event shows of a subscription; plan is the code of its plan';

CREATE FUNCTION billing.invoice_object(invoice billing.invoice)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_invoice_object';
COMMENT ON FUNCTION billing.invoice_object(billing.invoice)
	IS 'what an event shows of an invoice';

CREATE FUNCTION billing.payment_object(payment billing.payment)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_payment_object';
COMMENT ON FUNCTION billing.payment_object(billing.payment)
	IS 'what an event shows of a payment';

CREATE FUNCTION billing.payment_method_object(payment_method billing.payment_method, last4 text)
RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_payment_method_object';
COMMENT ON FUNCTION billing.payment_method_object(billing.payment_method, text)
	IS 'what an event shows of a payment method: no token; last4 as billing.last4() shows it, NULL if it is not known';

CREATE FUNCTION billing.dispute_object(dispute billing.dispute)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_dispute_object';
COMMENT ON FUNCTION billing.dispute_object(billing.dispute)
	IS 'what an event shows of a dispute';

CREATE FUNCTION billing.mirrored_subscription_object(mirrored_subscription billing.mirrored_subscription)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_mirrored_subscription_object';
COMMENT ON FUNCTION billing.mirrored_subscription_object(billing.mirrored_subscription)
	IS 'what an event shows of a subscription that a gateway keeps';

CREATE FUNCTION billing.refund_object(refund billing.refund)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_refund_object';
COMMENT ON FUNCTION billing.refund_object(billing.refund)
	IS 'what an event shows of a refund';

CREATE FUNCTION billing.credit_note_object(credit_note billing.credit_note)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_credit_note_object';
COMMENT ON FUNCTION billing.credit_note_object(billing.credit_note)
	IS 'what an event shows of a credit note';

CREATE FUNCTION billing.grant_object(credit billing.credit_grant)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_grant_object';
COMMENT ON FUNCTION billing.grant_object(billing.credit_grant)
	IS 'what an event shows of credit that was granted';

CREATE FUNCTION billing.threshold_object(threshold billing.subscription_threshold, currency text)
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_threshold_object';
COMMENT ON FUNCTION billing.threshold_object(billing.subscription_threshold, text)
	IS 'what an event shows of usage that passed a threshold: what it has come to since the subscription began, in major units of the currency, and when';

CREATE FUNCTION billing.entitlement_object(tenant_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT jsonb_build_object('tenant_id', entitlement_object.tenant_id::text,
		'features', (SELECT coalesce(jsonb_agg(jsonb_build_object('feature', e.feature,
				'starts_at', billing.event_instant(e.starts_at),
				'ends_at', billing.event_instant(e.ends_at)) ORDER BY e.feature, e.starts_at), '[]')
			FROM billing.entitlement e
			WHERE e.tenant_id = entitlement_object.tenant_id AND e.ends_at > billing.now()),
		'limits', (SELECT coalesce(jsonb_agg(jsonb_build_object('meter', l.meter, 'per', l.per,
				'quantity', l.quantity::text, 'kind', l.kind, 'starts_at', billing.event_instant(l.starts_at),
				'ends_at', billing.event_instant(l.ends_at)) ORDER BY l.meter, l.per, l.starts_at), '[]')
			FROM billing.entitlement_limit l
			WHERE l.tenant_id = entitlement_object.tenant_id AND l.ends_at > billing.now()));
END;
COMMENT ON FUNCTION billing.entitlement_object(bigint)
	IS 'what an event shows of what a tenant may use: its features and limits, in the segments of time that have not ended';
