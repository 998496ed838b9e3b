-- Promise: billing.next_boundary alone says what happens at each boundary of a subscription: what ended, what begins,
-- the state and the boundary after it; one period ends where the next begins, whatever else happens.

SET timezone TO 'UTC';
SET datestyle TO 'ISO';

-- The boundaries of a subscription one after the other, as the bill run takes them.  zones: the tenant's at each of
-- them, the last one from there on.
CREATE FUNCTION pg_temp.boundaries(started_at timestamptz, cycle interval, step interval = NULL, anchor timestamptz = NULL,
	billing text = 'anniversary', trial_end timestamptz = NULL, cancel_at timestamptz = NULL, auto_renew boolean = true,
	zones text[] = '{UTC}', n int = 3)
RETURNS TABLE (at timestamptz, kind text, status text, ends boolean, arrears tstzrange, arrears_whole tstzrange,
	advance tstzrange, advance_whole tstzrange, step_arrears tstzrange, step_arrears_whole tstzrange,
	step_advance tstzrange, step_advance_whole tstzrange, period tstzrange, due_at timestamptz, timezone text, anchor_after timestamptz)
LANGUAGE sql
BEGIN ATOMIC
	WITH RECURSIVE chain AS (
		SELECT 1 AS i, boundaries.started_at AS at, b.*
		FROM billing.next_boundary(coalesce(boundaries.anchor, boundaries.started_at), boundaries.cycle, boundaries.step, boundaries.billing,
			boundaries.started_at, boundaries.trial_end, NULL, NULL, NULL, boundaries.started_at, boundaries.cancel_at,
			boundaries.auto_renew, boundaries.zones[1], boundaries.zones[1]) AS b
		UNION ALL
		SELECT c.i + 1, c.due_at, b.*
		FROM chain AS c, billing.next_boundary(c.anchor, boundaries.cycle, boundaries.step, boundaries.billing, boundaries.started_at,
			boundaries.trial_end, c.period_start, c.period_end, c.at, c.due_at, boundaries.cancel_at, boundaries.auto_renew,
			c.timezone, boundaries.zones[least(c.i + 1, cardinality(boundaries.zones))]) AS b
		WHERE c.i < boundaries.n AND c.due_at IS NOT NULL
	)
	SELECT c.at, c.kind, c.status, c.ends, c.arrears, c.arrears_whole, c.advance, c.advance_whole, c.step_arrears, c.step_arrears_whole,
		c.step_advance, c.step_advance_whole, tstzrange(c.period_start, c.period_end), c.due_at, c.timezone, c.anchor
	FROM chain AS c
	ORDER BY c.i;
END;

-- Start: nothing ended, the first period begins.  Then each boundary ends one and begins the next, counted from the anchor.
SELECT at, kind, status, arrears, advance, due_at FROM pg_temp.boundaries('2026-01-31 05:00Z', '1 month', zones => '{America/New_York}', n => 4);

-- Trial: neither arrears nor advance; paid service begins where it ends.
SELECT at, status, arrears, advance, period, due_at
FROM pg_temp.boundaries('2026-01-10 00:00Z', '1 month', anchor => '2026-01-24 00:00Z', trial_end => '2026-01-24 00:00Z');

-- A trial that is canceled costs nothing, not even usage.
SELECT at, kind, status, ends, arrears, step_arrears, advance, due_at
FROM pg_temp.boundaries('2026-01-10 00:00Z', '1 month', '7 days', trial_end => '2026-01-24 00:00Z', cancel_at => '2026-01-24 00:00Z');

-- By the calendar: the first period is a part of a month, in advance and in arrears.
SELECT at, arrears, arrears_whole, advance, advance_whole, due_at
FROM pg_temp.boundaries('2026-01-20 12:00Z', '1 month', anchor => '2026-01-01 00:00Z', billing => 'calendar');
SELECT at, arrears, arrears_whole, advance, advance_whole, due_at
FROM pg_temp.boundaries('2026-01-03 00:00Z', '1 month', anchor => '2026-01-01 00:00Z', billing => 'calendar', trial_end => '2026-01-17 00:00Z');

