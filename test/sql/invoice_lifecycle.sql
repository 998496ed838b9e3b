-- A draft takes lines until it is final; a final invoice is paid, voided or given up, once, and the ledger says so.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-03-01T12:00:00Z';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 19);
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD', 'America/New_York');
SELECT tenant_id FROM billing.create_tenant(2, 'Berlin', 'EUR', 'Europe/Berlin');
UPDATE billing.tenant SET tax_rate = 'vat';
CREATE TEMPORARY VIEW balance AS
	SELECT e.tenant_id, e.account, sum(e.amount) AS balance FROM billing.ledger_entry e GROUP BY 1, 2
	HAVING billing.minor_units(sum(e.amount)) <> 0 ORDER BY 1, 2;
CREATE FUNCTION pg_temp.id(key text, tenant bigint DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
	SELECT invoice_id FROM billing.find_invoice(tenant, key) $$;

-- A draft has no number and is no debt; each line adds up.
SELECT setval('billing.id_seq', 100) \gset _
SELECT number, status, item_count, subtotal, tax, total, issued_at, due_at FROM billing.create_invoice(1, 'draft', '[]', finalize => false);
SELECT billing.finalize_invoice(1, pg_temp.id('draft'));
SELECT line, kind, description, quantity, unit_amount, amount FROM billing.add_item(1, pg_temp.id('draft'), 'Hours', 1.5, 33.333);
SELECT line, amount, price_code, period_start, period_end FROM billing.add_item(1, pg_temp.id('draft'), 'Flat', amount => '10 USD', price_code => 'flat',
	period_start => '2026-02-01 00:00Z', period_end => '2026-03-01 00:00Z', request_id => 'r1');
SELECT line, amount FROM billing.add_item(1, pg_temp.id('draft'), 'Flat', amount => '10 USD', price_code => 'flat',
	period_start => '2026-02-01 00:00Z', period_end => '2026-03-01 00:00Z', request_id => 'r1');
SELECT billing.add_item(1, pg_temp.id('draft'), 'Flat', amount => '11 USD', request_id => 'r1');
SELECT status, item_count, subtotal, tax, total, version FROM billing.find_invoice(1, 'draft');
SELECT billing.add_item(1, pg_temp.id('draft'), 'Too much off', amount => '-100 USD');
SELECT billing.add_item(1, pg_temp.id('draft'), 'Euro', amount => '1 EUR');
SELECT billing.add_item(1, pg_temp.id('draft'), NULL, amount => '1 USD');
SELECT billing.add_item(1, pg_temp.id('draft'), 'Nothing');
SELECT billing.add_item(1, pg_temp.id('draft'), 'Both', unit_amount => 1, amount => '1 USD');
SELECT billing.add_item(1, pg_temp.id('draft'), 'NaN', 'NaN', 1);
SELECT billing.add_item(1, pg_temp.id('draft'), 'Backwards', amount => '1 USD', period_start => '2026-03-01', period_end => '2026-02-01');
SELECT billing.add_item(1, 999, 'Unknown', amount => '1 USD');
SELECT billing.add_item(2, pg_temp.id('draft'), 'Other tenant', amount => '1 USD');
SELECT billing.add_item(9, 1, 'Other tenant', amount => '1 USD');
SELECT item_count, total, version FROM billing.find_invoice(1, 'draft');
SELECT l.chain_no, l.hash = sha256(convert_to(l.inputs, 'UTF8')) AS is_hash, billing.invoice_inputs(1, invoice_id, l.party_salt) = l.inputs AS is_stored
FROM billing.calculation_log l WHERE invoice_id = pg_temp.id('draft');

-- Final: number, dates, parties as they are at present, chain, ledger; once.
SELECT billing.record_payment(1, pg_temp.id('draft'), '1 USD', 'p0');
SELECT billing.void_invoice(1, pg_temp.id('draft'));
SELECT billing.mark_uncollectible(1, pg_temp.id('draft'));
UPDATE billing.tenant SET billing_name = 'Acme Inc', settings = '{"net_days": 14, "invoice_prefix": "A"}' WHERE tenant_id = 1;
SET billing.test_clock TO '2026-03-02T12:00:00Z';
SELECT number, status, subtotal, tax, total, amount_due, issued_at, due_at, billing_name, version FROM billing.finalize_invoice(1, pg_temp.id('draft'), 'f1');
SELECT number, version FROM billing.finalize_invoice(1, pg_temp.id('draft'), 'f1');
SELECT billing.finalize_invoice(1, pg_temp.id('draft'));
SELECT billing.add_item(1, pg_temp.id('draft'), 'Late', amount => '1 USD');
SELECT billing.finalize_invoice(1, 999);
SELECT billing.finalize_invoice(1, NULL);
SELECT * FROM balance;

-- Void: nothing is owed, the number stays taken, the ledger is even; not what somebody paid for.
SELECT setval('billing.id_seq', 200) \gset _
SELECT number FROM billing.create_invoice(1, 'void', '[{"description": "Mistake", "amount": 100}]');
SELECT status, number, voided_at, status_reason, amount_due FROM billing.void_invoice(1, pg_temp.id('void'), 'a mistake', request_id => 'v1');
SELECT status, status_reason FROM billing.void_invoice(1, pg_temp.id('void'), 'a mistake', request_id => 'v1');
SELECT billing.void_invoice(1, pg_temp.id('void'), 'again');
SELECT billing.record_payment(1, pg_temp.id('void'), '1 USD', 'p0');
SELECT setval('billing.id_seq', 300) \gset _
SELECT number FROM billing.create_invoice(1, 'part', '[{"description": "Part", "amount": 100}]');
SELECT billing.void_invoice(1, pg_temp.id('part'), reissue => true);
SELECT pay_no, status FROM billing.record_payment(1, pg_temp.id('part'), '19 USD', 'p1');
SELECT status, paid, amount_due FROM billing.find_invoice(1, 'part');
SELECT billing.void_invoice(1, pg_temp.id('part'));
SELECT setval('billing.id_seq', 400) \gset _
INSERT INTO billing.payment (tenant_id, pay_no, invoice_id, status, amount, method)
	SELECT 1, 'p2', invoice_id, 'processing', '1 USD', 'card' FROM billing.create_invoice(1, 'flight', '[{"description": "Flight", "amount": 1}]');
SELECT billing.void_invoice(1, pg_temp.id('flight'));
SELECT setval('billing.id_seq', 500) \gset _
SELECT number, status, paid_at IS NOT NULL AS is_paid FROM billing.create_invoice(1, 'free', '[{"description": "Free", "amount": 0}]');
SELECT status, paid_at FROM billing.void_invoice(1, pg_temp.id('free'));
SELECT * FROM balance;

-- Given up: a bad debt; a payment is a recovery; voided, nothing of it is left.
SELECT status, status_reason, amount_due FROM billing.mark_uncollectible(1, pg_temp.id('part'), 'bankrupt');
SELECT billing.mark_uncollectible(1, pg_temp.id('part'));
SELECT * FROM balance;
SELECT pay_no FROM billing.record_payment(1, pg_temp.id('part'), '40 USD', 'p3');
SELECT status, paid, amount_due, paid_at FROM billing.find_invoice(1, 'part');
SELECT pay_no FROM billing.record_payment(1, pg_temp.id('part'), '60 USD', 'p4');
SELECT status, paid, amount_due, paid_at FROM billing.find_invoice(1, 'part');
SELECT billing.mark_uncollectible(1, pg_temp.id('part'));
SELECT number FROM billing.create_invoice(2, 'lost', '[{"description": "Verloren", "amount": 50}]');
SELECT status FROM billing.mark_uncollectible(2, pg_temp.id('lost', 2));
SELECT status FROM billing.void_invoice(2, pg_temp.id('lost', 2));
SELECT * FROM balance;
SELECT kind, account, amount FROM billing.ledger_entry WHERE tenant_id = 2 AND billing.minor_units(amount) <> 0 ORDER BY transaction_id, line;

-- No gap, one chain.
SELECT number, status, l.chain_no, l.chain_hash = billing.chain('\x', l.hash) OVER (ORDER BY l.chain_no) AS is_link
FROM billing.invoice JOIN billing.calculation_log l USING (tenant_id, invoice_id) WHERE tenant_id = 1 ORDER BY 3;

-- For a person.
SELECT * FROM billing.explain_invoice(1, pg_temp.id('draft'));
SELECT * FROM billing.explain_invoice(1, pg_temp.id('void'));
SELECT * FROM billing.explain_invoice(1, 999);
SELECT * FROM billing.explain_invoice(1, NULL);

-- Who did it; and a role of level app acts for its tenant alone.
SELECT action, object, count(*) FROM billing.audit_log WHERE object LIKE 'invoice%' OR object = 'payment' GROUP BY 1, 2 ORDER BY 1, 2;
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_billing_app;
RESET client_min_messages;
CREATE ROLE regress_billing_app;
SELECT billing.grant_access('regress_billing_app', 'app');
SET billing.tenant_id TO '2';
SET ROLE regress_billing_app;
SELECT number FROM billing.create_invoice(2, 'mine', '[{"description": "Mine", "amount": 1}]');
SELECT count(*) AS lines FROM billing.explain_invoice(2, (billing.find_invoice(2, 'mine')).invoice_id);
SELECT number FROM billing.pending_invoices();
SELECT setval('billing.id_seq', 600) \gset _
SELECT billing.create_invoice(1, 'mine', '[{"description": "Mine", "amount": 1}]');
SELECT billing.find_invoice(1, 'part');
SELECT * FROM billing.explain_invoice(1, 3);
SELECT billing.void_invoice(1, 3);
RESET ROLE;
RESET billing.tenant_id;
DROP OWNED BY regress_billing_app;
DROP ROLE regress_billing_app;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
