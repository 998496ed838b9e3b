-- Promise: of a tenant's subscriptions that price the same meters each event is billed by the one whose it is, once, whatever
-- was done to them, when it was recorded, and when it was compacted and billed.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone TO 'UTC';

SELECT plan(14);

SELECT setseed(0.6);
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';

-- What a transaction records after it compacted counts too, also where another one has ended meanwhile.
INSERT INTO billing.meter (code, aggregation) VALUES ('shared_calls', 'sum'), ('shared_events', 'count');
SELECT count(billing.create_tenant(61000, 'Recorder'));
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (61000, 'before', 'shared_calls');
SAVEPOINT other;
SELECT count(billing.create_tenant(61999, 'Other'));
ROLLBACK TO other;
CALL billing.compact_usage();
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (61000, 'after', 'shared_calls');
CALL billing.compact_usage();
SELECT is((SELECT sum(events) FROM billing.usage_rollup WHERE tenant_id = 61000 AND level = 'd'), 2::numeric,
	'what was recorded after a compaction is compacted by the next');
SELECT is_empty('SELECT * FROM billing.audit_usage WHERE tenant_id = 61000', 'and the audit finds nothing');

INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (6101, 'shared_month', 'Month', '1 month', 0),
	(6102, 'shared_week', 'Week', '7 days', 5), (6103, 'shared_year', 'Year', '1 year', 0), (6104, 'shared_one', 'One', '1 month', 0),
	(6105, 'shared_life', 'Life', NULL, 0);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle)
SELECT plan_id, m, '{"model":"per_unit","currency":"USD","unit_amount":"1"}', m, CASE WHEN plan_id IN (6103, 6105) THEN interval '1 month' END
FROM billing.plan, unnest('{shared_calls,shared_events}'::text[]) m
WHERE plan_id IN (6101, 6102, 6103, 6105) OR plan_id = 6104 AND m = 'shared_events';
INSERT INTO billing.price (plan_id, code, tariff)
SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"30"}' FROM billing.plan WHERE plan_id BETWEEN 6101 AND 6105;

CREATE TEMPORARY TABLE done (op text, result text);
CREATE FUNCTION pg_temp.pick(names text[]) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT names[1 + floor(random() * cardinality(names))::int] $$;

