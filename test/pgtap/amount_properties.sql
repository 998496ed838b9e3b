-- Promise: over a million random pairs from the whole range of several
-- currencies, amounts compute exactly what numeric computes, rounded once half
-- away from zero, and raise where the result has no place in 64 bits.
\set QUIET on
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
SET LOCAL search_path = billing, public, pg_temp;
SET LOCAL jit = off;
SET LOCAL work_mem = '64MB';
SET LOCAL min_parallel_table_scan_size = 0;

SELECT plan(28);

-- A random int64: any bit pattern, cut to a random length.
CREATE FUNCTION pg_temp.random_units() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT (((random() * 4294967296)::bigint << 32) # (random() * 4294967296)::bigint) >> (random() * 63)::integer
$$;

-- n / d rounded half away from zero, by another formula than the extension's.
CREATE FUNCTION pg_temp.round_div(n numeric, d numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT sign(n) * sign(d) * div(2 * abs(n) + abs(d), 2 * abs(d))
$$;

CREATE FUNCTION pg_temp.fits(n numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT n BETWEEN -9223372036854775808 AND 9223372036854775807
$$;

-- How many of the statements end in another SQLSTATE than they should.
CREATE FUNCTION pg_temp.not_raising(statements text[], state text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	wrong integer := 0;
BEGIN
	FOREACH statement IN ARRAY statements LOOP
		BEGIN
			EXECUTE statement;
			wrong := wrong + 1;
		EXCEPTION WHEN OTHERS THEN
			wrong := wrong + (sqlstate <> state)::integer;
		END;
	END LOOP;
	RETURN wrong;
END
$$;

SELECT setseed(0.4217);

CREATE TEMP TABLE pair AS
SELECT id, c, d, e, u, v, f, u::numeric AS nu, v::numeric AS nv, from_minor_units(u, c) AS a, from_minor_units(v, c) AS b
FROM (
	SELECT id, k,
		(ARRAY['USD', 'EUR', 'JPY', 'KWD', 'CLF'])[1 + id % 5] AS c,
		(ARRAY['USD', 'EUR', 'JPY', 'KWD', 'CLF'])[1 + k] AS d,
		(ARRAY[2, 2, 0, 3, 4])[1 + id % 5] AS e,
		pg_temp.random_units() AS u,
		pg_temp.random_units() AS v,
		-- factors: of few digits, of many, halves, and any scale between
		CASE id % 4
			WHEN 0 THEN pg_temp.random_units() % 1000000 * 0.0001
			WHEN 1 THEN (pg_temp.random_units()::numeric * 1e-18 + pg_temp.random_units()::numeric * 1e-36)
			WHEN 2 THEN pg_temp.random_units() % 2000 * 0.5
			ELSE trim_scale(pg_temp.random_units()::numeric * power(10::numeric, -(random() * 24)::integer))
		END AS f
	FROM (SELECT id, (random() * 4)::integer AS k FROM generate_series(1, 1000000) AS id OFFSET 0) AS g
	OFFSET 0
) AS drawn;
INSERT INTO pair
SELECT 1000000 + row_number() OVER (), c, c, e, u, v, f, u, v, from_minor_units(u, c), from_minor_units(v, c)
FROM (VALUES ('USD', 2), ('JPY', 0)) AS currency(c, e),
	unnest(ARRAY[-9223372036854775808, -9223372036854775807, -1, 0, 1, 9223372036854775806, 9223372036854775807]) AS u,
	unnest(ARRAY[-9223372036854775808, -9223372036854775807, -1, 0, 1, 9223372036854775806, 9223372036854775807]) AS v,
	unnest(ARRAY[-1, -0.5, 0, 0.5, 1, 0.99999999999999999999, 1.00000000000000000001, 2]) AS f;
CREATE UNIQUE INDEX pair_id ON pair (id);
ANALYZE pair;
CREATE TEMP VIEW quarter AS SELECT * FROM pair WHERE id % 4 = 0 OR id > 1000000;

SELECT cmp_ok((SELECT count(*) FROM pair), '>=', 1000000::bigint, 'a million pairs');
SELECT cmp_ok((SELECT count(*) FROM pair WHERE NOT pg_temp.fits(nu + nv) OR NOT pg_temp.fits(nu * f)), '>', 10000::bigint, 'some of them out of range');
SELECT cmp_ok((SELECT count(*) FROM pair WHERE f * 2 = trunc(f * 2) AND f <> trunc(f) AND u % 2 <> 0 AND pg_temp.fits(nu * f)), '>', 10000::bigint, 'some of them exactly half way');

SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(nu + nv) THEN minor_units(a + b) <> nu + nv END), 0::bigint, 'a + b is exact');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(nu - nv) THEN minor_units(a - b) <> nu - nv END), 0::bigint, 'a - b is exact');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(-nu) THEN minor_units(- a) <> -nu OR minor_units(abs(a)) <> abs(nu) END), 0::bigint, '-a and abs(a) are exact');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(round(nu * f)) THEN minor_units(a * f) <> round(nu * f) OR f * a <> a * f END), 0::bigint, 'a * f rounds once, half away from zero, and commutes');
SELECT is((SELECT count(*) FROM (SELECT a, f, pg_temp.round_div(nu, f) AS q FROM pair WHERE f <> 0 OFFSET 0) AS s WHERE CASE WHEN pg_temp.fits(q) THEN minor_units(a / f) <> q END), 0::bigint, 'a / f rounds once, half away from zero');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN v <> 0 THEN a / b <> nu / nv END), 0::bigint, 'a / b is the ratio numeric gives');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(nu + nv) THEN a + b - b <> a OR b + a <> a + b END), 0::bigint, 'what is added can be taken away, in any order');