-- Lifetime: billed once, without an end; a price with a cycle goes on.
SELECT at, arrears, advance, period, due_at FROM pg_temp.boundaries('2026-01-20 12:00Z', NULL);
SELECT at, arrears, advance, step_arrears, step_advance, due_at FROM pg_temp.boundaries('2026-01-20 12:00Z', NULL, '1 month');

-- An annual plan with monthly prices: the year and each of its months, together where a year ends.
SELECT at, arrears, advance, step_arrears, step_advance, due_at
FROM pg_temp.boundaries('2025-01-31 00:00Z', '1 year', '1 month', n => 14) WITH ORDINALITY AS b
WHERE ordinality IN (1, 2, 3, 12, 13, 14);

-- Canceled at the end of the period, and in the middle of one: the rest of the period is part of what it was.
SELECT at, kind, status, ends, arrears, arrears_whole, advance, due_at
FROM pg_temp.boundaries('2026-01-01 00:00Z', '1 month', cancel_at => '2026-02-01 00:00Z');
SELECT at, kind, status, arrears, arrears_whole, step_arrears, step_arrears_whole, due_at
FROM billing.next_boundary('2026-01-01 00:00Z', '1 year', '1 month', 'anniversary', '2026-01-01 00:00Z', NULL, '2026-01-01 00:00Z',
	'2027-01-01 00:00Z', '2026-02-01 00:00Z', '2026-02-11 00:00Z', '2026-02-11 00:00Z', true, 'UTC', 'UTC'),
	(VALUES ('2026-02-11 00:00Z'::timestamptz)) AS v (at);
-- Known before the period begins: it is not billed beyond.
SELECT at, kind, status, arrears, arrears_whole, advance, advance_whole, due_at
FROM pg_temp.boundaries('2026-01-01 00:00Z', '1 month', cancel_at => '2026-01-11 00:00Z');
-- At the instant at which the period began: nothing ended.
SELECT kind, status, arrears, step_arrears, advance
FROM billing.next_boundary('2026-01-01 00:00Z', '1 year', '1 month', 'anniversary', '2026-01-01 00:00Z', NULL, '2026-01-01 00:00Z',
	'2027-01-01 00:00Z', '2026-01-01 00:00Z', '2026-01-01 00:00Z', '2026-01-01 00:00Z', true, 'UTC', 'UTC');
-- Before it starts.
SELECT at, kind, status, ends, arrears, advance, due_at
FROM pg_temp.boundaries('2026-01-01 00:00Z', '1 month', cancel_at => '2026-01-01 00:00Z');

-- Without renewal it expires at the end of its period; after a trial it has the one it pays for.
SELECT at, kind, status, ends, arrears, advance, due_at FROM pg_temp.boundaries('2026-01-01 00:00Z', '1 month', auto_renew => false);
SELECT at, kind, status, ends, arrears, advance, due_at
FROM pg_temp.boundaries('2026-01-01 00:00Z', '1 month', anchor => '2026-01-15 00:00Z', trial_end => '2026-01-15 00:00Z', auto_renew => false);
SELECT at, status, ends, step_arrears, due_at
FROM pg_temp.boundaries('2026-01-01 00:00Z', '3 months', '1 month', auto_renew => false, n => 9);

-- Clock changes: midnight stays midnight.
SELECT at, arrears, due_at FROM pg_temp.boundaries('2026-02-01 05:00Z', '1 month', zones => '{America/New_York}', n => 4);
SELECT at, arrears, due_at FROM pg_temp.boundaries('2026-03-07 05:00Z', '1 day', zones => '{America/New_York}', n => 4);

