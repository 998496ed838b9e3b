
-- gateway_request: what is asked of gateways ----------------------------------------------

CREATE TABLE billing.gateway_request (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	gateway_request_id bigint NOT NULL DEFAULT billing.next_id(),
	gateway		text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	operation	text COLLATE "C" NOT NULL
				CONSTRAINT gateway_request_operation_is_known CHECK (operation IN ('pay', 'capture', 'query', 'close', 'refund', 'query_refund',
					'add_method', 'remove_method', 'subscription')),
	object_id	bigint NOT NULL,
	idempotency_key text COLLATE "C" NOT NULL,
	state		text COLLATE "C" NOT NULL DEFAULT 'waiting'
				CONSTRAINT gateway_request_state_is_known CHECK (state IN ('waiting', 'sending', 'done', 'failed', 'dropped')),
	step		integer NOT NULL DEFAULT 0,
	memory		billing.sealed,
	attempts	integer NOT NULL DEFAULT 0,
	next_attempt_at timestamptz,
	claimed_at	timestamptz,
	status		integer,
	error		text,
	outcome		text COLLATE "C",
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	finished_at	timestamptz,
	PRIMARY KEY (tenant_id, gateway_request_id),
	CONSTRAINT gateway_request_ends_or_goes_on CHECK ((state IN ('waiting', 'sending')) = (next_attempt_at IS NOT NULL)),
	CONSTRAINT gateway_request_sending_is_claimed CHECK (state <> 'sending' OR claimed_at IS NOT NULL)
);
COMMENT ON TABLE billing.gateway_request
	IS 'what is asked of gateways: written by the flow that wants it, in its transaction, and sent after that by the process billing sender, or by an application with gateway_request() and gateway_response()';
COMMENT ON COLUMN billing.gateway_request.tenant_id IS 'whose';
COMMENT ON COLUMN billing.gateway_request.gateway_request_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.gateway_request.gateway IS 'who is asked';
COMMENT ON COLUMN billing.gateway_request.operation IS 'what: pay, capture, query and close are about a payment, refund and query_refund about a refund, add_method and remove_method about a payment method, subscription about one that is kept at the gateway';
COMMENT ON COLUMN billing.gateway_request.object_id IS 'its payment_id, refund_id, payment_method_id or mirror_id';
COMMENT ON COLUMN billing.gateway_request.idempotency_key IS 'the same for each repetition: tenant and random characters, so that no other request ever has it, in a restored database neither';
COMMENT ON COLUMN billing.gateway_request.state IS 'waiting for next_attempt_at; sending: claimed by who sends it; done: answered; failed: given up; dropped: not wanted any more';
COMMENT ON COLUMN billing.gateway_request.step IS 'of a conversation of several: how many answers there were';
COMMENT ON COLUMN billing.gateway_request.memory IS 'what they left for the next, a JSON object of strings, sealed for the tenant and purpose gateway_memory';
COMMENT ON COLUMN billing.gateway_request.attempts IS 'the one under way included; the steps of a conversation are one';
COMMENT ON COLUMN billing.gateway_request.next_attempt_at IS 'when it is due, in real time, which a test clock does not move; of one that is being sent, when it is taken for lost';
COMMENT ON COLUMN billing.gateway_request.claimed_at IS 'when it was claimed last, in real time';
COMMENT ON COLUMN billing.gateway_request.status IS 'HTTP status of the last answer; NULL: none came';
COMMENT ON COLUMN billing.gateway_request.error IS 'why the last attempt failed: as of webhook_delivery, or what the gateway said';
COMMENT ON COLUMN billing.gateway_request.outcome IS 'what the last answer said: succeeded, processing, requires_action, approved, failed, canceled, unknown, retry, next';
COMMENT ON COLUMN billing.gateway_request.finished_at IS 'when it was over, in real time';
SELECT pg_catalog.pg_extension_config_dump('billing.gateway_request', '');

CREATE INDEX gateway_request_due ON billing.gateway_request (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX gateway_request_object ON billing.gateway_request (tenant_id, object_id, gateway_request_id);
CREATE UNIQUE INDEX gateway_request_waits_once ON billing.gateway_request (tenant_id, object_id, operation) WHERE next_attempt_at IS NOT NULL;

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, gateway_request_id, gateway, operation, object_id, idempotency_key ON billing.gateway_request
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Ask something else by another request.');

ALTER TABLE billing.gateway_request ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.gateway_request
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.gateway_request(pay_no text, OUT method text, OUT url text, OUT headers jsonb, OUT body text)
RETURNS record
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_gateway_request';
COMMENT ON FUNCTION billing.gateway_request(text)
	IS 'the next request that a payment of create_payment has for its gateway, or else that for a certificate which a callback of that waits for, for an application that sends it itself and hands the answer to gateway_response(); whoever calls it has claimed it, for 2 minutes; all NULL: there is none now, also where the gateway cannot be asked, which has failed then, or one is claimed already, whose answer comes first; headers holds credentials, so that only admins may call it; raises YB001, 22004';

CREATE FUNCTION billing.gateway_response(pay_no text, status integer, headers jsonb, body text)
RETURNS billing.payment
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_gateway_response';
COMMENT ON FUNCTION billing.gateway_response(text, integer, jsonb, text)
	IS 'what the gateway answered to the request that gateway_request() gave: HTTP status (NULL or 0: no answer came, body says why), headers as an object of strings, body; applies it and returns the payment; call gateway_request() again, since some requests come in several steps; raises YB001, YB004 no request of it is claimed, 22004';
