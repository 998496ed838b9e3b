-- usage() and its kin read any half-open period, by each aggregation, exactly, from rollup and events alike; late
-- usage is found, also after a restore, and never what was billed.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET billing.test_clock = '2026-03-10T12:00:00Z';
SET timezone = 'UTC';
SET datestyle = 'ISO';
INSERT INTO billing.meter (code, aggregation, property) VALUES
	('r_sum', 'sum', NULL), ('r_count', 'count', NULL), ('r_max', 'max', NULL), ('r_latest', 'latest', NULL),
	('r_unique', 'unique_count', 'user'), ('r_weighted', 'weighted_sum', NULL);
SELECT tenant_id FROM billing.create_tenant(51, 'Reader', timezone => 'America/New_York');

INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, properties, recorded_at)
SELECT 51, m.code || i, m.code, q, a::timestamptz, jsonb_build_object('user', u), r::timestamptz
FROM billing.meter m, (VALUES
	(1, 10, '2026-02-28T23:59:59.999999Z', 'ann', '2026-03-01Z'),
	(2, 3, '2026-03-01T00:00:00Z', 'ann', '2026-03-01Z'),
	(3, -1.5, '2026-03-01T05:00:00Z', 'bob', '2026-03-01T06:00:00Z'),
	(4, 4, '2026-03-02T04:30:00Z', 'ann', '2026-03-05Z'),
	(5, 0.25, '2026-03-03T00:00:00Z', NULL, '2026-03-04Z'),
	(6, 7, '2026-03-05T00:00:00Z', 'cy', '2026-03-05Z')) e (i, q, a, u, r)
WHERE m.code LIKE 'r\_%';

CREATE VIEW read AS
SELECT m.code, billing.usage(51, m.code, '[2026-03-01Z,2026-03-05Z)') AS march,
	billing.usage(51, m.code, '[2026-03-01T00:30:00Z,2026-03-02T04:30:00Z)') AS cut,
	billing.usage(51, m.code, '[2026-03-01Z,2026-03-05Z)', known_at => '2026-03-04Z') AS known,
	billing.usage(51, m.code, '[2026-03-06Z,2026-03-07Z)') AS nothing,
	billing.usage(51, m.code, '[2026-03-01Z,2026-03-05Z)', aggregation => 'sum') AS sum
FROM billing.meter m WHERE m.code LIKE 'r\_%';
SELECT * FROM read ORDER BY code;
CALL billing.compact_usage();
SELECT * FROM read ORDER BY code;
SELECT level, bucket, first_at, last_at, events, sum, max, latest, latest_id FROM billing.usage_rollup
WHERE tenant_id = 51 AND meter = 'r_sum' ORDER BY level, bucket;
SELECT * FROM billing.daily_usage(51, 'r_sum', '[2026-03-01Z,2026-03-05Z)');
SELECT * FROM billing.daily_usage(51, 'r_max', '[2026-03-07T12:00:00Z,2026-03-09T12:00:00Z)');

-- Refused.
\set SHOW_CONTEXT never
SELECT billing.usage(51, 'r_sum', 'empty');
SELECT billing.usage(51, 'r_sum', '[2026-03-01Z,)');
SELECT billing.usage(51, 'r_sum', '[-infinity,2026-03-01Z)');
SELECT billing.usage(51, 'r_sum', '(2026-03-01Z,2026-03-02Z)');
SELECT billing.usage(51, 'r_sum', NULL);
SELECT billing.usage(51, NULL, '[2026-03-01Z,2026-03-05Z)');
SELECT billing.usage(51, 'none', '[2026-03-01Z,2026-03-05Z)');
SELECT billing.usage(59, 'r_sum', '[2026-03-01Z,2026-03-05Z)');
SELECT billing.usage(51, 'r_sum', '[2026-03-01Z,2026-03-05Z)', subscription_id => 1);
SELECT billing.usage(51, 'r_sum', '[2026-03-01Z,2026-03-05Z)', aggregation => 'mean');
SELECT * FROM billing.daily_usage(51, 'r_sum', 'empty');
SELECT * FROM billing.daily_usage(59, 'r_sum', '[2026-03-01Z,2026-03-05Z)');
CALL billing.compact_usage(0);
CALL billing.compact_usage(NULL);

