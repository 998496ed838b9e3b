-- Promise: boundary n is ((anchor AT TIME ZONE zone) + n x cycle) AT TIME ZONE zone over ten years of clock
-- changes; periods neither gap nor overlap; period_at finds the one period that holds an instant.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(40);

SELECT setseed(0.31);

-- Ten years and some before the anchor, at hours that New York and Lord Howe
-- skip or repeat; Apia skipped the whole of 30 December 2011.
CREATE TEMPORARY TABLE expected_period AS
WITH grid AS MATERIALIZED (
	SELECT zone, cycle, last_n, (local AT TIME ZONE zone) AS anchor
	FROM unnest(ARRAY['America/New_York', 'Asia/Shanghai', 'Australia/Lord_Howe', 'Pacific/Apia']) AS zone,
		unnest(ARRAY['2007-01-31 00:00', '2007-01-31 01:30', '2007-01-31 02:15:30.000001']::timestamp[]) AS local,
		(VALUES (interval '1 month', 120), (interval '1 day', 3653), (interval '1 week', 522), (interval '1 year', 10),
			(interval '3 months 10 days', 30)) AS c (cycle, last_n)
), numbered AS (
	SELECT *, ((anchor AT TIME ZONE zone) + n * cycle) AT TIME ZONE zone AS start,
		((anchor AT TIME ZONE zone) + (n + 1) * cycle) AT TIME ZONE zone AS end
	FROM grid, generate_series(-30, last_n) AS n
)
SELECT *, tstzrange(start, "end") AS period, start + random() * ("end" - start - interval '1 us') AS inside
FROM numbered;

SELECT ok(count(*) > 52000, 'there are ten years of periods to compare')
FROM expected_period;

SELECT is(count(*) FILTER (WHERE billing.period_n(anchor, cycle, n, zone) IS DISTINCT FROM period), 0::bigint,
	'period_n agrees with AT TIME ZONE: ' || zone)
FROM expected_period GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE billing.period_at(anchor, cycle, start, zone) IS DISTINCT FROM period), 0::bigint,
	'period_at its start is the period: ' || zone)
FROM expected_period WHERE NOT isempty(period) GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE billing.period_at(anchor, cycle, "end" - interval '1 us', zone) IS DISTINCT FROM period), 0::bigint,
	'period_at just before its end is the period: ' || zone)
FROM expected_period WHERE NOT isempty(period) GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE billing.period_at(anchor, cycle, "end", zone) @> start), 0::bigint,
	'period_at its end is a later period: ' || zone)
FROM expected_period WHERE NOT isempty(period) GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE billing.period_at(anchor, cycle, inside, zone) IS DISTINCT FROM period), 0::bigint,
	'period_at a random instant is the period around it: ' || zone)
FROM expected_period WHERE NOT isempty(period) GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE upper(p) IS DISTINCT FROM next_start AND next_start IS NOT NULL), 0::bigint,
	'periods neither gap nor overlap: ' || zone)
FROM (
	SELECT zone, p, lead(lower(p)) OVER (PARTITION BY zone, cycle, anchor ORDER BY n) AS next_start
	FROM (SELECT *, billing.period_n(anchor, cycle, n, zone) AS p FROM expected_period) AS numbered
	WHERE NOT isempty(p)
) AS neighbours GROUP BY zone ORDER BY zone;

SELECT is(count(*) FILTER (WHERE isempty(billing.period_n(anchor, cycle, n, zone))),
	CASE zone WHEN 'Pacific/Apia' THEN 3 ELSE 0 END::bigint,
	'a period is empty only where a whole day was skipped: ' || zone)
FROM expected_period GROUP BY zone ORDER BY zone;

-- Any cycle, any anchor, any instant: what is found holds the instant, and its
-- neighbours touch it.
CREATE TEMPORARY TABLE anything AS
SELECT zone, anchor, at, cycle, billing.period_at(anchor, cycle, at, zone) AS period
FROM (
	SELECT (ARRAY['America/New_York', 'Asia/Shanghai', 'Australia/Lord_Howe', 'Pacific/Apia', 'America/St_Johns',
			'Pacific/Kwajalein', 'Asia/Manila', 'America/Juneau', 'Africa/Casablanca', 'UTC'])[1 + floor(random() * 10)] AS zone,
		timestamptz '1800-01-01 UTC' + random() * interval '300 years' AS anchor,
		timestamptz '1800-01-01 UTC' + random() * interval '300 years' AS at,
		make_interval(
			months => (random() < 0.5)::int * floor(random() * 30)::int,
			days => (random() < 0.5)::int * floor(random() * 60)::int,
			secs => (random() < 0.5)::int * floor(random() * 200000)::int + 1) AS cycle
	FROM generate_series(1, 20000)
) AS random_case;

