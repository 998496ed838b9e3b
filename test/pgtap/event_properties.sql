-- Promise: whatever is done to tenants, events tell it wholly and once: each thing that was made, each state it came to, and nothing else;
-- who reads only them knows subscriptions, tenants and entitlements as they are.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
SET LOCAL timezone TO 'UTC';

SELECT plan(17);

SELECT setseed(0.41);

INSERT INTO billing.meter (code) VALUES ('tell_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, features, limits, usage_thresholds) VALUES
	(6301, 'tell_month', 'Month', '1 month', 0, '{"export": true}', '[{"meter": "tell_calls", "limit": 100, "per": "day", "kind": "soft"}]', '{20}'),
	(6302, 'tell_week', 'Week', '7 days', 3, '{"sync": true}', '[]', NULL), (6303, 'tell_year', 'Year', '1 year', 0, '{"export": true, "sync": true}', '[]', NULL);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle)
SELECT plan_id, p.code, p.tariff, p.meter, CASE WHEN plan_id = 6303 AND p.meter IS NOT NULL THEN interval '1 month' END
FROM billing.plan, (VALUES ('base', '{"model":"flat","currency":"USD","amount":"30"}'::billing.tariff, NULL),
	('calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'tell_calls')) AS p (code, tariff, meter)
WHERE plan_id BETWEEN 6301 AND 6303;

CREATE TEMPORARY TABLE script AS
SELECT tenant, step, timestamptz '2026-01-01 UTC' + sum(hours) OVER w * interval '1 hour' + step * interval '1 minute' AS at, op, pick, plan, coin, is_undone
FROM (
	SELECT tenant, step, floor(random() * 60)::int AS hours, floor(random() * 12)::int AS pick, random() < 0.5 AS coin, random() < 0.1 AS is_undone,
		(ARRAY['tell_month', 'tell_week', 'tell_year'])[1 + floor(random() * 3)] AS plan,
		CASE WHEN step <= 2 THEN 'subscribe' ELSE (ARRAY['subscribe', 'later', 'waiting', 'change', 'change', 'schedule', 'unschedule', 'cancel', 'cancel_now',
			'reactivate', 'renew', 'extend', 'off', 'pause', 'resume', 'pay', 'pay', 'pay', 'pay', 'part', 'void', 'give_up', 'credit', 'refund', 'settle', 'top_up', 'grant',
			'settle', 'refund', 'void_grant', 'consume', 'invoice', 'draft', 'finalize', 'use', 'use', 'tenant', 'freeze', 'unfreeze', 'override', 'bill', 'bill', 'bill', 'bill', 'enforce', 'expire'])
			[1 + floor(random() * 46)] END AS op
	FROM generate_series(6301, 6324) tenant, generate_series(1, 70) step
) AS random_step
WINDOW w AS (PARTITION BY tenant ORDER BY step);

-- What an operation is, as the call that does it: with its request_id, if it takes one.
CREATE FUNCTION pg_temp.call(s script, request text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint; v int; invoice bigint; draft bigint; paid bigint; due text; refund text; credit bigint;
BEGIN
	SELECT subscription_id, version INTO id, v FROM billing.subscription WHERE tenant_id = s.tenant
	ORDER BY subscription_id OFFSET s.pick % greatest(1, (SELECT count(*) FROM billing.subscription WHERE tenant_id = s.tenant)) LIMIT 1;
	SELECT invoice_id, amount_due INTO invoice, due FROM billing.invoice WHERE tenant_id = s.tenant AND status IN ('open', 'uncollectible') ORDER BY invoice_id LIMIT 1;
	SELECT invoice_id INTO draft FROM billing.invoice WHERE tenant_id = s.tenant AND status = 'draft' ORDER BY invoice_id LIMIT 1;
	SELECT invoice_id INTO paid FROM billing.invoice WHERE tenant_id = s.tenant AND status IN ('open', 'paid')
	ORDER BY billing.minor_units(billing.invoice.paid) > 0 AND s.op = 'refund' DESC, invoice_id DESC LIMIT 1;
	SELECT refund_no INTO refund FROM billing.refund WHERE tenant_id = s.tenant AND status = 'pending' ORDER BY refund_id LIMIT 1;
	SELECT grant_id INTO credit FROM billing.credit_grant WHERE tenant_id = s.tenant AND source IN ('top_up', 'grant') AND voided_at IS NULL ORDER BY grant_id LIMIT 1;
	id := coalesce(id, 0); v := coalesce(v, 0); invoice := coalesce(invoice, 0); draft := coalesce(draft, 0); paid := coalesce(paid, 0); credit := coalesce(credit, 0);
	RETURN CASE s.op
		WHEN 'subscribe' THEN format('billing.subscribe(%s, %L, auto_renew => %L, request_id => %L)', s.tenant, s.plan, s.coin, request)
		WHEN 'later' THEN format('billing.subscribe(%s, %L, at => %L, request_id => %L)', s.tenant, s.plan, s.at + s.pick * interval '1 day', request)
		WHEN 'waiting' THEN format('billing.subscribe(%s, %L, activate => ''on_payment'', request_id => %L)', s.tenant, s.plan, request)
		WHEN 'change' THEN format('billing.change_plan(%s, %s, %L, proration => %L, request_id => %L)', s.tenant, id, s.plan, CASE WHEN s.coin THEN 'prorate' ELSE 'invoice_now' END, request)
		WHEN 'schedule' THEN format('billing.change_plan(%s, %s, %L, effective => ''period_end'', request_id => %L)', s.tenant, id, s.plan, request)
		WHEN 'unschedule' THEN format('billing.cancel_scheduled_change(%s, %s, %L)', s.tenant, id, request)
		WHEN 'cancel' THEN format('billing.cancel_subscription(%s, %s, request_id => %L)', s.tenant, id, request)
		WHEN 'cancel_now' THEN format('billing.cancel_subscription(%s, %s, ''now'', request_id => %L)', s.tenant, id, request)
		WHEN 'reactivate' THEN format('billing.reactivate_subscription(%s, %s, %L)', s.tenant, id, request)
		WHEN 'renew' THEN format('billing.renew_subscription(%s, %s, %L)', s.tenant, id, request)
		WHEN 'extend' THEN format('billing.extend_subscription(%s, %s, %L, %s, %L)', s.tenant, id, s.at + (s.pick + 20) * interval '1 day', v, request)
		WHEN 'off' THEN format('billing.update_subscription(%s, %s, ''{"auto_renew": false, "metadata": {"n": %s}}'', request_id => %L)', s.tenant, id, s.step, request)
		WHEN 'pause' THEN format('billing.pause_subscription(%s, %s, request_id => %L)', s.tenant, id, request)
		WHEN 'resume' THEN format('billing.resume_subscription(%s, %s, %L)', s.tenant, id, request)
		WHEN 'pay' THEN format('billing.record_payment(%s, %s, %L, %L)', s.tenant, invoice, due, request)
		WHEN 'part' THEN format('billing.record_payment(%s, %s, ''1 USD'', %L)', s.tenant, invoice, request)
		WHEN 'void' THEN format('billing.void_invoice(%s, %s, reissue => %L, request_id => %L)', s.tenant, invoice, s.coin, request)
		WHEN 'give_up' THEN format('billing.mark_uncollectible(%s, %s, request_id => %L)', s.tenant, invoice, request)
		WHEN 'credit' THEN format('billing.issue_credit_note(%s, %s, request_id => %L)', s.tenant, paid, request)
		WHEN 'refund' THEN format('billing.issue_credit_note(%s, %s, ''[{"line": 1, "amount": "%s"}]'', ''refund'', request_id => %L)', s.tenant, paid, s.pick, request)
		WHEN 'settle' THEN CASE WHEN s.pick < 6 THEN format('billing.record_refund(%s, %L)', s.tenant, refund)
			ELSE format('billing.%s_refund(%s, %L, request_id => %L)', CASE WHEN s.coin THEN 'fail' ELSE 'cancel' END, s.tenant, refund, request) END
		WHEN 'top_up' THEN format('billing.top_up(%s, ''%s USD'', %L)', s.tenant, s.pick + 1, request)
		WHEN 'grant' THEN format('billing.grant_credit(%s, ''5 USD'', expires_at => %L, recurrence => %L, request_id => %L)', s.tenant, s.at + interval '20 days',
			CASE WHEN s.coin THEN '7 days' END, request)
		WHEN 'void_grant' THEN format('billing.void_grant(%s, %s, request_id => %L)', s.tenant, credit, request)
		WHEN 'consume' THEN format('billing.consume(%s, ''1 USD'', NULL, %L)', s.tenant, request)
		WHEN 'invoice' THEN format('billing.create_invoice(%s, %L, ''[{"description": "Work", "amount": "%s"}]'')', s.tenant, request, s.pick)
		WHEN 'draft' THEN format('billing.create_invoice(%s, %L, ''[{"description": "Work", "amount": "%s"}]'', finalize => false)', s.tenant, request, s.pick)
		WHEN 'finalize' THEN format('billing.finalize_invoice(%s, %s, %L)', s.tenant, draft, request)
		WHEN 'use' THEN format('billing.record_usage(%s, ''tell_calls'', %s, %L, subscription_id => %s)', s.tenant, s.pick, request, id)
		WHEN 'tenant' THEN format('billing.update_tenant(%s, ''{"details": {"n": %s}, "settings": {"finalize_after": %s}}'', request_id => %L)', s.tenant, s.step,
			CASE WHEN s.coin THEN '"2 days"' ELSE 'null' END, request)
		WHEN 'freeze' THEN format('billing.freeze_tenant(%s, request_id => %L)', s.tenant, request)
		WHEN 'unfreeze' THEN format('billing.unfreeze_tenant(%s, request_id => %L)', s.tenant, request)
		WHEN 'override' THEN format('billing.override_entitlement(%s, ''beta'', %L, %L, request_id => %L)', s.tenant, s.coin::text, s.at + interval '10 days', request)
		WHEN 'enforce' THEN format('billing.enforce_expiration(%s, %L)', s.tenant, request)
		WHEN 'expire' THEN 'billing.expire_credit()' END;
END $$;

-- Do it, and again, which tells nothing more; an undone one ends as if it had failed.
CREATE TEMPORARY TABLE retried (tenant bigint, step int, told bigint);
CREATE FUNCTION pg_temp.act(s script) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	call text; before bigint; after bigint; ignored text;
BEGIN
	PERFORM set_config('billing.test_clock', to_char(s.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
	IF s.op = 'bill' THEN
		CALL billing.bill_due();
		RETURN 'OK';
	END IF;
	call := pg_temp.call(s, format('tell-%s-%s', s.tenant, s.step));
	IF call IS NULL THEN RETURN 'none'; END IF;
	EXECUTE format('SELECT (%s)::text', call) INTO ignored;
	SELECT count(*) INTO before FROM billing.event WHERE tenant_id = s.tenant;
	EXECUTE format('SELECT (%s)::text', call) INTO ignored;
	SELECT count(*) INTO after FROM billing.event WHERE tenant_id = s.tenant;
	INSERT INTO retried VALUES (s.tenant, s.step, after - before);
	IF s.is_undone THEN RAISE 'undone' USING errcode = 'XX999'; END IF;
	RETURN 'OK';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE TEMPORARY TABLE done AS SELECT NULL::bigint AS tenant, NULL::int AS step, NULL::text AS op, NULL::text AS result LIMIT 0;
DO $$
DECLARE
	s script;
BEGIN
	SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
	PERFORM billing.create_tenant(t, 'Tenant ' || t) FROM generate_series(6301, 6324) t;
	-- In the order of time, which goes on for all alike.
	FOR s IN SELECT * FROM script ORDER BY at, tenant, step LOOP
		INSERT INTO done SELECT s.tenant, s.step, s.op, pg_temp.act(s);
	END LOOP;
END $$;

CREATE TEMPORARY TABLE told AS
SELECT e.tenant_id, e.event_id, e.type, e.created_at, e.payload #> '{data,object}' AS object, (e.payload #>> '{data,object,id}')::bigint AS id
FROM billing.event e WHERE e.tenant_id BETWEEN 6301 AND 6324;
CREATE INDEX ON told (tenant_id, type, id);

-- How often each was told of each row, where that is not as often as it should be.
CREATE FUNCTION pg_temp.often(kind text, tenant bigint, id bigint) RETURNS bigint LANGUAGE sql STABLE AS
	'SELECT count(*) FROM told t WHERE t.tenant_id = $2 AND t.type = $1 AND t.id = $3';

SELECT cmp_ok((SELECT count(DISTINCT op) FROM done WHERE result = 'OK'), '>=', 30::bigint, 'most operations were done');
SELECT cmp_ok((SELECT count(*) FROM done WHERE result = 'XX999'), '>=', 50::bigint, 'some were undone');
SELECT is_empty('SELECT * FROM done WHERE result LIKE ''XX0%'' OR result ~ ''^(42|P0)''', 'none failed in a way that nobody meant');
SELECT is_empty('SELECT * FROM retried WHERE told > 0', 'a retry tells nothing');
SELECT is_empty('SELECT * FROM (SELECT t.*, lag(created_at) OVER (PARTITION BY tenant_id ORDER BY event_id) AS before FROM told t) t WHERE created_at < before',
	'ids ascend in the order of time');
SELECT is_empty($$SELECT i.tenant_id, i.invoice_id, i.status FROM billing.invoice i WHERE tenant_id BETWEEN 6301 AND 6324
	AND (pg_temp.often('invoice.created', tenant_id, invoice_id), pg_temp.often('invoice.finalized', tenant_id, invoice_id),
		pg_temp.often('invoice.voided', tenant_id, invoice_id)) <> (1, (status <> 'draft')::int, (status = 'void')::int)$$,
	'invoices are created, made final and voided once');
SELECT is_empty($$SELECT i.tenant_id, i.invoice_id, i.status FROM billing.invoice i WHERE tenant_id BETWEEN 6301 AND 6324
	AND CASE status WHEN 'paid' THEN pg_temp.often('invoice.paid', tenant_id, invoice_id) <> 1 WHEN 'void' THEN pg_temp.often('invoice.paid', tenant_id, invoice_id) > 1
		ELSE pg_temp.often('invoice.paid', tenant_id, invoice_id) > 0 END$$, 'those that are paid, once');
SELECT is_empty($$SELECT i.tenant_id, i.invoice_id, i.status FROM billing.invoice i WHERE tenant_id BETWEEN 6301 AND 6324
	AND (status = 'uncollectible' AND pg_temp.often('invoice.uncollectible', tenant_id, invoice_id) <> 1
		OR status IN ('draft', 'open') AND pg_temp.often('invoice.uncollectible', tenant_id, invoice_id) > 0)$$, 'those that are given up, once');
SELECT is_empty($$SELECT p.tenant_id, p.pay_no FROM billing.payment p WHERE tenant_id BETWEEN 6301 AND 6324
	AND (pg_temp.often('payment.succeeded', tenant_id, payment_id), pg_temp.often('payment.refunded', tenant_id, payment_id)) <> (1, (status = 'refunded')::int)$$,
	'payments, once');
SELECT is_empty($$SELECT n.tenant_id, n.number FROM billing.credit_note n WHERE tenant_id BETWEEN 6301 AND 6324
	AND pg_temp.often('credit_note.issued', tenant_id, credit_note_id) <> 1
	UNION ALL SELECT r.tenant_id, r.refund_no FROM billing.refund r WHERE tenant_id BETWEEN 6301 AND 6324
	AND (pg_temp.often('refund.created', tenant_id, refund_id), pg_temp.often('refund.' || status, tenant_id, refund_id)) <> (1, (status <> 'pending')::int)$$,
	'credit notes and refunds, once');
SELECT is_empty($$SELECT g.tenant_id, g.grant_id, g.source FROM billing.credit_grant g WHERE tenant_id BETWEEN 6301 AND 6324
	AND (pg_temp.often('wallet.granted', tenant_id, grant_id), pg_temp.often('wallet.topped_up', tenant_id, grant_id), pg_temp.often('wallet.voided', tenant_id, grant_id))
	<> (CASE WHEN source IN ('top_up', 'overdraft') THEN 0 ELSE 1 END, (source = 'top_up')::int, (voided_at IS NOT NULL)::int)$$,
	'credit is granted and voided once');
SELECT is_empty($$SELECT g.tenant_id, g.grant_id FROM billing.credit_grant g WHERE tenant_id BETWEEN 6301 AND 6324
	AND (EXISTS (SELECT FROM billing.wallet_entry e WHERE e.tenant_id = g.tenant_id AND e.grant_id = g.grant_id AND e.kind = 'renew')
			<> (pg_temp.often('wallet.renewed', tenant_id, grant_id) > 0)
		OR renewals <> coalesce((SELECT max((t.object ->> 'renewals')::int) FROM told t WHERE t.tenant_id = g.tenant_id AND t.id = g.grant_id AND t.type LIKE 'wallet.%'), -1))
		AND source <> 'overdraft'$$, 'each renewal of credit is told of');
SELECT is_empty($$SELECT s.tenant_id, s.subscription_id, s.status FROM billing.subscription s WHERE tenant_id BETWEEN 6301 AND 6324
	AND (pg_temp.often('subscription.created', tenant_id, subscription_id), pg_temp.often('subscription.canceled', tenant_id, subscription_id)) <> (1, (status = 'canceled')::int)$$,
	'subscriptions are created and canceled once');
SELECT is_empty($$SELECT s.tenant_id, s.subscription_id, t.object, o.object FROM billing.subscription s JOIN billing.plan p USING (plan_id)
	CROSS JOIN LATERAL (SELECT billing.subscription_object(s, p.code) - 'version' AS object) o
	LEFT JOIN LATERAL (SELECT t.object - 'version' AS object FROM told t WHERE t.tenant_id = s.tenant_id AND t.id = s.subscription_id AND t.type LIKE 'subscription.%'
		ORDER BY t.event_id DESC LIMIT 1) t ON true
	WHERE s.tenant_id BETWEEN 6301 AND 6324 AND o.object IS DISTINCT FROM t.object$$, 'what was told of a subscription last is what it is');
SELECT is_empty($$SELECT s.tenant_id FROM billing.tenant s
	WHERE s.tenant_id BETWEEN 6301 AND 6324 AND billing.tenant_object(s) IS DISTINCT FROM (SELECT t.object FROM told t WHERE t.tenant_id = s.tenant_id AND t.type LIKE 'tenant.%'
		ORDER BY t.event_id DESC LIMIT 1)$$, 'as is what was told of a tenant');
SELECT is_empty($$SELECT s.tenant_id, t.object, o.object FROM billing.tenant s CROSS JOIN LATERAL (SELECT billing.entitlement_object(s.tenant_id)) o (object)
	LEFT JOIN LATERAL (SELECT jsonb_set(jsonb_set(t.object, '{features}', (SELECT coalesce(jsonb_agg(f), '[]') FROM jsonb_array_elements(t.object -> 'features') f
				WHERE coalesce((f ->> 'ends_at')::timestamptz > billing.now(), true))), '{limits}', (SELECT coalesce(jsonb_agg(f), '[]') FROM jsonb_array_elements(t.object -> 'limits') f
				WHERE coalesce((f ->> 'ends_at')::timestamptz > billing.now(), true)))
		FROM told t WHERE t.tenant_id = s.tenant_id AND t.type = 'entitlement.changed' ORDER BY t.event_id DESC LIMIT 1) t (object) ON true
	WHERE s.tenant_id BETWEEN 6301 AND 6324 AND o.object IS DISTINCT FROM coalesce(t.object, jsonb_build_object('tenant_id', s.tenant_id::text, 'features', '[]'::jsonb, 'limits', '[]'::jsonb))$$,
	'and of what it may use');
SELECT is_empty('SELECT invariant, detail FROM billing.audit()', 'nothing is broken');

SELECT * FROM finish();
ROLLBACK;
