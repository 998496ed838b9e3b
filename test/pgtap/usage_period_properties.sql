-- Promise: the rows of a billing period give a total exactly or not at all, wherever boundaries were known to lie when
-- events were compacted, and whatever came late.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(8);

SELECT setseed(0.17);
SET LOCAL billing.test_clock = '2026-11-10T00:00:00Z';

INSERT INTO billing.tenant (tenant_id, name) SELECT 910 + t, 'tenant ' || t FROM generate_series(1, 3) t;
INSERT INTO billing.meter (code, aggregation) VALUES ('period_sum', 'sum'), ('period_max', 'max');
INSERT INTO billing.plan (plan_id, code, name) VALUES (910, 'period_plan', 'Plan');
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT 910, m, '{"model":"per_unit","currency":"USD","unit_amount":"0.001"}', m FROM unnest('{period_sum,period_max}'::text[]) m;
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at,
	period_start, period_end, billed_to, due_at)
SELECT 910 + t, 9100 + 10 * t + s, 910, 'active', 'USD', b, 'UTC', b, b, b + interval '1 month', b, b + interval '1 month'
FROM generate_series(1, 3) t, generate_series(1, 2) s, LATERAL (SELECT timestamptz '2026-09-03 UTC') b (b);

-- The instants of which any may be a boundary: on the day, on the hour, and on neither.
CREATE TEMPORARY TABLE instant AS
SELECT timestamptz '2026-09-03 UTC' + d * interval '3 days' + (ARRAY['0', '5 hours', '17:13.5'])[1 + d % 3]::interval AS at
FROM generate_series(0, 20) d;

-- Time goes on, and back where somebody moved an end or a start that was known before.
ALTER TABLE billing.subscription DISABLE TRIGGER USER;
CREATE FUNCTION pg_temp.move() RETURNS bigint LANGUAGE sql AS $$
	WITH moved AS (
		UPDATE billing.subscription s SET period_start = b.low, billed_to = b.low, period_end = b.high, due_at = b.high
		FROM (
			SELECT k.tenant_id, k.subscription_id, least(k.a, k.b) AS low, greatest(k.a, k.b) AS high
			FROM (
				SELECT o.tenant_id, o.subscription_id,
					(SELECT i.at FROM instant i WHERE o.tenant_id > 0 ORDER BY random() LIMIT 1) AS a,
					(SELECT i.at FROM instant i WHERE o.tenant_id > 0 ORDER BY random() LIMIT 1) AS b
				FROM billing.subscription o WHERE o.tenant_id BETWEEN 911 AND 913) k) b
		WHERE s.tenant_id = b.tenant_id AND s.subscription_id = b.subscription_id
		RETURNING 1)
	SELECT count(*) FROM moved
$$;

CREATE FUNCTION pg_temp.record(batch text, n integer) RETURNS bigint LANGUAGE sql AS $$
	WITH recorded AS (
		INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id)
		SELECT t.t, batch || i, (ARRAY['period_sum', 'period_max'])[1 + floor(random() * 2)::int],
			round((random() * 20 - 4)::numeric, floor(random() * 4)::int),
			CASE WHEN random() < 0.3 THEN (SELECT x.at FROM instant x WHERE i > 0 ORDER BY random() LIMIT 1) ELSE a.a END,
			CASE WHEN random() < 0.6 THEN 9100 + 10 * (t.t - 910) + 1 + floor(random() * 2)::int END
		FROM generate_series(1, n) i, LATERAL (SELECT 911 + floor(random() * 3)::int + 0 * i) t (t),
			LATERAL (SELECT timestamptz '2026-09-01 UTC' + (random() + 0 * i) * interval '66 days') a (a)
		RETURNING 1)
	SELECT count(*) FROM recorded
$$;

