-- Promise: a range, basis or zone that would prorate wrongly is refused, and no amount or period overflows.

SET timezone TO 'UTC';
SET datestyle TO 'ISO';

CREATE FUNCTION pg_temp.prorate(whole text, part text, basis text DEFAULT 'second', timezone text DEFAULT 'UTC') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	RETURN billing.prorate('31.00 USD', whole::tstzrange, part::tstzrange, basis, timezone);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || message || CASE WHEN detail = '' OR hint = '' THEN ' (no detail or hint)' ELSE '' END;
END $$;

-- One of each, in full.
SELECT billing.prorate('31.00 USD', 'empty', '[2026-03-01 00:00Z,2026-04-01 00:00Z)');
SELECT billing.prorate('31.00 USD', '[2026-03-01 00:00Z,)', '[2026-03-01 00:00Z,2026-04-01 00:00Z)');
SELECT billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', '[2026-03-01 00:00Z,2026-04-01 00:00Z]');
SELECT billing.prorate('31.00 USD', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', '[2026-03-01 00:00Z,2026-04-01 00:00Z)', 'month');

-- Wholes.
SELECT whole, pg_temp.prorate(whole, '[2026-03-01 00:00Z,2026-04-01 00:00Z)')
FROM unnest(ARRAY['empty', '[2026-03-01 00:00Z,2026-03-01 00:00Z)', '(,)', '[2026-03-01 00:00Z,)', '(,2026-04-01 00:00Z)',
	'[-infinity,2026-04-01 00:00Z)', '[2026-03-01 00:00Z,infinity)', '(2026-03-01 00:00Z,2026-04-01 00:00Z)',
	'[2026-03-01 00:00Z,2026-04-01 00:00Z]', '(2026-03-01 00:00Z,2026-04-01 00:00Z]', '[2026-03-01 00:00Z,2026-03-01 00:00Z]',
	'[2026-04-01 00:00Z,2026-03-01 00:00Z)']) AS whole;

-- Parts: only the empty one is none of these.
SELECT part, pg_temp.prorate('[2026-03-01 00:00Z,2026-04-01 00:00Z)', part)
FROM unnest(ARRAY['empty', '(,)', '[2026-03-01 00:00Z,)', '(,2026-03-02 00:00Z)', '[-infinity,2026-03-02 00:00Z)', '[2026-03-01 00:00Z,infinity)',
	'(2026-03-01 00:00Z,2026-03-02 00:00Z)', '[2026-03-01 00:00Z,2026-03-02 00:00Z]', '(2026-03-01 00:00Z,2026-03-02 00:00Z]']) AS part;

-- Bases are spelled exactly; zones are looked up under every basis.
SELECT basis, pg_temp.prorate('[2026-03-01 00:00Z,2026-04-01 00:00Z)', '[2026-03-01 00:00Z,2026-03-02 00:00Z)', basis)
FROM unnest(ARRAY['', 'Day', 'days', 'second ', 'secon', 'seconds', 'month', 'null', '%s%n', repeat('長', 30)]) AS basis;
SELECT basis, pg_temp.prorate('[2026-03-01 00:00Z,2026-04-01 00:00Z)', '[2026-03-01 00:00Z,2026-03-02 00:00Z)', basis, 'PDT')
FROM unnest(ARRAY['second', 'day', 'none']) AS basis;

-- The largest amounts over the longest period.
SELECT amount, billing.prorate(amount::billing.amount, whole, tstzrange(lower(whole), '2026-01-01 00:00Z')) AS before,
	billing.prorate(amount::billing.amount, whole, tstzrange('2026-01-01 00:00Z', upper(whole))) AS after,
	billing.prorate(amount::billing.amount, whole, whole) AS all
FROM unnest(ARRAY['92233720368547758.07 USD', '-92233720368547758.07 USD', '9223372036854775807 JPY', '1 JPY']) AS amount,
	(VALUES ('[4714-11-24 00:00Z BC,294276-12-31 23:59:59.999999Z)'::tstzrange)) AS w (whole);
SELECT billing.prorate('92233720368547758.07 USD', whole, tstzrange(lower(whole), '2026-01-01 00:00Z'), 'day', timezone) AS before,
	billing.prorate('92233720368547758.07 USD', whole, tstzrange('2026-01-01 00:00Z', upper(whole)), 'day', timezone) AS after
FROM unnest(ARRAY['UTC', 'Asia/Shanghai', 'America/New_York']) AS timezone,
	(VALUES ('[4714-11-26 00:00Z BC,294276-12-31 00:00Z)'::tstzrange)) AS w (whole);

-- A NULL gives a NULL.
SELECT billing.prorate(NULL, 'empty', 'empty') IS NULL AS amount, billing.prorate('1.00 USD', NULL, 'empty') IS NULL AS whole,
	billing.prorate('1.00 USD', 'empty', NULL) IS NULL AS part, billing.prorate('1.00 USD', 'empty', 'empty', NULL) IS NULL AS basis;
