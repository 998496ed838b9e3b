-- Invoices draw credit when they become final; a void one gives it back.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (1, 'pro', 'Pro', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"40"}');
SELECT count(billing.create_tenant(t, 'tenant ' || t, 'USD')) FROM generate_series(1, 4) t;

-- One-off: what is promotional first, then money; what is left is due.
SELECT amount FROM billing.top_up(1, '30 USD', 'w1');
SELECT amount FROM billing.grant_credit(1, '10 USD', expires_at => '2026-01-20Z');
SELECT amount FROM billing.grant_credit(1, '100 USD', scope => 'consume');
SELECT i.invoice_id AS one, status, total, credited, wallet_applied, amount_due
FROM billing.create_invoice(1, 'o1', '[{"description": "Setup", "amount": "15 USD"}]') i \gset one_
SELECT :'one_status' AS status, :'one_total' AS total, :'one_wallet_applied' AS applied, :'one_amount_due' AS due;
SELECT paid_at IS NOT NULL AS is_paid FROM billing.invoice WHERE invoice_id = :one_one;
SELECT i.invoice_id AS two, status, amount_due FROM billing.create_invoice(1, 'o2', '[{"description": "More", "amount": "50 USD"}]') i \gset two_
SELECT :'two_status' AS status, :'two_amount_due' AS due;
SELECT e.invoice_id = :one_one AS of_first, e.kind, g.source, g.is_paid, e.amount
FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE e.kind = 'draw' ORDER BY entry_id;
SELECT kind, account, amount FROM billing.ledger_entry WHERE kind = 'draw' ORDER BY transaction_id, line;
SELECT billing.wallet_balance(1) AS all, billing.wallet_balance(1, scope => 'invoice') AS invoice;

-- Void gives back what was drawn; a promotion that has expired meanwhile stays expired.
SELECT status FROM billing.void_invoice(1, :two_two);
SELECT billing.wallet_balance(1, scope => 'invoice');
SELECT amount FROM billing.grant_credit(1, '7 USD', expires_at => '2026-01-10Z');
SELECT i.invoice_id AS three, wallet_applied, amount_due FROM billing.create_invoice(1, 'o3', '[{"description": "More", "amount": "60 USD"}]') i \gset three_
SELECT :'three_wallet_applied' AS applied, :'three_amount_due' AS due;
SET billing.test_clock = '2026-01-15T00:00:00Z';
SELECT status FROM billing.void_invoice(1, :three_three);
SELECT kind, at, amount, balance FROM billing.wallet_history WHERE tenant_id = 1 AND source <> 'grant' OR kind IN ('return', 'expire') ORDER BY at, entry_id;
SELECT billing.wallet_balance(1, scope => 'invoice');
SELECT * FROM billing.audit();

-- The bill run; one that credit covers is paid at once, and a subscription that waits for that starts.
SET billing.test_clock = '2026-02-01T00:00:00Z';
SELECT amount FROM billing.top_up(2, '100 USD', 'w2');
SELECT status FROM billing.subscribe(2, 'pro', activate => 'on_payment');
SELECT amount FROM billing.top_up(3, '5 USD', 'w3');
SELECT status FROM billing.subscribe(3, 'pro');
SELECT status FROM billing.subscribe(4, 'pro');
SELECT tenant_id, status, total, wallet_applied, amount_due FROM billing.invoice WHERE tenant_id > 1 ORDER BY tenant_id, invoice_id;
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT tenant_id, status, total, wallet_applied, amount_due FROM billing.invoice WHERE tenant_id > 1 ORDER BY tenant_id, invoice_id;
SELECT tenant_id, has_credit FROM billing.counter ORDER BY tenant_id;

-- One that credit covers wholly is paid, but not with money: it is voided as one that is open, and issued again with what the
-- same credit pays.
SELECT i.invoice_id AS covered FROM billing.invoice i WHERE tenant_id = 2 AND status = 'paid' ORDER BY invoice_id DESC LIMIT 1 \gset
SELECT billing.wallet_balance(2);
SELECT status, number, total, wallet_applied, amount_due FROM billing.void_invoice(2, :covered, 'wrong', reissue => true);
SELECT number, status, wallet_applied, paid_at IS NOT NULL AS is_paid FROM billing.invoice WHERE tenant_id = 2 AND biz_key LIKE '%cycle/_' ORDER BY invoice_id;
SELECT status, wallet_applied FROM billing.void_invoice(2, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 2 AND status = 'paid' ORDER BY invoice_id DESC LIMIT 1));
SELECT billing.wallet_balance(2);
SELECT account, balance FROM billing.trial_balance WHERE tenant_id = 2 ORDER BY 1;
-- With money in it, however little, it stays.
SELECT i.invoice_id AS part FROM billing.invoice i WHERE tenant_id = 3 AND status = 'open' AND billing.minor_units(wallet_applied) > 0 \gset
SELECT status FROM billing.record_payment(3, :part, '35 USD', 'm1');
SELECT billing.void_invoice(3, :part);
UPDATE billing.invoice SET status = 'void', voided_at = billing.now(), paid_at = NULL WHERE tenant_id = 3 AND invoice_id = :part;
SELECT * FROM billing.audit();

