-- Promise: whatever was recorded and corrected when, and whenever it was compacted, in this transaction or before, a total is that of
-- the plain events that count: number, sum, greatest, latest and digest, of any period and any streams.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(17);

SELECT setseed(0.44);
SET LOCAL billing.test_clock = '2026-11-10T00:00:00Z';

INSERT INTO billing.tenant (tenant_id, name, timezone)
SELECT 900 + t, 'tenant ' || t, (ARRAY['UTC', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe'])[t] FROM generate_series(1, 4) t;
INSERT INTO billing.meter (code) VALUES ('usage_requests'), ('usage_bytes');
INSERT INTO billing.plan (plan_id, code, name) VALUES (900, 'usage_plan', 'Plan');
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT 900, m, '{"model":"per_unit","currency":"USD","unit_amount":"0.001"}', m FROM unnest('{usage_requests,usage_bytes}'::text[]) m;

-- Two of them have boundaries that cut an hour, which the rollup knows; the others are cut where it does not.
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at,
	period_start, period_end, billed_to, due_at)
SELECT 900 + t, 9000 + 10 * t + s, 900, 'active', 'USD', b, 'UTC', b, b + interval '1 month', b + interval '2 months',
	b + interval '1 month', b + interval '2 months'
FROM generate_series(1, 4) t, generate_series(1, 2) s,
	LATERAL (SELECT timestamptz '2026-09-03 05:17:13.5 UTC' + t * interval '7 hours 11 minutes') b (b);

CREATE FUNCTION pg_temp.record(batch text, n integer) RETURNS bigint LANGUAGE sql AS $$
	WITH recorded AS (
		INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id)
		SELECT t.t, batch || i, (ARRAY['usage_requests', 'usage_bytes'])[1 + floor(random() * 2)::int],
			round((random() * 20 - 4)::numeric, floor(random() * 6)::int),
			CASE WHEN random() < 0.2 THEN date_trunc('hour', a.a) WHEN random() < 0.2 THEN timestamptz '2026-10-03 12:28:13.5 UTC'
				+ (random() * 7200 - 3600) * interval '1 second' ELSE a.a END,
			CASE WHEN random() < 0.6 THEN 9000 + 10 * (t.t - 900) + 1 + floor(random() * 2)::int END
		FROM generate_series(1, n) i, LATERAL (SELECT 901 + floor(random() * 4)::int + 0 * i) t (t),
			LATERAL (SELECT timestamptz '2026-09-20 UTC' + (random() + 0 * i) * interval '50 days') a (a)
		RETURNING 1)
	SELECT count(*) FROM recorded
$$;

-- How many of n random questions the rollup answers otherwise than the events do.
CREATE FUNCTION pg_temp.wrong(n integer) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*)
	FROM (
		SELECT 901 + floor(random() * 4)::int AS tenant_id, (ARRAY['usage_requests', 'usage_bytes'])[1 + floor(random() * 2)::int] AS meter,
			CASE floor(random() * 4)::int WHEN 0 THEN date_trunc('day', a, 'UTC') WHEN 1 THEN date_trunc('hour', a)
				WHEN 2 THEN timestamptz '2026-10-03 05:17:13.5 UTC' + floor(random() * 5) * interval '7 hours 11 minutes' ELSE a END AS low,
			(ARRAY['1 second', '1 minute', '45 minutes', '1 hour', '1 day', '31 days', '1 month', '60 days'])[1 + floor(random() * 8)::int]::interval AS length,
			floor(random() * 5)::int AS streams
		FROM (SELECT timestamptz '2026-09-19 UTC' + (random() + 0 * i) * interval '52 days' AS a FROM generate_series(1, n) i OFFSET 0) r
		OFFSET 0) q,
		LATERAL (SELECT CASE q.streams WHEN 0 THEN '{0}' WHEN 1 THEN ARRAY[9001 + 10 * (q.tenant_id - 900)]
			WHEN 2 THEN ARRAY[0, 9002 + 10 * (q.tenant_id - 900)] WHEN 3 THEN '{}'
			ELSE ARRAY[9001 + 10 * (q.tenant_id - 900), 9002 + 10 * (q.tenant_id - 900), 0, 7] END::bigint[]) s (streams),
		LATERAL (SELECT CASE WHEN q.length = '60 days' THEN 'infinity' ELSE q.low + q.length END) h (high),
		LATERAL billing.usage_total(q.tenant_id, q.meter, s.streams, q.low, h.high, true) t,
		LATERAL (
			SELECT count(*) AS events, coalesce(sum(quantity), 0) AS sum, max(quantity) AS max,
				(array_agg(quantity ORDER BY at DESC, event_id DESC))[1] AS latest,
				billing.digest_sum(billing.usage_digest(event_id, e.meter, subscription_id, quantity, at)) AS digest
			FROM billing.usage_event e
			WHERE e.tenant_id = q.tenant_id AND e.meter = q.meter AND coalesce(subscription_id, 0) = ANY (s.streams)
				AND at >= q.low AND at < h.high
				AND NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id)) e
	WHERE t IS DISTINCT FROM e
