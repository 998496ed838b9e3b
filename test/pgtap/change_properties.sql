-- Promise: however often and wherever a period is cut, by plans of any price, what is charged in advance less what is credited
-- for unused time is what the time on each plan costs, nothing is credited beyond what was charged, and what is billed in arrears
-- covers the period without gap or overlap.  100,000 random sequences of changes, against arithmetic in numeric.

BEGIN;
SELECT plan(7);
SELECT setseed(0.5);

-- A period of a random grid, and up to six changes in it, some at one instant, some at its start.
CREATE TEMP TABLE sequence AS
SELECT n, g.anchor, g.cycle, g.zone, g.basis, p.period, (1 + random() * 5)::integer AS changes
FROM generate_series(1, 100000) n
CROSS JOIN LATERAL (
	SELECT timestamptz '2024-01-01 00:00Z' + random() * interval '700 days' AS anchor,
		(ARRAY['1 month', '1 year', '1 week', '3 months', '10 days']::interval[])[1 + (random() * 4)::integer] AS cycle,
		(ARRAY['UTC', 'America/New_York', 'Asia/Shanghai', 'Pacific/Apia'])[1 + (random() * 3)::integer] AS zone,
		CASE WHEN random() < 0.3 THEN 'day' ELSE 'second' END AS basis
	WHERE n > 0 OFFSET 0
) g
CROSS JOIN LATERAL (SELECT billing.period_at(g.anchor, g.cycle, g.anchor + random() * interval '900 days', g.zone) AS period OFFSET 0) p;

-- Change 0 is the start of the period; each has a plan of its own, whose price is A.
CREATE TEMP TABLE change AS
SELECT c.n, row_number() OVER w - 1 AS k, c.at, lead(c.at) OVER w AS until, lag(c.at) OVER w AS since, c.units
FROM (
	SELECT s.n, 0 AS i, lower(s.period) AS at, (random() * random() * 100000)::bigint AS units FROM sequence s
	UNION ALL
	SELECT s.n, i, CASE WHEN random() < 0.1 THEN lower(s.period) ELSE lower(s.period) + floor(random() * 20) / 20 * (upper(s.period) - lower(s.period))
		+ CASE WHEN random() < 0.5 THEN random() * interval '1 hour' ELSE '0' END END, (random() * random() * 100000)::bigint
	FROM sequence s CROSS JOIN generate_series(1, s.changes) i
) c
JOIN sequence s ON s.n = c.n AND c.at < upper(s.period)
WINDOW w AS (PARTITION BY c.n ORDER BY c.at, c.i);

-- What a change cuts off and begins, by the rule; then the charge of what begins, and the credit where it is cut again.
CREATE TEMP TABLE cut AS
SELECT c.*, s.period, s.basis, s.zone, b.arrears, b.advance, coalesce(b.advance_whole, b.advance) AS whole
FROM change c
JOIN sequence s USING (n)
CROSS JOIN LATERAL billing.cut_boundary(s.anchor, s.cycle, NULL, 'anniversary', s.anchor - interval '10 years', NULL, lower(s.period),
	upper(s.period), lower(s.period), upper(s.period), NULL, true, s.zone, s.zone, c.since, c.at) b;

CREATE TEMP TABLE money AS
SELECT c.n, c.k, c.units, c.at, c.until, c.period, c.basis, c.zone,
	billing.minor_units(billing.prorate(a.amount, c.whole, c.advance, c.basis, c.zone)) AS charged,
	CASE WHEN c.until IS NULL THEN 0
		ELSE billing.minor_units(billing.prorate(a.amount, c.whole, c.advance, c.basis, c.zone))
			- CASE WHEN c.until = c.at THEN 0
				ELSE billing.minor_units(billing.prorate(a.amount, c.whole, tstzrange(lower(c.advance), c.until), c.basis, c.zone)) END END AS credited
FROM cut c
CROSS JOIN LATERAL (SELECT billing.from_minor_units(c.units, 'USD') AS amount OFFSET 0) a;

-- R(A F(y)) - R(A F(x)), in numeric and by the calendar's own days.
CREATE FUNCTION pg_temp.elapsed(at timestamptz, start timestamptz, basis text, zone text) RETURNS numeric LANGUAGE sql STABLE
RETURN CASE basis WHEN 'day' THEN (at AT TIME ZONE zone)::date - (start AT TIME ZONE zone)::date ELSE extract(epoch FROM at) - extract(epoch FROM start) END;
CREATE FUNCTION pg_temp.cost(units bigint, at timestamptz, period tstzrange, basis text, zone text) RETURNS numeric LANGUAGE sql STABLE
RETURN CASE WHEN at >= upper(period) THEN units
	ELSE round(units * pg_temp.elapsed(at, lower(period), basis, zone) / greatest(pg_temp.elapsed(upper(period), lower(period), basis, zone), 1)) END;

SELECT cmp_ok((SELECT count(DISTINCT n) FROM money), '=', 100000::bigint, '100,000 sequences were played');
SELECT cmp_ok((SELECT count(*) FROM money WHERE k > 0), '>', 200000::bigint, 'with some changes each');
SELECT is_empty($$SELECT n, period, whole FROM cut WHERE whole <> period LIMIT 3$$, 'what begins is a part of the whole period');
SELECT is_empty($$SELECT n, at, advance FROM cut WHERE advance <> tstzrange(at, upper(period)) LIMIT 3$$, 'it is the rest of the period');
SELECT is_empty($$SELECT n, k, arrears, since, at FROM cut WHERE k > 0 AND coalesce(arrears, 'empty') <> tstzrange(since, at) LIMIT 3$$,
	'what ends is all since the change before');
SELECT is_empty($$SELECT n, k, charged, credited FROM money WHERE credited < 0 OR credited > charged LIMIT 3$$,
	'nothing is credited beyond what was charged');
SELECT is_empty($$
	SELECT n, sum(charged - credited) AS billed, sum(cost) AS cost
	FROM (SELECT m.n, m.charged, m.credited, pg_temp.cost(m.units, coalesce(m.until, upper(m.period)), m.period, m.basis, m.zone)
			- pg_temp.cost(m.units, m.at, m.period, m.basis, m.zone) AS cost
		FROM money m) m
	GROUP BY n HAVING sum(charged - credited) <> sum(cost) LIMIT 3$$, 'charges less credits are what the time on each plan costs');
SELECT * FROM finish();
ROLLBACK;
