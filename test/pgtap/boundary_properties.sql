-- Promise: whatever a subscription's terms, its boundaries advance one by one, what they bill in arrears has neither gap
-- nor overlap and is what they billed in advance, and every part lies in its whole.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(14);

SELECT setseed(0.26);

-- Random terms; half of them see a second time zone from their fifth boundary on.
CREATE TEMPORARY TABLE terms AS
SELECT id, cycle, step, billing, started_at, trial_end, cancel_at, auto_renew, zone, new_zone,
	CASE billing WHEN 'calendar' THEN date_trunc(unit, coalesce(trial_end, started_at) AT TIME ZONE zone) AT TIME ZONE zone
		ELSE coalesce(trial_end, started_at) END AS anchor
FROM (
	SELECT i AS id, c.cycle, c.step, c.unit,
		(ARRAY['anniversary', 'calendar'])[1 + (random() < 0.4)::int] AS billing,
		started_at,
		CASE WHEN random() < 0.3 THEN started_at + floor(random() * 40) * interval '1 day' + interval '1 hour' END AS trial_end,
		CASE WHEN random() < 0.2 THEN started_at + random() * interval '900 days' END AS cancel_at,
		random() < 0.9 AS auto_renew,
		zone,
		CASE WHEN random() < 0.5 THEN zone ELSE zones[1 + floor(random() * 5)] END AS new_zone
	FROM (
		SELECT i, zones, zones[1 + floor(random() * 5)] AS zone, 1 + floor(random() * 8)::int AS kind,
			timestamptz '2023-01-01 UTC' + floor(random() * 20000) * interval '1 hour' AS started_at
		FROM generate_series(1, 3000) AS i,
			(VALUES (ARRAY['UTC', 'America/New_York', 'Asia/Tokyo', 'Pacific/Apia', 'Australia/Lord_Howe'])) AS z (zones)
	) AS r
	JOIN (VALUES (1, interval '1 month', NULL::interval, 'month'), (2, '1 year', NULL, 'year'), (3, '1 year', '1 month', 'year'),
		(4, '7 days', NULL, 'week'), (5, '7 days', '1 day', 'week'), (6, '1 day', NULL, 'day'), (7, NULL, '1 month', 'month'),
		(8, NULL, NULL, 'month')) AS c (n, cycle, step, unit) ON c.n = r.kind
) AS t;

CREATE TEMPORARY TABLE chain AS
WITH RECURSIVE chain AS (
	SELECT t.id, 1 AS i, t.started_at AS at, b.*
	FROM terms AS t, billing.next_boundary(t.anchor, t.cycle, t.step, t.billing, t.started_at, t.trial_end, NULL, NULL, NULL,
		t.started_at, t.cancel_at, t.auto_renew, t.zone, t.zone) AS b
	UNION ALL
	SELECT t.id, c.i + 1, c.due_at, b.*
	FROM chain AS c JOIN terms AS t USING (id), billing.next_boundary(c.anchor, t.cycle, t.step, t.billing, t.started_at, t.trial_end,
		c.period_start, c.period_end, c.at, c.due_at, t.cancel_at, t.auto_renew, c.timezone,
		CASE WHEN c.i < 4 THEN t.zone ELSE t.new_zone END) AS b
	WHERE c.i < 40 AND c.due_at IS NOT NULL
)
SELECT c.*, greatest(t.started_at, t.trial_end) AS paid_from, t.cycle, t.step, t.cancel_at, t.zone = t.new_zone AS one_zone
FROM chain AS c JOIN terms AS t USING (id);

SELECT cmp_ok(count(*), '>', 40000::bigint, 'there are boundaries to look at') FROM chain;

SELECT is(count(*), 0::bigint, 'each boundary is after the one before') FROM chain WHERE due_at <= at;

SELECT is(count(*), 0::bigint, 'only what ends has no boundary to come, but for a lifetime without steps') FROM chain
WHERE (due_at IS NULL) <> (ends OR (cycle IS NULL AND step IS NULL AND at >= paid_from AND cancel_at IS NULL));

