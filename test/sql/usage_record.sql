-- record_usage, INSERT and COPY keep each event exactly once, refuse what cannot be usage, and never change it.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET billing.test_clock = '2026-03-10T12:00:00Z';
SET timezone = 'UTC';
\set SHOW_CONTEXT never
INSERT INTO billing.meter (code, aggregation) VALUES ('calls', 'sum'), ('other', 'count');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'usage', 'Usage'), (2, 'usage_too', 'Usage too');
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT p, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'calls' FROM generate_series(1, 2) p;
SELECT tenant_id FROM billing.create_tenant(1, 'One');
SELECT tenant_id FROM billing.create_tenant(2, 'Two');
SELECT tenant_id FROM billing.create_tenant(3, 'Three');
INSERT INTO billing.subscription (tenant_id, subscription_id, plan_id, status, currency, anchor, timezone, started_at, ended_at)
VALUES (1, 11, 1, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', NULL),
	(2, 21, 1, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', NULL),
	(2, 22, 2, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', NULL),
	(3, 31, 1, 'canceled', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', '2026-02-01Z'),
	(3, 32, 2, 'active', 'USD', '2026-01-01Z', 'UTC', '2026-01-01Z', NULL);

-- New, seen before, and seen before however the number is written and whenever a retry comes.
SELECT billing.record_usage(1, 'calls', 5, 'a');
SET billing.test_clock = '2026-03-10T12:05:00Z';
SELECT billing.record_usage(1, 'calls', 5.00, 'a');
SELECT billing.record_usage(1, 'calls', 5, 'a', '2026-03-10T12:00:00Z');
SELECT billing.record_usage(2, 'calls', 5, 'a', subscription_id => 21);
SELECT billing.record_usage(1, 'calls', event_id => 'b', at => '2026-03-01Z', properties => '{"a": 1, "b": 2}');
SELECT billing.record_usage(1, 'calls', event_id => 'b', properties => '{"b": 2, "a": 1}');

-- The same id, another event.
SELECT billing.record_usage(1, 'calls', 6, 'a');
SELECT billing.record_usage(1, 'other', 5, 'a');
SELECT billing.record_usage(1, 'calls', 5, 'a', '2026-03-10T12:01:00Z');
SELECT billing.record_usage(1, 'calls', 5, 'a', properties => '{}');
SELECT billing.record_usage(1, 'calls', 5, 'a', subscription_id => 11);

-- What is not there, and what cannot be.
SELECT billing.record_usage(9, 'calls', 1, 'c');
SELECT billing.record_usage(1, 'none', 1, 'c');
SELECT billing.record_usage(1, 'calls', 1, 'c', subscription_id => 21);
SELECT billing.record_usage(NULL, 'calls', 1, 'c');
SELECT billing.record_usage(1, NULL, 1, 'c');
SELECT billing.record_usage(1, 'calls', NULL, 'c');
SELECT billing.record_usage(1, 'calls', 1);
SELECT billing.record_usage(1, 'calls', 1, '');
SELECT billing.record_usage(1, 'calls', 1, repeat('x', 256));
SELECT billing.record_usage(1, 'calls', 'NaN', 'c');
SELECT billing.record_usage(1, 'calls', '-Infinity', 'c');
SELECT billing.record_usage(1, 'calls', 1, 'c', '-infinity');
SELECT billing.record_usage(1, 'calls', 1, 'c', '2026-03-11T12:05:00.000001Z');
SELECT billing.record_usage(1, 'calls', 1, 'c', '2026-03-11T12:05:00Z');

-- Whose it is: of several live subscriptions it has to be said, of one it need not.
SELECT billing.record_usage(2, 'calls', 1, 'd');
SELECT billing.record_usage(2, 'other', 1, 'd');
SELECT billing.record_usage(3, 'calls', 1, 'd');

-- A frozen or closed tenant has used nothing since; what it recorded before, it recorded.
UPDATE billing.tenant SET status = 'frozen', frozen_at = '2026-03-10T12:00:00Z' WHERE tenant_id = 1;
SELECT billing.record_usage(1, 'calls', 1, 'e', '2026-03-10T12:00:00Z');
SELECT billing.record_usage(1, 'calls', 1, 'e', '2026-03-10T11:59:59.999999Z');
SELECT billing.record_usage(1, 'calls', 5, 'a');

-- INSERT and COPY: the same, by constraints.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (1, 'f', 'calls', -3, '2026-03-02Z'), (1, 'a', 'calls', 9, '2026-03-02Z')
ON CONFLICT DO NOTHING;
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id) FROM stdin;
1	g	calls	1.5	2026-03-03T00:00:00Z	11
2	g	calls	2.5	2026-03-03T00:00:00Z	\N
\.
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at) FROM stdin;
1	h	calls	1	2026-03-03T00:00:00Z
1	a	calls	1	2026-03-03T00:00:00Z
\.
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at) FROM stdin;
1	h	calls	1	2026-03-03T00:00:00Z
1	i	none	1	2026-03-03T00:00:00Z
\.
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (9, 'h', 'calls');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, subscription_id) VALUES (1, 'h', 'calls', 21);
\set VERBOSITY terse
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (1, 'h', 'calls', 'NaN');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (1, 'h', 'calls', 'Infinity');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at) VALUES (1, 'h', 'calls', '2026-03-12Z');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at) VALUES (1, 'h', 'calls', '-infinity');
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (1, '', 'calls');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, xid) VALUES (1, 'h', 'calls', '1');

\set VERBOSITY default

-- Facts do not change.
UPDATE billing.usage_event SET quantity = 1 WHERE event_id = 'a';
DELETE FROM billing.usage_event;
TRUNCATE billing.usage_event CASCADE;
INSERT INTO billing.usage_event (tenant_id, event_id, meter) VALUES (1, 'a', 'calls')
ON CONFLICT (tenant_id, event_id) DO UPDATE SET quantity = 1;

SELECT tenant_id, event_id, meter, quantity, at, properties, subscription_id, recorded_at, xid IS NOT NULL AS has_xid
FROM billing.usage_event ORDER BY tenant_id, event_id;

-- What a program branches on.
CREATE FUNCTION pg_temp.code_of(arguments text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT billing.record_usage(%s)', arguments);
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT arguments, pg_temp.code_of(arguments) FROM unnest(ARRAY[
	$$1, 'calls', 6, 'a'$$, $$9, 'calls', 1, 'z'$$, $$1, 'none', 1, 'z'$$, $$1, 'calls', 1, 'z', subscription_id => 21$$,
	$$1, 'calls', 1$$, $$1, 'calls', NULL, 'z'$$, $$1, 'calls', 'NaN', 'z'$$, $$1, 'calls', 1, ''$$, $$1, 'calls', 1, 'z', 'infinity'$$,
	$$2, 'calls', 1, 'z'$$, $$1, 'calls', 1, 'z'$$]) arguments;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
