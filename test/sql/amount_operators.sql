-- Promise: arithmetic on amounts is exact, rounds once half away from zero, and
-- refuses mixed currencies and overflow; comparison is a total order that
-- sorts, indexes, hashes and joins, and never raises.
SET search_path = public, billing;

SELECT '1.10 USD'::amount + '2.20 USD', '1.10 USD'::amount - '2.20 USD', - '1.10 USD'::amount, abs('-1.10 USD'::amount);
SELECT '10.00 USD'::amount * 3, 3 * '10.00 USD'::amount, '10.00 USD'::amount * 0.0825, '10.00 USD'::amount / 3, '-10.00 USD'::amount / 3;
SELECT '10.00 USD'::amount / '4.00 USD'::amount, '1 JPY'::amount / '3 JPY'::amount;

-- half away from zero
SELECT f, '1 JPY'::amount * f AS times, '-1 JPY'::amount * f AS minus_times
FROM unnest(ARRAY[0.5, 1.5, 2.5, -0.5, 0.49, 0.49999999999999999999999999999999, 0.50000000000000000000000000000001]) f;
SELECT '1 JPY'::amount / 2, '3 JPY'::amount / 2, '-1 JPY'::amount / 2, '1 JPY'::amount / -2, '-1 JPY'::amount / -2, '1 JPY'::amount / 3, '2 JPY'::amount / 3;

-- one rounding: numeric's own division would round 0.49999... up to a half first
SELECT '1 JPY'::amount / 2.00000000000000000000000000000000000001 AS below_half,
	'1 JPY'::amount / 1.99999999999999999999999999999999999999 AS above_half,
	'-1 JPY'::amount / 2.00000000000000000000000000000000000001 AS below_half_negative,
	'-1 JPY'::amount / 1.99999999999999999999999999999999999999 AS above_half_negative;
SELECT round(1 / 2.00000000000000000000000000000000000001) AS numeric_rounds_twice;
SELECT '0.05 USD'::amount / 1e-3, '0.01 USD'::amount / 1e300, '0.00 USD'::amount / 1e-300, '0.00 USD'::amount * 1e300,
	'0.01 USD'::amount * ('1e-16000'::numeric), '1.00 USD'::amount * (1e20 / 1e20);

-- exactly half, with operands too long for 64 bits' worth of digits
SELECT '100000000000000001 JPY'::amount / 200000000000000002 AS half, '-100000000000000001 JPY'::amount / 200000000000000002 AS minus_half,
	'1 JPY'::amount * 12345678901234567.5 AS times, '-1 JPY'::amount * 12345678901234567.5 AS minus_times;

-- the ends of the range
SELECT '92233720368547758.07 USD'::amount * 1, '-92233720368547758.08 USD'::amount * 1,
	'92233720368547758.07 USD'::amount * -1, '-92233720368547758.08 USD'::amount / 1,
	'-92233720368547758.08 USD'::amount * 1.000000000000000000001;
SELECT '92233720368547758.07 USD'::amount / 1.000000000000000000001, '-92233720368547758.08 USD'::amount / 1.00000000000000000000000001;

-- refused: YB003 out of range
SELECT '92233720368547758.07 USD'::amount + '0.01 USD';
\set VERBOSITY sqlstate
SELECT '-92233720368547758.08 USD'::amount - '0.01 USD';
SELECT - '-92233720368547758.08 USD'::amount;
SELECT abs('-92233720368547758.08 USD'::amount);
SELECT '-92233720368547758.08 USD'::amount * -1;
SELECT '-92233720368547758.08 USD'::amount / -1;
SELECT '92233720368547758.07 USD'::amount * 1.00000000000000000006;
SELECT '1.00 USD'::amount * 1e20;
SELECT '1.00 USD'::amount * 1e131000;
SELECT '1.00 USD'::amount / 1e-30;
SELECT '1.00 USD'::amount / 1e-16383;
SELECT '92233720368547758.07 USD'::amount / 0.9999999999999999999999999999;

