-- Promise: however a period is split, its parts sum to the amount exactly, and each is what exact rational
-- arithmetic gives.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(11);

SELECT setseed(0.17);

-- Half away from zero, in whole numbers.
CREATE FUNCTION pg_temp.round_quotient(n numeric, d numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE
AS $$ SELECT sign(n) * div(2 * abs(n) + d, 2 * d) $$;

CREATE FUNCTION pg_temp.usec(t timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE
AS $$ SELECT extract(epoch FROM t) * 1000000 $$;

CREATE TEMPORARY TABLE split AS
SELECT id, currency, exponent, units, billing.amount(units / 10::numeric ^ exponent, currency) AS amount,
	basis, zone, start, start + length AS "end", start + length / 2 AS middle, parts
FROM (
	SELECT id, currency, exponent, basis, zone,
		timestamptz '2005-01-01 UTC' + random() * interval '20 years' AS start,
		CASE WHEN random() < 0.1 THEN interval '1 us' + random() * interval '2 days'
			ELSE interval '1 day' + random() * interval '400 days' END AS length,
		CASE WHEN random() < 0.5 THEN floor((random() - 0.3)::numeric * 20000)
			ELSE floor((random() - 0.5)::numeric * 1000000000000000) END AS units,
		1 + floor(random() * 6)::int AS parts
	FROM generate_series(1, 10000) AS id,
		LATERAL (SELECT (ARRAY['second', 'day'])[1 + id % 2] AS basis,
			(ARRAY['America/New_York', 'Asia/Shanghai', 'Australia/Lord_Howe', 'Pacific/Apia', 'UTC'])[1 + id % 5] AS zone) AS pick,
		LATERAL (SELECT (ARRAY['USD', 'JPY', 'KWD'])[1 + id % 3] AS currency, (ARRAY[2, 0, 3])[1 + id % 3] AS exponent) AS money
) AS random_case;

-- The cuts are random instants within the period, and now and then one of its ends.
CREATE TEMPORARY TABLE part AS
SELECT id, from_at, to_at, billing.prorate(amount, tstzrange(start, "end"), tstzrange(from_at, to_at), basis, zone) AS share
FROM split, LATERAL (
	SELECT cut AS from_at, lead(cut) OVER (ORDER BY cut) AS to_at
	FROM (
		SELECT start AS cut
		UNION ALL
		SELECT "end"
		UNION ALL
		SELECT CASE WHEN random() < 0.03 THEN start
			ELSE start + date_trunc('microseconds', random() * ("end" - start)) END
		FROM generate_series(2, parts)
	) AS cuts
) AS piece
WHERE to_at IS NOT NULL;

SELECT is(count(*), 10000::bigint, 'there are ten thousand splits') FROM split;
SELECT ok(count(*) > 30000, 'into more than thirty thousand parts') FROM part;
SELECT ok(count(*) > 50, 'some of them empty') FROM part WHERE from_at = to_at;

SELECT is(count(*) FILTER (WHERE total IS DISTINCT FROM amount::numeric), 0::bigint, 'the parts sum to the amount, basis ' || basis)
FROM split LEFT JOIN (SELECT id, sum(share::numeric) AS total FROM part GROUP BY id) AS summed USING (id)
GROUP BY basis ORDER BY basis;

SELECT is(count(*) FILTER (WHERE share::numeric * sign(units) < 0), 0::bigint, 'no part has the other sign')
FROM split JOIN part USING (id);

SELECT is(count(*) FILTER (WHERE from_at = to_at AND share::numeric <> 0), 0::bigint, 'an empty part costs nothing')
FROM part;

SELECT is(count(*) FILTER (WHERE share::numeric * 10::numeric ^ exponent <>
	pg_temp.round_quotient(units * (pg_temp.usec(to_at) - pg_temp.usec(start)), pg_temp.usec("end") - pg_temp.usec(start)) -
	pg_temp.round_quotient(units * (pg_temp.usec(from_at) - pg_temp.usec(start)), pg_temp.usec("end") - pg_temp.usec(start))), 0::bigint,
	'by seconds, a part is R(A x F(b)) - R(A x F(a)) in exact arithmetic')
FROM split JOIN part USING (id) WHERE basis = 'second';

SELECT is(count(*) FILTER (WHERE share::numeric * 10::numeric ^ exponent <>
	CASE WHEN to_at = "end" THEN units ELSE pg_temp.round_quotient(units * days_to, greatest(days, 1)) END -
	CASE WHEN from_at = "end" THEN units ELSE pg_temp.round_quotient(units * days_from, greatest(days, 1)) END), 0::bigint,
	'by days, a part is R(A x F(b)) - R(A x F(a)) in exact arithmetic')
FROM split JOIN part USING (id),
	LATERAL (SELECT ("end" AT TIME ZONE zone)::date - (start AT TIME ZONE zone)::date AS days,
		(to_at AT TIME ZONE zone)::date - (start AT TIME ZONE zone)::date AS days_to,
		(from_at AT TIME ZONE zone)::date - (start AT TIME ZONE zone)::date AS days_from) AS counted
WHERE basis = 'day';

SELECT is(count(*) FILTER (WHERE billing.prorate(amount, tstzrange(start, "end"), tstzrange(middle - interval '1 year', "end" + interval '1 day'), basis, zone)::text <>
	billing.prorate(amount, tstzrange(start, "end"), tstzrange(greatest(start, middle - interval '1 year'), "end"), basis, zone)::text), 0::bigint,
	'only what a part shares with the whole counts')
FROM split;

-- St. John's put its clock back from 00:01 to 23:01 until 2011: the date went
-- back and forth, the days must not.
SELECT is(sum(billing.prorate('3000.00 USD', whole, tstzrange(at, at + interval '20 seconds'), 'day', 'America/St_Johns')::numeric)::text ||
	' ' || min(billing.prorate('3000.00 USD', whole, tstzrange(at, at + interval '20 seconds'), 'day', 'America/St_Johns')::numeric)::text,
	'100.00 0.00', 'a clock put back over midnight makes no negative part')
FROM (VALUES (tstzrange(timestamp '2010-11-01' AT TIME ZONE 'America/St_Johns', timestamp '2010-12-01' AT TIME ZONE 'America/St_Johns'))) AS w (whole),
	generate_series(timestamptz '2010-11-07 02:00 UTC', '2010-11-07 03:59:40 UTC', '20 seconds') AS at;

SELECT * FROM finish();
ROLLBACK;