-- A draft draws when it is made final, not before.
SELECT amount FROM billing.top_up(4, '1000 USD', 'w4');
SELECT i.invoice_id AS draft FROM billing.create_invoice(4, 'o4', '[{"description": "Later", "amount": "25 USD"}]', finalize => false) i \gset
SELECT wallet_applied FROM billing.invoice WHERE invoice_id = :draft;
SELECT status, wallet_applied FROM billing.finalize_invoice(4, :draft);

-- What a credit note leaves for invoices is drawn first, and counts as credited.
SELECT invoice_id AS paid FROM billing.invoice WHERE tenant_id = 4 AND status = 'paid' AND billing.minor_units(wallet_applied) > 0 LIMIT 1 \gset
SELECT total, granted, promotional FROM billing.issue_credit_note(4, :paid, '[{"line": 1, "amount": "10"}]', 'balance');
SELECT status, credited, wallet_applied FROM billing.create_invoice(4, 'o5', '[{"description": "Next", "amount": "12 USD"}]');
SELECT explanation FROM billing.explain_invoice(4, (billing.find_invoice(4, 'o5')).invoice_id);
SELECT status FROM billing.create_tenant(41, 'Partly', 'USD');
SELECT status FROM billing.create_invoice(41, 'first', '[{"description": "First", "amount": "10 USD"}]');
SELECT status FROM billing.record_payment(41, (billing.find_invoice(41, 'first')).invoice_id, '10 USD', 'p41');
SELECT granted FROM billing.issue_credit_note(41, (billing.find_invoice(41, 'first')).invoice_id, destination => 'balance');
SELECT status, credited, amount_due FROM billing.create_invoice(41, 'second', '[{"description": "Second", "amount": "12 USD"}]');
SELECT number, credited FROM billing.issue_credit_note(41, (billing.find_invoice(41, 'second')).invoice_id, '[{"line": 1, "amount": "1"}]');
SELECT explanation FROM billing.explain_invoice(41, (billing.find_invoice(41, 'second')).invoice_id) WHERE line IS NULL;
-- What promotional credit paid goes back as such.
SELECT amount FROM billing.grant_credit(4, '3 USD', priority => 1);
SELECT i.invoice_id AS mixed, wallet_applied FROM billing.create_invoice(4, 'o6', '[{"description": "Mixed", "amount": "5 USD"}]') i \gset mixed_
SELECT total, granted, promotional FROM billing.issue_credit_note(4, :mixed_mixed);
SELECT source, is_paid, amount, balance FROM billing.credit_grant WHERE tenant_id = 4 ORDER BY grant_id;

-- A preview draws what will be there at the boundary, and writes nothing: not what expires until then, but what renews.
SELECT tenant_id FROM billing.create_tenant(5, 'Previewed', 'USD');
SELECT subscription_id AS five FROM billing.subscribe(5, 'pro') \gset
CREATE TEMPORARY VIEW preview AS SELECT p.line, p.kind, p.amount FROM billing.get_active_subscription(5) s, billing.preview_invoice(5, s.subscription_id) p;
SELECT * FROM preview;
SELECT pay_no FROM billing.record_payment(5, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 5), '40 USD', 'five');
SELECT granted FROM billing.issue_credit_note(5, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 5), '[{"line": 1, "amount": 4}]', 'balance');
SELECT amount FROM billing.grant_credit(5, '6 USD', expires_at => '2026-04-20Z');
SELECT amount FROM billing.grant_credit(5, '5 USD', recurrence => '10 days');
SELECT amount FROM billing.grant_credit(5, '100 USD', scope => 'consume');
SELECT amount FROM billing.top_up(5, '9 USD', 'w5');
SELECT last_value AS before FROM billing.id_seq \gset
BEGIN READ ONLY;
SELECT * FROM preview;
SELECT kind, amount FROM billing.preview_invoice(5, :five, 'now');
COMMIT;
SELECT last_value = :before AS same_ids, (SELECT sum(balance) FROM billing.credit_grant WHERE tenant_id = 5) FROM billing.id_seq;
SET billing.test_clock = '2026-05-01T00:00:00Z';
CALL billing.bill_due();
SELECT total, credited, wallet_applied, amount_due FROM billing.invoice WHERE tenant_id = 5 AND period_end = '2026-05-01Z';
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();