SELECT is((SELECT count(*) FROM (SELECT a AS x, from_minor_units(v, d) AS y, c COLLATE "C" AS c, d COLLATE "C" AS d, u, v FROM pair) AS p
	WHERE (x < y) <> ((c, u) < (d, v)) OR (x <= y) <> ((c, u) <= (d, v)) OR (x = y) <> ((c, u) = (d, v))
		OR (x <> y) <> ((c, u) <> (d, v)) OR (x >= y) <> ((c, u) >= (d, v)) OR (x > y) <> ((c, u) > (d, v))
		OR amount_cmp(x, y) <> CASE WHEN (c, u) < (d, v) THEN -1 WHEN (c, u) = (d, v) THEN 0 ELSE 1 END), 0::bigint, 'comparison is by currency, then units');
SELECT is((SELECT count(*) FROM (SELECT a, lag(a) OVER (ORDER BY a) AS before FROM pair) AS s
	WHERE before > a), 0::bigint, 'sorting agrees with comparison');
SELECT is((SELECT count(*) FROM (SELECT DISTINCT a FROM quarter) AS s), (SELECT count(*) FROM (SELECT DISTINCT c, u FROM quarter) AS s), 'DISTINCT sees the same values');

SELECT is((SELECT count(*) FROM quarter WHERE a::text::amount <> a OR a::text <> a::numeric::text || ' ' || c), 0::bigint, 'text goes there and back');
SELECT is((SELECT count(*) FROM quarter WHERE a::numeric <> nu / power(10::numeric, e) OR scale(a::numeric) <> e OR minor_units(a) <> u OR currency(a) <> c), 0::bigint, 'numeric, units and currency are what went in');
SELECT is((SELECT count(*) FROM quarter WHERE amount(a::numeric, lower(c)) <> a), 0::bigint, 'numeric goes there and back');
SELECT is((SELECT count(*) FROM pair WHERE CASE WHEN pg_temp.fits(round(f, e) * power(10::numeric, e)) THEN amount(f, c)::numeric <> round(f, e) END), 0::bigint, 'amount(numeric, text) rounds half away from zero');
SELECT is((SELECT count(*) FROM quarter WHERE amount_send(a) <> int8send(u) || textsend(c)), 0::bigint, 'the binary form is eight bytes of units and three of code');
CREATE TEMP TABLE received (id integer, a amount);
\copy (SELECT id, a FROM pair) TO PROGRAM 'cat > ${TMPDIR:-/tmp}/amount_properties.$PPID' (FORMAT binary)
\copy received FROM PROGRAM 'cat ${TMPDIR:-/tmp}/amount_properties.$PPID; rm ${TMPDIR:-/tmp}/amount_properties.$PPID' (FORMAT binary)
ANALYZE received;
SELECT is((SELECT count(*) FROM received JOIN pair USING (id, a)), (SELECT count(*) FROM pair), 'the binary form goes there and back');

