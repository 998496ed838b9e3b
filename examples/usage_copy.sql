-- Usage comes by COPY, straight into the table: each event once, and a bad one named with nothing kept.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-03-01T00:00:00Z';
INSERT INTO billing.meter (code, name, aggregation, unit) VALUES
	('calls', 'API calls', 'sum', 'calls'), ('storage', 'Storage', 'max', 'GB');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (1, 'team', 'Team', 0);
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(1, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.001"}', 'calls'),
	(1, 'storage', '{"model":"per_unit","currency":"USD","unit_amount":"0.25"}', 'storage');
SELECT count(billing.create_tenant(n, 'Customer ' || n)) FROM generate_series(1, 2) n \gset
SELECT count((billing.subscribe(n, 'team', trial_days => 0)).subscription_id) FROM generate_series(1, 2) n \gset

SET billing.test_clock = '2026-03-04T00:00:00Z';
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at) FROM STDIN (FORMAT csv);
1,a1,calls,1200,2026-03-01 08:00Z
1,a2,calls,300,2026-03-02 08:00Z
1,a3,storage,40,2026-03-01 12:00Z
1,a4,storage,25.5,2026-03-02 12:00Z
2,a1,calls,7,2026-03-03 08:00Z
\.
\qecho 'What each has used in the period that runs; storage is the peak:'
SELECT tenant_id, meter, used, unit FROM billing.usage_status ORDER BY tenant_id, meter;
\qecho 'Day by day:'
SELECT day, quantity, events FROM billing.daily_usage(1, 'calls', '[2026-03-01 00:00Z,2026-03-04 00:00Z)');
\qecho 'An event that is there already, or one of an unknown meter, refuses the whole file:'
\set ON_ERROR_STOP off
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at) FROM STDIN (FORMAT csv);
1,a5,calls,5,2026-03-03 08:00Z
1,a1,calls,1200,2026-03-01 08:00Z
\.
COPY billing.usage_event (tenant_id, event_id, meter, quantity, at) FROM STDIN (FORMAT csv);
1,a6,callz,5,2026-03-03 08:00Z
\.
\set ON_ERROR_STOP on
SELECT count(*) AS events FROM billing.usage_event;
\qecho 'INSERT can skip what is known:'
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
VALUES (1, 'a1', 'calls', 1200, '2026-03-01 08:00Z'), (1, 'a5', 'calls', 5, '2026-03-03 08:00Z') ON CONFLICT DO NOTHING;
SELECT billing.usage(1, 'calls', '[2026-03-01 00:00Z,2026-04-01 00:00Z)') AS calls;
