-- Promise: a part of a period costs R(A x F(b)) - R(A x F(a)), by seconds, by the tenant's days or not at all, and
-- any split sums to the amount.

SET timezone TO 'UTC';
SET datestyle TO 'ISO';

-- Ten of 31 days, by seconds and by days.
SELECT basis, billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', '[2026-03-11 00:00Z,2026-03-21 00:00Z)', basis)
FROM unnest(ARRAY['second', 'day', 'none']) AS basis;

-- Seconds are the default, to the microsecond.
SELECT billing.prorate('100.00 USD', '[2026-03-01 00:00Z,2026-03-02 00:00Z)', '[2026-03-01 06:00Z,2026-03-01 18:00Z)') AS half,
	billing.prorate('864000000.00 USD', '[2026-03-01 00:00Z,2026-03-02 00:00Z)', '[2026-03-01 00:00Z,2026-03-01 00:00:00.000001Z)') AS one_microsecond;

-- Thirds of 100: the parts are 33.33, 33.34 and 33.33, and sum.
SELECT part, billing.prorate('100.00 USD', '[2026-03-01 00:00Z,2026-03-31 00:00Z)', part, 'day')
FROM unnest(ARRAY['[2026-03-01 00:00Z,2026-03-11 00:00Z)', '[2026-03-11 00:00Z,2026-03-21 00:00Z)',
	'[2026-03-21 00:00Z,2026-03-31 00:00Z)']::tstzrange[]) AS part;

-- Each in the minor unit of its currency, halves away from zero, credits as charges.
SELECT amount, billing.prorate(amount::billing.amount, '[2026-03-01 00:00Z,2026-03-03 00:00Z)', '[2026-03-01 00:00Z,2026-03-02 00:00Z)', 'day') AS first,
	billing.prorate(amount::billing.amount, '[2026-03-01 00:00Z,2026-03-03 00:00Z)', '[2026-03-02 00:00Z,2026-03-03 00:00Z)', 'day') AS second
FROM unnest(ARRAY['0.01 USD', '-0.01 USD', '0.03 USD', '1 JPY', '5 JPY', '0.001 KWD', '0.00 USD']) AS amount;

-- The day of a change belongs to the new plan, whatever the hour.
SELECT at, billing.prorate('31.00 USD', whole, tstzrange(lower(whole), at), 'day', 'Asia/Shanghai') AS old_plan,
	billing.prorate('62.00 USD', whole, tstzrange(at, upper(whole)), 'day', 'Asia/Shanghai') AS new_plan
FROM (VALUES ('[2026-03-01 00:00+08,2026-04-01 00:00+08)'::tstzrange)) AS w (whole),
	unnest(ARRAY['2026-03-11 00:00+08', '2026-03-11 12:00+08', '2026-03-11 23:59:59.999999+08', '2026-03-12 00:00+08']::timestamptz[]) AS at;

-- The tenant's days: the same instant is the 10th in New York and the 11th in Shanghai.
SELECT timezone, billing.prorate('31.00 USD', '[2026-03-01 12:00Z,2026-04-01 12:00Z)', '[2026-03-01 12:00Z,2026-03-11 02:00Z)', 'day', timezone)
FROM unnest(ARRAY['America/New_York', 'Asia/Shanghai']) AS timezone;

-- A day of 23 hours is a day, but fewer seconds.
SELECT basis, billing.prorate('31.00 USD', '[2024-03-01 00:00-05,2024-04-01 00:00-04)', '[2024-03-10 00:00-05,2024-03-11 00:00-04)', basis, 'America/New_York')
FROM unnest(ARRAY['second', 'day']) AS basis;

-- A whole within one calendar day costs nothing before its end, all at its end.
SELECT part, billing.prorate('8.00 USD', '[2026-03-01 09:00Z,2026-03-01 17:00Z)', part, 'day')
FROM unnest(ARRAY['[2026-03-01 09:00Z,2026-03-01 13:00Z)', '[2026-03-01 13:00Z,2026-03-01 16:59Z)', '[2026-03-01 16:59Z,2026-03-01 17:00Z)',
	'[2026-03-01 09:00Z,2026-03-01 17:00Z)']::tstzrange[]) AS part;

-- An empty part costs nothing, under any basis.
SELECT basis, billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', 'empty', basis) AS never,
	billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', tstzrange('2026-03-01 00:00Z', '2026-03-01 00:00Z'), basis) AS at_the_anchor
FROM unnest(ARRAY['second', 'day', 'none']) AS basis;

-- Only what a part shares with the whole counts.
SELECT part, billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', part) AS second,
	billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', part, 'day') AS day,
	billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', part, 'none') AS none
FROM unnest(ARRAY['[2026-02-01 00:00Z,2026-03-01 00:00Z)', '[2026-02-01 00:00Z,2026-03-02 00:00Z)', '[2026-03-31 00:00Z,2026-05-01 00:00Z)',
	'[2026-04-01 00:00Z,2026-05-01 00:00Z)', '[2020-01-01 00:00Z,2030-01-01 00:00Z)']::tstzrange[]) AS part;
