-- Promise: whatever coupons there are, each takes what exact rational arithmetic gives, its shares sum to it, no line changes its sign,
-- and what follows in a subscription's life takes exactly what the coupon was worth.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;

SELECT plan(11);

SELECT setseed(0.23);

-- Half away from zero, in whole numbers.
CREATE FUNCTION pg_temp.round_quotient(n numeric, d numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE
AS $$ SELECT sign(n) * div(2 * abs(n) + d, 2 * d) $$;

-- The rule written a second time, line by line and coupon by coupon, on whole numbers of minor units and of millionths of a percent.
CREATE FUNCTION pg_temp.oracle(currency text, units numeric[], prices text[], plans text[], coupons jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	lines int := cardinality(units);
	left_of numeric[] := units;
	taken numeric[] := '{}';
	c jsonb;
	chosen int[];
	sum numeric;
	shown numeric;
	d numeric;
	given numeric;
	has_any boolean := false;
	is_over boolean := false;
	quotient numeric[];
	rest numeric[];
	i int;
BEGIN
	FOR c IN SELECT value FROM jsonb_array_elements(coupons) LOOP
		chosen := ARRAY(SELECT n FROM generate_series(1, lines) n
			WHERE (c -> 'prices' = 'null' OR coalesce(c -> 'prices' ? prices[n], false)) AND (c -> 'plans' = 'null' OR coalesce(c -> 'plans' ? plans[n], false)) ORDER BY n);
		SELECT coalesce(sum(left_of[n]), 0), coalesce(sum(units[n]), 0) INTO sum, shown FROM unnest(chosen) n;
		d := 0;
		IF NOT is_over AND (NOT has_any OR (c ->> 'stacks')::boolean) AND coalesce(c ->> 'currency', oracle.currency) = oracle.currency AND sum > 0
			AND shown >= coalesce((c ->> 'min')::numeric, 0) THEN
			d := CASE WHEN c ->> 'parts' IS NOT NULL THEN pg_temp.round_quotient(sum * (c ->> 'parts')::numeric, 100000000) ELSE (c ->> 'amount')::numeric END;
			d := least(d, sum, coalesce((c ->> 'max')::numeric, d));
			quotient := ARRAY(SELECT floor(d * left_of[n] / sum) FROM unnest(chosen) WITH ORDINALITY x (n, o) ORDER BY o);
			-- floor() of a rounded quotient may be one off: what is cut off tells.
			quotient := ARRAY(SELECT q - CASE WHEN d * left_of[chosen[o]] - q * sum < 0 THEN 1 WHEN d * left_of[chosen[o]] - q * sum >= sum THEN -1 ELSE 0 END
				FROM unnest(quotient) WITH ORDINALITY x (q, o) ORDER BY o);
			rest := ARRAY(SELECT d * left_of[chosen[o]] - q * sum FROM unnest(quotient) WITH ORDINALITY x (q, o) ORDER BY o);
			given := d - (SELECT coalesce(sum(q), 0) FROM unnest(quotient) q);
			FOR i IN SELECT o FROM unnest(rest) WITH ORDINALITY x (r, o) ORDER BY r DESC, o LIMIT given LOOP
				quotient[i] := quotient[i] + 1;
			END LOOP;
			FOR i IN 1 .. coalesce(cardinality(chosen), 0) LOOP
				left_of[chosen[i]] := left_of[chosen[i]] - quotient[i];
			END LOOP;
			is_over := d > 0 AND NOT (c ->> 'stacks')::boolean;
			has_any := has_any OR d > 0;
		END IF;
		taken := taken || d;
	END LOOP;
	RETURN jsonb_build_object('coupons', taken, 'lines', ARRAY(SELECT units[n] - left_of[n] FROM generate_series(1, lines) n ORDER BY n));
END $$;

CREATE TEMPORARY TABLE random_case AS
SELECT id, currency,
	ARRAY(SELECT CASE WHEN random() < 0.1 THEN 0 WHEN random() < 0.15 THEN -floor(random() * scale) ELSE floor(random() * scale) END::numeric
		FROM generate_series(1, lines)) AS units,
	ARRAY(SELECT (ARRAY['base', 'calls', 'seats', NULL])[1 + floor(random() * 4)::int] FROM generate_series(1, lines)) AS prices,
	ARRAY(SELECT (ARRAY['pro', 'addon', NULL])[1 + floor(random() * 3)::int] FROM generate_series(1, lines)) AS plans,
	(SELECT jsonb_agg(jsonb_build_object(
		'parts', CASE WHEN is_percentage THEN (ARRAY[100000000, floor(random() * 100000001), 1, 33333333, 10000000 * floor(random() * 11)])[1 + floor(random() * 5)::int] END,
		'amount', CASE WHEN NOT is_percentage THEN floor(random() * scale * 2) END,
		'currency', CASE WHEN random() < 0.1 THEN 'EUR' WHEN NOT is_percentage OR random() < 0.5 THEN currency END,
		'min', CASE WHEN random() < 0.2 THEN floor(random() * scale) END, 'max', CASE WHEN random() < 0.2 THEN floor(random() * scale) END,
		'prices', CASE WHEN random() < 0.3 THEN '["base", "seats"]'::jsonb END, 'plans', CASE WHEN random() < 0.3 THEN '["pro"]'::jsonb END,
		'stacks', random() < 0.9) ORDER BY n)
	 FROM (SELECT n, random() < 0.5 AS is_percentage FROM generate_series(1, coupons) n) k) AS coupons
FROM (
	SELECT id, (ARRAY['USD', 'JPY'])[1 + id % 2] AS currency, 1 + floor(random() * 8)::int AS lines, 1 + floor(random() * 4)::int AS coupons,
		(ARRAY[10, 1000, 1000000, 1000000000000])[1 + floor(random() * 4)::int]::numeric AS scale
	FROM generate_series(1, 10000) id
) s;
-- A bound without a currency of its own has the lines'.
UPDATE random_case SET coupons = (SELECT jsonb_agg(CASE WHEN c -> 'min' <> 'null' OR c -> 'max' <> 'null'
	THEN c || jsonb_build_object('currency', coalesce(c ->> 'currency', currency)) ELSE c END ORDER BY o) FROM jsonb_array_elements(coupons) WITH ORDINALITY x (c, o));

CREATE FUNCTION pg_temp.terms(c jsonb, currency text) RETURNS billing.coupon_terms LANGUAGE sql IMMUTABLE
RETURN ROW('C', (c ->> 'parts')::numeric / 1000000, billing.from_minor_units((c ->> 'amount')::bigint, coalesce(c ->> 'currency', currency)), c ->> 'currency',
	billing.from_minor_units((c ->> 'min')::bigint, coalesce(c ->> 'currency', currency)), billing.from_minor_units((c ->> 'max')::bigint, coalesce(c ->> 'currency', currency)),
	CASE WHEN c -> 'prices' <> 'null' THEN ARRAY(SELECT jsonb_array_elements_text(c -> 'prices')) END,
	CASE WHEN c -> 'plans' <> 'null' THEN ARRAY(SELECT jsonb_array_elements_text(c -> 'plans')) END, (c ->> 'stacks')::boolean)::billing.coupon_terms;

CREATE TEMPORARY TABLE outcome AS
SELECT r.*, (d.made).line_discounts, (d.made).coupon_discounts, (d.made).coupon_left, (d.made).discount, pg_temp.oracle(currency, units, prices, plans, coupons) AS wanted
FROM random_case r
CROSS JOIN LATERAL (SELECT billing.discount(currency, ARRAY(SELECT billing.from_minor_units(u::bigint, currency) FROM unnest(units) WITH ORDINALITY x (u, o) ORDER BY o),
	ARRAY(SELECT pg_temp.terms(c, currency) FROM jsonb_array_elements(coupons) WITH ORDINALITY x (c, o) ORDER BY o), prices, plans) AS made OFFSET 0) d;

SELECT is(count(*), 10000::bigint, 'there are ten thousand invoices') FROM outcome;
SELECT ok(count(*) FILTER (WHERE billing.minor_units(discount) > 0) > 5000, 'coupons take something off most of them') FROM outcome;
SELECT is(count(*) FILTER (WHERE ARRAY(SELECT billing.minor_units(c)::numeric FROM unnest(coupon_discounts) WITH ORDINALITY x (c, o) ORDER BY o)
	<> ARRAY(SELECT value::numeric FROM jsonb_array_elements_text(wanted -> 'coupons') WITH ORDINALITY x (value, o) ORDER BY o)), 0::bigint,
	'each coupon takes what exact arithmetic gives') FROM outcome;
SELECT is(count(*) FILTER (WHERE ARRAY(SELECT billing.minor_units(c)::numeric FROM unnest(line_discounts) WITH ORDINALITY x (c, o) ORDER BY o)
	<> ARRAY(SELECT value::numeric FROM jsonb_array_elements_text(wanted -> 'lines') WITH ORDINALITY x (value, o) ORDER BY o)), 0::bigint,
	'each line bears its share by largest remainder') FROM outcome;
SELECT is(count(*) FILTER (WHERE (SELECT sum(d) FROM unnest(line_discounts) d) IS DISTINCT FROM (SELECT sum(d) FROM unnest(coupon_discounts) d)
	OR (SELECT sum(d) FROM unnest(line_discounts) d) IS DISTINCT FROM discount), 0::bigint, 'shares, coupons and discount agree') FROM outcome;
SELECT is(count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(units, line_discounts) x (u, d)
	WHERE sign(billing.minor_units(d)) = -sign(u) AND u <> 0 AND billing.minor_units(d) <> 0 OR abs(billing.minor_units(d)) > abs(u))), 0::bigint,
	'no line changes its sign') FROM outcome;
