-- Promise: a tenant pays by tokens of gateways; one of its usable methods is the default, exactly one; what is in use is not removed
-- unless another takes its place; who changed the default is kept; and no token leaves its column.
SET timezone TO 'UTC';
SET billing.test_clock = '2026-03-01T00:00:00Z';
SELECT billing.create_tenant(42101, 'Methods', 'USD', 'America/New_York')::text <> '' AS created;
INSERT INTO billing.gateway (code, driver, settings) VALUES ('method_gateway', 'manual', '{"is_test": "true"}'),
	('method_off', 'manual', '{}');
UPDATE billing.gateway SET is_enabled = false WHERE code = 'method_off';
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (42100, 'method_pro', 'Pro', '1 month', 0);
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (42100, 'base', 'Pro', '{"model":"flat","currency":"USD","amount":"10"}');

CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE code text; message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	-- Ids are what they are.
	RETURN regexp_replace(concat_ws(' | ', code, message, detail, hint), '(payment.method | id=)\d+', '\1N', 'g');
END $$;
CREATE TEMP TABLE known (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(wanted text) RETURNS bigint LANGUAGE sql AS $$ SELECT id FROM known WHERE name = wanted $$;
CREATE FUNCTION pg_temp.name(wanted bigint) RETURNS text LANGUAGE sql AS $$ SELECT name FROM known WHERE id = wanted $$;
\pset format unaligned

-- The first usable one is the default. What is returned, and kept of the request, has no token in it.
WITH added AS (SELECT * FROM billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_visa', brand => 'visa', last4 => '4242',
	exp_month => 12, exp_year => 2030, billing_email => 'pay@example.com', billing_address => '{"country": "US"}',
	metadata => '{"from": "checkout"}', request_id => 'add-1'))
INSERT INTO known SELECT 'visa', payment_method_id FROM added RETURNING name;
SELECT status, is_default, token IS NULL AS token_is_hidden, verified_at FROM billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_visa', brand => 'visa',
	last4 => '4242', exp_month => 12, exp_year => 2030, billing_email => 'pay@example.com', billing_address => '{"country": "US"}',
	metadata => '{"from": "checkout"}', request_id => 'add-1');
SELECT type, status, is_default, brand, last4, exp_month, exp_year, billing_email, billing_address, metadata FROM billing.payment_method_list WHERE tenant_id = 42101;
SELECT count(*) FROM billing.payment_method WHERE token IS NOT NULL AND tenant_id = 42101;
SELECT 'request' AS has_token FROM billing.request WHERE tenant_id = 42101 AND (result LIKE '%tok_ok_visa%' OR result::jsonb ->> 'token' IS NOT NULL)
UNION ALL SELECT 'audit_log' FROM billing.audit_log WHERE tenant_id = 42101 AND (after::text LIKE '%tok_ok_visa%' OR after ->> 'token' IS NOT NULL)
UNION ALL SELECT 'event' FROM billing.event WHERE tenant_id = 42101 AND (payload::text LIKE '%tok_ok_visa%' OR payload #> '{data,object,token}' IS NOT NULL);

-- Another one is not the default, unless it is said; a bank transfer needs no token.
INSERT INTO known SELECT 'master', payment_method_id FROM billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_master');
INSERT INTO known SELECT 'bank', payment_method_id FROM billing.add_payment_method(42101, 'method_gateway', 'bank_transfer', NULL, true);
SELECT pg_temp.name(payment_method_id), status, is_default, default_at FROM billing.payment_method WHERE tenant_id = 42101 ORDER BY payment_method_id;

-- Refused: what is no token, or was used; what is no card; what is not there.
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', NULL)$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', '')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok secret')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', repeat('t', 5000))$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_visa')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_old', exp_month => 1, exp_year => 2026)$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', exp_month => 2)$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', exp_month => 13, exp_year => 2030)$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', exp_month => 1, exp_year => 30)$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', last4 => '424')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'giro', 'tok_ok_1')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', metadata => '[]')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', billing_address => '"Berlin"')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_1', customer_id => '')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_other', request_id => 'add-1')$$,
	$$SELECT billing.add_payment_method(42199, 'method_gateway', 'card', 'tok_ok_1')$$,
	$$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'pm_of_another_kind')$$,
	$$SELECT billing.add_payment_method(42101, 'method_off', 'bank_transfer', NULL)$$,
	$$SELECT billing.add_payment_method(42101, 'method_none', 'bank_transfer', NULL)$$,
	$$SELECT billing.set_default_payment_method(42101, 1)$$,
	$$SELECT billing.remove_payment_method(42101, 1)$$,
	$$SELECT billing.subscribe(42101, 'method_pro', payment_method_id => 1)$$]) c;

