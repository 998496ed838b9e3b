-- Promise: a credit note takes back parts of a final invoice's lines, never more than was invoiced; it lowers what is due
-- first, and only money that was received is owed to the tenant.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-03-01T12:00:00Z';
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD', 'America/New_York');
SELECT tenant_id FROM billing.create_tenant(2, 'Berlin', 'EUR', 'Europe/Berlin');
CREATE TEMPORARY VIEW note AS
	SELECT n.number, i.biz_key, n.item_count AS items, n.subtotal, n.discount, n.tax, n.total, n.credited, n.applied, n.granted, n.refunded
	FROM billing.credit_note n JOIN billing.invoice i USING (tenant_id, invoice_id) ORDER BY n.credit_note_id;
CREATE TEMPORARY VIEW state AS
	SELECT biz_key, status, total, credited, paid, amount_due, paid_at, version FROM billing.invoice ORDER BY invoice_id;
CREATE TEMPORARY VIEW balance AS
	SELECT e.tenant_id, e.account, sum(e.amount) AS balance FROM billing.ledger_entry e GROUP BY 1, 2
	HAVING billing.minor_units(sum(e.amount)) <> 0 ORDER BY 1, 2;
SELECT setval('billing.id_seq', 100) \gset _
SELECT invoice_id AS a FROM billing.create_invoice(1, 'a', '[{"description": "Seats", "amount": 100, "period_start": "2026-03-01Z", "period_end": "2026-04-01Z"},
	{"description": "Calls", "amount": 50, "price_code": "calls"}, {"description": "Goodwill", "amount": -30}]') \gset
SELECT invoice_id AS draft FROM billing.create_invoice(1, 'draft', '[{"description": "Draft", "amount": 1}]', finalize => false) \gset
SELECT invoice_id AS void FROM billing.create_invoice(1, 'void', '[{"description": "Void", "amount": 1}]') \gset
SELECT status FROM billing.void_invoice(1, :void);
SELECT invoice_id AS foreign FROM billing.create_invoice(2, 'foreign', '[{"description": "Foreign", "amount": 1}]') \gset

-- An unpaid invoice: what is taken back is not due any more, and nothing goes to the wallet.
SELECT setval('billing.id_seq', 200) \gset _
SELECT number, total, destination, credited, granted, issued_at, billing_name, reason FROM billing.issue_credit_note(1, :a,
	'[{"line": 1, "amount": "10", "period_start": "2026-03-29Z", "period_end": "2026-04-01Z", "description": "Three days"}, {"line": 2, "amount": "12.50 USD"}]',
	reason => 'an outage', request_id => 'n1');
SELECT number FROM billing.issue_credit_note(1, :a,
	'[{"line": 1, "amount": "10", "period_start": "2026-03-29Z", "period_end": "2026-04-01Z", "description": "Three days"}, {"line": 2, "amount": "12.50 USD"}]',
	reason => 'an outage', request_id => 'n1');
SELECT number FROM billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "11"}]', request_id => 'n1');
SELECT line, invoice_line, price_code, description, amount, credited_before, period_start, period_end FROM billing.credit_note_item ORDER BY credit_note_id, line;
SELECT line, amount, credited, creditable, is_deferred FROM billing.creditable_lines(1, :a) ORDER BY line;
SELECT * FROM state WHERE biz_key = 'a';
SELECT count(*) AS grants FROM billing.credit_grant;

