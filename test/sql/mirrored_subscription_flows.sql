-- Promise: a subscription that Stripe keeps is mirrored as Stripe tells of it, in whatever order and however often that comes;
-- what names another tenant is not believed; and nothing here bills it.
SET timezone TO 'UTC';
\set SHOW_CONTEXT never
\pset format unaligned
SELECT billing.create_tenant(43101, 'Mirrors', 'USD', 'UTC')::text <> '' AS created;
SELECT billing.create_tenant(43102, 'Others', 'USD', 'UTC')::text <> '' AS created;
SELECT code FROM billing.create_gateway('mirror_stripe', 'stripe', credentials => '{"api_key": "sk_test_mirror", "webhook_secret": "whsec_mirror"}');
SELECT code FROM billing.create_gateway('mirror_bank', 'manual');

CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE code text; message text; detail text; hint text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', code, message, detail, hint);
END $$;

-- HMAC-SHA256 (RFC 2104), of a key that is no longer than a block.
CREATE FUNCTION pg_temp.hmac(key bytea, message bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE inner_pad bytea := decode(repeat('36', 64), 'hex'); outer_pad bytea := decode(repeat('5c', 64), 'hex');
BEGIN
	FOR i IN 0 .. length(key) - 1 LOOP
		inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
		outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
	END LOOP;
	RETURN sha256(outer_pad || sha256(inner_pad || message));
END $$;
SELECT encode(pg_temp.hmac('Jefe', 'what do ya want for nothing?'), 'hex') AS of_rfc_4231;

-- A callback as Stripe sends it; returns its status and what became of it.
CREATE FUNCTION pg_temp.tell(event text, type text, created text, object jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	at text := floor(extract(epoch FROM clock_timestamp()))::text;
	body bytea := convert_to(jsonb_build_object('id', event, 'object', 'event', 'type', type, 'livemode', false,
		'created', extract(epoch FROM created::timestamptz)::bigint, 'data', jsonb_build_object('object', object))::text, 'UTF8');
	answer billing.callback_reply;
BEGIN
	answer := billing.receive_callback('mirror_stripe', jsonb_build_object('Stripe-Signature',
		't=' || at || ',v1=' || encode(pg_temp.hmac('whsec_mirror', convert_to(at || '.', 'UTF8') || body), 'hex')), body);
	RETURN (SELECT concat_ws(' ', answer.status, e.tenant_id, e.outcome, e.object, e.reason) FROM billing.gateway_event e
		WHERE e.gateway = 'mirror_stripe' AND e.event_id = event ORDER BY e.gateway_event_id DESC LIMIT 1);
END $$;
CREATE FUNCTION pg_temp.subscription(id text, members jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"object": "subscription", "customer": "cus_mirror", "status": "active", "currency": "usd", "start_date": 1704067200, "trial_end": null,
		"cancel_at_period_end": false, "cancel_at": null, "canceled_at": null, "ended_at": null, "latest_invoice": "in_1", "metadata": {},
		"items": {"data": [{"price": {"id": "price_pro"}, "quantity": 3, "current_period_start": 1704067200, "current_period_end": 1706745600}]}}'::jsonb
		|| jsonb_build_object('id', id) || members
$$;
CREATE FUNCTION pg_temp.invoice(id text, subscription text, status text, total bigint) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('object', 'invoice', 'id', id, 'customer', 'cus_mirror', 'status', status, 'total', total, 'currency', 'usd',
		'parent', jsonb_build_object('subscription_details', jsonb_build_object('subscription', subscription)))
$$;
CREATE FUNCTION pg_temp.asked() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', m.external_id, q.operation, q.state), ', ' ORDER BY m.external_id), 'nothing')
	FROM billing.gateway_request q JOIN billing.mirrored_subscription m ON m.tenant_id = q.tenant_id AND m.mirror_id = q.object_id
	WHERE q.gateway = 'mirror_stripe' AND q.next_attempt_at IS NOT NULL
$$;
CREATE FUNCTION pg_temp.forget() RETURNS bigint LANGUAGE sql AS $$
	WITH gone AS (UPDATE billing.gateway_request SET state = 'dropped', next_attempt_at = NULL WHERE gateway = 'mirror_stripe' AND state = 'waiting' RETURNING 1)
	SELECT count(*) FROM gone
$$;
CREATE TEMP VIEW mirror AS SELECT m.tenant_id, m.external_id, m.status, m.price, m.quantity, m.currency, m.period_end, m.cancels_at_period_end AS ends, m.cancel_at,
	m.canceled_at, m.ended_at, m.invoice, m.invoice_status, m.invoice_total, m.told_at, m.version FROM billing.mirrored_subscription m ORDER BY m.external_id;

-- Nobody's: neither its customer nor its metadata is known here.
SELECT pg_temp.tell('evt_0', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_none', '{}'));
SELECT pg_temp.tell('evt_0b', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_none', '{"metadata": {"tenant_id": "43199"}}'));
SELECT pg_temp.tell('evt_0c', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_none', '{"metadata": {"tenant_id": "43101 or so"}}'));
SELECT count(*) FROM mirror;

-- By the tenant that its metadata names, and by the customer that a tenant is.
SELECT pg_temp.tell('evt_1', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_1', '{"metadata": {"tenant_id": "43101"}}'));
INSERT INTO billing.gateway_customer (tenant_id, gateway, customer_id) VALUES (43102, 'mirror_stripe', 'cus_mirror');
SELECT pg_temp.tell('evt_2', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_2', '{"status": "trialing", "trial_end": 1706745600}'));
SELECT * FROM mirror;

-- Told again: once. The same news as another event changes nothing, and asks, as it is no later than what is known.
SELECT pg_temp.tell('evt_1', 'customer.subscription.created', '2024-01-01', pg_temp.subscription('sub_1', '{"metadata": {"tenant_id": "43101"}}'));
SELECT count(*) FROM billing.gateway_event WHERE event_id = 'evt_1';
SELECT pg_temp.asked();
SELECT pg_temp.tell('evt_1b', 'customer.subscription.updated', '2024-01-01', pg_temp.subscription('sub_1', '{"metadata": {"tenant_id": "43101"}}'));
SELECT pg_temp.asked(), pg_temp.forget();

-- Later news with nothing new: only since when that is known changes, and no event is written.
SELECT pg_temp.tell('evt_1c', 'customer.subscription.updated', '2024-01-02', pg_temp.subscription('sub_1', '{"metadata": {"tenant_id": "43101"}}'));
SELECT external_id, told_at, version FROM mirror WHERE external_id = 'sub_1';

-- In another order than it happened: the end came first, and stays.
SELECT pg_temp.tell('evt_5', 'customer.subscription.deleted', '2024-01-05', pg_temp.subscription('sub_1', '{"status": "canceled", "canceled_at": 1704412800, "ended_at": 1704412800}'));
SELECT pg_temp.tell('evt_4', 'customer.subscription.updated', '2024-01-04', pg_temp.subscription('sub_1', '{"status": "past_due", "cancel_at_period_end": true}'));
SELECT status, ends, canceled_at, ended_at, told_at, version FROM mirror WHERE external_id = 'sub_1';
SELECT pg_temp.asked(), pg_temp.forget();

-- The last invoice: what became of it; that of an earlier one, or of one that is not known yet, asks.
SELECT pg_temp.tell('evt_6', 'invoice.payment_failed', '2024-01-06', pg_temp.invoice('in_1', 'sub_2', 'open', 4900));
SELECT pg_temp.tell('evt_7', 'invoice.payment_succeeded', '2024-01-07', pg_temp.invoice('in_1', 'sub_2', 'paid', 4900));
SELECT invoice, invoice_status, invoice_total, told_at, version FROM mirror WHERE external_id = 'sub_2';
-- What is told of a failure that came before the payment: asks, and it stays paid.
SELECT pg_temp.tell('evt_7b', 'invoice.payment_failed', '2024-01-06 12:00Z', pg_temp.invoice('in_1', 'sub_2', 'open', 4900));
SELECT invoice, invoice_status, version FROM mirror WHERE external_id = 'sub_2';
SELECT pg_temp.asked(), pg_temp.forget();
SELECT pg_temp.tell('evt_8', 'invoice.payment_failed', '2024-01-08', pg_temp.invoice('in_2', 'sub_2', 'open', 4900));
SELECT pg_temp.asked(), pg_temp.forget();
-- News of the subscription that name the same invoice keep what is known of it; another one is unknown.
SELECT pg_temp.tell('evt_9', 'customer.subscription.updated', '2024-01-09', pg_temp.subscription('sub_2', '{"quantity": 1}'));
SELECT status, invoice, invoice_status, invoice_total FROM mirror WHERE external_id = 'sub_2';
SELECT pg_temp.tell('evt_10', 'customer.subscription.updated', '2024-01-10', pg_temp.subscription('sub_2', '{"latest_invoice": "in_2"}'));
SELECT invoice, invoice_status, invoice_total FROM mirror WHERE external_id = 'sub_2';
-- An invoice of one that is not mirrored begins it, and asks how it is.
SELECT pg_temp.tell('evt_11', 'invoice.payment_succeeded', '2024-01-11', pg_temp.invoice('in_9', 'sub_3', 'paid', 100));
SELECT external_id, tenant_id, status, invoice, told_at FROM mirror WHERE external_id = 'sub_3';
SELECT pg_temp.asked(), pg_temp.forget();

-- It names another tenant than that which it is mirrored for: not believed.
SELECT pg_temp.tell('evt_12', 'customer.subscription.updated', '2024-01-12', pg_temp.subscription('sub_2', '{"status": "unpaid", "metadata": {"tenant_id": "43101"}}'));
SELECT tenant_id, status FROM mirror WHERE external_id = 'sub_2';

-- One that is asked for by whoever knows its id, and whose customer is another tenant, is not shown to him, unless it names him.
SELECT external_id, status FROM billing.resync_subscription(43101, 'mirror_stripe', 'sub_6');
SELECT pg_temp.tell('evt_12b', 'customer.subscription.updated', '2024-01-12', pg_temp.subscription('sub_6', '{}'));
SELECT tenant_id, status, price FROM mirror WHERE external_id = 'sub_6';
SELECT pg_temp.tell('evt_12c', 'customer.subscription.updated', '2024-01-12', pg_temp.subscription('sub_6', '{"metadata": {"tenant_id": "43101"}}'));
SELECT tenant_id, status, price FROM mirror WHERE external_id = 'sub_6';
SELECT pg_temp.forget();

-- Members that are none.
SELECT pg_temp.tell('evt_13', 'customer.subscription.updated', '2024-01-13', pg_temp.subscription('sub_2', '{"currency": 7, "start_date": "soon",
	"items": {"data": [{"price": null, "quantity": 1.5, "current_period_start": -1, "current_period_end": 99999999999999}]}}'));
SELECT * FROM mirror WHERE external_id = 'sub_2';

-- resync_subscription: begins one, asks once, knows its retry; and what it refuses.
SELECT external_id, status, told_at FROM billing.resync_subscription(43101, 'mirror_stripe', 'sub_4', 'r1');
SELECT external_id, status, told_at FROM billing.resync_subscription(43101, 'mirror_stripe', 'sub_4', 'r1');
SELECT status FROM billing.resync_subscription(43101, 'mirror_stripe', 'sub_4');
SELECT status FROM billing.resync_subscription(43101, 'mirror_stripe', 'sub_1');
SELECT pg_temp.asked(), pg_temp.forget();
SELECT c, pg_temp.attempt('SELECT billing.resync_subscription(' || c || ')') FROM unnest(ARRAY[
	$$43101, 'mirror_stripe', 'sub_2'$$, $$43101, 'mirror_stripe', ''$$, $$43101, 'mirror_stripe', NULL$$, $$43101, NULL, 'sub_5'$$,
	$$43199, 'mirror_stripe', 'sub_5'$$, $$43101, 'mirror_none', 'sub_5'$$, $$43101, 'mirror_bank', 'sub_5'$$, $$43101, 'mirror_stripe', 'sub_5', 'r1'$$,
	$$43101, 'mirror_stripe', '4111111111111111'$$]) c;
SELECT count(*) FROM mirror WHERE external_id = 'sub_5';

-- What was told, and what is written of it.
SELECT tenant_id, count(*) FROM billing.event WHERE type = 'mirrored_subscription.updated' AND tenant_id IN (43101, 43102) GROUP BY 1 ORDER BY 1;
SELECT jsonb_pretty(payload #- '{data,object,id}' #- '{data,object,created_at}' #> '{data,object}') FROM billing.event
WHERE type = 'mirrored_subscription.updated' AND tenant_id = 43101 ORDER BY event_id DESC LIMIT 1;

-- Nothing bills it, rows keep their keys, and of two tenants with one subscription audit() tells.
SELECT count(*) FROM billing.subscription WHERE tenant_id IN (43101, 43102);
SELECT count(*) FROM billing.invoice WHERE tenant_id IN (43101, 43102);
SELECT split_part(pg_temp.attempt(c), ' | ', 1) FROM unnest(ARRAY[
	$$UPDATE billing.mirrored_subscription SET external_id = 'sub_9'$$, $$DELETE FROM billing.mirrored_subscription$$,
	$$UPDATE billing.mirrored_subscription SET told_at = NULL WHERE external_id = 'sub_2'$$]) c;
SELECT * FROM billing.audit() WHERE tenant_id IN (43101, 43102);
BEGIN;
INSERT INTO billing.mirrored_subscription (tenant_id, gateway, external_id) VALUES (43101, 'mirror_stripe', 'sub_2');
SELECT * FROM billing.audit() WHERE tenant_id IN (43101, 43102);
ROLLBACK;

-- A tenant sees its own.
SET client_min_messages = warning;
CREATE ROLE mirror_app;
RESET client_min_messages;
SELECT billing.grant_access('mirror_app', 'app');
SET billing.tenant_id = '43102';
SET ROLE mirror_app;
SELECT count(*), min(tenant_id), max(tenant_id) FROM billing.mirrored_subscription;
SELECT pg_temp.attempt($$SELECT billing.resync_subscription(43101, 'mirror_stripe', 'sub_1')$$);
SELECT external_id FROM billing.resync_subscription(43102, 'mirror_stripe', 'sub_2');
RESET ROLE;
RESET billing.tenant_id;
SELECT billing.revoke_access('mirror_app');
DROP ROLE mirror_app;
SELECT pg_temp.forget() > 0 AS forgotten;
