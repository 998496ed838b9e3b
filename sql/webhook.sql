
-- webhook: where events go ------------------------------------------------------------

CREATE FUNCTION billing.is_public_address(address inet)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_public_address';
COMMENT ON FUNCTION billing.is_public_address(inet)
	IS 'whether a webhook may go to an address while setting billing.webhook_allow_private is off: false for loopback, private and link-local networks, the metadata of clouds and all that RFC 6890 sets aside; of IPv6 true for global unicast only; an IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is as that one; the mask does not count';

CREATE FUNCTION billing.event_type_matches(type text, filters text[])
RETURNS boolean
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_event_type_matches';
COMMENT ON FUNCTION billing.event_type_matches(text, text[])
	IS 'whether an endpoint with these filters wants events of a type: each filter is a type, in which * stands for any characters, as in invoice.* or *.created; NULL: all types';

-- Global, and still of one tenant if it says so: no foreign key runs from here to a tenant's
-- row, and no statement reads one.
CREATE TABLE billing.webhook_endpoint (
	endpoint_id	bigint PRIMARY KEY DEFAULT billing.next_id(),
	url			text COLLATE "C" NOT NULL
				CONSTRAINT webhook_endpoint_url_is_http CHECK (url ~ '^https?://[^/?#@\s[:cntrl:]]+([/?#][^\s[:cntrl:]]*)?$' AND octet_length(url) <= 2048),
	description	text,
	event_types	text[] COLLATE "C"
				CONSTRAINT webhook_endpoint_event_types_are_filters CHECK (array_to_string(event_types, ' ', '') ~ '^[a-z0-9_.*]+( [a-z0-9_.*]+)*$'),
	only_tenant_id bigint
				CONSTRAINT webhook_endpoint_only_tenant_is_positive CHECK (only_tenant_id > 0),
	secret		billing.sealed NOT NULL,
	public_key	text COLLATE "C"
				CONSTRAINT webhook_endpoint_public_key_is_ed25519 CHECK (public_key ~ '^whpk_[A-Za-z0-9+/]{43}=$'),
	previous_secret billing.sealed,
	previous_until timestamptz,
	headers		billing.sealed,
	rate_limit	integer
				CONSTRAINT webhook_endpoint_rate_limit_is_in_range CHECK (rate_limit BETWEEN 1 AND 100000),
	is_ordered	boolean NOT NULL DEFAULT false,
	is_enabled	boolean NOT NULL DEFAULT true,
	disabled_at	timestamptz,
	disabled_reason text,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user,
	CONSTRAINT webhook_endpoint_previous_secret_ends CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
	CONSTRAINT webhook_endpoint_enabled_has_no_reason CHECK (NOT is_enabled OR num_nonnulls(disabled_at, disabled_reason) = 0)
);
COMMENT ON TABLE billing.webhook_endpoint
	IS 'where events are delivered to, and which; made by create_webhook_endpoint, since its secrets are sealed for tenant 0 and purpose webhook_secret, its headers, a JSON object, for purpose webhook_headers';
COMMENT ON COLUMN billing.webhook_endpoint.endpoint_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.webhook_endpoint.url IS 'http or https, with no user and no password';
COMMENT ON COLUMN billing.webhook_endpoint.description IS 'for people';
COMMENT ON COLUMN billing.webhook_endpoint.event_types IS 'filters as event_type_matches reads them; NULL: all events';
COMMENT ON COLUMN billing.webhook_endpoint.only_tenant_id IS 'the only tenant whose events it gets; NULL: every tenant''s';
COMMENT ON COLUMN billing.webhook_endpoint.secret IS 'what its requests are signed with: whsec_ and base64 signs with HMAC-SHA256 (v1), whsk_ and base64 with Ed25519 (v1a)';
COMMENT ON COLUMN billing.webhook_endpoint.public_key IS 'of a secret that begins with whsk_: what its signatures are verified with';
COMMENT ON COLUMN billing.webhook_endpoint.previous_secret IS 'the one before, which signs as well until previous_until';
COMMENT ON COLUMN billing.webhook_endpoint.previous_until IS 'when the secret before ends';
COMMENT ON COLUMN billing.webhook_endpoint.headers IS 'what its requests bear besides, names and values; sealed, for they may be credentials';
COMMENT ON COLUMN billing.webhook_endpoint.rate_limit IS 'requests a second at most; NULL: no bound';
COMMENT ON COLUMN billing.webhook_endpoint.is_ordered IS 'true: an event is sent only when those before it of its tenant were delivered or given up; it counts for events that happen from then on';
COMMENT ON COLUMN billing.webhook_endpoint.is_enabled IS 'false: nothing is written for it, and what waits goes on waiting';
COMMENT ON COLUMN billing.webhook_endpoint.disabled_at IS 'when it was disabled';
COMMENT ON COLUMN billing.webhook_endpoint.disabled_reason IS 'why: what a person said, or that it answered 410';
SELECT pg_catalog.pg_extension_config_dump('billing.webhook_endpoint', '');

