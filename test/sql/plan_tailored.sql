-- Promise: a subscription can have prices of its own, and further ones: it is put on a version of its plan that nobody else is on,
-- as by any change of plan, and its invoices verify.

SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, name, unit) VALUES ('tailor_calls', 'Calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, features) VALUES (9101, 'tailored', 'Tailored', '1 month', '{}'), (9102, 'support', 'Support', '1 month', '{}'),
	(9103, 'yearly', 'Yearly', '1 year', '{}');
INSERT INTO billing.price (plan_id, code, name, tariff, meter) VALUES
	(9101, 'base', 'Base', '{"model":"per_unit","currency":"USD","unit_amount":"31"}', NULL),
	(9101, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.10"}', 'tailor_calls'),
	(9102, 'seat', 'Support', '{"model":"per_unit","currency":"USD","unit_amount":"15.50"}', NULL),
	(9103, 'base', 'Yearly', '{"model":"flat","currency":"USD","amount":"1"}', NULL);
SELECT status FROM billing.create_tenant(9201, 'Tailored', 'USD');
SELECT status FROM billing.create_tenant(9202, 'Other', 'USD');
SELECT status FROM billing.subscribe(9201, 'tailored', 2);
SELECT status FROM billing.subscribe(9202, 'tailored', 2);
CREATE FUNCTION pg_temp.sub() RETURNS bigint LANGUAGE sql AS $$SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9201$$;
CREATE TEMP VIEW mine AS SELECT p.version, p.is_active, p.price_codes, s.quantity FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id = 9201;

SET LOCAL billing.test_clock = '2026-01-11T00:00:00Z';
SELECT billing.record_usage(9201, 'tailor_calls', 100, 'dear', '2026-01-05T00:00Z');
SELECT status FROM billing.override_price(9201, pg_temp.sub(), 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.02"}', proration => 'none', request_id => 'cheap');
SELECT status FROM billing.override_price(9201, pg_temp.sub(), 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.02"}', proration => 'none', request_id => 'cheap');
TABLE mine;
SELECT billing.record_usage(9201, 'tailor_calls', 100, 'cheap', '2026-01-12T00:00Z');
SELECT status FROM billing.add_addon(9201, pg_temp.sub(), 'support', 2, proration => 'invoice_now');
TABLE mine;
SET LOCAL billing.test_clock = '2026-01-21T00:00:00Z';
SELECT status FROM billing.remove_addon(9201, pg_temp.sub(), 'support', effective => 'period_end');
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
TABLE mine;
SELECT dense_rank() OVER (ORDER BY i.invoice_id) AS invoice, i.line, i.price_code, i.quantity, i.amount, i.period_start, i.period_end
FROM billing.invoice_item i WHERE i.tenant_id = 9201 ORDER BY i.invoice_id, i.line;
SELECT DISTINCT i.price_code, i.description FROM billing.invoice_item i WHERE i.tenant_id = 9201 ORDER BY 1, 2;
SELECT subtotal FROM billing.credit_note WHERE tenant_id = 9201;
-- Nobody else has that; and back to what all have.
SELECT p.version FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id = 9202;
SELECT status FROM billing.change_plan(9201, pg_temp.sub(), 'tailored');
TABLE mine;
SELECT * FROM billing.audit(9201);
SELECT * FROM billing.verify_all(9201);

CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN format('%s %s | %s | %s', SQLSTATE, SQLERRM, d, h);
END $$;
SELECT regexp_replace(pg_temp.try('SELECT billing.' || statement), '(subscription|subscription_id|plan_id)(=| )[0-9]+', '\1\2N', 'g') AS refused
FROM (VALUES (1, $$add_addon(9201, pg_temp.sub(), 'nothing')$$), (2, $$add_addon(9201, pg_temp.sub(), 'yearly')$$), (3, $$add_addon(9201, pg_temp.sub(), 'support', 0)$$),
	(4, $$remove_addon(9201, pg_temp.sub(), 'support')$$), (5, $$override_price(9201, pg_temp.sub(), 'nothing', '{"model":"flat","currency":"USD","amount":"1"}')$$),
	(6, $$override_price(9201, pg_temp.sub(), 'base', '{"model":"flat","currency":"EUR","amount":"1"}')$$), (7, $$override_price(9201, pg_temp.sub(), 'base', NULL)$$),
	(8, $$add_addon(9201, pg_temp.sub(), 'support', effective => 'soon')$$)) v (n, statement) ORDER BY n;
SELECT status FROM billing.add_addon(9201, pg_temp.sub(), 'support', effective => 'now');
SELECT regexp_replace(pg_temp.try($$SELECT billing.add_addon(9201, pg_temp.sub(), 'support')$$), '(subscription|subscription_id)(=| )[0-9]+', '\1\2N', 'g') AS refused;

-- A price of the plan's own whose code has a point is no add-on's.
INSERT INTO billing.plan (plan_id, code, name) VALUES (9104, 'pointed', 'Pointed'), (9105, 'api', 'Another');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9104, 'api.access', '{"model":"flat","currency":"USD","amount":"50"}'),
	(9105, 'fee', '{"model":"flat","currency":"USD","amount":"5"}');
SELECT subscription_id AS pointed FROM billing.subscribe(9202, 'pointed') \gset
CREATE TEMP VIEW pointed AS SELECT p.price_codes FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id = 9202 AND p.code = 'pointed';
SELECT left(pg_temp.try(format($$SELECT billing.remove_addon(9202, %s, 'api')$$, :pointed)), 5) AS refused;
SELECT status FROM billing.add_addon(9202, :pointed, 'api');
TABLE pointed;
SELECT status FROM billing.remove_addon(9202, :pointed, 'api');
TABLE pointed;
ROLLBACK;