-- Another time zone: the period that runs ends where it would have, the next one by the new clock.  An anniversary is an
-- instant; the first of a month is a day of the calendar.
SELECT at, arrears, arrears_whole, advance, advance_whole, timezone, anchor_after
FROM pg_temp.boundaries('2026-01-10 15:00Z', '1 month', zones => '{Asia/Tokyo,Asia/Tokyo,America/New_York}', n => 6);
SELECT at, arrears, arrears_whole, advance, advance_whole, timezone, anchor_after
FROM pg_temp.boundaries('2026-01-10 15:00Z', '1 month', anchor => '2025-12-31 15:00Z', billing => 'calendar', zones => '{Asia/Tokyo,Asia/Tokyo,America/New_York}', n => 5);
SELECT at, arrears, arrears_whole, advance, advance_whole, timezone, anchor_after
FROM pg_temp.boundaries('2026-01-10 15:00Z', '1 month', anchor => '2026-01-01 05:00Z', billing => 'calendar', zones => '{America/New_York,America/New_York,Asia/Tokyo}', n => 5);
-- Short cycles: no day is billed twice, none is left out.
SELECT at, arrears, timezone FROM pg_temp.boundaries('2026-05-31 15:00Z', '1 day', billing => 'calendar', zones => '{Asia/Tokyo,Asia/Tokyo,America/New_York}', n => 5);
SELECT at, arrears, timezone FROM pg_temp.boundaries('2026-05-31 04:00Z', '1 day', billing => 'calendar', zones => '{America/New_York,America/New_York,Asia/Tokyo}', n => 5);
SELECT at, arrears, timezone FROM pg_temp.boundaries('2026-05-31 04:00Z', '12 hours', billing => 'calendar', zones => '{America/New_York,America/New_York,Asia/Tokyo}', n => 5);
-- The months of a year that is paid for are counted by one clock: the zone waits for the next year.
SELECT at, step_arrears, step_arrears_whole, arrears, advance, timezone
FROM pg_temp.boundaries('2025-12-31 15:00Z', '1 year', '1 month', billing => 'calendar', zones => '{Asia/Tokyo,America/New_York}', n => 15) WITH ORDINALITY AS b
WHERE ordinality IN (1, 2, 3, 12, 13, 14, 15);
-- Before the first period, in the new zone's month already or still.
SELECT at, status, advance, advance_whole, timezone
FROM pg_temp.boundaries('2026-05-10 00:00Z', '1 month', anchor => '2026-04-30 15:00Z', billing => 'calendar',
	trial_end => '2026-05-31 15:30Z', zones => '{Asia/Tokyo,America/New_York}');
SELECT at, status, advance, advance_whole, timezone
FROM pg_temp.boundaries('2026-05-10 00:00Z', '1 month', anchor => '2026-05-01 04:00Z', billing => 'calendar',
	trial_end => '2026-06-01 02:00Z', zones => '{America/New_York,Asia/Tokyo}');

-- Extended: the anchor is at the new end, the long period costs once, in arrears too.
SELECT arrears, arrears_whole, advance, due_at
FROM billing.next_boundary('2026-02-20 00:00Z', '1 month', NULL, 'anniversary', '2026-01-15 00:00Z', NULL, '2026-01-15 00:00Z',
	'2026-02-20 00:00Z', '2026-01-15 00:00Z', '2026-02-20 00:00Z', NULL, true, 'UTC', 'UTC');
-- In a year with months the rest of a month is a part of one.
SELECT step_arrears, step_arrears_whole, step_advance, step_advance_whole, due_at
FROM billing.next_boundary('2027-01-15 00:00Z', '1 year', '1 month', 'anniversary', '2026-01-01 00:00Z', NULL, '2026-01-01 00:00Z',
	'2027-01-15 00:00Z', '2026-10-01 00:00Z', '2026-11-01 00:00Z', NULL, true, 'UTC', 'UTC');

-- Nothing is due.
SELECT billing.next_boundary('2026-01-01', NULL, NULL, 'anniversary', '2026-01-01', NULL, '2026-01-01', NULL, '2026-01-01', NULL, NULL, true, 'UTC', 'UTC') IS NULL AS nothing;

-- What no subscription has.
SELECT billing.next_boundary(NULL, '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, NULL, '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, '', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', NULL, NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, NULL, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, NULL, 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', NULL);
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'Mars/Base', 'UTC');
SELECT billing.next_boundary('2026-01-01', '-1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, '2026-01-01', NULL, true, 'UTC', 'UTC');
SELECT billing.next_boundary('2026-01-01', '1 month', NULL, 'anniversary', '2026-01-01', NULL, NULL, NULL, NULL, 'infinity', NULL, true, 'UTC', 'UTC');
