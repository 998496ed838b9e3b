-- explain_invoice says of each line which quantity, price, tiers, usage, rounding and proration made it, in the tenant's time.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'Asia/Tokyo';
SET datestyle TO 'SQL';
SET billing.test_clock TO '2026-01-10T12:00:00Z';
INSERT INTO billing.meter (code, unit, aggregation) VALUES ('calls', 'calls', 'sum'), ('seats', 'seats', 'max'), ('volume', 'USD', 'sum');
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('ny', 'New York', 8.875);
INSERT INTO billing.plan (plan_id, code, name, currency, proration) VALUES (1, 'pro', 'Pro', 'USD', 'second'), (2, 'day', 'By day', 'USD', 'day');
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order) VALUES
	(1, 'base', 'Base fee', '{"model":"flat","currency":"USD","amount":"99"}', NULL, 1),
	(1, 'users', 'Users', '{"model":"per_unit","currency":"USD","unit_amount":"7.5"}', NULL, 2),
	(1, 'calls', 'API calls', '{"model":"graduated","currency":"USD","free_units":100,"tiers":[{"up_to":"1000","unit_amount":"0.0133"},{"up_to":null,"unit_amount":"0.005","flat_amount":"1"}]}', 'calls', 3),
	(1, 'seats', 'Seats', '{"model":"volume","currency":"USD","minimum":"20","tiers":[{"up_to":"10","unit_amount":"1.005"},{"up_to":null,"unit_amount":"0.9"}]}', 'seats', 4),
	(1, 'fees', 'Fees', '{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30","event_maximum":"5"}', 'volume', 5),
	(2, 'base', 'Base fee', '{"model":"per_unit","currency":"USD","unit_amount":"31"}', NULL, 1);
INSERT INTO billing.price (plan_id, code, name, tariff, quantity_source, is_prorated, sort_order) VALUES
	(1, 'desk', 'Help desk', '{"model":"per_unit","currency":"USD","unit_amount":"4"}', 'one', false, 6);
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD', 'America/New_York', details => '{"tax_rate": "ny"}');
SELECT count(*) FROM billing.subscribe(1, 'pro', 3, billing => 'calendar');
SELECT count(*) FROM billing.subscribe(1, 'day', 1, billing => 'calendar');
SET billing.test_clock TO '2026-01-20T12:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
	SELECT 1, 'e' || n, 'calls', 17.3, timestamptz '2026-01-11 00:00Z' + n * interval '1 h' FROM generate_series(1, 100) n;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES
	(1, 's1', 'seats', 3, '2026-01-12 00:00Z'), (1, 's2', 'seats', 7, '2026-01-13 00:00Z'),
	(1, 'v1', 'volume', 10, '2026-01-12 00:00Z'), (1, 'v2', 'volume', 1000, '2026-01-13 00:00Z');
SET billing.test_clock TO '2026-02-02T12:00:00Z';
CALL billing.bill_due();
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (1, 'late', 'calls', 30, '2026-01-20 00:00Z'), (1, 'back', 'seats', 15, '2026-01-20 00:00Z');
SET billing.test_clock TO '2026-03-02T12:00:00Z';
CALL billing.bill_due();
CREATE FUNCTION pg_temp.explain(number text) RETURNS TABLE (line int, explanation text) LANGUAGE sql AS $$
	SELECT e.line, regexp_replace(e.explanation, 'subscription \d+', 'subscription N')
	FROM billing.invoice i CROSS JOIN LATERAL billing.explain_invoice(i.tenant_id, i.invoice_id) e WHERE i.number = explain.number $$;
\pset format unaligned
\pset tuples_only on
SELECT * FROM pg_temp.explain('INV-1-000001');
SELECT * FROM pg_temp.explain('INV-1-000002');
SELECT * FROM pg_temp.explain('INV-1-000003');
SELECT * FROM pg_temp.explain('INV-1-000005');

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
