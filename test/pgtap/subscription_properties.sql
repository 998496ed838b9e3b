-- Promise: whatever is done to subscriptions, and however late the bill run is, they are billed the same: each instant in which one
-- is in force once, in arrears and in advance, and each event of usage once.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone TO 'UTC';

SELECT plan(11);

SELECT setseed(0.29);

INSERT INTO billing.meter (code) VALUES ('prop_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (6001, 'prop_month', 'Month', '1 month', 0),
	(6002, 'prop_week', 'Week', '7 days', 3), (6003, 'prop_year', 'Year', '1 year', 0);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle, timing)
SELECT plan_id, p.code, p.tariff, p.meter, CASE WHEN plan_id = 6003 AND step THEN interval '1 month' END, p.timing
FROM billing.plan, (VALUES ('base', '{"model":"flat","currency":"USD","amount":"30"}'::billing.tariff, NULL, NULL, false),
	('after', '{"model":"flat","currency":"USD","amount":"7"}', NULL, 'arrears', false),
	('calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'prop_calls', NULL, true)) AS p (code, tariff, meter, timing, step)
WHERE plan_id BETWEEN 6001 AND 6003;

-- A script is what happens to a tenant's subscriptions: something every few days of a year.
CREATE TEMPORARY TABLE script AS
SELECT script, step, timestamptz '2026-01-01 UTC' + sum(days) OVER w * interval '1 day' + step * interval '1 minute' AS at,
	CASE WHEN step = 1 OR many AND step IN (2, 9, 15) THEN CASE step WHEN 9 THEN 'later' ELSE 'subscribe' END ELSE op END AS op, pick, days, zone, plan, auto_renew, calendar
FROM (
	SELECT script, step, many, zone,
		(ARRAY['cancel', 'cancel', 'none', 'reactivate', 'reactivate', 'renew', 'renew', 'renew', 'extend', 'on', 'off', 'off', 'none', 'none', 'cancel_now'])
			[1 + floor(random() * CASE WHEN step > 12 THEN 15 ELSE 14 END)] AS op,
		floor(random() * 2)::int AS pick, 1 + floor(random() * 24)::int AS days,
		(ARRAY['prop_month', 'prop_week', 'prop_year'])[1 + floor(random() * 3)] AS plan, random() < 0.6 AS auto_renew, random() < 0.4 AS calendar
	FROM (SELECT script, script > 15 AS many, (ARRAY['UTC', 'America/New_York', 'Asia/Tokyo'])[1 + floor(random() * 3)] AS zone
		FROM generate_series(1, 27) script) AS s, generate_series(1, 24) AS step
) AS random_step
WINDOW w AS (PARTITION BY script ORDER BY step);

-- Do a step for a tenant; returns the SQLSTATE, or OK.
CREATE FUNCTION pg_temp.act(tenant bigint, s script) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id bigint; v int;
BEGIN
	PERFORM set_config('billing.test_clock', to_char(s.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
	SELECT subscription_id, version INTO id, v FROM billing.subscription
	WHERE tenant_id = tenant ORDER BY subscription_id OFFSET s.pick % greatest(1, (SELECT count(*) FROM billing.subscription WHERE tenant_id = tenant)) LIMIT 1;
	CASE s.op
		WHEN 'subscribe' THEN PERFORM billing.subscribe(tenant, s.plan, auto_renew => s.auto_renew,
			billing => CASE WHEN s.calendar THEN 'calendar' ELSE 'anniversary' END);
		WHEN 'later' THEN PERFORM billing.subscribe(tenant, s.plan, at => s.at + s.days * interval '1 day', auto_renew => s.auto_renew);
		WHEN 'cancel' THEN PERFORM billing.cancel_subscription(tenant, id);
		WHEN 'cancel_now' THEN PERFORM billing.cancel_subscription(tenant, id, 'now');
		WHEN 'reactivate' THEN PERFORM billing.reactivate_subscription(tenant, id);
		WHEN 'renew' THEN PERFORM billing.renew_subscription(tenant, id);
		WHEN 'extend' THEN PERFORM billing.extend_subscription(tenant, id, s.at + (s.days + 20) * interval '1 day', v);
		WHEN 'on' THEN PERFORM billing.update_subscription(tenant, id, '{"auto_renew": true}');
		WHEN 'off' THEN PERFORM billing.update_subscription(tenant, id, '{"auto_renew": false}');
		ELSE NULL;
	END CASE;
	RETURN 'OK';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE TEMPORARY TABLE done (tenant bigint, script int, step int, op text, result text);

-- Play the scripts of tenants first + script, with a bill run after each step, or with one at the end.
CREATE FUNCTION pg_temp.play(first bigint, last_script int, eager boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s script;
BEGIN
	PERFORM set_config('billing.test_clock', '2026-01-01T00:00:00Z', true);
	PERFORM billing.create_tenant(first + script, 'Tenant', timezone => min(zone)) FROM script WHERE script <= last_script GROUP BY script;
	INSERT INTO billing.usage_event (tenant_id, event_id, meter, at, recorded_at)
	SELECT first + script, 'e' || n, 'prop_calls', timestamptz '2026-01-01 12:00Z' + n * interval '18 hours', '2027-12-31'
	FROM generate_series(1, last_script) script, generate_series(0, 800) n;
	FOR s IN SELECT * FROM script WHERE script.script <= last_script ORDER BY at, script, step LOOP
		INSERT INTO done VALUES (first + s.script, s.script, s.step, s.op, pg_temp.act(first + s.script, s));
		IF eager AND s.step % 2 = 0 THEN CALL billing.bill_due(); END IF;
	END LOOP;
	PERFORM set_config('billing.test_clock', '2027-03-15T00:00:00Z', true);
	CALL billing.bill_due();
END $$;

-- Scripts up to 15 have one subscription: they are played twice.
SELECT pg_temp.play(600000, 15, false);
SELECT pg_temp.play(610000, 27, true);

CREATE TEMPORARY VIEW lines AS
SELECT s.tenant_id, s.subscription_id, s.plan_id, i.kind AS invoice_kind, i.period_end AS boundary, n.kind, n.price_code, n.quantity, n.amount,
	tstzrange(n.period_start, n.period_end) AS period
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id BETWEEN 600000 AND 619999;

SELECT cmp_ok(count(*), '>', 900::bigint, 'there are lines to look at') FROM lines;

SELECT cmp_ok(count(DISTINCT op || result), '>', 14::bigint, 'much was done, and much refused') FROM done;

SELECT is(count(*), 0::bigint, 'nothing failed but what is refused') FROM done WHERE result NOT IN ('OK', 'YB004', '22023');

SELECT is((SELECT count(*) FROM done a JOIN done b ON b.script = a.script AND b.step = a.step AND b.tenant = a.tenant + 10000
	WHERE a.tenant < 610000 AND a.result <> b.result), 0::bigint, 'what is allowed does not depend on how late the bill run is');

SELECT is(count(*), 0::bigint, 'nor does what is billed')
FROM (
	(SELECT tenant_id % 10000, invoice_kind, boundary, kind, price_code, quantity, amount::text, period FROM lines WHERE tenant_id < 610000
	 EXCEPT ALL SELECT tenant_id % 10000, invoice_kind, boundary, kind, price_code, quantity, amount::text, period FROM lines WHERE tenant_id > 610000)
	UNION ALL
	(SELECT tenant_id % 10000, invoice_kind, boundary, kind, price_code, quantity, amount::text, period FROM lines WHERE tenant_id BETWEEN 610001 AND 610015
	 EXCEPT ALL SELECT tenant_id % 10000, invoice_kind, boundary, kind, price_code, quantity, amount::text, period FROM lines WHERE tenant_id < 610000)
) AS difference;

SELECT is(count(*), 0::bigint, 'nor do the subscriptions themselves')
FROM (SELECT status, anchor, timezone, started_at, trial_end, period_start, period_end, billed_to, due_at, cancel_at, ended_at, lapses, auto_renew
	FROM billing.subscription WHERE tenant_id < 610000 AND tenant_id > 600000
	EXCEPT ALL SELECT status, anchor, timezone, started_at, trial_end, period_start, period_end, billed_to, due_at, cancel_at, ended_at, lapses, auto_renew
	FROM billing.subscription WHERE tenant_id BETWEEN 610001 AND 610015) AS difference;

SELECT is(count(*), 0::bigint, 'no instant is billed twice')
FROM (SELECT 1 FROM lines WHERE kind <> 'adjustment' GROUP BY subscription_id, price_code
	HAVING sum(extract(epoch FROM upper(period) - lower(period))) <>
		(SELECT sum(extract(epoch FROM upper(r) - lower(r))) FROM unnest(range_agg(period)) AS r)) AS twice;

-- What is in arrears covers all that is over: in force, after the trial, up to the last boundary.  Advance covers what
-- runs, too, but for time that an extension gave for nothing.
SELECT is(count(*), 0::bigint, 'no instant is left out')
FROM (
	SELECT s.subscription_id, p.code, billing.in_force(s) *
		tstzmultirange(tstzrange(greatest(s.started_at, s.trial_end), greatest(s.started_at, s.trial_end,
			CASE WHEN p.code = 'calls' THEN s.billed_to WHEN s.ended_at IS NOT NULL THEN s.ended_at ELSE s.period_start END))) AS wanted,
		coalesce((SELECT range_agg(l.period) FROM lines l WHERE l.subscription_id = s.subscription_id AND l.price_code = p.code AND l.kind <> 'adjustment'), '{}') AS got
	FROM billing.subscription s JOIN billing.price p USING (plan_id)
	WHERE s.tenant_id BETWEEN 600000 AND 619999 AND s.billed_to IS NOT NULL
) AS c
WHERE CASE code WHEN 'base' THEN NOT got @> wanted AND NOT EXISTS (SELECT FROM billing.subscription_change x
	WHERE x.subscription_id = c.subscription_id AND x.kind = 'extended') ELSE got <> wanted END;

SELECT is(count(*), 0::bigint, 'an event is billed once, if it was in force and not in a trial')
FROM (
	SELECT s.tenant_id, sum((SELECT sum(l.quantity) FROM lines l WHERE l.subscription_id = s.subscription_id AND price_code = 'calls')) AS billed,
		(SELECT count(*) FROM billing.usage_event e WHERE e.tenant_id = s.tenant_id AND e.at <@ range_agg(billing.in_force(s) *
			tstzmultirange(tstzrange(greatest(s.started_at, s.trial_end), greatest(s.started_at, s.trial_end, s.billed_to))))
			AND NOT e.at <@ coalesce(range_agg(tstzmultirange(tstzrange(s.started_at, s.trial_end)) * billing.in_force(s)) FILTER (WHERE s.trial_end IS NOT NULL), '{}')) AS events
	FROM billing.subscription s
	WHERE s.tenant_id BETWEEN 600001 AND 610015 AND s.billed_to IS NOT NULL
	GROUP BY s.tenant_id
) AS t WHERE coalesce(billed, 0) <> events;

SELECT is(count(*), 0::bigint, 'of several subscriptions, each event is billed by one at most')
FROM (SELECT tenant_id, sum(quantity) AS billed, (SELECT count(*) FROM billing.usage_event e WHERE e.tenant_id = l.tenant_id
		AND e.at < (SELECT max(billed_to) FROM billing.subscription s WHERE s.tenant_id = l.tenant_id)) AS events
	FROM lines l WHERE price_code = 'calls' AND tenant_id > 610015 GROUP BY tenant_id) AS t
WHERE billed > events;

SELECT is(count(*), 0::bigint, 'each segment is newer than the one before') FROM billing.subscription_change c
JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE tenant_id BETWEEN 600000 AND 619999 AND change_no > s.version;

SELECT * FROM finish();
ROLLBACK;
