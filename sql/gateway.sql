
-- gateway: who takes payments for the company -------------------------------------------

CREATE FUNCTION billing.is_gateway_driver(name text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_gateway_driver';
COMMENT ON FUNCTION billing.is_gateway_driver(text)
	IS 'whether the library speaks the protocol of that name: stripe, alipay, wechat, paypal, manual';

CREATE FUNCTION billing.are_strings(members jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN jsonb_typeof(members) = 'object'
	AND NOT EXISTS (SELECT FROM jsonb_each(CASE WHEN jsonb_typeof(members) = 'object' THEN members ELSE '{}' END) e
		WHERE jsonb_typeof(e.value) <> 'string');
COMMENT ON FUNCTION billing.are_strings(jsonb)
	IS 'whether it is an object all of whose members are strings';

CREATE FUNCTION billing.are_exponents(members jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN jsonb_typeof(members) = 'object'
	AND NOT EXISTS (SELECT FROM jsonb_each(CASE WHEN jsonb_typeof(members) = 'object' THEN members ELSE '{}' END) e
		WHERE e.key !~ '^[A-Z]{3}$' OR e.value::text !~ '^[0-6]$');
COMMENT ON FUNCTION billing.are_exponents(jsonb)
	IS 'whether it is an object of ISO 4217 codes and decimals from 0 to 6, such as {"ISK": 2}';

CREATE TABLE billing.gateway (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT gateway_code_is_name CHECK (code ~ '^[a-z][a-z0-9_]{0,62}$' AND code <> 'any'),
	driver		text COLLATE "C" NOT NULL
				CONSTRAINT gateway_driver_is_known CHECK (billing.is_gateway_driver(driver)),
	base_url	text COLLATE "C"
				CONSTRAINT gateway_base_url_is_http CHECK (base_url ~ '^https?://[^/?#@\s[:cntrl:]]+(/[^?#\s[:cntrl:]]*[^/?#\s[:cntrl:]])?$' AND octet_length(base_url) <= 255),
	notify_url	text COLLATE "C"
				CONSTRAINT gateway_notify_url_is_http CHECK (notify_url ~ '^https?://[^/?#@\s[:cntrl:]]+(/[^?#\s[:cntrl:]]*)?$' AND octet_length(notify_url) <= 255),
	settings	jsonb NOT NULL DEFAULT '{}' CONSTRAINT gateway_settings_are_strings CHECK (billing.are_strings(settings)),
	credentials	billing.sealed,
	exponents	jsonb NOT NULL DEFAULT '{}' CONSTRAINT gateway_exponents_are_decimals CHECK (billing.are_exponents(exponents)),
	is_enabled	boolean NOT NULL DEFAULT true,
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.gateway
	IS 'who takes payments for the company: one account at one gateway each; made by create_gateway, since its credentials, a JSON object of strings, are sealed for tenant 0 and purpose gateway_credentials';
COMMENT ON COLUMN billing.gateway.code IS 'yours: what payments, methods and callbacks name it by';
COMMENT ON COLUMN billing.gateway.driver IS 'the protocol it speaks: stripe, alipay, wechat, paypal, manual; decline codes go by it';
COMMENT ON COLUMN billing.gateway.base_url IS 'where it is asked, without a slash at the end; NULL: where the gateway itself is';
COMMENT ON COLUMN billing.gateway.notify_url IS 'where its callbacks are to go, an address of your application that calls receive_callback; NULL: as the gateway''s own console says';
COMMENT ON COLUMN billing.gateway.settings IS 'what the driver needs that is no secret, by the page of the gateway: ids of the account, public keys';
COMMENT ON COLUMN billing.gateway.credentials IS 'what it needs that is secret, sealed: keys, secrets of callbacks';
COMMENT ON COLUMN billing.gateway.exponents IS 'decimals of the gateway''s smallest unit of a currency, where neither the driver nor ISO 4217 have it right';
COMMENT ON COLUMN billing.gateway.is_enabled IS 'false: no new payment or method; what is under way goes on, and callbacks are heard';
SELECT pg_catalog.pg_extension_config_dump('billing.gateway', '');

CREATE TRIGGER gateway_audit
AFTER UPDATE OR DELETE ON billing.gateway
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');

CREATE TABLE billing.gateway_certificate (
	gateway		text COLLATE "C" NOT NULL REFERENCES billing.gateway ON DELETE CASCADE,
	name		text COLLATE "C" NOT NULL CONSTRAINT gateway_certificate_name_is_sound CHECK (name <> '' AND octet_length(name) <= 512),
	pem			text COLLATE "C",
	wanted_at	timestamptz NOT NULL DEFAULT '-infinity',
	next_attempt_at timestamptz,
	attempts	integer NOT NULL DEFAULT 0,
	error		text,
	PRIMARY KEY (gateway, name),
	CONSTRAINT gateway_certificate_is_there_or_wanted CHECK (pem IS NULL OR next_attempt_at IS NULL)
);
COMMENT ON TABLE billing.gateway_certificate
	IS 'what a gateway has published that its signatures are verified with, by serial number or address; asked for when a callback names one that is not here, and until then the callback is refused with 503, which the gateway repeats';
COMMENT ON COLUMN billing.gateway_certificate.gateway IS 'whose';
COMMENT ON COLUMN billing.gateway_certificate.name IS 'serial number or address, as callbacks name it';
COMMENT ON COLUMN billing.gateway_certificate.pem IS 'certificates; NULL: not there yet';
COMMENT ON COLUMN billing.gateway_certificate.wanted_at IS 'when a callback named it last without its being here';
COMMENT ON COLUMN billing.gateway_certificate.next_attempt_at IS 'when it is asked for; NULL: it is not';
COMMENT ON COLUMN billing.gateway_certificate.attempts IS 'how often it was asked for';
COMMENT ON COLUMN billing.gateway_certificate.error IS 'why it is not here, as it was asked for last; NULL: nobody has said yet';
SELECT pg_catalog.pg_extension_config_dump('billing.gateway_certificate', '');

CREATE FUNCTION billing.require_gateway(code text)
RETURNS void
LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_require_gateway';
COMMENT ON FUNCTION billing.require_gateway(text)
	IS 'does nothing where there is a gateway of that code, also for who may not read billing.gateway; else raises YB001, or 22004 of NULL';

CREATE FUNCTION billing.create_gateway(code text, driver text, settings jsonb DEFAULT '{}', credentials jsonb DEFAULT '{}', base_url text DEFAULT NULL,
	notify_url text DEFAULT NULL, exponents jsonb DEFAULT '{}', request_id text DEFAULT NULL)
RETURNS billing.gateway
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_create_gateway';
COMMENT ON FUNCTION billing.create_gateway(text, text, jsonb, jsonb, text, text, jsonb, text)
	IS 'adds a gateway and returns its row; code is yours; driver is stripe, alipay, wechat, paypal or manual; settings and credentials are objects of strings as the page of the gateway names them, of which credentials are sealed; base_url NULL is the gateway itself; an address that is not public or not https needs setting billing.webhook_allow_private; notify_url is where callbacks are to go; pass credentials as a bind parameter, since a literal is in the server log; raises YB006, 22004, 22023 what the driver finds wrong, 23505, and what billing.seal() raises';

CREATE FUNCTION billing.update_gateway(code text, changes jsonb)
RETURNS billing.gateway
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_update_gateway';
COMMENT ON FUNCTION billing.update_gateway(text, jsonb)
	IS 'changes what a gateway is and returns its row: changes is an object with members settings and credentials (objects of strings that are added to what there is, null takes one away), base_url, notify_url, exponents and is_enabled; raises YB001, 22004, 22023, and what billing.seal() raises';