CREATE TRIGGER webhook_endpoint_audit
AFTER UPDATE OR DELETE ON billing.webhook_endpoint
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('endpoint_id');

CREATE TRIGGER lock_references BEFORE DELETE OR UPDATE OF endpoint_id ON billing.webhook_endpoint
	FOR EACH STATEMENT EXECUTE FUNCTION billing.lock_references('webhook_delivery');

CREATE FUNCTION billing.wanted_events()
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN billing.effective_setting('events') = 'all' THEN NULL
	ELSE ARRAY(SELECT t.type FROM billing.event_type t
		WHERE EXISTS (SELECT FROM billing.webhook_endpoint e WHERE e.is_enabled AND billing.event_type_matches(t.type, e.event_types))) END;
COMMENT ON FUNCTION billing.wanted_events()
	IS 'the types of events that are written, as setting events says: those that an enabled endpoint wants, or, NULL, all';

-- Written by the statement that writes the event, for each endpoint that wants it.  So no
-- cursor over ids can pass by an event that commits late.
CREATE TABLE billing.webhook_delivery (
	tenant_id	bigint NOT NULL,
	event_id	bigint NOT NULL,
	endpoint_id	bigint NOT NULL REFERENCES billing.webhook_endpoint,
	state		text COLLATE "C" NOT NULL DEFAULT 'pending'
				CONSTRAINT webhook_delivery_state_is_known CHECK (state IN ('pending', 'sending', 'delivered', 'failed')),
	is_ordered	boolean NOT NULL DEFAULT false,
	attempts	integer NOT NULL DEFAULT 0
				CONSTRAINT webhook_delivery_attempts_is_not_negative CHECK (attempts >= 0),
	next_attempt_at timestamptz DEFAULT '-infinity',
	attempted_at timestamptz,
	delivered_at timestamptz,
	status		integer,
	error		text,
	response	text,
	duration	integer,
	PRIMARY KEY (tenant_id, event_id, endpoint_id),
	FOREIGN KEY (tenant_id, event_id) REFERENCES billing.event,
	CONSTRAINT webhook_delivery_ends_or_goes_on CHECK ((state IN ('pending', 'sending')) = (next_attempt_at IS NOT NULL))
);
COMMENT ON TABLE billing.webhook_delivery
	IS 'one event to one endpoint: written with the event, sent by the process billing sender, at least once';
COMMENT ON COLUMN billing.webhook_delivery.tenant_id IS 'whose';
COMMENT ON COLUMN billing.webhook_delivery.event_id IS 'what is sent';
COMMENT ON COLUMN billing.webhook_delivery.endpoint_id IS 'where to';
COMMENT ON COLUMN billing.webhook_delivery.state IS 'pending: it waits for next_attempt_at; sending: it was claimed by the sender; delivered; failed: given up';
COMMENT ON COLUMN billing.webhook_delivery.is_ordered IS 'of the endpoint when the event happened: it waits for those before it of its tenant';
COMMENT ON COLUMN billing.webhook_delivery.attempts IS 'how many were made, the one under way included';
COMMENT ON COLUMN billing.webhook_delivery.next_attempt_at IS 'when the next is due, in real time, which a test clock does not move; -infinity: at once; of one under way, when it is taken for lost; NULL: there is none';
COMMENT ON COLUMN billing.webhook_delivery.attempted_at IS 'when the last began, in real time, which a test clock does not move; of one under way, when it was claimed';
COMMENT ON COLUMN billing.webhook_delivery.delivered_at IS 'when it was answered with 2xx, in real time';
COMMENT ON COLUMN billing.webhook_delivery.status IS 'HTTP status of the last answer; NULL: none came';
COMMENT ON COLUMN billing.webhook_delivery.error IS 'why the last attempt failed: dns, connect, tls, timeout, private_address, reset, protocol, failed or http, a colon, and words for people';
COMMENT ON COLUMN billing.webhook_delivery.response IS 'the first 4096 bytes of the body of the last answer, read as UTF-8; what is none, or has no place in the encoding of the database, is a question mark';
COMMENT ON COLUMN billing.webhook_delivery.duration IS 'of the last attempt, in milliseconds';
SELECT pg_catalog.pg_extension_config_dump('billing.webhook_delivery', '');

