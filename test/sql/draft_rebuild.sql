-- A draft is calculated again in place and keeps what a person added; a final invoice is compared and stays; drafts
-- become final at their age; a voided invoice is billed again only on request, under the next revision of its key.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET billing.test_clock = '2026-01-15T10:00:00Z';
INSERT INTO billing.meter (code) VALUES ('draft_calls');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9201, 'draft_month', 'Month');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order) VALUES
	(9201, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 0),
	(9201, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'draft_calls', 1);
SELECT (billing.create_tenant(9201, 'Slow', details => '{"settings":{"finalize_after":"1 day"}}')).status;
SELECT status FROM billing.subscribe(9201, 'draft_month');
CREATE TEMP VIEW bill AS
SELECT regexp_replace(i.biz_key, '^sub/\d+/', '') AS key, i.status, i.number, i.total, i.issued_at
FROM billing.invoice i WHERE i.tenant_id = 9201 ORDER BY i.invoice_id;
CREATE TEMP VIEW line AS
SELECT l.line, l.kind, l.description, l.quantity, l.amount
FROM billing.invoice_item l WHERE l.tenant_id = 9201 AND l.invoice_id = (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 9201)
ORDER BY l.line;
CREATE FUNCTION pg_temp.last() RETURNS bigint LANGUAGE sql AS 'SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 9201';
TABLE bill;

-- A month later the first is old enough and the second is not.
SET billing.test_clock = '2026-02-15T12:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT 9201, 'e' || g, 'draft_calls', g, '2026-01-15 10:00Z'::timestamptz + g * interval '1 hour' FROM generate_series(0, 700) g;
CALL billing.bill_due();
TABLE bill;

INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9201, 'late-1', 'draft_calls', 1000, '2026-02-01');
SELECT line, description, amount FROM billing.add_item(9201, pg_temp.last(), 'Setup help', amount => '12.50 USD');
SELECT * FROM billing.rebuild_invoice(9201, pg_temp.last());
SELECT count(*) FROM billing.rebuild_invoice(9201, pg_temp.last());
TABLE line;
SELECT event_id, invoice_id = pg_temp.last() AS is_booked FROM billing.usage_late WHERE tenant_id = 9201;

SET billing.test_clock = '2026-02-17T12:00:00Z';
CALL billing.bill_due();
TABLE bill;

-- Final: the difference is reported, and nothing changes.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9201, 'late-2', 'draft_calls', 500, '2026-02-01');
SELECT * FROM billing.rebuild_invoice(9201, pg_temp.last());
TABLE bill;
TABLE line;

-- Void and issue again: the same boundary, as known now, with the line that was added.
SELECT status, total FROM billing.void_invoice(9201, pg_temp.last(), 'wrong', true);
TABLE bill;
TABLE line;
SELECT event_id, invoice_id = pg_temp.last() AS is_booked FROM billing.usage_late WHERE tenant_id = 9201 ORDER BY event_id;
SELECT invoice_number, chain_no FROM billing.counter WHERE tenant_id = 9201;
SELECT kind, account, amount FROM billing.ledger_entry WHERE tenant_id = 9201 ORDER BY transaction_id, account;
SELECT account, sum(amount) FROM billing.ledger_entry WHERE tenant_id = 9201 GROUP BY account ORDER BY account;

-- No second adjustment of what the new revision holds.
SET billing.test_clock = '2026-03-17T12:00:00Z';
CALL billing.bill_due();
TABLE line;
TABLE bill;
ROLLBACK;
