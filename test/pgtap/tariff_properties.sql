-- Every charge is exact: twenty thousand random tariffs and quantities, of up to
-- 12 decimals and of a size that leaves 128 bits, agree with the rule written
-- out in SQL over numeric, and with their own explanation.
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(13);

SELECT setseed(0.20260131);

-- A random decimal below 10^digits, of up to 12 decimals; one in ten is 0.
CREATE FUNCTION pg_temp.some_number(digits int) RETURNS numeric LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.1 THEN 0
		ELSE trim_scale(round((random()::numeric + random()::numeric / 1000000000) * (10 ^ floor(random() * (digits + 1))::numeric),
			floor(random() * 13)::int)) END
$$;

-- Tiers as arrays: ends (NULL the last), prices, flat amounts.
CREATE TEMP TABLE sample AS
SELECT n, model, q, events, free_units, minimum,
	CASE WHEN has_maximum THEN minimum + spread END AS maximum,
	package_size, event_amount, ends, prices, flats
FROM (
	SELECT n,
		(ARRAY['flat', 'per_unit', 'package', 'graduated', 'volume', 'percentage', 'graduated_percentage'])[1 + n % 7] AS model,
		CASE WHEN n % 10 = 0 THEN -pg_temp.some_number(6)
			WHEN n % 3 = 0 THEN pg_temp.some_number(30)
			ELSE pg_temp.some_number(9) END AS q,
		floor(random() * 100)::bigint AS events,
		CASE WHEN random() < 0.3 THEN pg_temp.some_number(4) ELSE 0 END AS free_units,
		CASE WHEN random() < 0.3 THEN pg_temp.some_number(6) ELSE 0 END AS minimum,
		random() < 0.3 AS has_maximum,
		pg_temp.some_number(7) AS spread,
		pg_temp.some_number(4) + 0.000001 AS package_size,
		CASE WHEN random() < 0.5 THEN pg_temp.some_number(2) ELSE 0 END AS event_amount,
		t.ends, t.prices, t.flats
	FROM generate_series(1, 20000) n,
		LATERAL (
			SELECT array_agg(CASE WHEN i < k THEN e END ORDER BY i) AS ends,
				array_agg(p ORDER BY i) AS prices, array_agg(f ORDER BY i) AS flats
			FROM (
				SELECT i, max(i) OVER () AS k, p, f,
					sum(width) OVER (ORDER BY i) AS e
				FROM (SELECT i, pg_temp.some_number(6) + 0.000000000001 AS width,
						pg_temp.some_number(4) AS p,
						CASE WHEN random() < 0.5 THEN pg_temp.some_number(4) ELSE 0 END AS f
					FROM generate_series(1, 1 + (n * 7919 % 10)) i) w
			) x
		) t
) s;

-- The same as tariffs; numbers go in as JSON strings and as JSON numbers.
CREATE TEMP TABLE priced AS
SELECT s.*, (
		jsonb_build_object('model', model, 'currency', (ARRAY['USD', 'JPY', 'KWD', 'CLF'])[1 + n % 4])
		|| CASE model
			WHEN 'flat' THEN jsonb_build_object('amount', prices[1]::text)
			WHEN 'per_unit' THEN jsonb_build_object('unit_amount', prices[1])
			WHEN 'package' THEN jsonb_build_object('amount', prices[1]::text, 'package_size', package_size)
			WHEN 'percentage' THEN jsonb_build_object('rate', prices[1]::text, 'event_amount', event_amount)
			ELSE jsonb_build_object('tiers', (
				SELECT jsonb_agg(jsonb_build_object('up_to', e::text, 'flat_amount', f,
					CASE WHEN model = 'graduated_percentage' THEN 'rate' ELSE 'unit_amount' END, p::text) ORDER BY i)
				FROM unnest(ends, prices, flats) WITH ORDINALITY u(e, p, f, i)))
			END
		|| jsonb_build_object('free_units', free_units, 'minimum', minimum::text, 'maximum', maximum::text)
	)::billing.tariff AS tariff
FROM sample s;

-- The rule, written out independently.
CREATE TEMP TABLE expected AS
SELECT n, tariff, q, events,
	CASE WHEN maximum < bounded_below THEN maximum ELSE bounded_below END AS exact
FROM (
	SELECT *, greatest(raw, minimum) AS bounded_below
	FROM (
		SELECT p.*,
			CASE model
				WHEN 'flat' THEN prices[1]
				WHEN 'per_unit' THEN u * prices[1]
				WHEN 'package' THEN (div(u, package_size) + (CASE WHEN mod(u, package_size) > 0 THEN 1 ELSE 0 END)) * prices[1]
				WHEN 'percentage' THEN u * prices[1] * 0.01 + events * event_amount
				WHEN 'volume' THEN (
					SELECT u * t.p + t.f FROM unnest(ends, prices, flats) t(e, p, f)
					WHERE u <= t.e OR t.e IS NULL ORDER BY t.e NULLS LAST LIMIT 1)
				ELSE (
					SELECT sum(greatest(least(u, coalesce(t.e, u)) - t.low, 0)
							* CASE WHEN model = 'graduated_percentage' THEN t.p * 0.01 ELSE t.p END
						+ CASE WHEN u > t.low OR t.i = 1 THEN t.f ELSE 0 END)
					FROM (SELECT e, p, f, i, coalesce(lag(e) OVER (ORDER BY i), 0) AS low
						FROM unnest(ends, prices, flats) WITH ORDINALITY x(e, p, f, i)) t)
			END AS raw
		FROM (SELECT *, greatest(greatest(q, 0) - free_units, 0) AS u FROM priced) p
	) r
) b;