-- Not what was not invoiced, and not what cannot be corrected; nothing of a refused note stays, its number least.
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "90.01"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "50"}, {"line": 1, "amount": "40.01"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1}, {"line": 2}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 3}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 3, "amount": "5"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "-5"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "0"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 4}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "5 EUR"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "amount": "5.001"}]');
SELECT billing.issue_credit_note(1, :a, '[]');
SELECT billing.issue_credit_note(1, :a, '{"line": 1}');
SELECT billing.issue_credit_note(1, :a, '[1]');
SELECT billing.issue_credit_note(1, :a, '[{"amount": "5"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": "one"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": true}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "quantity": 1}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "period_start": "2026-03-01Z"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "period_start": "2026-03-05Z", "period_end": "2026-03-04Z"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "period_start": "2026-03-05Z", "period_end": "infinity"}]');
SELECT billing.issue_credit_note(1, :a, '[{"line": 1, "period_start": "2026-03-05Z", "period_end": "2026-04-02Z"}]');
SELECT billing.issue_credit_note(1, :a, destination => 'bank');
SELECT billing.issue_credit_note(1, :a, destination => 'invoice');
SELECT billing.issue_credit_note(1, :a, to_invoice_id => :void);
SELECT billing.issue_credit_note(1, :a, destination => 'invoice', to_invoice_id => :a);
SELECT billing.issue_credit_note(1, :a, destination => 'invoice', to_invoice_id => :void);
SELECT billing.issue_credit_note(1, :a, destination => 'invoice', to_invoice_id => :foreign);
SELECT billing.issue_credit_note(1, :draft);
SELECT billing.issue_credit_note(1, :void);
SELECT billing.issue_credit_note(1, 999);
SELECT billing.issue_credit_note(2, :a);
SELECT billing.issue_credit_note(9, :a);
SELECT billing.issue_credit_note(NULL, :a);
SELECT billing.issue_credit_note(1, NULL);
SELECT billing.issue_credit_note(1, :a, destination => NULL);
SELECT * FROM note;
SELECT credit_note_number FROM billing.counter WHERE tenant_id = 1;
SELECT * FROM state WHERE biz_key = 'a';

-- Paid in part: what is due first, then money, to the wallet; the rest of the invoice and no more.
SELECT pay_no FROM billing.record_payment(1, :a, '60 USD', 'p1');
SET billing.test_clock TO '2026-03-02T12:00:00Z';
SELECT number, total, credited, granted FROM billing.issue_credit_note(1, :a, '[{"line": 2}, {"line": 3, "amount": "-2.5"}]');
SELECT number, total, credited, granted, subtotal, item_count FROM billing.issue_credit_note(1, :a);
SELECT billing.issue_credit_note(1, :a);
SELECT billing.issue_credit_note(1, :a, '[{"line": 1}]');
SELECT * FROM state WHERE biz_key = 'a';
SELECT g.amount, g.source, n.number FROM billing.credit_grant g JOIN billing.credit_note n USING (tenant_id, grant_id);
SELECT * FROM note;
SELECT * FROM balance WHERE tenant_id = 1;
SELECT line, credited, creditable FROM billing.creditable_lines(1, :a) ORDER BY line;
-- Of an invoice that is not there nothing is said, nor of one of another tenant.
SELECT * FROM billing.creditable_lines(1, 999);
SELECT * FROM billing.invoice_funds(1, 999);
SELECT * FROM billing.invoice_funds(2, :a);
SELECT * FROM billing.creditable_lines(1, NULL);

-- Back to where it was paid from, the last payment first.
SELECT billing.consume(1, w, 'spent', 'spent-1') AS credit_left FROM billing.wallet_balance(1) w WHERE billing.minor_units(w) > 0;
SELECT setval('billing.id_seq', 300) \gset _
SELECT invoice_id AS b FROM billing.create_invoice(1, 'b', '[{"description": "B", "amount": 100}]') \gset
SELECT pay_no FROM billing.record_payment(1, :b, '70 USD', 'b1');
SELECT pay_no FROM billing.record_payment(1, :b, '30 USD', 'b2');
SELECT number, credited, granted, refunded FROM billing.issue_credit_note(1, :b, '[{"line": 1, "amount": 20}]', 'refund');
SELECT number, credited, granted, refunded FROM billing.issue_credit_note(1, :b, '[{"line": 1, "amount": 40}]', 'refund');
SELECT number, credited, granted, refunded FROM billing.issue_credit_note(1, :b, '[{"line": 1, "amount": 30}]', 'wallet');
SELECT number, credited, granted, refunded FROM billing.issue_credit_note(1, :b, NULL, 'refund');
SELECT r.refund_no, p.pay_no, r.status, r.amount FROM billing.refund r JOIN billing.payment p USING (tenant_id, payment_id) ORDER BY refund_id;
SELECT status, settled_at, reference FROM billing.record_refund(1, 'CN-1-000004/1', reference => 'wire 9');
SELECT status, settled_at, reference FROM billing.record_refund(1, 'CN-1-000004/1', reference => 'wire 9');
SELECT billing.record_refund(1, 'CN-1-000004/1', reference => 'wire 10');
SELECT billing.record_refund(1, 'CN-1-000004/1', '2026-03-01', 'wire 9');
SELECT billing.fail_refund(1, 'CN-1-000004/1');
SELECT billing.record_refund(1, 'CN-1-000005/1', 'infinity');
SELECT billing.record_refund(1, 'CN-1-000005/1', '2026-03-03 12:00:01Z');
SELECT billing.record_refund(1, 'CN-1-000009/1');
SELECT billing.record_refund(1, NULL);
SELECT billing.fail_refund(1, NULL);
SELECT status, settled_at FROM billing.record_refund(1, 'CN-1-000005/1', '2026-03-01 10:00Z');
SELECT pay_no, status FROM billing.payment ORDER BY payment_id;
SELECT status, status_reason, grant_id IS NOT NULL AS is_credit FROM billing.fail_refund(1, 'CN-1-000005/2', 'account closed', 'f1');
SELECT status FROM billing.fail_refund(1, 'CN-1-000005/2', 'account closed', 'f1');
SELECT billing.record_refund(1, 'CN-1-000005/2');
SELECT status, status_reason FROM billing.cancel_refund(1, 'CN-1-000007/1', 'she changed her mind');
SELECT billing.cancel_refund(1, 'CN-1-000007/1');
SELECT source, amount FROM billing.credit_grant ORDER BY grant_id;
SELECT * FROM balance WHERE tenant_id = 1;

