-- Fixed prices bill in advance, metered ones in arrears on their own cycles; a trial is free, a stub is prorated; what
-- is due is billed period by period, once; usage that comes late is a signed adjustment; a forecast leaves nothing.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET billing.test_clock = '2026-01-15T10:00:00Z';
INSERT INTO billing.meter (code) VALUES ('run_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES
	(9101, 'run_month', 'Month', '1 month', 0), (9102, 'run_year', 'Year', '1 year', 14), (9103, 'run_life', 'Life', NULL, 0);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle, sort_order) VALUES
	(9101, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, NULL, 0),
	(9102, 'base', '{"model":"flat","currency":"USD","amount":"290"}', NULL, NULL, 0),
	(9103, 'base', '{"model":"flat","currency":"USD","amount":"999"}', NULL, NULL, 0),
	(9101, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'run_calls', NULL, 1),
	(9102, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'run_calls', '1 month', 1),
	(9103, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'run_calls', '1 month', 1);
SELECT (billing.create_tenant(9101, 'Stub', timezone => 'America/New_York')).status,
	(billing.create_tenant(9102, 'Taxed', details => '{"settings":{"tax_percent":20}}')).status,
	(billing.create_tenant(9103, 'Lifetime')).status;
SELECT status, period_start, period_end, due_at, billed_to FROM billing.subscribe(9101, 'run_month', billing => 'calendar');
SELECT status, period_start, period_end, due_at, billed_to FROM billing.subscribe(9102, 'run_year');
SELECT status, period_start, period_end, due_at, billed_to FROM billing.subscribe(9103, 'run_life');

CREATE TEMP VIEW bill AS
SELECT i.tenant_id, i.number, i.kind, i.status, i.period_start, i.period_end, i.subtotal, i.tax, i.total, i.amount_due
FROM billing.invoice i WHERE i.tenant_id BETWEEN 9101 AND 9103 ORDER BY i.tenant_id, i.invoice_id;
CREATE TEMP VIEW line AS
SELECT i.number, l.line, l.kind, l.price_code, l.quantity, l.unit_amount, l.amount, l.period_start, l.period_end, l.usage_events AS events
FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id)
WHERE i.tenant_id BETWEEN 9101 AND 9103 ORDER BY i.tenant_id, i.invoice_id, l.line;
TABLE bill;
TABLE line;

-- Four months later: each missed period on its own.
SET billing.test_clock = '2026-04-20T00:00:00Z';
CALL billing.bill_due();
TABLE bill;
TABLE line;
SELECT tenant_id, status, period_start, period_end, due_at, billed_to FROM billing.subscription
WHERE tenant_id BETWEEN 9101 AND 9103 ORDER BY tenant_id;

-- Again: nothing is left to do.
CALL billing.bill_due();
SELECT count(*) FROM bill;

-- A forecast to the end of the year, undone.
SAVEPOINT forecast;
CALL billing.bill_due('2027-01-01T12:00:00Z');
SELECT tenant_id, count(*), sum(total) FROM bill GROUP BY tenant_id ORDER BY tenant_id;
ROLLBACK TO forecast;
SELECT count(*) FROM bill;

-- Usage in time, then late: more, less, and at the very edge of the period.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES
	(9101, 'in-1', 'run_calls', 100, '2026-04-01 04:00Z'), (9101, 'in-2', 'run_calls', 50, '2026-04-19 23:59:59.999999Z');
SET billing.test_clock = '2026-05-02T00:00:00Z';
CALL billing.bill_due();
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES
	(9101, 'late-1', 'run_calls', 1000, '2026-04-10'), (9101, 'late-2', 'run_calls', -5, '2026-05-01 03:59:59.999999Z'),
	(9101, 'edge', 'run_calls', 7, '2026-05-01 04:00Z');
