
-- payment_method: what tenants pay by ----------------------------------------------------

CREATE TABLE billing.gateway_customer (
	tenant_id	bigint NOT NULL REFERENCES billing.tenant,
	gateway		text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	customer_id	text COLLATE "C" NOT NULL
				CONSTRAINT gateway_customer_id_is_sound CHECK (customer_id <> '' AND octet_length(customer_id) <= 255),
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, gateway),
	CONSTRAINT gateway_customer_has_no_card CHECK (billing.has_no_card(customer_id))
);
COMMENT ON TABLE billing.gateway_customer
	IS 'what gateways call the tenants; written by add_payment_method, as it is told or as the gateway answers';
COMMENT ON COLUMN billing.gateway_customer.tenant_id IS 'who';
COMMENT ON COLUMN billing.gateway_customer.gateway IS 'where';
COMMENT ON COLUMN billing.gateway_customer.customer_id IS 'the gateway''s id of the tenant, which methods that are added are attached to';
SELECT pg_catalog.pg_extension_config_dump('billing.gateway_customer', '');

ALTER TABLE billing.gateway_customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.gateway_customer
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE FUNCTION billing.month_ends_at(year integer, month integer, timezone text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (make_date(year, month, 1) + interval '1 month') AT TIME ZONE timezone;
COMMENT ON FUNCTION billing.month_ends_at(integer, integer, text)
	IS 'where a month ends in a time zone, exclusive: a card is good until the end of the month that it shows; 22008 no such month, 22023 no such time zone';

-- The token is in no other table: what functions return, requests keep and audit_log shows of a row is without it.
CREATE TABLE billing.payment_method (
	tenant_id		bigint NOT NULL REFERENCES billing.tenant,
	payment_method_id bigint NOT NULL DEFAULT billing.next_id(),
	gateway			text COLLATE "C" NOT NULL REFERENCES billing.gateway,
	type			text COLLATE "C" NOT NULL
					CONSTRAINT payment_method_type_is_known CHECK (type IN ('card', 'bank_account', 'bank_transfer', 'alipay', 'wechat', 'paypal')),
	status			text COLLATE "C" NOT NULL DEFAULT 'pending'
					CONSTRAINT payment_method_status_is_known CHECK (status IN ('pending', 'active', 'expired', 'failed', 'removed')),
	is_default		boolean NOT NULL DEFAULT false,
	becomes_default	boolean NOT NULL DEFAULT false,
	token			billing.sealed,
	brand			text,
	last4			billing.sealed,
	exp_month		integer CONSTRAINT payment_method_exp_month_is_month CHECK (exp_month BETWEEN 1 AND 12),
	exp_year		integer CONSTRAINT payment_method_exp_year_is_year CHECK (exp_year BETWEEN 2000 AND 2199),
	billing_email	text,
	billing_address	jsonb CONSTRAINT payment_method_address_is_object CHECK (jsonb_typeof(billing_address) = 'object'),
	customer_id		text COLLATE "C" CONSTRAINT payment_method_customer_is_sound CHECK (customer_id <> '' AND octet_length(customer_id) <= 255),
	external_id		text COLLATE "C" CONSTRAINT payment_method_external_id_is_sound CHECK (external_id <> '' AND octet_length(external_id) <= 255),
	action_url		text,
	failure_code	text,
	failure_reason	text,
	metadata		jsonb NOT NULL DEFAULT '{}' CONSTRAINT payment_method_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object'),
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	verified_at		timestamptz,
	default_at		timestamptz,
	ended_at		timestamptz,
	version			integer NOT NULL DEFAULT 1,
	PRIMARY KEY (tenant_id, payment_method_id),
	CONSTRAINT payment_method_default_is_usable CHECK (status = 'active' OR NOT is_default),
	CONSTRAINT payment_method_default_has_instant CHECK (is_default = (default_at IS NOT NULL)),
	CONSTRAINT payment_method_expiry_is_whole CHECK ((exp_month IS NULL) = (exp_year IS NULL)),
	CONSTRAINT payment_method_end_has_instant CHECK ((status IN ('expired', 'failed', 'removed')) = (ended_at IS NOT NULL)),
	CONSTRAINT payment_method_has_no_card CHECK (billing.has_no_card(brand) AND billing.has_no_card(billing_email) AND billing.has_no_card(billing_address) AND billing.has_no_card(customer_id) AND billing.has_no_card(metadata))
);
COMMENT ON TABLE billing.payment_method
	IS 'what tenants pay by, as tokens of gateways; exactly one of a tenant''s usable (active) ones is its default; written by add_payment_method, remove_payment_method, set_default_payment_method, update_payment_method, by what gateways answer, and by expire_payment_methods';
COMMENT ON COLUMN billing.payment_method.tenant_id IS 'whose';
COMMENT ON COLUMN billing.payment_method.payment_method_id IS 'from billing.next_id()';
COMMENT ON COLUMN billing.payment_method.gateway IS 'who verifies and charges it';
COMMENT ON COLUMN billing.payment_method.type IS 'card, bank_account, bank_transfer, alipay, wechat or paypal';
COMMENT ON COLUMN billing.payment_method.status IS 'pending: the gateway is asked whether it is good; active: it can be used; expired, failed, removed: it cannot; see billing.state_transition';
COMMENT ON COLUMN billing.payment_method.is_default IS 'what new subscriptions use, and whatever has no usable one of its own';
COMMENT ON COLUMN billing.payment_method.becomes_default IS 'of one that is pending: it becomes the default, whatever is the default then';
COMMENT ON COLUMN billing.payment_method.token IS 'what the gateway knows it by, sealed with purpose token; NULL: there is none, or it was removed there';
COMMENT ON COLUMN billing.payment_method.brand IS 'of the card, or name of the bank';
COMMENT ON COLUMN billing.payment_method.last4 IS 'last four digits, sealed with purpose last4: billing.last4() shows them';
COMMENT ON COLUMN billing.payment_method.exp_month IS 'the last month in which it is good, in the tenant''s time zone; NULL: it does not expire';
COMMENT ON COLUMN billing.payment_method.exp_year IS 'of that month';
COMMENT ON COLUMN billing.payment_method.billing_email IS 'of who pays by it; NULL: the tenant''s';
COMMENT ON COLUMN billing.payment_method.billing_address IS 'of who pays by it';
COMMENT ON COLUMN billing.payment_method.customer_id IS 'the gateway''s id of the tenant that it is attached to; NULL: billing.gateway_customer has it, or there is none';
COMMENT ON COLUMN billing.payment_method.external_id IS 'what news of the gateway find it by: its id there, or a digest of that, where it is the token';
COMMENT ON COLUMN billing.payment_method.action_url IS 'of one that is pending: where a person has to confirm it; NULL: nowhere';
COMMENT ON COLUMN billing.payment_method.failure_code IS 'of one that failed: why, in the words of the gateway';
COMMENT ON COLUMN billing.payment_method.failure_reason IS 'and what it says to that';
COMMENT ON COLUMN billing.payment_method.metadata IS 'whatever you want to keep';
COMMENT ON COLUMN billing.payment_method.created_at IS 'when it was added';
COMMENT ON COLUMN billing.payment_method.verified_at IS 'when the gateway last said that it is good; NULL: it has not';
COMMENT ON COLUMN billing.payment_method.default_at IS 'since when it is the default';
COMMENT ON COLUMN billing.payment_method.ended_at IS 'when it expired, failed or was removed';
COMMENT ON COLUMN billing.payment_method.version IS 'counts the changes';
SELECT pg_catalog.pg_extension_config_dump('billing.payment_method', '');

CREATE UNIQUE INDEX payment_method_default ON billing.payment_method (tenant_id) WHERE is_default;
CREATE UNIQUE INDEX payment_method_external_id ON billing.payment_method (tenant_id, gateway, external_id) WHERE status IN ('pending', 'active', 'expired');

-- Callbacks name no tenant.
CREATE INDEX payment_method_external ON billing.payment_method (gateway, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX gateway_customer_id ON billing.gateway_customer (gateway, customer_id);

-- Of what can expire, when it does where the day begins first.
CREATE INDEX payment_method_expiry ON billing.payment_method (billing.month_ends_at(exp_year, exp_month, 'UTC-14'), tenant_id)
	WHERE status = 'active' AND exp_year IS NOT NULL;

CREATE TRIGGER refuse_key_change BEFORE UPDATE OF tenant_id, payment_method_id, gateway, created_at ON billing.payment_method
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('Another method is another row.');
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON billing.payment_method
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('One that is not wanted any more is removed, by billing.remove_payment_method().');
CREATE TRIGGER payment_method_state_guard BEFORE UPDATE OF status ON billing.payment_method
	FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing.state_guard('payment_method');

ALTER TABLE billing.payment_method ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.payment_method
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

ALTER TABLE billing.subscription ADD CONSTRAINT subscription_payment_method_exists
	FOREIGN KEY (tenant_id, payment_method_id) REFERENCES billing.payment_method;

-- Of the default the rows of a tenant are a chain: each begins with what the one before it ended with.
CREATE TABLE billing.payment_method_change (
	tenant_id		bigint NOT NULL,
	change_id		bigint NOT NULL DEFAULT billing.next_id(),
	subscription_id	bigint,
	from_id			bigint,
	to_id			bigint,
	reason			text COLLATE "C" NOT NULL,
	actor			text COLLATE "C" NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT billing.now(),
	PRIMARY KEY (tenant_id, change_id),
	FOREIGN KEY (tenant_id, subscription_id) REFERENCES billing.subscription,
	CONSTRAINT payment_method_change_from_exists FOREIGN KEY (tenant_id, from_id) REFERENCES billing.payment_method,
	CONSTRAINT payment_method_change_to_exists FOREIGN KEY (tenant_id, to_id) REFERENCES billing.payment_method,
	CONSTRAINT payment_method_change_is_one CHECK (from_id IS DISTINCT FROM to_id)
);
COMMENT ON TABLE billing.payment_method_change
	IS 'which method was the default of a tenant when, and which subscription was moved to another one, who did that and why';
COMMENT ON COLUMN billing.payment_method_change.tenant_id IS 'whose';
COMMENT ON COLUMN billing.payment_method_change.change_id IS 'from billing.next_id(): ascends per tenant in the order of the changes';
COMMENT ON COLUMN billing.payment_method_change.subscription_id IS 'which subscription changed its method; NULL: the tenant its default';
COMMENT ON COLUMN billing.payment_method_change.from_id IS 'payment_method_id before; NULL: there was none';
COMMENT ON COLUMN billing.payment_method_change.to_id IS 'payment_method_id after; NULL: there is none';
COMMENT ON COLUMN billing.payment_method_change.reason IS 'what changed it: added, chosen, removed, failed or expired';
COMMENT ON COLUMN billing.payment_method_change.actor IS 'role of the session';
COMMENT ON COLUMN billing.payment_method_change.created_at IS 'when';
SELECT pg_catalog.pg_extension_config_dump('billing.payment_method_change', '');

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON billing.payment_method_change
	FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change('What was done stays told.');

ALTER TABLE billing.payment_method_change ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON billing.payment_method_change
	USING (tenant_id = nullif(current_setting('billing.tenant_id', true), '')::bigint);

CREATE VIEW billing.payment_method_list WITH (security_invoker) AS
	SELECT m.tenant_id, m.payment_method_id, m.gateway, m.type, m.status, m.is_default, m.brand, billing.last4(m.tenant_id, m.last4) AS last4,
		m.exp_month, m.exp_year, m.billing_email, m.billing_address, m.action_url, m.failure_code, m.failure_reason, m.metadata, m.created_at,
		m.version
	FROM billing.payment_method m
	WHERE m.status <> 'removed';
COMMENT ON VIEW billing.payment_method_list
	IS 'payment methods as people see them: without tokens, and of the number the last four digits, as **** 4242, for which the key file has to have their key; one that was removed is not listed';

CREATE FUNCTION billing.add_payment_method(tenant_id bigint, gateway text, type text, token text, is_default boolean DEFAULT NULL,
	brand text DEFAULT NULL, last4 text DEFAULT NULL, exp_month integer DEFAULT NULL, exp_year integer DEFAULT NULL,
	billing_email text DEFAULT NULL, billing_address jsonb DEFAULT NULL, customer_id text DEFAULT NULL, metadata jsonb DEFAULT '{}',
	request_id text DEFAULT NULL)
RETURNS billing.payment_method
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_add_payment_method';
COMMENT ON FUNCTION billing.add_payment_method(bigint, text, text, text, boolean, text, text, integer, integer, text, jsonb, text, jsonb, text)
	IS 'adds what a tenant pays by and asks the gateway whether it is good: pending until that has answered, then active, with what the answer says of it, or failed; active at once where nothing is to be asked; token is the gateway''s, made in the payer''s browser, which a bank_transfer may do without (pass it as a bind parameter: a literal is in the server log); is_default true: it becomes the default once it is active; else it does if there is no other; last4 of four digits, exp_month and exp_year together; customer_id the gateway''s id of the tenant, if it has one already; returns the row, without the token; raises YB017 a token that is empty, malformed, used or expired, or a card number, YB014 the gateway cannot be asked, YB001, YB004 tenant closed, YB006, YB015, 22004, 22023';

CREATE FUNCTION billing.remove_payment_method(tenant_id bigint, payment_method_id bigint, request_id text DEFAULT NULL)
RETURNS billing.payment_method
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_remove_payment_method';
COMMENT ON FUNCTION billing.remove_payment_method(bigint, bigint, text)
	IS 'removes a payment method, here and at its gateway; if it is the default or a subscription that has not ended uses it, another usable one takes its place: the default, else the one that was added last; one that was removed is returned as it is; raises YB013 in use and there is no other usable one, but for a tenant that is closed; YB001, YB006, YB015, 22004';

CREATE FUNCTION billing.set_default_payment_method(tenant_id bigint, payment_method_id bigint, request_id text DEFAULT NULL)
RETURNS billing.payment_method
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_set_default_payment_method';
COMMENT ON FUNCTION billing.set_default_payment_method(bigint, bigint, text)
	IS 'makes an active payment method the tenant''s default: new subscriptions use it, those there are keep their own while that is good, and unpaid invoices are collected with it, at once where their collection has failed; returns the row; raises YB004 it is not active, YB001, YB006, YB015, 22004';

CREATE FUNCTION billing.update_payment_method(tenant_id bigint, payment_method_id bigint, changes jsonb, version integer DEFAULT NULL,
	request_id text DEFAULT NULL)
RETURNS billing.payment_method
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_update_payment_method';
COMMENT ON FUNCTION billing.update_payment_method(bigint, bigint, jsonb, integer, text)
	IS 'changes what the object changes has of billing_email (a string or null), billing_address (an object or null) and metadata (an object), where they are others; version is the one the caller has seen, NULL any; returns the row; raises YB005 it has another version now, YB004 it was removed, YB001, YB006, YB015, 22004, 22023 another key or a value of another type';

CREATE FUNCTION billing.expire_payment_methods(batch integer DEFAULT 10000)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_expire_payment_methods';
COMMENT ON FUNCTION billing.expire_payment_methods(integer)
	IS 'marks as expired the payment methods whose last month has ended at billing.now() in the time zone of their tenant, those of the tenants of up to batch of them; of a default another usable one takes the place; passes over tenants that somebody else has locked; returns how many: 0 when nothing is left that can be done; for admins; 22004, 22023';