-- Due ones, and those under way: what is done leaves the index.
CREATE INDEX webhook_delivery_due ON billing.webhook_delivery (endpoint_id, next_attempt_at, event_id)
	WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_delivery_order ON billing.webhook_delivery (endpoint_id, tenant_id, event_id)
	WHERE next_attempt_at IS NOT NULL AND is_ordered;
CREATE INDEX webhook_delivery_failed ON billing.webhook_delivery (endpoint_id, event_id)
	WHERE state = 'failed';

ALTER TABLE billing.webhook_delivery DISABLE TRIGGER ALL;
CREATE TRIGGER check_references AFTER INSERT ON billing.webhook_delivery REFERENCING NEW TABLE AS inserted
	FOR EACH STATEMENT EXECUTE FUNCTION billing.check_references();
CREATE TRIGGER refuse_change BEFORE TRUNCATE ON billing.webhook_delivery
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What is delivered goes with its event, by billing.delete_old_events().');
CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, event_id, endpoint_id ON billing.webhook_delivery
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Send the event to another endpoint by billing.redeliver().');

ALTER TABLE billing.webhook_delivery ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.webhook_delivery
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE VIEW billing.webhook_status WITH (security_invoker) AS
	SELECT e.endpoint_id, e.url, e.is_enabled, w.waiting, w.oldest, f.failed, l.error AS last_error
	FROM billing.webhook_endpoint e
		CROSS JOIN LATERAL (SELECT count(*) AS waiting, min(v.created_at) AS oldest
			FROM billing.webhook_delivery d
				JOIN billing.event v ON v.tenant_id = d.tenant_id AND v.event_id = d.event_id
			WHERE d.endpoint_id = e.endpoint_id AND d.next_attempt_at IS NOT NULL) w
		CROSS JOIN LATERAL (SELECT count(*) AS failed
			FROM billing.webhook_delivery d WHERE d.endpoint_id = e.endpoint_id AND d.state = 'failed') f
		LEFT JOIN LATERAL (SELECT d.error
			FROM billing.webhook_delivery d
			WHERE d.endpoint_id = e.endpoint_id AND d.next_attempt_at IS NOT NULL AND d.error IS NOT NULL
			ORDER BY d.attempted_at DESC LIMIT 1) l ON true;
COMMENT ON VIEW billing.webhook_status
	IS 'per endpoint: deliveries that wait (waiting), when the oldest event of them happened (oldest), how many were given up (failed), and why the last attempt failed of those that wait (last_error)';

CREATE TYPE billing.webhook_secret AS (
	endpoint_id	bigint,
	signing_secret text,
	public_key	text,
	previous_until timestamptz
);
COMMENT ON TYPE billing.webhook_secret
	IS 'what is shown once of an endpoint''s secret to who makes it; previous_until: when the one before ends';

