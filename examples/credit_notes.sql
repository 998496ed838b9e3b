-- A final invoice is corrected: a part of a line before it is paid, another after, the rest given back, and the accounts of it.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-01-01T09:00:00Z';

INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 19);
SELECT count(billing.create_tenant(1, 'Acme Inc.', 'EUR', details => '{"tax_rate": "vat"}')) AS tenants;
SELECT invoice_id FROM billing.create_invoice(1, 'january', '[
	{"description": "Hosting", "amount": "310", "period_start": "2026-01-01Z", "period_end": "2026-02-01Z"},
	{"description": "Setup", "amount": "99.99"}]') \gset
SELECT number, subtotal, tax, total FROM billing.invoice;

\qecho 'Two days of outage, before anything was paid: less is due.'
SET billing.test_clock = '2026-01-12T09:00:00Z';
SELECT number, subtotal, tax, total, credited, granted FROM billing.issue_credit_note(1, :invoice_id,
	'[{"line": 1, "amount": "20", "period_start": "2026-01-10Z", "period_end": "2026-01-12Z"}]', reason => 'outage of 10 and 11 January');
SELECT status, amount_due FROM billing.invoice;

\qecho 'A third of the setup, after it was paid: that is credit.'
SELECT status, amount FROM billing.record_payment(1, :invoice_id, '464.09 EUR', 'wire-1');
SET billing.test_clock = '2026-01-20T09:00:00Z';
SELECT number, subtotal, tax, total, credited, granted FROM billing.issue_credit_note(1, :invoice_id,
	'[{"line": 2, "amount": "33.33"}]', reason => 'goodwill');

\qecho 'What is left of it:'
SELECT line, amount, tax, credited, creditable FROM billing.creditable_lines(1, :invoice_id) ORDER BY line;
\set ON_ERROR_STOP off
SELECT billing.issue_credit_note(1, :invoice_id, '[{"line": 2, "amount": "70"}]');
\set ON_ERROR_STOP on

\qecho 'All that is left goes back to where it came from, once the bank has done it.'
SELECT number, total, granted, refunded FROM billing.issue_credit_note(1, :invoice_id, destination => 'refund', reason => 'canceled');
SELECT refund_no, status, amount FROM billing.refund;
SET billing.test_clock = '2026-01-22T09:00:00Z';
SELECT status, settled_at FROM billing.record_refund(1, 'CN-1-000003/1', reference => 'SEPA 77');
SELECT explanation FROM billing.explain_credit_note(1, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-1-000003'));

\qecho 'What the customer sees, and what the books say:'
SELECT at::date, document, description, amount, balance FROM billing.tenant_statement(1);
SELECT account, debit, credit, balance FROM billing.trial_balance ORDER BY account;
SELECT * FROM billing.recognised_revenue('[2026-01-01,2026-01-16)');
SELECT count(*) AS findings FROM billing.audit();
SELECT count(*) AS problems FROM billing.verify_all();