-- refused: YB002 two currencies, 22012 division by zero, 22003 NaN and infinity
\set VERBOSITY default
SELECT '1.00 USD'::amount + '1.00 EUR';
\set VERBOSITY sqlstate
SELECT '1.00 USD'::amount - '1.00 EUR';
SELECT '1.00 USD'::amount / '1.00 EUR'::amount;
SELECT '1.00 USD'::amount / 0;
SELECT '1.00 USD'::amount / '0.00 USD'::amount;
SELECT '1.00 USD'::amount * 'NaN'::numeric;
SELECT 'Infinity'::numeric * '1.00 USD'::amount;
SELECT '1.00 USD'::amount / '-Infinity'::numeric;
SELECT '1.00 USD'::amount / 'NaN'::numeric;
-- 42883: no float comes near money
SELECT '1.00 USD'::amount * 1.5::float8;
\set VERBOSITY default

-- NULL in, NULL out
SELECT '1 USD'::amount + NULL IS NULL, '1 USD'::amount * NULL::numeric IS NULL, '1 USD'::amount / NULL::numeric IS NULL;

-- a total order: currency, then units
CREATE TEMP TABLE money (id int, a amount);
INSERT INTO money VALUES (1, '2 USD'), (2, '10 USD'), (3, '-5 USD'), (4, '1 EUR'), (5, '100000 EUR'), (6, NULL),
	(7, '-9223372036854775808 JPY'), (8, '9223372036854775807 JPY'), (9, '2.00 USD');
SELECT a FROM money ORDER BY a, id;
SELECT a FROM money ORDER BY a DESC NULLS LAST, id;
SELECT x.a < y.a AS lt, x.a <= y.a AS le, x.a = y.a AS eq, x.a <> y.a AS ne, x.a >= y.a AS ge, x.a > y.a AS gt,
	amount_cmp(x.a, y.a) AS cmp, x.a, y.a
FROM money x, money y WHERE x.id = 1 AND y.id IN (1, 2, 3, 4) ORDER BY y.id;
SELECT DISTINCT a FROM money ORDER BY 1;
SELECT greatest('1 USD'::amount, '2 USD', '3 EUR'), least('1 USD'::amount, '2 USD', '3 EUR');

-- the operator classes: index scans, hash joins, merge joins, hash aggregation
CREATE TEMP TABLE big AS
SELECT i, from_minor_units(i % 1000, (ARRAY['USD', 'EUR', 'JPY'])[1 + i % 3]) AS a FROM generate_series(1, 30000) i;
CREATE INDEX big_btree ON big (a);
CREATE INDEX big_hash ON big USING hash (a);
ANALYZE big;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM big WHERE a > '9.90 USD' AND a <= '9.95 USD';
SELECT count(*) FROM big WHERE a > '9.90 USD' AND a <= '9.95 USD';
DROP INDEX big_btree;
EXPLAIN (COSTS OFF) SELECT count(*) FROM big WHERE a = '9.90 USD';
SELECT count(*) FROM big WHERE a = '9.90 USD';
RESET enable_seqscan;
RESET enable_bitmapscan;
SET enable_nestloop = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM big x JOIN big y ON x.a = y.a;
SELECT count(*) FROM big x JOIN big y ON x.a = y.a;
RESET enable_mergejoin;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM big x JOIN big y ON x.a = y.a;
SELECT count(*) FROM big x JOIN big y ON x.a = y.a;
SET enable_sort = off;
SELECT count(*) FROM (SELECT a FROM big GROUP BY a) g;
RESET ALL;

-- hashes agree with equality and spread; the seeded one with seed 0 agrees with the plain one
SET search_path = public, billing;
SELECT amount_hash('2 USD') = amount_hash('usd 2.00') AS equal_hash,
	count(DISTINCT amount_hash(a)) > 2990 AS spread,
	bool_and((amount_hash_extended(a, 0) & 4294967295) = (amount_hash(a)::bigint & 4294967295)) AS low_bits,
	bool_and(amount_hash_extended(a, 0) <> amount_hash_extended(a, 1)) AS seeded
FROM big;

-- partitioning and uniqueness rest on the same classes
CREATE TEMP TABLE unique_money (a amount PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TEMP TABLE unique_money_usd PARTITION OF unique_money FOR VALUES FROM ('0 USD') TO ('100 USD');
INSERT INTO unique_money VALUES ('1.00 USD'), ('USD 1');
INSERT INTO unique_money VALUES ('1.00 EUR');

-- 16 bytes, as promised
SELECT pg_column_size('1 USD'::amount), typlen, typalign, typstorage, typbyval FROM pg_type WHERE oid = 'amount'::regtype;
