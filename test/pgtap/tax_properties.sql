-- Promise: of any lines, discounts and rates, contained or added, each tax is the exact sum rounded once, and lines, taxes and total agree.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SELECT plan(12);
SELECT setseed(0.31);

-- What the taxes are by fractions of whole numbers: percent as millionths, a line's whole as 10^8 and what it contains.
CREATE FUNCTION pg_temp.round_fraction(n numeric, d numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
	RETURN sign(n) * div(2 * abs(n) + d, 2 * d);
CREATE FUNCTION pg_temp.whole(taxes billing.applied_tax[], line integer) RETURNS numeric LANGUAGE sql IMMUTABLE
	RETURN 100000000 + coalesce((SELECT sum(t.percent * 1000000) FROM unnest(taxes) t
		WHERE t.is_inclusive AND (t.lines IS NULL OR line = ANY (t.lines))), 0)::numeric(40, 0);
CREATE FUNCTION pg_temp.tax(nets numeric[], taxes billing.applied_tax[], tax billing.applied_tax) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n numeric := 0;
	d numeric := 1;
	whole numeric;
BEGIN
	FOR line IN 1 .. coalesce(cardinality(nets), 0) LOOP
		CONTINUE WHEN line <> ALL (tax.lines);
		whole := pg_temp.whole(taxes, line);
		n := n * whole + d * nets[line] * (tax.percent * 1000000)::numeric(40, 0);
		d := d * whole;
	END LOOP;
	RETURN pg_temp.round_fraction(n, d);
END $$;
-- What a line bears of all taxes, exactly but for 20 decimals.
CREATE FUNCTION pg_temp.exact(nets numeric[], taxes billing.applied_tax[], line integer) RETURNS numeric LANGUAGE sql IMMUTABLE
	RETURN coalesce((SELECT sum(nets[line] * t.percent * 1000000 / pg_temp.whole(taxes, line)) FROM unnest(taxes) t WHERE t.lines IS NULL OR line = ANY (t.lines)), 0);

-- Lines of a cent to thousands, some negative; one to four rates of up to six decimals on some or all of them.
CREATE TEMPORARY TABLE trial AS
SELECT i, (SELECT array_agg(round((random() * CASE WHEN random() < 0.2 THEN -1 ELSE 1 END * 10 ^ (random() * 5))::numeric))
		FROM generate_series(1, 1 + (i * 7) % 9) g) AS amounts,
	(SELECT array_agg(CASE WHEN random() < 0.5 THEN 0 ELSE random() END) FROM generate_series(1, 1 + (i * 7) % 9) g) AS off,
	(SELECT array_agg(ROW('r' || r, round((CASE WHEN random() < 0.3 THEN floor(random() * 26) ELSE random() * 40 END)::numeric, CASE WHEN random() < 0.5 THEN 2 ELSE 6 END),
			random() < 0.5, CASE WHEN random() < 0.5 THEN (SELECT array_agg(l) FROM generate_series(1, 1 + (i * 7) % 9) l WHERE random() < 0.6) END, NULL)::billing.applied_tax)
		FROM generate_series(1, i % 5) r) AS taxes
FROM generate_series(1, 4000) i;
CREATE TEMPORARY TABLE result AS
SELECT t.i, t.amounts, t.taxes, d.discounts, d.nets,
	billing.compose('USD', ARRAY(SELECT billing.from_minor_units(a::bigint, 'USD') FROM unnest(t.amounts) WITH ORDINALITY u (a, n) ORDER BY n),
		ARRAY(SELECT billing.from_minor_units(a::bigint, 'USD') FROM unnest(d.discounts) WITH ORDINALITY u (a, n) ORDER BY n), t.taxes) AS c,
	billing.compose('USD', ARRAY(SELECT billing.from_minor_units(-a::bigint, 'USD') FROM unnest(t.amounts) WITH ORDINALITY u (a, n) ORDER BY n),
		ARRAY(SELECT billing.from_minor_units(-a::bigint, 'USD') FROM unnest(d.discounts) WITH ORDINALITY u (a, n) ORDER BY n), t.taxes) AS back
FROM (SELECT i, amounts, off, coalesce(taxes, '{}') AS taxes FROM trial) t
CROSS JOIN LATERAL (
	SELECT array_agg(round((x.a * x.o)::numeric) ORDER BY x.n) AS discounts, array_agg(x.a - round((x.a * x.o)::numeric) ORDER BY x.n) AS nets
	FROM unnest(t.amounts, t.off) WITH ORDINALITY x (a, o, n)
) d;
CREATE TEMPORARY VIEW applied AS
SELECT r.i, r.nets, r.taxes, t.n, ROW(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.note)::billing.applied_tax AS tax, t.lines, t.is_inclusive,
	billing.minor_units((r.c).tax_amounts[t.n]) AS amount, billing.minor_units((r.c).tax_bases[t.n]) AS base
FROM result r CROSS JOIN LATERAL unnest(r.taxes) WITH ORDINALITY t (tax_rate, percent, is_inclusive, lines, note, n);
CREATE TEMPORARY VIEW line AS
SELECT r.i, r.taxes, l.line, r.nets[l.line] AS net, billing.minor_units((r.c).line_taxes[l.line]) AS tax,
	coalesce(billing.minor_units((r.c).line_included[l.line]), 0) AS included, pg_temp.exact(r.nets, r.taxes, l.line) AS exact
FROM result r CROSS JOIN LATERAL generate_subscripts(r.nets, 1) l (line);

SELECT cmp_ok((SELECT count(*)::int FROM applied a WHERE EXISTS (SELECT FROM unnest(a.taxes) t, generate_subscripts(a.nets, 1) x, generate_subscripts(a.nets, 1) y
	WHERE t.is_inclusive AND pg_temp.whole(a.taxes, x) <> pg_temp.whole(a.taxes, y))), '>', 1000, 'lines of one tax contain different taxes often enough');
SELECT is_empty('SELECT * FROM applied a WHERE a.amount <> pg_temp.tax(a.nets, a.taxes, a.tax)', 'each tax is the exact sum of its lines, rounded once, half away from zero');
SELECT is_empty('SELECT i FROM result r WHERE billing.minor_units((r.c).tax) <> coalesce((SELECT sum(a.amount) FROM applied a WHERE a.i = r.i), 0)', 'the tax is the sum of the taxes');
SELECT is_empty('SELECT i FROM result r WHERE billing.minor_units((r.c).tax) <> (SELECT sum(l.tax) FROM line l WHERE l.i = r.i)', 'and that of the lines');
SELECT is_empty('SELECT i FROM result r WHERE coalesce(billing.minor_units((r.c).tax_included), 0) <> (SELECT sum(l.included) FROM line l WHERE l.i = r.i)
	OR coalesce(billing.minor_units((r.c).tax_included), 0) <> coalesce((SELECT sum(a.amount) FROM applied a WHERE a.i = r.i AND a.is_inclusive), 0)',
	'what is contained is so of lines and of taxes');
SELECT is_empty('SELECT i FROM result r WHERE billing.minor_units((r.c).total) - billing.minor_units((r.c).excess) <>
	(SELECT sum(x) FROM unnest(r.nets) x) + billing.minor_units((r.c).tax) - coalesce(billing.minor_units((r.c).tax_included), 0)
	OR billing.minor_units((r.c).total) < 0 OR billing.minor_units((r.c).excess) < 0
	OR billing.minor_units((r.c).total) > 0 AND billing.minor_units((r.c).excess) > 0', 'total and what it leaves are lines less discounts with the taxes that are added');
SELECT is_empty('SELECT i FROM result r WHERE billing.minor_units((r.c).subtotal) <> (SELECT sum(x) FROM unnest(r.amounts) x)
	OR billing.minor_units((r.c).discount) <> (SELECT sum(x) FROM unnest(r.discounts) x)', 'subtotal and discount are those of the lines');
SELECT is_empty('SELECT * FROM line l WHERE abs(l.tax - l.exact) >= greatest(cardinality(l.taxes), 1)', 'a share is off by less than a unit of each tax');
SELECT is_empty('SELECT * FROM applied a WHERE a.base <> (SELECT sum(l.net - l.included) FROM line l WHERE l.i = a.i AND (a.lines IS NULL OR l.line = ANY (a.lines)))
	AND a.lines IS DISTINCT FROM ''{}''', 'a base is its lines without what they contain');
SELECT is_empty('SELECT i FROM result r WHERE ARRAY(SELECT -x FROM unnest((r.c).line_taxes) WITH ORDINALITY u (x, n) ORDER BY n) <> (r.back).line_taxes
	OR ARRAY(SELECT -x FROM unnest((r.c).tax_amounts) WITH ORDINALITY u (x, n) ORDER BY n) <> (r.back).tax_amounts', 'what is taken back is what was charged, to the unit');
SELECT is_empty('SELECT * FROM applied a WHERE cardinality(a.nets) = 1 AND cardinality(a.taxes) = 1 AND a.is_inclusive AND (a.tax).lines IS NULL
	AND a.amount <> pg_temp.round_fraction(a.nets[1] * ((a.tax).percent * 1000000)::numeric(40, 0), 100000000 + ((a.tax).percent * 1000000)::numeric(40, 0))',
	'of one line that contains it a tax is R(gross * r / (1 + r))');
-- Largest remainder, the earlier of equals first.
SELECT is_empty($$
	SELECT * FROM (
		SELECT s.*, s.cut + (row_number() OVER (PARTITION BY s.i ORDER BY s.rest DESC, s.line) <= s.amount - sum(s.cut) OVER (PARTITION BY s.i))::int AS share
		FROM (
			SELECT l.i, l.line, l.tax, a.amount, floor(l.net * p.parts / p.whole) AS cut, l.net * p.parts - floor(l.net * p.parts / p.whole) * p.whole AS rest
			FROM line l
			JOIN applied a ON a.i = l.i AND cardinality(a.taxes) = 1 AND a.lines IS NULL AND a.amount >= 0
			CROSS JOIN LATERAL (SELECT ((a.tax).percent * 1000000)::numeric(40, 0) AS parts, pg_temp.whole(a.taxes, l.line) AS whole) p
		) s
	) s WHERE s.tax <> s.share$$, 'shares are cut, and the units left over go to those that lost most');
SELECT * FROM finish();
ROLLBACK;