-- In February a card of February is good, until the month ends where the tenant is: five hours later than in UTC.
SET billing.test_clock = '2026-03-01T04:59:59Z';
BEGIN;
SELECT status FROM billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_feb', exp_month => 2, exp_year => 2026);
ROLLBACK;
INSERT INTO known SELECT 'march', payment_method_id FROM billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_march', exp_month => 3, exp_year => 2026);

-- A new subscription is paid by the default, or by what it names.
SET billing.test_clock = '2026-03-02T00:00:00Z';
INSERT INTO known SELECT 's1', subscription_id FROM billing.subscribe(42101, 'method_pro');
INSERT INTO known SELECT 's2', subscription_id FROM billing.subscribe(42101, 'method_pro', payment_method_id => pg_temp.id('master'));
SELECT pg_temp.name(subscription_id), pg_temp.name(payment_method_id) FROM billing.subscription WHERE tenant_id = 42101 ORDER BY subscription_id;

-- The default is changed by a person: those there are keep their own.
SELECT pg_temp.name(payment_method_id), is_default, version FROM billing.set_default_payment_method(42101, pg_temp.id('visa'), 'd1');
SELECT pg_temp.name(payment_method_id), is_default, version FROM billing.set_default_payment_method(42101, pg_temp.id('visa'));
SELECT pg_temp.name(subscription_id), pg_temp.name(payment_method_id) FROM billing.subscription WHERE tenant_id = 42101 ORDER BY subscription_id;
SELECT pg_temp.name(payment_method_id) FROM billing.update_subscription(42101, pg_temp.id('s1'), format('{"payment_method_id": %s}', pg_temp.id('visa'))::jsonb);

-- What a subscription uses is taken over by the default; the default by the one that was added last, but by no bank transfer if there is another.
SELECT pg_temp.name(payment_method_id), status, is_default FROM billing.remove_payment_method(42101, pg_temp.id('master'));
SELECT pg_temp.name(subscription_id), pg_temp.name(payment_method_id) FROM billing.subscription WHERE tenant_id = 42101 ORDER BY subscription_id;
SELECT status, version FROM billing.remove_payment_method(42101, pg_temp.id('master'));
SELECT pg_temp.name(payment_method_id), status, is_default FROM billing.remove_payment_method(42101, pg_temp.id('visa'));
SELECT pg_temp.name(payment_method_id), is_default FROM billing.payment_method_list WHERE tenant_id = 42101 ORDER BY payment_method_id;
SELECT pg_temp.name(subscription_id), pg_temp.name(payment_method_id) FROM billing.subscription WHERE tenant_id = 42101 ORDER BY subscription_id;
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[
	format('SELECT billing.set_default_payment_method(42101, %s)', pg_temp.id('visa')),
	format('SELECT billing.subscribe(42101, %L, payment_method_id => %s)', 'method_pro', pg_temp.id('visa')),
	format('SELECT billing.update_subscription(42101, %s, %L)', pg_temp.id('s1'), format('{"payment_method_id": %s}', pg_temp.id('visa'))),
	format('SELECT billing.update_payment_method(42101, %s, %L)', pg_temp.id('visa'), '{"billing_email": null}')]) c;

-- What nothing here does, audit() names.
BEGIN;
UPDATE billing.subscription SET payment_method_id = pg_temp.id('visa') WHERE tenant_id = 42101 AND subscription_id = pg_temp.id('s1');
UPDATE billing.payment_method SET is_default = false, default_at = NULL WHERE tenant_id = 42101;
SELECT invariant FROM billing.audit(42101);
ROLLBACK;
-- The last usable one of who subscribes stays, and so does a default that nobody uses.
SELECT status FROM billing.remove_payment_method(42101, pg_temp.id('bank'));
SELECT pg_temp.attempt(format('SELECT billing.remove_payment_method(42101, %s)', pg_temp.id('march')));
SELECT (billing.cancel_subscription(42101, pg_temp.id('s1'), 'now')).status, (billing.cancel_subscription(42101, pg_temp.id('s2'), 'now')).status;
SELECT pg_temp.attempt(format('SELECT billing.remove_payment_method(42101, %s)', pg_temp.id('march')));

-- What the payer says of himself can be changed.
SELECT billing_email, billing_address, metadata, version FROM billing.update_payment_method(42101, pg_temp.id('march'),
	'{"billing_email": "new@example.com", "billing_address": {"country": "DE"}, "metadata": {"a": 1}}');
