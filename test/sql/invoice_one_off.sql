-- A one-off invoice bills stated lines once per biz_key, becomes final in the order of its tenant's numbers, and whoever
-- asks for something else gets an error and not one row.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-03-01T12:00:00Z';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 19), ('ny', 'New York', 8.875);
INSERT INTO billing.setting (name, value) VALUES ('seller', '{"name": "Seller Ltd"}'), ('net_days', '30');
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD', 'America/New_York', 'pay@acme.example');
SELECT tenant_id FROM billing.create_tenant(2, 'Berlin', 'EUR', 'Europe/Berlin');
UPDATE billing.tenant SET tax_rate = 'vat', settings = '{"invoice_prefix": "B/", "net_days": 0}', address = '{"city": "Berlin"}', tax_id = 'DE1' WHERE tenant_id = 2;
CREATE TEMPORARY VIEW rows AS
	SELECT (SELECT count(*) FROM billing.invoice) AS invoices, (SELECT count(*) FROM billing.invoice_item) AS items,
		(SELECT count(*) FROM billing.calculation_log) AS logs, (SELECT count(*) FROM billing.transaction) AS transactions,
		(SELECT count(*) FROM billing.payment) AS payments, (SELECT count(*) FROM billing.audit_log WHERE object <> 'tenant') AS audited,
		(SELECT sum(invoice_number) FROM billing.counter) AS numbers;

-- Lines: an amount, or a quantity of a unit amount that is rounded once; dates, parties, tax.
SELECT setval('billing.id_seq', 100) \gset _
SELECT number, status, currency, item_count, subtotal, tax, total, amount_due, issued_at, due_at, seller, billing_name, billing_email, biz_key
FROM billing.create_invoice(1, 'setup', '[{"description": "Setup", "amount": 100}, {"description": "Hours", "quantity": 2.5, "unit_amount": "99.995",
	"price_code": "hours", "period_start": "2026-02-01T00:00:00Z", "period_end": "2026-03-01T00:00:00Z"}, {"description": "Discount", "amount": "-9.99 usd"}]');
SELECT line, kind, price_code, description, quantity, unit_amount, amount, period_start, period_end FROM billing.invoice_item ORDER BY line;
SELECT setval('billing.id_seq', 200) \gset _
SELECT number, subtotal, tax_percent, tax, total, due_at, billing_address, tax_id
FROM billing.create_invoice(2, 'setup', '[{"description": "Einrichtung", "amount": "0.13"}, {"description": "Tage", "unit_amount": 1.005, "quantity": 3}]');
SELECT setval('billing.id_seq', 300) \gset _
SELECT number, status, currency, total, paid_at FROM billing.create_invoice(2, 'free', '[{"description": "Gratis", "amount": "0"}]', currency => 'jpy');
SELECT setval('billing.id_seq', 400) \gset _
SELECT number, due_at FROM billing.create_invoice(2, 'later', '[{"description": "Later", "amount": "1"}]', due_at => '2026-05-01 00:00Z', notes => 'Thank you.');
-- Deferred: a line whose period is to come.
SELECT setval('billing.id_seq', 500) \gset _
SELECT number FROM billing.create_invoice(1, 'year', '[{"description": "Support", "amount": 120, "period_start": "2026-04-01T00:00:00Z", "period_end": "2027-04-01T00:00:00Z"}, {"description": "Travel", "amount": 7}]');
SELECT tenant_id, kind, invoice_id, account, amount FROM billing.ledger_entry WHERE billing.minor_units(amount) <> 0 ORDER BY transaction_id, line;

-- A retry returns the invoice; anything else is an error.
SELECT * FROM rows;
SELECT number, version FROM billing.create_invoice(2, 'setup', '[{"description": "Einrichtung", "amount": "0.13"}, {"description": "Tage", "unit_amount": 1.005, "quantity": 3}]');
SELECT number FROM billing.create_invoice(2, 'later', '[{"description": "Later", "amount": "1"}]', due_at => '2026-05-01 00:00Z', notes => 'Thank you.');
SELECT billing.create_invoice(2, 'setup', '[{"description": "Einrichtung", "amount": "0.14"}, {"description": "Tage", "unit_amount": 1.005, "quantity": 3}]');
SELECT billing.create_invoice(2, 'setup', '[{"description": "Einrichtung", "amount": "0.13"}]');
SELECT billing.create_invoice(2, 'setup', '[{"description": "Einrichtung!", "amount": "0.13"}, {"description": "Tage", "unit_amount": 1.005, "quantity": 3}]');
SELECT billing.create_invoice(2, 'free', '[{"description": "Gratis", "amount": "0"}]');
SELECT billing.create_invoice(2, 'later', '[{"description": "Later", "amount": "1"}]', due_at => '2026-05-02 00:00Z', notes => 'Thank you.');

-- What became of it since is no matter: other lines, no coupon any more, a due date that was past, a payment.
BEGIN;
INSERT INTO billing.coupon (code, kind, value) VALUES ('TEN', 'percentage', 10);
CREATE FUNCTION pg_temp.again() RETURNS TABLE (number text, status text, item_count integer, total billing.amount) LANGUAGE sql AS $$
	SELECT number, status, item_count, total FROM billing.create_invoice(1, 'again', '[{"description": "Setup", "amount": 50}]', coupon => 'TEN',
		due_at => '2026-01-01 00:00Z', finalize => false) $$;
