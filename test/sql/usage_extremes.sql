-- However large or far what one tenant states: everybody else's usage is compacted and billed, and nothing of it is lost.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('extreme_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9601, 'extreme_month', 'Month');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(9601, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'extreme_calls');
SELECT count(billing.create_tenant(9600 + t, 'Tenant ' || t)) FROM generate_series(1, 4) t;
SELECT count(billing.subscribe(9600 + t, 'extreme_month')) FROM generate_series(1, 4) t;
SET billing.test_clock = '2026-01-20T00:00:00Z';
SELECT count(billing.record_usage(9600 + t, 'extreme_calls', 100, 'e')) FROM generate_series(1, 4) t;
CREATE TEMP VIEW bill AS
SELECT s.tenant_id, s.due_at, (SELECT string_agg(i.total::text, ' ' ORDER BY i.invoice_id) FROM billing.invoice i WHERE i.tenant_id = s.tenant_id) AS totals
FROM billing.subscription s WHERE s.tenant_id BETWEEN 9601 AND 9604 AND s.started_at < '2027-01-01' ORDER BY s.tenant_id;

-- Quantities whose sum would fit no numeric are no usage; the largest that are may be summed.
SELECT billing.record_usage(9601, 'extreme_calls', ('1' || repeat('0', 256))::numeric, 'large');
SELECT billing.record_usage(9601, 'extreme_calls', ('0.' || repeat('0', 63) || '1')::numeric, 'small');
\set VERBOSITY sqlstate
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9601, 'large', 'extreme_calls', ('-1' || repeat('0', 256))::numeric, '2026-01-10');
\set VERBOSITY default
SELECT billing.record_usage(9601, 'extreme_calls', repeat('9', 256)::numeric, 'nines ' || n) FROM generate_series(1, 3) n;
SELECT billing.record_usage(9601, 'extreme_calls', -repeat('9', 256)::numeric, 'back ' || n) FROM generate_series(1, 3) n;
SELECT billing.record_usage(9601, 'extreme_calls', ('0.' || repeat('0', 62) || '1')::numeric, 'small');
SELECT billing.usage(9601, 'extreme_calls', '[2026-01-01Z,2026-02-01Z)');

-- The first instant there is and the last: usage, and the start of a subscription.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, recorded_at) VALUES
	(9602, 'first', 'extreme_calls', 1, '4714-11-24 00:00:00Z BC', '2026-01-20'),
	(9602, 'last', 'extreme_calls', 1, '294276-12-31 23:59:59.999999Z', '294276-12-31');
SELECT status, due_at FROM billing.subscribe(9602, 'extreme_month', at => '294276-12-31 23:30:00Z');
CALL billing.compact_usage();
SELECT level, bucket, events FROM billing.usage_rollup WHERE tenant_id = 9602 ORDER BY level, bucket;
SELECT billing.usage(9602, 'extreme_calls', '[4714-11-24 00:00:00Z BC,294276-12-31 23:59:59.999999Z)');

-- What cannot be summed all the same, as of before there was this rule.
ALTER TABLE billing.usage_event DROP CONSTRAINT usage_event_is_usage;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 9603, 'huge ' || n, 'extreme_calls', ('9' || repeat('0', 131071))::numeric, '2026-01-10' FROM generate_series(1, 2) n;
SELECT billing.record_usage(9603, 'extreme_calls', 11, 'beside');
SELECT billing.record_usage(9604, 'extreme_calls', 7, 'more');
CALL billing.compact_usage();
SELECT tenant_id, sum(events) FROM billing.usage_rollup WHERE tenant_id BETWEEN 9603 AND 9604 AND level = 'd' GROUP BY 1 ORDER BY 1;
CALL billing.compact_usage();
SET billing.test_clock = '2026-02-01T00:00:00Z';
SET client_min_messages = error;
CALL billing.bill_due();
CALL billing.bill_due(batch => 1);
TABLE bill;

-- Put right, it is billed: the search for events in no rollup begins where it did.
SET session_replication_role = replica;
DELETE FROM billing.usage_event WHERE tenant_id = 9603 AND event_id LIKE 'huge%';
SET session_replication_role = origin;
CALL billing.bill_due();
TABLE bill;
SELECT * FROM billing.audit();
SELECT count(v) FROM generate_series(9601, 9604) t, billing.verify_all(t) v;
SET client_min_messages = warning;
DROP VIEW bill;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