-- Every stream over every pair of instants: what its periods give, from those that start there and, with that before, at
-- all, and what its events do.
CREATE FUNCTION pg_temp.totals(OUT given bigint, OUT wrong bigint) LANGUAGE sql AS $$
	SELECT count(*) FILTER (WHERE m.m IS NOT NULL), count(*) FILTER (WHERE m.m IS NOT NULL AND m.m IS DISTINCT FROM e.e)
	FROM (SELECT DISTINCT tenant_id, meter, coalesce(subscription_id, 0) AS stream FROM billing.usage_event
			WHERE tenant_id BETWEEN 911 AND 913) s
	JOIN billing.meter a ON a.code = s.meter
	CROSS JOIN instant low JOIN instant high ON high.at > low.at
	CROSS JOIN LATERAL (
		SELECT billing.measure(a.aggregation, 1, low.at, high.at, r.starts_at, r.last_at, r.events, r.digest, r.sum, r.max) AS m
		FROM billing.usage_period r
		WHERE r.tenant_id = s.tenant_id AND r.meter = s.meter AND r.subscription_id = s.stream
			AND r.starts_at >= low.at AND r.starts_at < high.at
		UNION ALL
		SELECT billing.measure(a.aggregation, 0, low.at, high.at, r.starts_at, r.last_at, r.events, r.digest, r.sum, r.max)
		FROM (
			(SELECT * FROM billing.usage_period r
			WHERE r.tenant_id = s.tenant_id AND r.meter = s.meter AND r.subscription_id = s.stream AND r.starts_at < low.at
			ORDER BY r.starts_at DESC LIMIT 1)
			UNION ALL
			SELECT * FROM billing.usage_period r
			WHERE r.tenant_id = s.tenant_id AND r.meter = s.meter AND r.subscription_id = s.stream
				AND r.starts_at >= low.at AND r.starts_at < high.at) r) m
	CROSS JOIN LATERAL (
		SELECT ROW(coalesce(CASE a.aggregation WHEN 'sum' THEN sum(e.quantity) ELSE max(e.quantity) END, 0), count(*),
			billing.digest_sum(billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at)))::billing.measured AS e
		FROM billing.usage_event e
		WHERE e.tenant_id = s.tenant_id AND e.meter = s.meter AND coalesce(e.subscription_id, 0) = s.stream
			AND e.at >= low.at AND e.at < high.at) e
$$;

SELECT is(pg_temp.record('a', 60), 60::bigint, 'events are recorded');
CALL billing.compact_usage();
SELECT isnt((SELECT given FROM pg_temp.totals()), 0::bigint, 'some periods are given');
SELECT is((SELECT wrong FROM pg_temp.totals()), 0::bigint, 'and those are right');

CREATE TEMPORARY TABLE seen (given bigint, wrong bigint);
SELECT format('SELECT pg_temp.move(); SELECT pg_temp.record(''b%s_'', 1 + %s); CALL billing.compact_usage(); INSERT INTO seen SELECT * FROM pg_temp.totals();',
	n, n % 17) AS round
FROM generate_series(1, 25) n \gexec

SELECT is((SELECT count(*) FROM seen WHERE given > 0), 25::bigint, 'after every round some periods are given');
SELECT is((SELECT sum(wrong) FROM seen), 0::numeric, 'and whatever is given is right');
SELECT is((SELECT count(*) FROM billing.audit_usage WHERE tenant_id BETWEEN 911 AND 913 AND invariant !~ 'late usage'), 0::bigint,
	'the audit finds nothing');

-- One month, known before its usage comes, is one row of each stream.
UPDATE billing.subscription SET started_at = '2026-10-01 UTC', period_start = '2026-10-01 UTC', billed_to = '2026-10-01 UTC',
	period_end = '2026-11-01 UTC', due_at = '2026-11-01 UTC' WHERE tenant_id = 911;
INSERT INTO billing.meter (code) VALUES ('period_month');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 911, 'm' || d, 'period_month', d, timestamptz '2026-09-21 UTC' + d * interval '1 day' FROM generate_series(1, 40) d;
CALL billing.compact_usage();
SELECT is((SELECT array_agg(starts_at::text || ' ' || events ORDER BY starts_at) FROM billing.usage_period
	WHERE tenant_id = 911 AND meter = 'period_month'),
	(SELECT array_agg(b::text || ' ' || n ORDER BY b) FROM (VALUES ('-infinity'::timestamptz, 9), ('2026-10-01 UTC', 31)) v (b, n)),
	'a month is one row');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (911, 'm41', 'period_month', 1, '2026-11-01 UTC');
CALL billing.compact_usage();
SELECT is((SELECT max(starts_at) FROM billing.usage_period WHERE tenant_id = 911 AND meter = 'period_month'),
	'2026-11-01 UTC', 'the next starts the next');

SELECT * FROM finish();
ROLLBACK;