SELECT is(count(*), 0::bigint, 'what ends is final, what does not begins or goes on') FROM chain
WHERE ends <> (kind = 'final') OR ends <> (status IN ('canceled', 'expired')) OR (ends AND num_nonnulls(advance, step_advance) > 0);

SELECT is(count(*), 0::bigint, 'a trial bills nothing') FROM chain
WHERE at < paid_from AND num_nonnulls(arrears, step_arrears, advance, step_advance) > 0;

SELECT is(count(*), 0::bigint, 'arrears end at the boundary, advance begins there') FROM chain
WHERE upper(arrears) <> at OR upper(step_arrears) <> at OR lower(advance) <> at OR lower(step_advance) <> at
	OR isempty(arrears) OR isempty(step_arrears) OR isempty(advance) OR isempty(step_advance);

SELECT is(count(*), 0::bigint, 'periods in arrears follow one another from where paid service begins')
FROM (SELECT arrears, coalesce(lag(upper(arrears)) OVER (PARTITION BY id ORDER BY i), paid_from) AS before
	FROM chain WHERE arrears IS NOT NULL AND cycle IS NOT NULL) AS c
WHERE lower(arrears) <> before;

SELECT is(count(*), 0::bigint, 'steps in arrears do, too')
FROM (SELECT step_arrears, coalesce(lag(upper(step_arrears)) OVER (PARTITION BY id ORDER BY i), paid_from) AS before
	FROM chain WHERE step_arrears IS NOT NULL) AS c
WHERE lower(step_arrears) <> before;

SELECT is(count(*), 0::bigint, 'a period is billed in arrears as it was in advance')
FROM (SELECT arrears, lag(advance) OVER (PARTITION BY id ORDER BY i) AS before
	FROM chain WHERE cycle IS NOT NULL AND num_nonnulls(arrears, advance) > 0) AS c
WHERE arrears <> before;

SELECT is(count(*), 0::bigint, 'so is a step')
FROM (SELECT step_arrears, lag(step_advance) OVER (PARTITION BY id ORDER BY i) AS before
	FROM chain WHERE num_nonnulls(step_arrears, step_advance) > 0) AS c
WHERE step_arrears <> before;

SELECT is(count(*), 0::bigint, 'each part lies in its whole') FROM chain
WHERE NOT arrears <@ arrears_whole OR NOT advance <@ advance_whole OR NOT step_arrears <@ step_arrears_whole
	OR NOT step_advance <@ step_advance_whole;

SELECT is(count(*), 0::bigint, 'the steps of a period fill it') FROM chain
WHERE step IS NOT NULL AND cycle IS NOT NULL AND arrears IS NOT NULL AND NOT (step_arrears <@ arrears AND upper(step_arrears) = upper(arrears));

-- No whole is much longer or shorter than a cycle, whatever the clocks do.
SELECT is(count(*), 0::bigint, 'a whole is a cycle long, give or take what two clocks differ by') FROM chain,
	unnest(ARRAY[coalesce(arrears_whole, arrears), coalesce(advance_whole, advance), coalesce(step_arrears_whole, step_arrears),
		coalesce(step_advance_whole, step_advance)], ARRAY[cycle, cycle, step, step]) AS u (whole, length)
WHERE length IS NOT NULL AND abs(extract(epoch FROM upper(whole) - lower(whole) - length)) >
	CASE WHEN one_zone THEN 7200 ELSE 104400 END + CASE WHEN length >= '1 month' THEN 4 * 86400 ELSE 0 END + CASE WHEN length = '1 year' THEN 2 * 86400 ELSE 0 END;

SELECT is(count(*), 0::bigint, 'in one time zone only the first and the last period are parts, and steps beside them')
FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY i) AS n FROM chain WHERE arrears IS NOT NULL AND one_zone) AS c
WHERE n > 1 AND NOT ends AND num_nonnulls(arrears_whole, step_arrears_whole) > 0;

SELECT * FROM finish();
ROLLBACK;