SELECT billing_email, version FROM billing.update_payment_method(42101, pg_temp.id('march'), '{"billing_email": "new@example.com"}');
SELECT billing_email, billing_address, version FROM billing.update_payment_method(42101, pg_temp.id('march'), '{"billing_email": null, "billing_address": null}');
SELECT pg_temp.attempt(format(c, pg_temp.id('march'))) FROM unnest(ARRAY[
	'SELECT billing.update_payment_method(42101, %s, ''{}'', 1)',
	'SELECT billing.update_payment_method(42101, %s, ''{"token": "t"}'')',
	'SELECT billing.update_payment_method(42101, %s, ''{"metadata": null}'')',
	'SELECT billing.update_payment_method(42101, %s, ''[]'')']) c;

-- The history: who was the default when, and why; and which subscription was moved.
SELECT pg_temp.name(subscription_id) AS subscription, pg_temp.name(from_id) AS "from", pg_temp.name(to_id) AS "to", reason, actor = session_user AS by_me, created_at
FROM billing.payment_method_change WHERE tenant_id = 42101 ORDER BY change_id;
SELECT type, pg_temp.name((payload #>> '{data,object,id}')::bigint) AS object, payload #>> '{data,object,status}' AS status FROM billing.event
WHERE tenant_id = 42101 AND type LIKE 'payment_method.%' ORDER BY event_id;
SELECT jsonb_pretty(payload #- '{data,object,id}' #> '{data,object}') FROM billing.event WHERE tenant_id = 42101 AND type = 'payment_method.added' ORDER BY event_id LIMIT 1;
SELECT action, count(*) FROM billing.audit_log WHERE tenant_id = 42101 AND object = 'payment_method' GROUP BY 1 ORDER BY 1;

-- By constraint, whoever writes: one default, which is usable; no way but the legal ones; no row goes.
SELECT split_part(pg_temp.attempt(c), ' | ', 1) AS code, split_part(pg_temp.attempt(c), ' | ', 2) AS message FROM unnest(ARRAY[
	$$INSERT INTO billing.payment_method (tenant_id, gateway, type, status, is_default, default_at) VALUES (42101, 'method_gateway', 'card', 'active', true, billing.now())$$,
	$$INSERT INTO billing.payment_method (tenant_id, gateway, type, status, is_default, default_at) VALUES (42101, 'method_gateway', 'card', 'pending', true, billing.now())$$,
	$$UPDATE billing.payment_method SET status = 'active', ended_at = NULL WHERE tenant_id = 42101 AND status = 'removed'$$,
	$$DELETE FROM billing.payment_method WHERE tenant_id = 42101$$,
	$$UPDATE billing.payment_method_change SET reason = 'x' WHERE tenant_id = 42101$$]) c;

-- A tenant that is closed pays for nothing any more.
SELECT (billing.void_invoice(42101, invoice_id)).status FROM billing.invoice WHERE tenant_id = 42101 AND status = 'open';
SELECT status FROM billing.close_tenant(42101);
SELECT pg_temp.attempt($$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_9')$$);
SELECT status, is_default FROM billing.remove_payment_method(42101, pg_temp.id('march'));
SELECT count(*) FROM billing.payment_method_list WHERE tenant_id = 42101;

-- Whose is whose.
SELECT billing.create_tenant(42102, 'Other')::text <> '' AS created;
INSERT INTO known SELECT 'others', payment_method_id FROM billing.add_payment_method(42102, 'method_gateway', 'card', 'tok_ok_visa', customer_id => 'cus_1');
SELECT pg_temp.attempt(format(c, pg_temp.id('others'))) FROM unnest(ARRAY[
	'SELECT billing.set_default_payment_method(42101, %s)',
	'SELECT billing.add_payment_method(42102, ''method_gateway'', ''card'', ''tok_ok_2'', customer_id => ''cus_2'')']) c;
SELECT customer_id FROM billing.add_payment_method(42102, 'method_gateway', 'card', 'tok_ok_2');
SELECT gateway, customer_id FROM billing.gateway_customer WHERE tenant_id = 42102;
SET client_min_messages = warning;
CREATE ROLE method_app;
RESET client_min_messages;
SELECT billing.grant_access('method_app', 'app');
SET billing.tenant_id = '42102';
SET ROLE method_app;
SELECT count(*) FROM billing.payment_method_list;
SELECT pg_temp.attempt($$SELECT billing.add_payment_method(42101, 'method_gateway', 'card', 'tok_ok_3')$$);
SELECT split_part(pg_temp.attempt($$UPDATE billing.payment_method SET is_default = false$$), ' | ', 1);
RESET ROLE;
RESET billing.tenant_id;
SELECT billing.revoke_access('method_app');
DROP ROLE method_app;
SELECT * FROM billing.audit();