-- Against another open invoice; what that does not owe goes to the wallet.
SELECT billing.consume(1, w, 'spent', 'spent-2') AS credit_left FROM billing.wallet_balance(1) w WHERE billing.minor_units(w) > 0;
SELECT setval('billing.id_seq', 400) \gset _
SELECT invoice_id AS c FROM billing.create_invoice(1, 'c', '[{"description": "C", "amount": 100}]') \gset
SELECT invoice_id AS d FROM billing.create_invoice(1, 'd', '[{"description": "D", "amount": 50}]') \gset
SELECT pay_no FROM billing.record_payment(1, :c, '90 USD', 'c1');
SELECT number, total, credited, applied, granted FROM billing.issue_credit_note(1, :c, '[{"line": 1, "amount": 40}]', 'invoice', to_invoice_id => :d);
SELECT * FROM state WHERE biz_key IN ('c', 'd');
SELECT billing.void_invoice(1, :d);
SELECT number, total, credited, applied, granted FROM billing.issue_credit_note(1, :c, NULL, 'invoice', to_invoice_id => :d);
SELECT * FROM state WHERE biz_key IN ('c', 'd');
SELECT number, total, credited, granted FROM billing.issue_credit_note(1, :d, '[{"line": 1, "amount": 10}]', 'balance');
SELECT * FROM balance WHERE tenant_id = 1;

-- Of an invoice that was given up it lowers the bad debt; one that is wholly taken back is paid, and not void.
SELECT billing.consume(2, w, 'spent', 'spent') AS credit_left FROM billing.wallet_balance(2) w WHERE billing.minor_units(w) > 0;
SELECT setval('billing.id_seq', 500) \gset _
SELECT invoice_id AS e FROM billing.create_invoice(2, 'e', '[{"description": "E", "amount": 100}]') \gset
SELECT status FROM billing.mark_uncollectible(2, :e);
SELECT number, credited FROM billing.issue_credit_note(2, :e, '[{"line": 1, "amount": 40}]');
SELECT kind, accounts, amounts FROM billing.transaction WHERE invoice_id = :e ORDER BY transaction_id;
SELECT billing.void_invoice(2, :e);
SELECT number, credited FROM billing.issue_credit_note(2, :e);
SELECT * FROM state WHERE biz_key = 'e';
SELECT * FROM balance WHERE tenant_id = 2;

