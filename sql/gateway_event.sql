
-- gateway_event: what gateways tell ---------------------------------------------------------

CREATE TABLE billing.gateway_event (
	tenant_id	bigint NOT NULL,
	gateway_event_id bigint NOT NULL DEFAULT billing.next_id(),
	gateway		text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	event_id	text COLLATE "C" CONSTRAINT gateway_event_event_id_is_sound CHECK (event_id <> '' AND octet_length(event_id) <= 255),
	type		text COLLATE "C",
	outcome		text COLLATE "C" NOT NULL
				CONSTRAINT gateway_event_outcome_is_known CHECK (outcome IN ('applied', 'ignored', 'rejected')),
	reason		text,
	object		text COLLATE "C",
	object_id	bigint,
	body		bytea,
	received_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, gateway_event_id),
	CONSTRAINT gateway_event_is_heard_once UNIQUE (tenant_id, gateway, event_id),
	CONSTRAINT gateway_event_rejected_has_reason CHECK (outcome <> 'rejected' OR reason IS NOT NULL)
);
COMMENT ON TABLE billing.gateway_event
	IS 'what gateways told by callbacks, each once, and what became of it; written by receive_callback in the transaction that applies it';
COMMENT ON COLUMN billing.gateway_event.tenant_id IS 'whose; 0: nobody''s, or it could not be verified';
COMMENT ON COLUMN billing.gateway_event.gateway_event_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.gateway_event.gateway IS 'who told it';
COMMENT ON COLUMN billing.gateway_event.event_id IS 'the gateway''s own id, by which a repetition is known; NULL: it could not be verified, so that it has none';
COMMENT ON COLUMN billing.gateway_event.type IS 'in the gateway''s words';
COMMENT ON COLUMN billing.gateway_event.outcome IS 'applied; ignored: it is about nothing here; rejected: it was not believed, and changed nothing';
COMMENT ON COLUMN billing.gateway_event.reason IS 'why it was ignored or rejected';
COMMENT ON COLUMN billing.gateway_event.object IS 'what it is about: payment, refund, payment_method, dispute, mirrored_subscription';
COMMENT ON COLUMN billing.gateway_event.object_id IS 'its id';
COMMENT ON COLUMN billing.gateway_event.body IS 'what it says, up to 65536 bytes, without tokens and secrets: as the driver prints it, else as it came; NULL where that may hold some; the first 1024 of one that could not be verified';
COMMENT ON COLUMN billing.gateway_event.received_at IS 'when it came';
SELECT pg_catalog.pg_extension_config_dump('billing.gateway_event', '');

CREATE INDEX gateway_event_received_at ON billing.gateway_event (received_at);
CREATE INDEX gateway_event_unverified ON billing.gateway_event (tenant_id, gateway, received_at) WHERE event_id IS NULL;

CREATE TRIGGER refuse_change BEFORE UPDATE OR TRUNCATE ON billing.gateway_event
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What a gateway told stays told until it is old.');

ALTER TABLE billing.gateway_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.gateway_event
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE TYPE billing.callback_reply AS (
	status		integer,
	content_type text,
	body		text
);
COMMENT ON TYPE billing.callback_reply
	IS 'what to answer to a callback of a gateway: HTTP status, Content-Type and body';

CREATE FUNCTION billing.receive_callback(gateway text, headers jsonb, body bytea)
RETURNS billing.callback_reply
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_receive_callback';
COMMENT ON FUNCTION billing.receive_callback(text, jsonb, bytea)
	IS 'hears what a gateway tells, and returns what to answer: headers is an object of strings, in any case, body the bytes as they came, of which nothing may be changed; what is verified is stored, known by its id when it comes again, and applied, in this transaction; what is not, or differs from what was asked, changes nothing and is kept as rejected, of what could not be verified up to 1,000 an hour and gateway; needs no billing.tenant_id, since the signature says whose it is; raises YB001 no such gateway, 22004';

CREATE FUNCTION billing.verify_callback(gateway text, headers jsonb, body bytea, at timestamptz DEFAULT NULL, OUT is_valid boolean, OUT problem text,
	OUT event_id text, OUT type text, OUT subject text, OUT pay_no text, OUT outcome text)
RETURNS record
LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_verify_callback';
COMMENT ON FUNCTION billing.verify_callback(text, jsonb, bytea, timestamptz)
	IS 'what receive_callback would make of a callback at an instant (NULL: the present, by the real clock), without doing it: whether it is believed, or why not (problem: bad_signature, too_old, malformed or no_key, and more), and what it says; raises YB001, 22004';

CREATE FUNCTION billing.delete_old_gateway_events(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_delete_old_gateway_events';
COMMENT ON FUNCTION billing.delete_old_gateway_events(integer)
	IS 'deletes rows of gateway_event that came more than setting gateway_retention_days ago, those of callbacks that could not be verified after 7 days, rows of gateway_request that were over so long ago, and rows of gateway_certificate that no certificate was found for in 7 days, batch of each at most; returns how many: 0 when none is left; raises 22004, 22023';