SELECT is(count(*) FILTER (WHERE EXISTS (SELECT FROM jsonb_array_elements(coupons) WITH ORDINALITY x (c, o)
	WHERE billing.minor_units(coupon_discounts[o]) > (c ->> 'max')::numeric OR billing.minor_units(coupon_discounts[o]) < 0)), 0::bigint, 'none takes more than it may') FROM outcome;

-- In the life of subscriptions: months of random usage, a coupon of each kind, drafts and voids now and then.
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('coupon.calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (970001, 'coupon_plan', 'Plan');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (970001, 'base', '{"model":"flat","currency":"USD","amount":"7.77"}', NULL),
	(970001, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.013"}', 'coupon.calls');
INSERT INTO billing.coupon (code, kind, value, currency, duration, periods, prices, redemption_limit)
SELECT 'CP' || n, CASE WHEN n % 2 = 0 THEN 'percentage' ELSE 'fixed' END, CASE WHEN n % 2 = 0 THEN round((1 + random() * 99)::numeric, 3) ELSE round((random() * 60)::numeric, 2) + 0.01 END,
	CASE WHEN n % 2 = 1 THEN 'USD' END, (ARRAY['once', 'repeating', 'forever'])[1 + n % 3], CASE WHEN n % 3 = 1 THEN 1 + n % 4 END,
	CASE WHEN n % 5 = 0 THEN '{calls}'::text[] END, CASE WHEN n % 4 = 0 THEN 50 END
FROM generate_series(1, 30) n;
SELECT count(billing.create_tenant(970000 + t, 'Coupon ' || t, details => CASE WHEN t % 7 = 0 THEN '{"settings": {"finalize_after": "10 days"}}' ELSE '{}' END::jsonb)) AS tenants
FROM generate_series(1, 60) t \gset
SELECT count(billing.subscribe(970000 + t, 'coupon_plan', coupon => 'CP' || (1 + t % 30))) AS subscriptions FROM generate_series(1, 60) t \gset
SELECT count(billing.apply_coupon(970000 + t, 'CP' || (1 + (t + 7) % 30), s.subscription_id)) AS applied
FROM generate_series(1, 60, 3) t JOIN billing.subscription s ON s.tenant_id = 970000 + t \gset
SET LOCAL billing.test_clock = '2026-08-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 970000 + t, 'c' || n, 'coupon.calls', floor(random() * 400), '2026-01-01T00:00:00Z'::timestamptz + random() * interval '200 days'
FROM generate_series(1, 60) t, generate_series(1, 20) n;
CALL billing.bill_due();
SELECT count(billing.void_invoice(i.tenant_id, i.invoice_id, reissue => i.invoice_id % 2 = 0)) AS voided
FROM (SELECT i.tenant_id, i.invoice_id FROM billing.invoice i WHERE i.tenant_id BETWEEN 970001 AND 970060 AND i.status = 'open' AND i.tenant_id % 4 = 0
	AND billing.minor_units(i.paid) = 0 ORDER BY 1, 2 OFFSET 0) i \gset
SET LOCAL billing.test_clock = '2026-10-01T00:00:00Z';
CALL billing.bill_due();

SELECT ok(:voided > 20 AND count(*) > 500, 'the subscriptions have lived') FROM billing.invoice WHERE tenant_id BETWEEN 970001 AND 970060;
SELECT is(string_agg(format('%s %s', u.coupon, t.taken), ', '), NULL, 'a coupon for once takes off what it is worth, or once; a repeating one as often as it says')
FROM billing.coupon_use u JOIN billing.coupon c ON c.code = u.coupon
CROSS JOIN LATERAL (SELECT coalesce(sum(r.discount::numeric), 0) AS taken, count(*) AS invoices, max(r.discount::numeric) AS most FROM billing.coupon_usage r
	WHERE r.tenant_id = u.tenant_id AND r.use_id = u.use_id AND r.status <> 'released') t
WHERE u.tenant_id BETWEEN 970001 AND 970060
  AND NOT CASE WHEN c.duration = 'once' AND c.kind = 'fixed' THEN t.taken <= c.value WHEN c.duration = 'once' THEN t.invoices <= 1
	WHEN c.duration = 'repeating' THEN t.invoices <= c.periods ELSE true END
  OR (c.kind = 'fixed' AND t.most > c.value);
SELECT is_empty($$SELECT * FROM billing.audit()$$, 'every invariant holds');
SELECT is_empty($$SELECT * FROM billing.verify_all()$$, 'every invoice is what its sources give');

SELECT * FROM finish();
ROLLBACK;