SELECT is((SELECT count(*) FROM (
	SELECT sum(from_minor_units(u / 2000, c)) AS s, sum((u / 2000)::numeric) AS n, avg(a) AS m, sum(nu) AS t, count(*) AS rows, min(a) AS l, min(u) AS lu, max(a) AS h, max(u) AS hu
	FROM pair GROUP BY c, id % 1000) AS g
	WHERE minor_units(s) <> n OR minor_units(m) <> pg_temp.round_div(t, rows) OR minor_units(l) <> lu OR minor_units(h) <> hu), 0::bigint, 'sum, avg, min and max of groups are exact');
SELECT is((SELECT count(*) FROM (
	SELECT sum(from_minor_units(u / 16, c)) OVER w AS s, sum((u / 16)::numeric) OVER w AS n, avg(a) OVER w AS m, sum(nu) OVER w AS t, count(*) OVER w AS rows
	FROM pair WHERE id <= 200000 WINDOW w AS (PARTITION BY c ORDER BY id ROWS BETWEEN 7 PRECEDING AND 3 FOLLOWING)) AS g
	WHERE minor_units(s) <> n OR minor_units(m) <> pg_temp.round_div(t, rows)), 0::bigint, 'sum and avg of moving frames are exact');

SELECT is((SELECT count(*) FROM (SELECT a, u, w, allocate(a, w) AS parts FROM (
		SELECT a, u, ARRAY(SELECT abs(q.f) + 0.001 FROM pair AS q WHERE q.id BETWEEN p.id % 999000 AND p.id % 999000 + p.id % 7 ORDER BY q.id) AS w
		FROM (SELECT * FROM pair WHERE id <= 1000) AS p) AS i) AS s
	WHERE (SELECT sum(minor_units(part)) FROM unnest(parts) AS part) <> u
		OR EXISTS (SELECT 1 FROM unnest(parts, w) AS q(part, weight) WHERE abs(minor_units(part) * (SELECT sum(x) FROM unnest(w) AS x) - u * weight) >= (SELECT sum(x) FROM unnest(w) AS x))
		OR (u > -9223372036854775808 AND allocate(- a, w) <> ARRAY(SELECT - part FROM unnest(parts) WITH ORDINALITY AS q(part, i) ORDER BY i))), 0::bigint,
	'parts sum to the whole, none is off by a unit, and a credit mirrors its charge');

SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format('SELECT %L::billing.amount + %L', a, b) FROM pair WHERE NOT pg_temp.fits(nu + nv) ORDER BY id DESC LIMIT 1000), 'YB003'), 0, 'a + b out of range raises');
SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format('SELECT %L::billing.amount - %L', a, b) FROM pair WHERE NOT pg_temp.fits(nu - nv) ORDER BY id DESC LIMIT 1000), 'YB003'), 0, 'a - b out of range raises');
SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format('SELECT %L::billing.amount * %s::numeric', a, f) FROM pair WHERE NOT pg_temp.fits(round(nu * f)) ORDER BY id DESC LIMIT 1000), 'YB003'), 0, 'a * f out of range raises');
SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format('SELECT %L::billing.amount / (%s)::numeric', a, f) FROM pair WHERE CASE WHEN f <> 0 THEN NOT pg_temp.fits(pg_temp.round_div(nu, f)) END ORDER BY id DESC LIMIT 1000), 'YB003'), 0, 'a / f out of range raises');
SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format('SELECT sum(x) FROM (VALUES (%L::billing.amount), (%L)) AS v(x)', a, b) FROM pair WHERE NOT pg_temp.fits(nu + nv) ORDER BY id DESC LIMIT 1000), 'YB003'), 0, 'a sum out of range raises');
SELECT is(pg_temp.not_raising(ARRAY(SELECT pg_catalog.format(statement, a, from_minor_units(v, d)) FROM (SELECT * FROM pair WHERE c <> d LIMIT 200) AS p,
	unnest(ARRAY['SELECT %L::billing.amount + %L', 'SELECT %L::billing.amount - %L', 'SELECT %L::billing.amount / %L::billing.amount',
		'SELECT max(x) FROM (VALUES (%L::billing.amount), (%L)) AS v(x)', 'SELECT avg(x) FROM (VALUES (%L::billing.amount), (%L)) AS v(x)']) AS statement), 'YB002'), 0, 'two currencies raise');

SELECT * FROM finish();
ROLLBACK;