SELECT is(count(*) FILTER (WHERE NOT period @> at OR isempty(period)), 0::bigint,
	'what period_at finds holds the instant') FROM anything;

SELECT is(count(*) FILTER (WHERE billing.period_at(anchor, cycle, lower(period), zone) <> period), 0::bigint,
	'its start lies in it') FROM anything;

SELECT is(count(*) FILTER (WHERE lower(billing.period_at(anchor, cycle, upper(period), zone)) <> upper(period)), 0::bigint,
	'the next period starts where it ends') FROM anything;

SELECT is(count(*) FILTER (WHERE upper(billing.period_at(anchor, cycle, lower(period) - interval '1 us', zone)) <> lower(period)), 0::bigint,
	'the period before ends where it starts') FROM anything;

SELECT is(count(*) FILTER (WHERE lower(billing.period_at(anchor, cycle, anchor, zone)) <> anchor), 0::bigint,
	'a period starts at every anchor') FROM anything;

-- Days on the wall clock, hours as time elapses.
SELECT is(count(*) FILTER (WHERE lower(billing.period_n(anchor, '2 days 5 hours', n, 'America/New_York')) IS DISTINCT FROM
	((anchor AT TIME ZONE 'America/New_York') + n * interval '2 days') AT TIME ZONE 'America/New_York' + n * interval '5 hours'), 0::bigint,
	'hours of a cycle are added as elapsed time')
FROM (VALUES (timestamptz '2024-01-31 05:00 UTC')) AS a (anchor), generate_series(-500, 500) AS n;

SELECT is(count(*) FILTER (WHERE lower(billing.period_n(anchor, '90 minutes', n, 'America/New_York')) IS DISTINCT FROM
	anchor + n * interval '90 minutes'), 0::bigint,
	'a cycle of minutes does not see clock changes')
FROM (VALUES (timestamptz '2024-01-31 05:00 UTC')) AS a (anchor), generate_series(-9000, 9000) AS n;

-- A cycle that divides another one meets each of its boundaries.
SELECT is(count(*) FILTER (WHERE lower(billing.period_n('2024-01-31 10:00 UTC', divisor, n * k, 'Australia/Lord_Howe')) IS DISTINCT FROM
	lower(billing.period_n('2024-01-31 10:00 UTC', k * divisor, n, 'Australia/Lord_Howe')) OR
	NOT billing.cycle_divides(divisor, k * divisor)), 0::bigint,
	'a cycle that divides another meets all its boundaries')
FROM unnest(ARRAY['1 month', '3 months', '1 day', '7 days', '1 hour', '1 month 2 days 3 hours']::interval[]) AS divisor,
	generate_series(1, 12) AS k, generate_series(-10, 10) AS n;

-- The whole range of timestamps.
SELECT is(billing.period_at('4713-01-01 00:00 UTC BC', '1 us', '294276-12-31 23:59:59.999998 UTC', 'UTC'),
	'[294276-12-31 23:59:59.999998 UTC,294276-12-31 23:59:59.999999 UTC)'::tstzrange,
	'microseconds are counted over the whole range of timestamps');

SELECT is(billing.period_at('294276-12-31 00:00 UTC', '1 us', '4713-01-01 00:00 UTC BC', 'Asia/Shanghai'),
	'[4713-01-01 00:00:00 UTC BC,4713-01-01 00:00:00.000001 UTC BC)'::tstzrange,
	'and backwards');

SELECT is(count(*) FILTER (WHERE NOT billing.period_at('4000-01-31 10:00 UTC BC', cycle, at, zone) @> at), 0::bigint,
	'any cycle finds its period 300,000 years away')
FROM unnest(ARRAY['1 day', '1 week', '1 month', '1 year', '400 years', '1 month 1 us']::interval[]) AS cycle,
	unnest(ARRAY['America/New_York', 'Pacific/Apia']) AS zone,
	generate_series(timestamptz '290000-01-01 00:00 UTC', '293000-01-01 00:00 UTC', '777 days 1 second') AS at;

SELECT * FROM finish();
ROLLBACK;
