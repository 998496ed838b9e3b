-- An invoice of its own: lines stated by a person, tax, a draft, payment in parts, and one that is taken back.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
\set VERBOSITY terse
SET datestyle = 'ISO';
SET billing.test_clock = '2026-03-10T09:00:00Z';
INSERT INTO billing.tax_rate (code, name, percent, country) VALUES ('de-19', 'Umsatzsteuer', 19, 'DE');
SELECT tenant_id FROM billing.create_tenant(1, 'Beispiel GmbH', 'EUR', 'Europe/Berlin', details => '{"tax_rate": "de-19", "settings": {"net_days": 14}}') \gset

\qecho 'Open at once, due in 14 days. The key is ours: asking again gives the same invoice.'
SELECT number, status, subtotal, tax, total, due_at::date AS due FROM billing.create_invoice(1, 'setup-2026', '[
	{"description": "Setup", "amount": "500"},
	{"description": "Consulting, hours", "quantity": "2.5", "unit_amount": "119.99"}]');
SELECT number FROM billing.create_invoice(1, 'setup-2026', '[
	{"description": "Setup", "amount": "500"},
	{"description": "Consulting, hours", "quantity": "2.5", "unit_amount": "119.99"}]');
\set ON_ERROR_STOP off
SELECT number FROM billing.create_invoice(1, 'setup-2026', '[{"description": "Setup", "amount": "400"}]');
\set ON_ERROR_STOP on

\qecho 'A draft takes more lines, and has its number when it becomes final:'
SELECT invoice_id FROM billing.create_invoice(1, 'training-2026', '[{"description": "Training", "amount": "300"}]', finalize => false) \gset
SELECT line, amount FROM billing.add_item(1, :invoice_id, 'Travel', amount => '80.50 EUR');
SELECT number, status, total FROM billing.finalize_invoice(1, :invoice_id);
\qecho 'It was a mistake. It keeps its number, and nothing is owed for it:'
SELECT number, status, status_reason FROM billing.void_invoice(1, :invoice_id, 'never took place');

\qecho 'The other one is paid, in two parts:'
SELECT invoice_id FROM billing.find_invoice(1, 'setup-2026') \gset
SELECT pay_no, amount FROM billing.record_payment(1, :invoice_id, '500 EUR', 'wire-1');
SELECT number, status, paid, amount_due FROM billing.find_invoice(1, 'setup-2026');
SELECT pay_no, amount FROM billing.record_payment(1, :invoice_id, '451.98 EUR', 'wire-2');
SELECT number, status, paid, amount_due FROM billing.find_invoice(1, 'setup-2026');
SELECT account, sum(amount) AS balance FROM billing.ledger_entry GROUP BY account ORDER BY account;