SELECT is(count(*), 20000::bigint, 'twenty thousand tariffs were made') FROM expected;
SELECT cmp_ok(count(DISTINCT tariff::text), '>', 19000::bigint, 'and nearly all of them differ') FROM expected;
SELECT cmp_ok(count(*), '>', 500::bigint, 'some charges need more than 128 bits')
	FROM expected WHERE length(replace(exact::text, '.', '')) > 38;

SELECT is(count(*), 0::bigint, 'charge_exact is the rule written out')
	FROM expected WHERE billing.charge_exact(tariff, q, events) <> exact;
SELECT is(count(*), 0::bigint, 'the steps of an explanation add up to it')
	FROM expected WHERE (SELECT sum(subtotal) FROM billing.explain_charge(tariff, q, events)) <> exact;
SELECT is(count(*), 0::bigint, 'charge is it, rounded once')
	FROM expected e, LATERAL (SELECT CASE billing.tariff_currency(tariff) WHEN 'JPY' THEN 0 WHEN 'KWD' THEN 3 WHEN 'CLF' THEN 4 ELSE 2 END) x(exponent)
	WHERE exact < 1e14
		AND billing.charge(tariff, q, events) <> billing.amount(round(exact, exponent), billing.tariff_currency(tariff));
SELECT is(count(*), 0::bigint, 'a negative quantity bills as zero')
	FROM expected WHERE q < 0 AND billing.charge_exact(tariff, q, events) <> billing.charge_exact(tariff, 0, events);
SELECT is(count(*), 0::bigint, 'a tariff without per-event terms charges events as their sum')
	FROM (
		SELECT tariff, billing.charge_events(tariff, part) AS by_event,
			billing.charge(tariff, sum(part), count(*)) AS by_sum
		FROM expected, LATERAL (VALUES (q), (1.25), (0.0000005)) v(part)
		WHERE exact < 1e14 AND NOT tariff::jsonb @> '{"model":"percentage"}'
		GROUP BY n, tariff) e
	WHERE by_event <> by_sum;
SELECT is(count(*), 0::bigint, 'text gives the same tariff back')
	FROM expected WHERE tariff::text::billing.tariff <> tariff OR tariff::text::billing.tariff::text <> tariff::text;
SELECT is(count(*), 0::bigint, 'so does jsonb, with the same hash')
	FROM expected WHERE tariff::jsonb::billing.tariff <> tariff
		OR billing.tariff_hash(tariff::jsonb::billing.tariff) <> billing.tariff_hash(tariff);
SELECT is(count(*), 0::bigint, 'and the binary form')
	FROM expected WHERE billing.tariff_send(tariff) <> decode('01', 'hex') || convert_to(tariff::text, 'UTF8');
SELECT is(count(DISTINCT tariff::text), (SELECT count(*) FROM (SELECT DISTINCT tariff FROM expected) d),
	'DISTINCT finds the same ones by text and by value') FROM expected;

-- Event by event against the rule written out over running totals.
CREATE TEMP TABLE event_charges AS
SELECT n, tariff, billing.charge_events(tariff, q ORDER BY i) AS charge,
	round(greatest(sum(CASE
		WHEN q < 0 OR free_now THEN 0
		ELSE least(greatest((q - covered) * rate * 0.01 + fee, low), high) END), 0), 2) AS expected
FROM (
	SELECT *, open AND covered = q AS free_now
	FROM (
		SELECT *, greatest(least(q, allowance - before), 0) * (CASE WHEN open THEN 1 ELSE 0 END) AS covered
		FROM (
			SELECT *, i <= free_events AND before < allowance AS open
			FROM (
				SELECT n, i, q, rate, fee, low, high, free_events, allowance, tariff,
					coalesce(sum(q) OVER (PARTITION BY n ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
				FROM (
					SELECT n, round(random()::numeric * 3, 4) AS rate, 0.3 AS fee, 0.5 AS low, 9.75 AS high,
						1 + n % 5 AS free_events, 50 + n % 200 AS allowance
					FROM generate_series(1, 500) n) t,
					LATERAL (SELECT format('{"model":"percentage","currency":"USD","rate":%s,"event_amount":"0.3","free_events":%s,"free_units":%s,"event_minimum":0.5,"event_maximum":"9.75"}',
						rate, free_events, allowance)::billing.tariff) f(tariff),
					LATERAL (SELECT i, round((1 + 300 * random() * (n / n))::numeric, 3) FROM generate_series(1, 8) i) e(i, q)
			) a
		) b
	) c
) d
GROUP BY n, tariff;

SELECT is(count(*), 0::bigint, 'charge_events is the rule of free events, free units and event bounds')
	FROM event_charges WHERE charge::numeric <> expected;

SELECT * FROM finish();
ROLLBACK;