SELECT * FROM pg_temp.again();
SELECT line FROM billing.add_item(1, (SELECT invoice_id FROM billing.find_invoice(1, 'again')), 'More', amount => '5 USD');
SELECT coupon FROM billing.remove_coupon(1, 'TEN', invoice_id => (SELECT invoice_id FROM billing.find_invoice(1, 'again')));
SELECT * FROM pg_temp.again();
SELECT status, total, due_at FROM billing.finalize_invoice(1, (SELECT invoice_id FROM billing.find_invoice(1, 'again')));
SELECT * FROM pg_temp.again();
SELECT count(*) FROM billing.invoice WHERE tenant_id = 1 AND biz_key = 'again';
-- One that was loaded is nobody's retry.
DELETE FROM billing.request WHERE tenant_id = 1 AND request_id = 'again';
SELECT * FROM pg_temp.again();
ROLLBACK;

-- Bad input.
SELECT billing.create_invoice(9, 'x', '[{"description": "x", "amount": "1"}]');
SELECT billing.create_invoice(NULL, 'x', '[]');
SELECT billing.create_invoice(1, NULL, '[{"description": "x", "amount": "1"}]');
SELECT billing.create_invoice(1, 'x', NULL);
SELECT billing.create_invoice(1, '', '[{"description": "x", "amount": "1"}]');
SELECT billing.create_invoice(1, 'sub/1/x', '[{"description": "x", "amount": "1"}]');
SELECT billing.create_invoice(1, repeat('x', 256), '[{"description": "x", "amount": "1"}]');
SELECT billing.create_invoice(1, 'x', '{"description": "x", "amount": "1"}');
SELECT billing.create_invoice(1, 'x', '"x"');
SELECT billing.create_invoice(1, 'x', '[]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1"}, 7]');
SELECT billing.create_invoice(1, 'x', '[{"amount": "1"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1", "unit_amount": "1"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1", "price": "1"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": true}]');
SELECT billing.create_invoice(1, 'x', '[{"description": 1, "amount": "1"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1.001"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "one"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1 EUR"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "unit_amount": "NaN"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "unit_amount": "1", "quantity": "Infinity"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "unit_amount": "1e30"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1", "period_start": "2026-01-01"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1", "period_start": "2026-01-02", "period_end": "2026-01-01"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1", "period_start": "-infinity", "period_end": "2026-01-01"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1"}, {"description": "y", "amount": "-2"}]');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1"}]', currency => 'XXQ');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1"}]', coupon => 'TEN');
SELECT billing.create_invoice(1, 'x', '[{"description": "x", "amount": "1"}]', due_at => 'infinity');
SELECT * FROM rows;

-- Finding.
SELECT number FROM billing.find_invoice(1, 'setup');
SELECT billing.find_invoice(1, 'nothing');
SELECT billing.find_invoice(NULL, 'setup');
SELECT tenant_id, number, amount_due FROM billing.pending_invoices();
SELECT tenant_id, number, amount_due FROM billing.pending_invoices(2);

-- The number embeds the tenant; the chain links what each states.
SELECT i.tenant_id, i.number, l.chain_no, l.hash = sha256(convert_to(l.inputs, 'UTF8')) AS is_hash,
	billing.invoice_inputs(i.tenant_id, i.invoice_id, l.party_salt) = l.inputs AS is_stored,
	l.chain_hash = billing.chain('\x', l.hash) OVER (PARTITION BY l.tenant_id ORDER BY l.chain_no) AS is_link
FROM billing.invoice i JOIN billing.calculation_log l USING (tenant_id, invoice_id) ORDER BY 1, 3;
SELECT regexp_replace(inputs, '"party":"[0-9a-f]{64}"', '"party":...') AS inputs FROM billing.calculation_log WHERE tenant_id = 2 ORDER BY chain_no LIMIT 1;
SELECT c.tenant_id, c.invoice_number, c.chain_no, c.chain_hash = l.chain_hash AS is_head
FROM billing.counter c JOIN billing.calculation_log l USING (tenant_id, chain_no) ORDER BY 1;

-- However many there are, the next one comes to its own rows by their keys, also by a plan of when there were none.
BEGIN;
CREATE TEMPORARY TABLE scanned ON COMMIT DROP AS SELECT relid, seq_scan FROM pg_stat_xact_user_tables;
SELECT count(billing.create_invoice(1, 'next' || n, '[{"description": "x", "amount": "1"}]')) FROM generate_series(1, 3) n;
SELECT relname, x.seq_scan - s.seq_scan AS seq_scans FROM pg_stat_xact_user_tables x JOIN scanned s USING (relid)
WHERE schemaname = 'billing' AND relname IN ('invoice', 'invoice_item', 'invoice_tax', 'calculation_log', 'counter', 'transaction') AND x.seq_scan > s.seq_scan;
ROLLBACK;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
