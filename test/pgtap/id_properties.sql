-- Properties of ids and of the clock over generated data.
BEGIN;
SELECT plan(4);

-- ids: in the order they are asked for, whoever asks
CREATE TEMP TABLE taken AS SELECT n, billing.next_id() AS id FROM generate_series(1, 10000) n;
SELECT is((SELECT count(DISTINCT id) FROM taken), 10000::bigint, '10,000 ids are distinct');
SELECT is_empty('SELECT a.n FROM taken a JOIN taken b ON b.n = a.n + 1 WHERE b.id <= a.id', 'each id is above the one before');

-- clock: any instant of any offset that is written in ISO comes back as itself
CREATE TEMP TABLE written AS
SELECT instant, to_char(instant AT TIME ZONE 'UTC' + make_interval(mins => o), 'YYYY-MM-DD"T"HH24:MI:SS.US')
	|| to_char(o / 60, 'SG00') || ':' || to_char(o % 60, 'FM00') AS iso
FROM (SELECT timestamptz '1970-01-01 00:00Z' + random() * interval '200 years' AS instant,
		(random() * 14)::int * 60 + (random() * 3)::int * 15 AS o
	FROM generate_series(1, 1000)) s;
SELECT is_empty($$
	SELECT iso FROM written, set_config('billing.test_clock', iso, true) AS set
	WHERE set <> iso OR iso::timestamptz <> instant $$, 'each is accepted');
SELECT is_empty($$
	SELECT iso FROM (SELECT iso, instant, set_config('billing.test_clock', iso, true), billing.now() AS now
		FROM written OFFSET 0) s WHERE now <> instant $$, 'each comes back');

SELECT * FROM finish();
ROLLBACK;