CREATE FUNCTION billing.create_webhook_endpoint(url text, event_types text[] DEFAULT NULL, scheme text DEFAULT 'v1', secret text DEFAULT NULL,
	headers jsonb DEFAULT NULL, rate_limit integer DEFAULT NULL, is_ordered boolean DEFAULT false, only_tenant_id bigint DEFAULT NULL,
	description text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.webhook_secret
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_create_webhook_endpoint';
COMMENT ON FUNCTION billing.create_webhook_endpoint(text, text[], text, text, jsonb, integer, boolean, bigint, text, text)
	IS 'adds an endpoint, enabled, that gets the events that happen from now on; event_types are filters as event_type_matches reads them, NULL all; scheme is v1 (HMAC-SHA256) or v1a (Ed25519); secret is whsec_ or whsk_ and base64, NULL makes one; headers is an object of names and values that each request bears; rate_limit is in requests a second, NULL unbounded; is_ordered keeps the order of each tenant; returns its id, the secret (never again: a retry with the same request_id returns NULL) and, of v1a, the public key; raises YB006, 22004, 22023, and what billing.seal() raises';

CREATE FUNCTION billing.update_webhook_endpoint(endpoint_id bigint, changes jsonb)
RETURNS billing.webhook_endpoint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_update_webhook_endpoint';
COMMENT ON FUNCTION billing.update_webhook_endpoint(bigint, jsonb)
	IS 'changes what an endpoint is and returns its row: changes is an object with members url, event_types (an array, or null for all), headers (an object that replaces those there are, or null), rate_limit, is_ordered, only_tenant_id and description; what waits is sent to where it is then; raises YB001, 22004, 22023';

CREATE FUNCTION billing.rotate_webhook_secret(endpoint_id bigint, keep interval DEFAULT '24 hours', scheme text DEFAULT NULL, secret text DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.webhook_secret
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_rotate_webhook_secret';
COMMENT ON FUNCTION billing.rotate_webhook_secret(bigint, interval, text, text, text)
	IS 'gives an endpoint another secret; for as long as keep says requests are signed with the one before as well, 0 for not at all; scheme is v1 or v1a, NULL as it is; secret NULL makes one; returns it (never again: a retry with the same request_id returns NULL), of v1a its public key, and when the one before ends; raises YB001, YB006, 22004, 22023, and what billing.seal() raises';

CREATE FUNCTION billing.enable_webhook_endpoint(endpoint_id bigint, is_enabled boolean DEFAULT true, reason text DEFAULT NULL)
RETURNS billing.webhook_endpoint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_enable_webhook_endpoint';
COMMENT ON FUNCTION billing.enable_webhook_endpoint(bigint, boolean, text)
	IS 'enables an endpoint, so that what waits for it is sent and new events are, or disables it and keeps reason; returns its row; raises YB001, 22004';

CREATE FUNCTION billing.redeliver(tenant_id bigint, event_id bigint, endpoint_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_redeliver';
COMMENT ON FUNCTION billing.redeliver(bigint, bigint, bigint)
	IS 'sends an event again, whatever became of it, with all its attempts before it: to an endpoint, also one that did not want it, or, NULL, to each that it was for; returns to how many; one that still waits is sent at once; raises YB001, YB015 for another tenant or its endpoint, 22004';

CREATE FUNCTION billing.redeliver_range(endpoint_id bigint, since timestamptz, until timestamptz DEFAULT NULL, only_failed boolean DEFAULT true,
	tenant_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_redeliver_range';
COMMENT ON FUNCTION billing.redeliver_range(bigint, timestamptz, timestamptz, boolean, bigint)
	IS 'sends to an endpoint again the events that happened from since until before until, NULL no end: those that were given up or wait for another attempt, or, only_failed false, all that it got or waits for; of one tenant or, NULL, of all; returns how many; raises YB001, YB015 for another tenant''s endpoint, 22004';

CREATE FUNCTION billing.send_test_event(endpoint_id bigint, tenant_id bigint DEFAULT NULL)
RETURNS billing.webhook_delivery
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_send_test_event';
COMMENT ON FUNCTION billing.send_test_event(bigint, bigint)
	IS 'writes an event of type webhook.test and its delivery to an endpoint, whatever its filters, and returns that; tenant_id says in whose name, NULL the only one it is for or any; raises YB001, YB004 for an endpoint that is disabled, YB015 for another tenant''s, 22004';

CREATE FUNCTION billing.delete_old_events(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_delete_old_events';
COMMENT ON FUNCTION billing.delete_old_events(integer)
	IS 'deletes events that happened more than setting event_retention_days ago, batch of them at most, with their deliveries, but for those that wait for an enabled endpoint; returns how many: 0 when none is left; raises 22004, 22023';