$$;

SELECT is(pg_temp.record('a', 3000), 3000::bigint, 'events are recorded');
SELECT is(pg_temp.wrong(500), 0::bigint, 'nothing compacted: totals are those of the events');
CALL billing.compact_usage(3);
SELECT is((SELECT sum(events) FROM billing.usage_rollup WHERE tenant_id BETWEEN 901 AND 904 AND level = 'd'), 3000::numeric,
	'compaction takes what its own transaction wrote');
SELECT is(pg_temp.wrong(1000), 0::bigint, 'all compacted: totals are those of the events');
SELECT isnt((SELECT count(*) FROM billing.usage_rollup WHERE tenant_id BETWEEN 901 AND 904 AND level = 'h'
	AND bucket > date_trunc('hour', bucket)), 0::bigint, 'hours are cut where a boundary lies');

SELECT is(pg_temp.record('b', 500), 500::bigint, 'more are recorded by the same transaction');
SELECT is(pg_temp.wrong(500), 0::bigint, 'some compacted: each event counts once');
CALL billing.compact_usage();
CALL billing.compact_usage();
SELECT is((SELECT sum(events) FROM billing.usage_rollup WHERE tenant_id BETWEEN 901 AND 904 AND level = 'h'), 3500::numeric,
	'compacting twice adds nothing');
SELECT is(pg_temp.wrong(500), 0::bigint, 'and totals are those of the events');

SAVEPOINT before;
SELECT is(pg_temp.record('c', 300), 300::bigint, 'recorded and compacted in a part of the transaction');
CALL billing.compact_usage();
ROLLBACK TO before;
SELECT is(pg_temp.wrong(500), 0::bigint, 'that is rolled back');

-- Some count no more: of those that the rollup holds and of those that it does not.  The audit sums hours, days and periods up.
SELECT is(pg_temp.record('d', 300), 300::bigint, 'more are recorded');
SELECT is((SELECT count(CASE WHEN n % 2 = 0 THEN billing.cancel_usage(tenant_id, event_id, 'n ' || n)
		ELSE billing.correct_usage(tenant_id, event_id, n, event_id || '+') END)
	FROM (SELECT e.tenant_id, e.event_id, row_number() OVER (ORDER BY random()) AS n FROM billing.usage_event e WHERE e.tenant_id BETWEEN 901 AND 904) e
	WHERE n <= 400), 400::bigint, 'some are corrected');
SELECT is(pg_temp.wrong(1000), 0::bigint, 'totals are those of the events that count');
SELECT is_empty('SELECT * FROM billing.audit_usage WHERE tenant_id BETWEEN 901 AND 904', 'and so are hours, days and periods');

-- Every aggregation reads alike from rollup and events, and days add up to the period.
SELECT is((
	SELECT count(*)
	FROM generate_series(901, 904) t, unnest('{sum,count,max,latest,weighted_sum}'::text[]) a,
		unnest(ARRAY[NULL, 1, 2]) s,
		LATERAL (SELECT 9000 + 10 * (t - 900) + s) i (id),
		LATERAL (SELECT tstzrange('2026-09-25 03:04:05.678 UTC', '2026-11-01 17:00 UTC')) p (p)
	WHERE billing.usage(t, 'usage_bytes', p, NULL, id, a) IS DISTINCT FROM billing.usage(t, 'usage_bytes', p, 'infinity', id, a)),
	0::bigint, 'an aggregation is the same from the rollup as from the events');
SELECT is((
	SELECT count(*)
	FROM generate_series(901, 904) t, LATERAL (SELECT tstzrange('2026-09-25 03:04:05.678 UTC', '2026-11-05 17:00 UTC')) p (p)
	WHERE billing.usage(t, 'usage_bytes', p) <> (SELECT sum(quantity) FROM billing.daily_usage(t, 'usage_bytes', p))),
	0::bigint, 'the days of a period add up to it in every time zone');

SELECT * FROM finish();
ROLLBACK;
