-- Promise: check_limit and usage_status tell a tenant's limits by live usage: hard, soft and overage, of a period, of the
-- calendar and in total, by each aggregation, at once and by the clock.
LOAD 'billing';
BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-10T12:00:00Z';
\pset format unaligned
\pset null -

INSERT INTO billing.meter (code, aggregation, unit) VALUES ('lim_calls', 'sum', 'calls'), ('lim_peak', 'max', 'users'),
	('lim_disk', 'latest', 'GB'), ('lim_soft', 'count', NULL), ('lim_free', 'sum', NULL), ('lim_over', 'sum', NULL), ('lim_ips', 'unique_count', NULL);
INSERT INTO billing.plan (plan_id, code, name, limits) VALUES
	(9861, 'lim_pro', 'Pro', '[{"meter": "lim_calls", "limit": 100}, {"meter": "lim_calls", "limit": 60, "per": "day"},
		{"meter": "lim_peak", "limit": 10}, {"meter": "lim_disk", "limit": 50, "per": "total"}, {"meter": "lim_soft", "limit": 2, "kind": "soft"},
		{"meter": "lim_over", "limit": 5.5, "kind": "overage", "per": "hour"}, {"meter": "lim_ips", "limit": 2, "per": "month"},
		{"meter": "seats", "limit": 3}]'),
	(9862, 'lim_none', 'None', '[{"meter": "lim_calls", "limit": null}]');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(9861, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'lim_calls'),
	(9861, 'free', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'lim_free');
SELECT count(billing.create_tenant(t, 'Tenant', timezone => 'Asia/Tokyo')) FROM generate_series(9861, 9864) t;
SELECT status FROM billing.subscribe(9861, 'lim_pro');
SELECT billing.record_usage(9861, 'lim_calls', 50, 'c1'), billing.record_usage(9861, 'lim_peak', 7, 'p1'),
	billing.record_usage(9861, 'lim_disk', 48, 'd1'), billing.record_usage(9861, 'lim_soft', 9, 's1'),
	billing.record_usage(9861, 'lim_free', 4, 'f1'), billing.record_usage(9861, 'lim_over', 5, 'o1'),
	billing.record_usage(9861, 'lim_ips', 1, 'i1', properties => '{"value": "10.0.0.1"}');

SELECT subscription_id IS NOT NULL AS of_one, meter, aggregation, unit, per, period_start, period_end, used, kind, limit_quantity, remaining, resets_at
FROM billing.usage_status WHERE tenant_id = 9861 ORDER BY meter, per;
CREATE FUNCTION pg_temp.checked(tenant_id bigint, meter text, quantities numeric[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', q, CASE WHEN c.is_allowed THEN 'yes' ELSE 'no' END, c.reason, c.kind, c.per, 'used=' || c.used,
		'limit=' || c.limit_quantity, 'remaining=' || c.remaining, 'resets ' || c.resets_at)
	FROM unnest($3) q CROSS JOIN LATERAL billing.check_limit($1, $2, q) c $$;
-- The day's limit decides, then both; at the limit is within it.
SELECT pg_temp.checked(9861, 'lim_calls', '{0,10,10.5,51}');
SELECT pg_temp.checked(9861, 'lim_peak', '{5,10,11}');
SELECT pg_temp.checked(9861, 'lim_disk', '{49,51}');
SELECT pg_temp.checked(9861, 'lim_soft', '{1,2}');
SELECT pg_temp.checked(9861, 'lim_over', '{0.5,0.6}');
SELECT pg_temp.checked(9861, 'lim_ips', '{1,2}');
-- What no limit names; what is no meter: all that there would be.
SELECT pg_temp.checked(9861, 'lim_free', '{1000000}');
SELECT pg_temp.checked(9861, 'seats', '{3,4}');
-- Usage counts at once, also of this transaction; a hard limit does not keep what happened from being recorded.
SELECT billing.record_usage(9861, 'lim_calls', 1000, 'c2');
SELECT pg_temp.checked(9861, 'lim_calls', '{0,1}');
SELECT billing.record_usage(9861, 'lim_calls', -1000, 'c3');
SELECT pg_temp.checked(9861, 'lim_calls', '{1}');
-- Each begins anew by the clock: the tenant's day (15:00 in UTC), the hour, the period, whether or not the bill run came.
SET LOCAL billing.test_clock TO '2026-01-10T15:00:00Z';
SELECT pg_temp.checked(9861, 'lim_calls', '{50,51}');
SELECT pg_temp.checked(9861, 'lim_over', '{5.5}');
SET LOCAL billing.test_clock TO '2026-02-10T12:00:00Z';
SELECT pg_temp.checked(9861, 'lim_calls', '{60,61}');
SELECT pg_temp.checked(9861, 'lim_disk', '{1}');
CALL billing.bill_due();
SELECT pg_temp.checked(9861, 'lim_calls', '{60,61}');
SELECT meter, per, period_start, period_end, used FROM billing.usage_status WHERE tenant_id = 9861 AND per = 'period' ORDER BY 1;
-- Two that give it: the sum, counted over both, in the period of the first; as much as there is, if one gives that.
SELECT status FROM billing.subscribe(9861, 'lim_pro', at => '2026-02-10T12:00:00Z');
SELECT billing.record_usage(9861, 'lim_calls', 60, 'd' || s, subscription_id => s)
FROM (SELECT subscription_id AS s FROM billing.subscription WHERE tenant_id = 9861) s;
SELECT meter, per, used, limit_quantity, remaining FROM billing.usage_status WHERE tenant_id = 9861 AND meter IN ('lim_calls', 'lim_free') ORDER BY 1, 2;
SELECT pg_temp.checked(9861, 'lim_calls', '{0,1}');
SELECT status FROM billing.subscribe(9861, 'lim_none');
SELECT meter, per, used, limit_quantity, remaining FROM billing.usage_status WHERE tenant_id = 9861 AND meter = 'lim_calls' ORDER BY 1, 2;
-- An override alone: of the calendar month.
SELECT quantity FROM billing.override_entitlement(9862, 'lim_calls', '3');
SELECT meter, per, period_start, period_end, used, limit_quantity, resets_at FROM billing.usage_status WHERE tenant_id = 9862;
SELECT pg_temp.checked(9862, 'lim_calls', '{3,4}');
-- Nobody serves it; frozen; closed.
SELECT pg_temp.checked(9863, 'lim_calls', '{1}');
SELECT status FROM billing.freeze_tenant(9861);
SELECT pg_temp.checked(9861, 'lim_disk', '{1}');
SELECT status FROM billing.close_tenant(9864);
SELECT pg_temp.checked(9864, 'lim_disk', '{1}');

CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE fact text; advice text;
BEGIN
	EXECUTE statement;
	RETURN 'DONE';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || ' | ' || fact || ' | ' || advice;
END $$;
SELECT s AS arguments, pg_temp.attempt(format('SELECT billing.check_limit(%s)', s)) FROM unnest(ARRAY[
	'NULL, ''lim_calls''', '9861, NULL', '9861, ''lim_calls'', NULL', '9861, ''lim_calls'', -1', '9861, ''lim_calls'', ''NaN''',
	'9861, ''lim_calls'', ''infinity''', '9860, ''lim_calls''', '9861, ''nothing''']) s;
ROLLBACK;
