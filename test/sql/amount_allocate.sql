-- Promise: billing.allocate splits an amount by weights into parts that sum to it
-- exactly, for any weights and any amount, the same way each time.
SET search_path = public, billing;

SELECT allocate('100.00 USD', '{1,1,1}');
SELECT allocate('-100.00 USD', '{1,1,1}');
SELECT allocate('0.05 USD', '{3,7}');
SELECT allocate('0.01 USD', '{1,1,1}');
SELECT allocate('0.02 USD', '{1,1,1}');
SELECT allocate('0.00 USD', '{1,2,3}');
SELECT allocate('10 JPY', '{50,25.5,24.5}');
SELECT allocate('1000 JPY', '{0,1,0,1,0,1,0}');
SELECT allocate('5.00 USD', '{42}');

-- the largest remainder wins, the earlier of equals
SELECT allocate('10 JPY', '{1.4,3.3,5.3}');
SELECT allocate('7 JPY', '{1,1,1,1}');
SELECT allocate('2 JPY', '{1,2,1}');

-- weights of any length: too long for 64 bits, too fine, too far apart
SELECT allocate('100.00 USD', '{1e30,1e30,1e30}');
SELECT allocate('100.00 USD', '{1e-30,1e-30,1e-30}');
SELECT allocate('100.00 USD', ARRAY[0.33333333333333333333, 0.33333333333333333333, 0.33333333333333333334]);
SELECT allocate('1 JPY', ARRAY[1, 1.00000000000000000000000000000000000001]);
SELECT allocate('100 JPY', ARRAY[1e1000, 1e-1000, 1e1000]);
SELECT allocate('-1 JPY', ARRAY[1, 1.00000000000000000000000000000000000001]);
SELECT allocate('100 JPY', ARRAY['1e-16383'::numeric, '1e-16383'::numeric]);

-- the ends of the range
SELECT allocate('9223372036854775807 JPY', '{1,1}'), allocate('-9223372036854775808 JPY', '{1,1}');
SELECT allocate('-9223372036854775808 JPY', '{1}'), allocate('-9223372036854775808 JPY', '{0,1e40}');
SELECT allocate('9223372036854775807 JPY', '{9223372036854775807}'), allocate('9223372036854775807 JPY', '{9223372036854775806,1}');

-- both ways of computing agree: weights scaled by 10^20 take the other one
SELECT bool_and(allocate(from_minor_units(u, 'USD'), w) = allocate(from_minor_units(u, 'USD'), scaled)) AS same,
	bool_and((SELECT sum(a) FROM unnest(allocate(from_minor_units(u, 'USD'), w)) a) = from_minor_units(u, 'USD')) AS exact,
	bool_and(allocate(from_minor_units(-u, 'USD'), w) = ARRAY(SELECT -a FROM unnest(allocate(from_minor_units(u, 'USD'), w)) WITH ORDINALITY p(a, i) ORDER BY i)) AS mirrored
FROM (SELECT (i * 7919::bigint * 104729) % 1000000007 AS u, w, ARRAY(SELECT x * 1e20 FROM unnest(w) WITH ORDINALITY q(x, n) ORDER BY n) AS scaled
	FROM generate_series(1, 2000) i,
	LATERAL (SELECT array_agg(((i * j * 31) % 97) / 8.0 + 0.01) AS w FROM generate_series(1, 1 + i % 11) j) g) t;

-- a million parts
SELECT count(*), sum(part), min(part), max(part)
FROM unnest(allocate('1000000.37 USD', array_fill(1::numeric, ARRAY[1000000]))) part;
SELECT count(*), sum(part), min(part), max(part)
FROM unnest(allocate('1000000.37 USD', (SELECT array_agg(i / 3.0) FROM generate_series(1, 200000) i))) part;

-- refused: 22023
SELECT allocate('1 USD', '{}');
SELECT allocate('1 USD', '{1,NULL}');
SELECT allocate('1 USD', '{1,-1}');
SELECT allocate('1 USD', '{1,NaN}');
SELECT allocate('1 USD', '{Infinity}');
SELECT allocate('1 USD', '{-Infinity}');
SELECT allocate('1 USD', '{0,0.00}');
SELECT allocate('1 USD', '{{1,2},{3,4}}');
\set VERBOSITY sqlstate
SELECT allocate('1 USD', '{}');
SELECT allocate('1 USD', '{1,NULL}');
SELECT allocate('1 USD', '{1,-1}');
SELECT allocate('1 USD', '{0,0.00}');
SELECT allocate('1 USD', '{{1,2},{3,4}}');
-- 22003: a product that numeric cannot hold
SELECT allocate('1 USD', ARRAY[1e131071, 1e131071]);
\set VERBOSITY default
SELECT allocate(NULL, '{1}') IS NULL, allocate('1 USD', NULL) IS NULL;

-- from a slice whose lower bound is not 1
SELECT allocate('1.00 USD', '[5:6]={1,3}');

-- a long computation can be stopped
SET statement_timeout = '300ms';
SELECT array_length(allocate('1000000.37 USD', array_fill(1e-30, ARRAY[5000000])), 1);
RESET statement_timeout;