-- A subscription that waits for its invoice starts when a note leaves nothing due, but not when it takes back all.
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1, 'paid', 'Paid', 'USD');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"30"}');
SELECT wallet_applied + credited AS credit_spent FROM billing.create_invoice(1, 'spent-3', '[{"description": "Spent", "amount": 1000}]');
SELECT subscription_id AS s FROM billing.subscribe(1, 'paid', activate => 'on_payment') \gset
SELECT invoice_id AS f FROM billing.invoice WHERE subscription_id = :s \gset
SELECT pay_no FROM billing.record_payment(1, :f, '25 USD', 'f1');
SELECT number, credited FROM billing.issue_credit_note(1, :f, '[{"line": 1, "amount": 5}]');
SELECT s.status, i.status FROM billing.subscription s JOIN billing.invoice i USING (tenant_id, subscription_id) WHERE s.subscription_id = :s;
SELECT wallet_applied + credited AS credit_spent FROM billing.create_invoice(1, 'spent-4', '[{"description": "Spent", "amount": 1000}]');
SELECT subscription_id AS s FROM billing.subscribe(1, 'paid', activate => 'on_payment') \gset
SELECT invoice_id AS g FROM billing.invoice WHERE subscription_id = :s \gset
SELECT number, credited FROM billing.issue_credit_note(1, :g);
SELECT s.status, i.status FROM billing.subscription s JOIN billing.invoice i USING (tenant_id, subscription_id) WHERE s.subscription_id = :s;

-- A line that is revenue to come is taken from there.
SELECT kind, accounts, amounts FROM billing.transaction WHERE invoice_id = :f ORDER BY transaction_id;

-- For a person; and who did it.
SELECT explanation FROM billing.explain_invoice(1, :a) WHERE line IS NULL;
SELECT explanation FROM billing.explain_invoice(1, :d) WHERE line IS NULL;
SELECT * FROM billing.explain_credit_note(1, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-1-000001'));
SELECT * FROM billing.explain_credit_note(1, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-1-000002'));
SELECT * FROM billing.explain_credit_note(1, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-1-000008'));
SELECT * FROM billing.explain_credit_note(1, 999);
SELECT * FROM billing.explain_credit_note(1, NULL);
SELECT action, object, count(*) FROM billing.audit_log WHERE object IN ('credit_note', 'refund') GROUP BY 1, 2 ORDER BY 1, 2;
UPDATE billing.tenant SET settings = '{"credit_note_prefix": "GS/"}', billing_name = 'Berlin GmbH' WHERE tenant_id = 2;
SELECT number, billing_name FROM billing.issue_credit_note(2, :foreign);

-- Final at once; nothing is lost or too much.
UPDATE billing.credit_note SET reason = 'another';
DELETE FROM billing.credit_note_item;
TRUNCATE billing.credit_note CASCADE;
UPDATE billing.refund SET amount = '1 USD' WHERE refund_no = 'CN-1-000004/1';
UPDATE billing.refund SET status = 'pending' WHERE refund_no = 'CN-1-000004/1';
DELETE FROM billing.refund;
INSERT INTO billing.credit_note_item (tenant_id, credit_note_id, line, invoice_id, invoice_line, amount, credited_before, discount, tax, tax_included)
	SELECT tenant_id, credit_note_id, 2, invoice_id, 1, '1 EUR', '99 EUR', '0 EUR', '0 EUR', '0 EUR' FROM billing.credit_note WHERE number = 'CN-2-000001';
INSERT INTO billing.credit_note_item (tenant_id, credit_note_id, line, invoice_id, invoice_line, amount, credited_before, discount, tax, tax_included)
	SELECT tenant_id, credit_note_id, 2, :e, 1, '1 EUR', '40 EUR', '0 EUR', '0 EUR', '0 EUR' FROM billing.credit_note WHERE number = 'CN-2-000001';
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- A changed item does not follow from its line.
SET session_replication_role = replica;
UPDATE billing.credit_note_item SET credited_before = '11 USD' WHERE tenant_id = 1 AND invoice_id = :a AND credited_before = '10 USD';
RESET session_replication_role;
SELECT problem, detail FROM billing.verify_invoice(1, :a);
SELECT problem, detail FROM billing.verify_all() WHERE invoice_id = :a;

-- A role of level app acts for its tenant alone.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_billing_app;
RESET client_min_messages;
CREATE ROLE regress_billing_app;
SELECT billing.grant_access('regress_billing_app', 'app');
SET billing.tenant_id TO '2';
SET ROLE regress_billing_app;
SELECT number FROM billing.credit_note ORDER BY 1;
SELECT count(*) FROM billing.explain_credit_note(2, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-2-000001'));
SELECT billing.issue_credit_note(1, :a);
SELECT billing.record_refund(1, 'CN-1-000004/1');
RESET ROLE;
RESET billing.tenant_id;
DROP OWNED BY regress_billing_app;
DROP ROLE regress_billing_app;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
