
-- mirrored_subscription: subscriptions that a gateway keeps and bills ---------------------------

CREATE TABLE billing.mirrored_subscription (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	mirror_id	bigint NOT NULL DEFAULT billing.next_id(),
	gateway		text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	external_id	text COLLATE "C" NOT NULL
				CONSTRAINT mirrored_subscription_external_id_is_sound CHECK (external_id <> '' AND octet_length(external_id) <= 255),
	customer_id	text COLLATE "C",
	status		text COLLATE "C",
	price		text COLLATE "C",
	quantity	integer,
	currency	text COLLATE "C",
	started_at	timestamptz,
	trial_end	timestamptz,
	period_start timestamptz,
	period_end	timestamptz,
	cancels_at_period_end boolean,
	cancel_at	timestamptz,
	canceled_at	timestamptz,
	ended_at	timestamptz,
	invoice		text COLLATE "C",
	invoice_status text COLLATE "C",
	invoice_total billing.amount,
	told_at		timestamptz,
	error		text COLLATE "C",
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	version		integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant_id, mirror_id),
	CONSTRAINT mirrored_subscription_is_mirrored_once UNIQUE (tenant_id, gateway, external_id),
	CONSTRAINT mirrored_subscription_told_has_instant CHECK ((status IS NULL) = (told_at IS NULL)),
	CONSTRAINT mirrored_subscription_has_no_card CHECK (billing.has_no_card(external_id) AND billing.has_no_card(customer_id))
);
COMMENT ON TABLE billing.mirrored_subscription
	IS 'subscriptions that a gateway keeps and bills, as it tells of them: nothing here bills them; written by resync_subscription and receive_callback';
COMMENT ON COLUMN billing.mirrored_subscription.tenant_id IS 'whose';
COMMENT ON COLUMN billing.mirrored_subscription.mirror_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.mirrored_subscription.gateway IS 'where it is kept';
COMMENT ON COLUMN billing.mirrored_subscription.external_id IS 'the gateway''s id of it';
COMMENT ON COLUMN billing.mirrored_subscription.customer_id IS 'the gateway''s id of who pays it';
COMMENT ON COLUMN billing.mirrored_subscription.status IS 'in the gateway''s words, such as trialing, active, past_due, canceled; NULL: nothing was told yet';
COMMENT ON COLUMN billing.mirrored_subscription.price IS 'the gateway''s id of the price of its first item';
COMMENT ON COLUMN billing.mirrored_subscription.quantity IS 'of that item';
COMMENT ON COLUMN billing.mirrored_subscription.currency IS 'ISO 4217';
COMMENT ON COLUMN billing.mirrored_subscription.started_at IS 'when it began';
COMMENT ON COLUMN billing.mirrored_subscription.trial_end IS 'when its trial ends or ended; NULL: it has none';
COMMENT ON COLUMN billing.mirrored_subscription.period_start IS 'when its present period began';
COMMENT ON COLUMN billing.mirrored_subscription.period_end IS 'when that ends, exclusive';
COMMENT ON COLUMN billing.mirrored_subscription.cancels_at_period_end IS 'it is not renewed';
COMMENT ON COLUMN billing.mirrored_subscription.cancel_at IS 'when it will end; NULL: it is not to';
COMMENT ON COLUMN billing.mirrored_subscription.canceled_at IS 'when somebody said that it ends';
COMMENT ON COLUMN billing.mirrored_subscription.ended_at IS 'when it ended';
COMMENT ON COLUMN billing.mirrored_subscription.invoice IS 'the gateway''s id of its last invoice';
COMMENT ON COLUMN billing.mirrored_subscription.invoice_status IS 'of that invoice, in the gateway''s words, such as open, paid, uncollectible; NULL: not told';
COMMENT ON COLUMN billing.mirrored_subscription.invoice_total IS 'of that invoice; NULL: not told';
COMMENT ON COLUMN billing.mirrored_subscription.told_at IS 'of when its state is: when the gateway wrote its news, or was asked; what is no later is not believed, but asked for again';
COMMENT ON COLUMN billing.mirrored_subscription.error IS 'why the gateway did not say how it is when it was asked last, such as resource_missing; NULL: it did';
COMMENT ON COLUMN billing.mirrored_subscription.created_at IS 'since when it is mirrored';
COMMENT ON COLUMN billing.mirrored_subscription.version IS 'counts the changes';
SELECT pg_catalog.pg_extension_config_dump('billing.mirrored_subscription', '');

CREATE INDEX mirrored_subscription_external_id ON billing.mirrored_subscription (external_id, gateway);

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, mirror_id, gateway, external_id, created_at ON billing.mirrored_subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Another subscription is another row.');
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON billing.mirrored_subscription
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('One that has ended stays, with its ended_at.');

ALTER TABLE billing.mirrored_subscription ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.mirrored_subscription
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.resync_subscription(tenant_id bigint, gateway text, external_id text, request_id text DEFAULT NULL)
RETURNS billing.mirrored_subscription
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_resync_subscription';
COMMENT ON FUNCTION billing.resync_subscription(bigint, text, text, text)
	IS 'begins to mirror a subscription that a gateway keeps, or asks how one is that is mirrored: external_id is the gateway''s id of it; returns the row as it is known; the process billing sender asks after the commit, and what is answered, and each callback about it, changes the row and is told of by mirrored_subscription.updated; raises YB001 no such tenant or gateway, YB006, YB014 the gateway keeps no subscriptions, YB015, 23505 it is mirrored for another tenant, 22004, 22023';
