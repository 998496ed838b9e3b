-- Promise: sum, avg, min and max are exact, refuse mixed currencies however they
-- are computed (plain, parallel, over a moving frame), and sum only judges the
-- range of its result.
SET search_path = public, billing;

CREATE TEMP TABLE money (id int, a amount);
INSERT INTO money VALUES (1, '1.00 USD'), (2, NULL), (3, '2.00 USD'), (4, '-0.50 USD'), (5, '0.03 USD');
SELECT sum(a), avg(a), min(a), max(a), count(a) FROM money;
SELECT sum(a), avg(a), min(a), max(a) FROM money WHERE a IS NULL;
SELECT sum(a), avg(a), min(a), max(a) FROM money WHERE false;

-- avg rounds half away from zero
SELECT avg(a::amount) FROM (VALUES ('1 JPY'), ('2 JPY')) v(a);
SELECT avg(a::amount) FROM (VALUES ('-1 JPY'), ('-2 JPY')) v(a);
SELECT avg(a::amount) FROM (VALUES ('1 JPY'), ('0 JPY'), ('0 JPY')) v(a);

-- beyond int64 on the way is fine, in the result it is YB003
SELECT sum(a::amount) FROM (VALUES ('9223372036854775807 JPY'), ('9223372036854775807 JPY'), ('-9223372036854775807 JPY')) v(a);
SELECT sum(a::amount) FROM (VALUES ('-9223372036854775808 JPY'), ('-1 JPY'), ('1 JPY')) v(a);
SELECT avg('9223372036854775807 JPY'::amount), avg('-9223372036854775808 JPY'::amount) FROM generate_series(1, 1000);
\set VERBOSITY sqlstate
SELECT sum('9223372036854775807 JPY'::amount) FROM generate_series(1, 2);

-- mixed currencies are YB002
SELECT sum(a::amount) FROM (VALUES ('1 JPY'), ('1 USD')) v(a);
SELECT avg(a::amount) FROM (VALUES ('1 JPY'), ('1 USD')) v(a);
SELECT min(a::amount) FROM (VALUES ('1 JPY'), ('1 USD')) v(a);
SELECT max(a::amount) FROM (VALUES ('1 JPY'), ('1 USD')) v(a);
\set VERBOSITY default
SELECT currency(a::amount), sum(a::amount) FROM (VALUES ('1 JPY'), ('1 USD'), ('2 USD')) v(a) GROUP BY 1 ORDER BY 1;

-- an index never lets min or max skip the check
CREATE TABLE indexed_money AS SELECT from_minor_units(i, CASE WHEN i = 500 THEN 'EUR' ELSE 'USD' END) AS a FROM generate_series(1, 1000) i;
CREATE INDEX ON indexed_money (a);
ANALYZE indexed_money;
SET enable_seqscan = off;
\set VERBOSITY sqlstate
SELECT min(a) FROM indexed_money;
SELECT max(a) FROM indexed_money;
\set VERBOSITY default
RESET enable_seqscan;
DROP TABLE indexed_money;

-- parallel: partial sums travel as bytes
CREATE TABLE parallel_money AS
SELECT i, CASE WHEN i % 7 <> 0 THEN from_minor_units(i * 1000003::bigint * (CASE WHEN i % 2 = 0 THEN -1 ELSE 1 END), 'EUR') END AS a
FROM generate_series(1, 50000) i;
INSERT INTO parallel_money SELECT i, '92233720368547758.07 EUR' FROM generate_series(1, 3) i;
INSERT INTO parallel_money SELECT i, '-92233720368547758.07 EUR' FROM generate_series(1, 3) i;
ANALYZE parallel_money;
ALTER TABLE parallel_money SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT sum(a), avg(a), min(a), max(a) FROM parallel_money;
SELECT sum(a)::numeric = (SELECT sum(a::numeric) FROM parallel_money) AS sum,
	avg(a)::numeric = (SELECT round(avg(a::numeric), 2) FROM parallel_money) AS avg,
	min(a), max(a)
FROM parallel_money;
SELECT sum(a), avg(a), min(a), max(a) FROM parallel_money WHERE a IS NULL;
INSERT INTO parallel_money SELECT i, '1.00 USD' FROM generate_series(1, 2000) i;
\set VERBOSITY sqlstate
SELECT sum(a) FROM parallel_money;
SELECT avg(a) FROM parallel_money;
SELECT min(a) FROM parallel_money;
SELECT max(a) FROM parallel_money;
\set VERBOSITY default
RESET ALL;
DROP TABLE parallel_money;
SET search_path = public, billing;

-- moving frames: rows leave as others come
SELECT id, a, sum(a) OVER w, avg(a) OVER w, min(a) OVER w, max(a) OVER w
FROM money WINDOW w AS (ORDER BY id ROWS 1 PRECEDING) ORDER BY id;
SELECT id, a, sum(a) OVER w FROM money WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) ORDER BY id;

-- a frame whose rows of one currency left before another's come
CREATE TEMP TABLE travel (id int, a amount);
INSERT INTO travel VALUES (1, '1 USD'), (2, '2 USD'), (3, NULL), (4, NULL), (5, '3 JPY'), (6, '4 JPY');
SELECT id, a, sum(a) OVER (ORDER BY id ROWS 1 PRECEDING) FROM travel ORDER BY id;
SELECT id, sum(a) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND CURRENT ROW) FROM travel ORDER BY id;
\set VERBOSITY sqlstate
SELECT id, sum(a) OVER (ORDER BY id ROWS 3 PRECEDING) FROM travel ORDER BY id;
\set VERBOSITY default

-- a frame may pass the range on its way; a row whose sum is beyond it raises
SELECT id, sum(a::amount) OVER (ORDER BY id ROWS 2 PRECEDING)
FROM (VALUES (1, '9223372036854775807 JPY'), (2, '-1 JPY'), (3, '1 JPY'), (4, '0 JPY'), (5, '9223372036854775806 JPY')) v(id, a);
\set VERBOSITY sqlstate
SELECT id, sum(a::amount) OVER (ORDER BY id ROWS 2 PRECEDING)
FROM (VALUES (1, '9223372036854775807 JPY'), (2, '1 JPY')) v(id, a);

\set VERBOSITY default

-- bytes that are no partial sum are an error: here those of sum(int8), which
-- only a superuser could put in their place
CREATE AGGREGATE misled_sum(amount) (SFUNC = amount_accum, STYPE = internal, FINALFUNC = amount_sum_final,
	COMBINEFUNC = amount_combine, SERIALFUNC = int8_avg_serialize, DESERIALFUNC = amount_deserialize, PARALLEL = SAFE);
CREATE TABLE parallel_money AS SELECT from_minor_units(i, 'EUR') AS a FROM generate_series(1, 1000) i;
ALTER TABLE parallel_money SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
\set VERBOSITY sqlstate
SELECT misled_sum(a) FROM parallel_money;
\set VERBOSITY default
DROP TABLE parallel_money;
DROP AGGREGATE misled_sum(amount);
