-- Promise: a credit note of what promotions paid gives promotions back, moves no money, and nothing is broken.

SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
SELECT status FROM billing.create_tenant(9801, 'Promoted', 'USD');
SELECT amount FROM billing.grant_credit(9801, '10 USD');
SELECT invoice_id AS invoice, status, wallet_applied FROM billing.create_invoice(9801, 'promoted', '[{"description": "Setup", "amount": "9"}]') \gset
SELECT :'status' AS status, :'wallet_applied' AS wallet_applied;
SELECT total, promotional, granted, refunded FROM billing.issue_credit_note(9801, :invoice);
SELECT billing.wallet_balance(9801);
SELECT account, amount FROM billing.ledger_entry WHERE tenant_id = 9801 AND kind = 'credit_note';
SELECT * FROM billing.audit(9801);
SELECT * FROM billing.verify_all(9801);
ROLLBACK;
