-- Promise: a cycle, zone or instant that could not bill correctly is refused with its own SQLSTATE and a hint.

SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET intervalstyle TO 'postgres';

CREATE FUNCTION pg_temp.sqlstate_of(query text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || message || CASE WHEN detail = '' OR hint = '' THEN ' (no detail or hint)' ELSE '' END;
END $$;

-- One of each, in full.
SELECT billing.period_at('2026-01-31 00:00Z', '0', '2026-02-01 00:00Z', 'UTC');
SELECT billing.period_at('2026-01-31 00:00Z', '1 month', '2026-02-01 00:00Z', 'PDT');
SELECT billing.period_at('infinity', '1 month', '2026-02-01 00:00Z', 'UTC');
SELECT billing.period_n('2026-01-31 00:00Z', '1 year', 300000, 'UTC');

-- Cycles: zero, negative, of mixed sign.
SELECT cycle, pg_temp.sqlstate_of(format('SELECT billing.period_n(%L, %L, 1, %L)', '2026-01-31 00:00Z', cycle, 'UTC')) AS period_n
FROM unnest(ARRAY['0', '-1 month', '-1 day', '-1 us', '1 month -1 day', '-1 month 31 days', '1 day -1 hour', '1 month -1 us',
	'-178000000 years', '1 us']) AS cycle;
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_at('2026-01-31 00:00Z', '-1 month', '2026-01-31 00:00Z', 'UTC') $$) AS period_at;
SELECT pg_temp.sqlstate_of($$ SELECT billing.cycle_divides('0', '1 month') $$) AS divisor,
	pg_temp.sqlstate_of($$ SELECT billing.cycle_divides('1 month', '-1 month') $$) AS cycle;

-- PostgreSQL 17 reads an infinite interval, which is no cycle; before, it is no interval.
SELECT left(pg_temp.sqlstate_of($$ SELECT billing.period_n('2026-01-31 00:00Z', 'infinity', 1, 'UTC') $$), 5) IN ('22007', '22023') AS refused;

-- Time zones: abbreviations, offsets, POSIX rules, paths, leap seconds, the server's own.
SELECT zone, pg_temp.sqlstate_of(format('SELECT billing.period_n(%L, %L, 1, %L)', '2026-01-31 00:00Z', '1 month', zone)) AS period_n
FROM unnest(ARRAY['', ' ', 'PDT', 'PST', '+08', '-08:00', '8', 'FOO+3', 'UTC+8', 'Foo/Bar+3', 'America/New_York+3', 'EST5EDT',
	'Etc/GMT+99', '<+08>-8', ':UTC', 'UTC ', 'America/New_Yrok', 'America', '../../etc/passwd', '/etc/localtime', 'localtime',
	'posixrules', 'right/Europe/Paris', E'UTC\nfatal: forged line', '%s%s%n', 'Asia/上海', 'NULL', 'default']) AS zone;
SELECT length(pg_temp.sqlstate_of(format('SELECT billing.period_n(%L, %L, 1, %L)', '2026-01-31 00:00Z', '1 month', repeat('長', n)))) AS length
FROM unnest(ARRAY[1, 20, 21, 85, 86, 100000]) AS n;

-- Instants that are none.
SELECT anchor, at, pg_temp.sqlstate_of(format('SELECT billing.period_at(%L, %L, %L, %L)', anchor, '1 month', at, 'UTC')) AS period_at
FROM (VALUES ('infinity', '2026-01-01 00:00Z'), ('-infinity', '2026-01-01 00:00Z'), ('2026-01-01 00:00Z', 'infinity'),
	('2026-01-01 00:00Z', '-infinity')) AS v (anchor, at);
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_n('-infinity', '1 month', 0, 'UTC') $$) AS period_n;

-- The ends of time: a period that timestamptz cannot hold is an error, the last one it can is found.
SELECT billing.period_at('2026-01-31 00:00Z', '1 year', '294276-01-30 00:00Z', 'UTC');
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_at('2026-01-31 00:00Z', '1 year', '294276-02-01 00:00Z', 'UTC') $$);
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_n('2026-01-31 00:00Z', '1 month', -81000, 'UTC') $$);
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_at('4713-01-01 00:00Z BC', '1 year', '4714-12-01 00:00Z BC', 'UTC') $$);
SELECT billing.period_at('4713-01-01 00:00Z BC', '1 day', '4714-11-24 00:00Z BC', 'UTC');
SELECT billing.period_at('4713-01-01 00:00Z BC', '1 us', '294276-12-31 23:59:59.999998Z', 'UTC');
SELECT pg_temp.sqlstate_of($$ SELECT billing.period_at('4713-01-01 00:00Z BC', '1 us', '294276-12-31 23:59:59.999999Z', 'UTC') $$);

-- Products beyond 32 and 64 bits.
SELECT cycle, n, pg_temp.sqlstate_of(format('SELECT billing.period_n(%L, %L, %s, %L)', '2026-01-31 00:00Z', cycle, n, 'America/New_York')) AS period_n
FROM unnest(ARRAY['178000000 years', '2147483647 days', '9223372036854775807 us', '178956970 years 6 months 2147483646 days 9223372036854775806 us']) AS cycle,
	unnest(ARRAY[-2147483648, -1, 1, 2147483647]) AS n;
SELECT billing.period_at('2026-01-31 00:00Z', '1 us', '2026-01-31 00:35:47.483647Z', 'UTC')
	= billing.period_n('2026-01-31 00:00Z', '1 us', 2147483647, 'UTC') AS last_n;

-- A NULL gives a NULL.
SELECT billing.period_n(NULL, '1 month', 1, 'UTC') IS NULL AS anchor, billing.period_n('2026-01-31 00:00Z', '1 month', NULL, 'UTC') IS NULL AS n,
	billing.period_n('2026-01-31 00:00Z', '1 month', 1, NULL) IS NULL AS timezone,
	billing.period_at('2026-01-31 00:00Z', '1 month', NULL, 'UTC') IS NULL AS at,
	billing.cycle_divides(NULL, '1 month') IS NULL AS divisor, billing.cycle_divides('1 month', NULL) IS NULL AS cycle;