-- Something happens to a subscription of a tenant; gives the SQLSTATE, or OK.
CREATE FUNCTION pg_temp.act(tenant bigint, clock timestamptz, op text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	s billing.subscription;
BEGIN
	SELECT * INTO s FROM billing.subscription WHERE tenant_id = tenant ORDER BY random() LIMIT 1;
	CASE op
		WHEN 'subscribe' THEN PERFORM billing.subscribe(tenant, pg_temp.pick('{shared_month,shared_week,shared_year,shared_one,shared_life}'),
			auto_renew => random() < 0.6, billing => pg_temp.pick('{calendar,anniversary}'));
		WHEN 'past' THEN PERFORM billing.subscribe(tenant, pg_temp.pick('{shared_month,shared_week,shared_year,shared_one}'),
			at => clock - random() * interval '80 days', auto_renew => random() < 0.6);
		WHEN 'later' THEN PERFORM billing.subscribe(tenant, pg_temp.pick('{shared_month,shared_week}'), at => clock + random() * interval '30 days');
		WHEN 'cancel' THEN PERFORM billing.cancel_subscription(tenant, s.subscription_id);
		WHEN 'cancel_now' THEN PERFORM billing.cancel_subscription(tenant, s.subscription_id, 'now');
		WHEN 'reactivate' THEN PERFORM billing.reactivate_subscription(tenant, s.subscription_id);
		WHEN 'renew' THEN PERFORM billing.renew_subscription(tenant, s.subscription_id);
		WHEN 'extend' THEN PERFORM billing.extend_subscription(tenant, s.subscription_id, clock + random() * interval '40 days', s.version);
		WHEN 'on' THEN PERFORM billing.update_subscription(tenant, s.subscription_id, '{"auto_renew": true}');
		WHEN 'off' THEN PERFORM billing.update_subscription(tenant, s.subscription_id, '{"auto_renew": false}');
		WHEN 'zone' THEN PERFORM billing.update_tenant(tenant, jsonb_build_object('timezone',
			pg_temp.pick('{UTC,America/New_York,Asia/Tokyo,Pacific/Apia,Australia/Lord_Howe}')));
		ELSE NULL;
	END CASE;
	RETURN 'OK';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- A step of a tenant: that, some usage of the last days and some of long ago, and now and then a compaction or a bill run.
CREATE FUNCTION pg_temp.step(tenant bigint, step int, clock timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	subscriptions bigint;
	op text := pg_temp.pick('{subscribe,past,later,cancel,cancel_now,reactivate,renew,renew,extend,off,off,on,zone,none,none,none,none}');
BEGIN
	PERFORM set_config('billing.test_clock', to_char(clock AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
	SELECT count(*) INTO subscriptions FROM billing.subscription WHERE tenant_id = tenant;
	op := CASE WHEN subscriptions = 0 THEN 'subscribe' WHEN subscriptions >= 5 AND op IN ('subscribe', 'past', 'later') THEN 'renew' ELSE op END;
	INSERT INTO done VALUES (op, pg_temp.act(tenant, clock, op));
	INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id)
	SELECT tenant, step || '-' || i, pg_temp.pick('{shared_calls,shared_events}'), floor(random() * 9),
		clock - random() * CASE WHEN random() < 0.7 THEN interval '6 days' ELSE interval '60 days' END,
		CASE WHEN random() < 0.4 THEN (SELECT subscription_id FROM billing.subscription WHERE tenant_id = tenant AND i > 0 ORDER BY random() LIMIT 1) END
	FROM generate_series(1, 4) i;
	IF random() < 0.15 THEN CALL billing.compact_usage(); END IF;
	IF random() < 0.35 THEN
		CALL billing.bill_due(clock - CASE WHEN random() < 0.3 THEN interval '3 days' ELSE '0' END, 1 + floor(random() * 5)::int);
	END IF;
END $$;

-- Two years, then every subscription ends and all is billed.
CREATE FUNCTION pg_temp.play(tenants int, steps int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	clock timestamptz := '2026-01-01 10:00Z';
BEGIN
	PERFORM billing.create_tenant(61000 + t, 'Tenant ' || t, timezone => pg_temp.pick('{UTC,America/New_York,Asia/Tokyo}'))
	FROM generate_series(1, tenants) t;
	FOR step IN 1..steps LOOP
		PERFORM pg_temp.step(61000 + t, step, clock + t * interval '7 minutes') FROM generate_series(1, tenants) t;
		clock := clock + random() * interval '15 days';
	END LOOP;
	CALL billing.bill_due();
	PERFORM billing.cancel_subscription(tenant_id, subscription_id, 'now') FROM billing.subscription
	WHERE tenant_id BETWEEN 61001 AND 61998 AND status NOT IN ('canceled', 'expired');
	CALL billing.bill_due();
END $$;
SELECT pg_temp.play(10, 50);

SELECT cmp_ok(count(DISTINCT op || result), '>', 14::bigint, 'much was done, and much refused') FROM done;
SELECT is_empty('SELECT op, result FROM done WHERE result NOT IN (''OK'', ''YB004'', ''22023'')', 'nothing failed but what is refused');
SELECT cmp_ok(count(*), '>', 100::bigint, 'much came late') FROM billing.usage_late WHERE tenant_id BETWEEN 61001 AND 61998;

-- Whose an event is: the one it names, or of those in force the first that prices the meter.
CREATE TEMPORARY VIEW owned AS
SELECT e.tenant_id, o.subscription_id, e.meter, CASE e.meter WHEN 'shared_calls' THEN e.quantity ELSE 1 END AS quantity,
	e.subscription_id IS NULL AS is_unstated, e.at < coalesce(o.trial_end, e.at) AS is_free
FROM billing.usage_event e
CROSS JOIN LATERAL (SELECT s.* FROM billing.subscription s
	WHERE s.tenant_id = e.tenant_id AND billing.in_force(s) @> e.at AND s.subscription_id = coalesce(e.subscription_id, s.subscription_id)
	  AND EXISTS (SELECT FROM billing.price p WHERE p.plan_id = s.plan_id AND p.meter = e.meter)
	ORDER BY s.subscription_id LIMIT 1) o
WHERE e.tenant_id BETWEEN 61001 AND 61998;
CREATE TEMPORARY VIEW compared AS
SELECT o.quantity AS used, b.quantity AS billed, tenant_id, subscription_id, meter
FROM (SELECT tenant_id, subscription_id, meter, sum(quantity) AS quantity FROM owned WHERE NOT is_free GROUP BY 1, 2, 3) o
FULL JOIN (SELECT i.tenant_id, i.subscription_id, n.meter, sum(n.quantity) AS quantity
	FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
	WHERE n.meter IS NOT NULL AND i.tenant_id BETWEEN 61001 AND 61998 GROUP BY 1, 2, 3) b USING (tenant_id, subscription_id, meter);

SELECT cmp_ok(count(*) FILTER (WHERE is_unstated AND NOT is_free), '>', 200::bigint, 'much names no subscription') FROM owned;
SELECT cmp_ok(count(*) FILTER (WHERE is_free), '>', 0::bigint, 'some is free') FROM owned;
SELECT cmp_ok(count(*), '>', 50::bigint, 'there is much to compare') FROM compared WHERE used > 0;
SELECT is_empty('SELECT * FROM compared WHERE coalesce(used, 0) <> coalesce(billed, 0)', 'each subscription is billed what is its own, once');
SELECT is_empty('SELECT i.invoice_id FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
	WHERE i.tenant_id BETWEEN 61001 AND 61998 AND n.meter IS NOT NULL AND n.amount::numeric <> n.quantity', 'at its price');
-- Whatever time zones their tenants moved to.
CREATE TEMPORARY VIEW line AS
SELECT s.tenant_id, s.subscription_id, n.price_code, tstzrange(n.period_start, n.period_end) AS period
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE i.tenant_id BETWEEN 61001 AND 61998 AND n.kind <> 'adjustment' AND n.period_end IS NOT NULL;
SELECT is_empty('SELECT subscription_id, price_code FROM line GROUP BY 1, 2 HAVING sum(extract(epoch FROM upper(period) - lower(period)))
	<> (SELECT sum(extract(epoch FROM upper(r) - lower(r))) FROM unnest(range_agg(period)) r)', 'no instant is billed twice');
SELECT is_empty($$ SELECT * FROM (
		SELECT s.subscription_id, p.code, billing.in_force(s) * tstzmultirange(tstzrange(greatest(s.started_at, s.trial_end),
				greatest(s.started_at, s.trial_end, s.billed_to))) AS wanted,
			coalesce((SELECT range_agg(l.period) FROM line l WHERE l.subscription_id = s.subscription_id AND l.price_code = p.code), '{}') AS got
		FROM billing.subscription s JOIN billing.price p ON p.plan_id = s.plan_id AND p.meter IS NOT NULL
		WHERE s.tenant_id BETWEEN 61001 AND 61998 AND s.billed_to IS NOT NULL) c WHERE got <> wanted $$, 'and none is left out');
SELECT is_empty('SELECT * FROM billing.audit() WHERE tenant_id BETWEEN 61000 AND 61998', 'the audit finds nothing');
SELECT is_empty('SELECT v.* FROM billing.tenant t, billing.verify_all(t.tenant_id) v WHERE t.tenant_id BETWEEN 61000 AND 61998',
	'every invoice is calculated again as it is');

SELECT * FROM finish();
ROLLBACK;