SET billing.test_clock = '2026-06-02T00:00:00Z';
SELECT line, kind, price_code, quantity, amount, period_start, period_end
FROM billing.preview_invoice(9101, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9101));
CALL billing.bill_due();
SELECT * FROM line WHERE number IN ('INV-9101-000005', 'INV-9101-000006');
CALL billing.bill_due('2026-07-02');
SELECT * FROM line WHERE number = 'INV-9101-000007';

-- The log states what was read, and hashes and chain follow from it.
SELECT l.chain_no, l.hash = sha256(convert_to(l.inputs, 'UTF8')) AS is_hash,
	l.chain_hash = sha256(coalesce(lag(l.chain_hash) OVER (ORDER BY l.chain_no), '\x') || l.hash) AS is_linked,
	l.inputs::jsonb ->> 'total' AS total, l.inputs::jsonb -> 'items' -> 1 ->> 'quantity' AS calls
FROM billing.calculation_log l WHERE l.tenant_id = 9101 ORDER BY l.chain_no;
SELECT invoice_number, chain_no FROM billing.counter WHERE tenant_id = 9101;

-- Builds on request: the next boundary once it is reached, an old one as it was, no other.
SET billing.test_clock = '2026-08-01T04:00:00Z';
CREATE TEMP TABLE mine AS SELECT subscription_id AS id FROM billing.subscription WHERE tenant_id = 9101;
SELECT number, total FROM billing.build_invoice(9101, (SELECT id FROM mine), '2026-07-01 04:00Z', '2026-08-01 04:00Z');
SELECT number, total FROM billing.build_invoice(9101, (SELECT id FROM mine), '2026-07-01 04:00Z', '2026-08-01 04:00Z');
-- What it refuses, by SQLSTATE: another start, a boundary ahead, a reversed or unbounded period, an unknown subscription.
CREATE FUNCTION pg_temp.try(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' ', SQLSTATE, CASE WHEN detail <> '' THEN 'detail' END, CASE WHEN hint <> '' THEN 'hint' END);
END $$;
SELECT pg_temp.try(format('SELECT billing.build_invoice(9101, %s, %L, %L)', (SELECT id FROM mine), a, b))
FROM (VALUES (1, '2026-07-02 04:00Z', '2026-08-01 04:00Z'), (2, '2026-08-01 04:00Z', '2026-09-01 04:00Z'),
	(3, '2026-08-01 04:00Z', '2026-07-01 04:00Z'), (4, '2026-08-01 04:00Z', 'infinity'), (5, '2025-08-01 04:00Z', '2025-09-01 04:00Z')) v (n, a, b)
ORDER BY n;
SELECT pg_temp.try('SELECT billing.build_invoice(9101, -1, ''2026-07-01'', ''2026-08-01'')'),
	pg_temp.try('SELECT billing.build_invoice(9199, 1, ''2026-07-01'', ''2026-08-01'')'),
	pg_temp.try('SELECT billing.build_invoice(9101, NULL, ''2026-07-01'', ''2026-08-01'')'),
	pg_temp.try('CALL billing.bill_due(NULL, 0)'),
	pg_temp.try('SELECT billing.preview_invoice(9101, -1)'),
	pg_temp.try('SELECT billing.preview_invoice(9101, (SELECT id FROM mine), ''someday'')');
SELECT count(*) FROM bill;

-- Who sells is whom the tenant's settings name, else the installation's, whoever makes the invoice.
INSERT INTO billing.setting (name, value) VALUES ('seller', '{"name": "Everywhere Ltd"}');
SELECT status FROM billing.create_tenant(9104, 'Branch', details => '{"settings": {"seller": {"name": "Branch Ltd"}}}');
SELECT status FROM billing.subscribe(9104, 'run_month');
SELECT seller FROM billing.create_invoice(9104, 'setup', '[{"description": "Setup", "amount": 1}]');
SET billing.test_clock = '2026-09-01T04:00:00Z';
CALL billing.bill_due();
SELECT tenant_id, kind, seller FROM billing.invoice WHERE tenant_id = 9104 OR tenant_id = 9101 AND issued_at = billing.now() ORDER BY tenant_id, invoice_id;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9101 AND 9104;
ROLLBACK;
