-- Promise: periods are counted from the anchor on the tenant's wall clock, month ends do not drift, and
-- clock changes resolve as AT TIME ZONE resolves them.

SET timezone TO 'UTC';
SET datestyle TO 'ISO';

-- 31 January: the day comes back after each short month.
SELECT n, billing.period_n('2026-01-31 00:00Z', '1 month', n, 'UTC')
FROM generate_series(-2, 5) AS n;

-- 29 February: 28 February in common years, the 29th again in leap years.
SELECT n, billing.period_n('2024-02-29 12:00Z', '1 year', n, 'UTC')
FROM generate_series(0, 4) AS n;

-- Weeks keep the hour on the wall clock: the week of the clock change has 167 hours.
SELECT n, p, upper(p) - lower(p) AS length
FROM generate_series(0, 2) AS n, billing.period_n('2024-03-03 09:00-05', '7 days', n, 'America/New_York') AS p;

-- A cycle of hours is elapsed time: it does not see the clock change.
SELECT n, p, lower(p) AT TIME ZONE 'America/New_York' AS wall_clock
FROM generate_series(0, 2) AS n, billing.period_n('2024-03-09 12:00-05', '12 hours', n, 'America/New_York') AS p;

-- 02:30 does not exist on 10 March, 01:30 happens twice on 3 November: both as AT TIME ZONE takes them.
SELECT n, billing.period_n('2024-03-09 02:30-05', '1 day', n, 'America/New_York') AS gap
FROM generate_series(0, 2) AS n;
SELECT n, billing.period_n('2024-11-02 01:30-04', '1 day', n, 'America/New_York') AS overlap
FROM generate_series(0, 2) AS n;

-- Boundary 0 is the anchor itself, in either pass of the repeated hour.
SELECT n, billing.period_n('2024-11-03 01:30-04', '1 day', n, 'America/New_York') AS first_pass,
	billing.period_n('2024-11-03 01:30-05', '1 day', n, 'America/New_York') AS second_pass
FROM generate_series(-1, 1) AS n;

-- The tenant's day counts, not UTC's: 31 January in Shanghai is still the 30th in UTC.
SELECT n, billing.period_n('2026-01-31 00:00+08', '1 month', n, 'Asia/Shanghai')
FROM generate_series(0, 2) AS n;

-- Lord Howe moves its clock by half an hour.
SELECT n, billing.period_n('2024-03-07 02:00+11', '1 month', n, 'Australia/Lord_Howe')
FROM generate_series(0, 2) AS n;

-- Apia had no 30 December 2011: that period is empty, and period_at never finds it.
SELECT n, billing.period_n('2011-12-28 10:00-10', '1 day', n, 'Pacific/Apia')
FROM generate_series(0, 3) AS n;
SELECT billing.period_at('2011-12-28 10:00-10', '1 day', '2011-12-30 19:59:59Z', 'Pacific/Apia') AS before,
	billing.period_at('2011-12-28 10:00-10', '1 day', '2011-12-30 20:00Z', 'Pacific/Apia') AS after;

-- period_at: the start is in, the end is out, the past counts down.
SELECT at, billing.period_at('2026-01-31 00:00Z', '1 month', at, 'UTC')
FROM unnest(ARRAY['2026-01-30 23:59:59.999999Z', '2026-01-31 00:00Z', '2026-02-27 23:59:59.999999Z',
	'2026-02-28 00:00Z', '2026-03-30 00:00Z', '2020-02-29 00:00Z', '2024-02-29 00:00Z']::timestamptz[]) AS at;

-- Quarters, half years, 10 days, a month and a half.
SELECT cycle, billing.period_at('2025-11-30 00:00Z', cycle, '2026-03-01 00:00Z', 'UTC')
FROM unnest(ARRAY['3 months', '6 months', '10 days', '1 month 15 days', '1 day 12:00', 'P2W']::interval[]) AS cycle;

-- Zone names are found in any case.
SELECT billing.period_n('2026-01-31 00:00Z', '1 month', 1, 'america/new_york')
	= billing.period_n('2026-01-31 00:00Z', '1 month', 1, 'America/New_York') AS same,
	billing.period_n('2026-01-31 00:00Z', '1 month', 1, 'Etc/GMT+3') AS fixed;

-- The session's time zone has no part in it.
SET timezone TO 'Asia/Kolkata';
SELECT billing.period_n('2026-01-31 00:00Z', '1 month', 1, 'UTC')
	= '[2026-02-28 00:00Z,2026-03-31 00:00Z)'::tstzrange AS same;
RESET timezone;

-- A plan billed once has no cycle, and so no period.
SELECT billing.period_n('2026-01-31 00:00Z', NULL, 0, 'UTC') IS NULL AS period_n,
	billing.period_at('2026-01-31 00:00Z', NULL, '2026-01-31 00:00Z', 'UTC') IS NULL AS period_at;

-- Which cycles nest, however long months and days are.
SELECT cycle, divisor, billing.cycle_divides(divisor, cycle)
FROM (VALUES ('P1Y'::interval, 'P3M'::interval), ('P1Y', 'P1Y'), ('P1M', 'P3D'), ('P1Y', 'P365D'), ('P4W', 'P1M'),
	('P28D', 'P7D'), ('P14D', 'P1W'), ('P1M', 'P1Y'), ('P1D', 'PT1H'), ('PT1H', 'PT15M'), ('P2M2D', 'P1M1D'),
	('P2M3D', 'P1M1D'), ('P2M', 'P1M1D'), ('P5M', 'P2M')) AS v (cycle, divisor);