CREATE FUNCTION pg_temp.code_of(arguments text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT billing.usage(%s)', arguments);
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT arguments, pg_temp.code_of(arguments) FROM unnest(ARRAY[$$51, 'r_sum', 'empty'$$, $$51, 'r_sum', '[2026-03-01Z,)'$$, $$51, 'r_sum', NULL$$,
	$$51, 'none', '[2026-03-01Z,2026-03-02Z)'$$, $$59, 'r_sum', '[2026-03-01Z,2026-03-02Z)'$$,
	$$51, 'r_sum', '[2026-03-01Z,2026-03-02Z)', NULL, 1$$]) arguments;

-- What the bill run reads is a part of its query, not a function called for each row; it asks only of events that it reads whether they
-- were corrected, and only if any was.
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;
SELECT count(*) FILTER (WHERE line LIKE '%Function Scan on usage\_%') AS functions,
	count(*) FILTER (WHERE line ~ '^ *SubPlan') - count(*) FILTER (WHERE line LIKE '%using usage_correction_pkey%') AS subplans
FROM plan_of('SELECT * FROM billing.tenant d CROSS JOIN LATERAL billing.usage_total(d.tenant_id, ''r_sum'',
	ARRAY[0, d.tenant_id], d.created_at, d.created_at + interval ''1 month'', false) u') p (line);

-- Late: usage of a billed period that came after the bill; what each subscription has used.
INSERT INTO billing.plan (code, name) VALUES ('read_plan', 'Plan');
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT plan_id, m, '{"model":"per_unit","currency":"USD","unit_amount":"1"}', m FROM billing.plan, unnest('{r_sum,r_unique}'::text[]) m WHERE code = 'read_plan';
SET billing.test_clock = '2026-01-15T10:20:30Z';
SELECT tenant_id FROM billing.create_tenant(52, 'Late');
SELECT status FROM billing.subscribe(52, 'read_plan');
SELECT billing.record_usage(52, 'r_sum', 5, 'before', '2026-01-15T10:20:30Z');
SET billing.test_clock = '2026-02-15T10:20:30Z';
CALL billing.bill_due();
SELECT meter, period_start, period_end, used AS quantity FROM billing.usage_status WHERE tenant_id = 52 ORDER BY meter;
SELECT billing.record_usage(52, 'r_sum', 2, 'after', '2026-02-15T10:20:29.999999Z');
SELECT billing.record_usage(52, 'r_sum', 3, 'in time', '2026-02-15T10:20:30Z');
SELECT billing.record_usage(52, 'r_sum', 4, 'too early', '2026-01-15T10:20:29Z');
CALL billing.compact_usage();
SELECT event_id, meter, at, invoice_id FROM billing.usage_late WHERE tenant_id = 52 ORDER BY event_id;

-- What names no subscription is one's own only while it is in force, and of a meter that its plan prices.
INSERT INTO billing.meter (code) VALUES ('r_other');
SELECT billing.record_usage(52, 'r_other', 9, 'other', '2026-02-01Z');
SELECT m.meter, a.aggregation, billing.usage(52, m.meter, '[2026-01-01Z,2026-03-01Z)', aggregation => a.aggregation) AS of_tenant,
	billing.usage(52, m.meter, '[2026-01-01Z,2026-03-01Z)', aggregation => a.aggregation, subscription_id => s.subscription_id)
FROM billing.subscription s, unnest('{r_sum,r_other}'::text[]) m (meter), unnest('{sum,count,max,latest,unique_count,weighted_sum}'::text[]) a (aggregation)
WHERE s.tenant_id = 52 ORDER BY m.meter, a.aggregation;

-- A restore brings the events and what is known to be late, but no rollup: then late is what was recorded since the bill.
SET session_replication_role = replica;
DELETE FROM billing.usage_late WHERE tenant_id = 52;
DELETE FROM billing.usage_rollup; DELETE FROM billing.usage_period; DELETE FROM billing.usage_horizon; DELETE FROM billing.usage_floor;
RESET session_replication_role;
CALL billing.compact_usage();
SELECT event_id FROM billing.usage_late WHERE tenant_id = 52 ORDER BY event_id;
SELECT meter, period_start, period_end, used AS quantity FROM billing.usage_status WHERE tenant_id = 52 ORDER BY meter;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
