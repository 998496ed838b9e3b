-- Money received is counted once per pay_no, what it settles is paid, and what nothing was due for is credit or goes back.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-03-01T12:00:00Z';
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD');
SELECT tenant_id FROM billing.create_tenant(2, 'Tokyo', 'JPY', 'Asia/Tokyo');
SELECT setval('billing.id_seq', 100) \gset _
SELECT invoice_id, total FROM billing.create_invoice(1, 'a', '[{"description": "A", "amount": 100}]') \gset a_
SELECT setval('billing.id_seq', 200) \gset _
SELECT invoice_id FROM billing.create_invoice(2, 'b', '[{"description": "B", "amount": 1000}]') \gset b_
CREATE TEMPORARY VIEW state AS
	SELECT i.biz_key, i.status, i.paid, i.amount_due, i.paid_at, i.version, (SELECT count(*) FROM billing.payment) AS payments,
		(SELECT count(*) FROM billing.transaction WHERE kind = 'payment') AS transactions
	FROM billing.invoice i ORDER BY i.invoice_id;

-- Part by part; the same pay_no is the same payment, of each tenant its own.
SELECT pay_no, status, amount, method, reference, received_at FROM billing.record_payment(1, :a_invoice_id, '40 USD', 'wire-1', reference => 'RF18');
SELECT pay_no, status, amount FROM billing.record_payment(1, :a_invoice_id, 'usd 40.00', 'wire-1', reference => 'RF18');
SELECT pay_no, method, received_at FROM billing.record_payment(2, :b_invoice_id, '1000 JPY', 'wire-1', 'cash', '2026-02-28 23:00+09');
SELECT pay_no FROM billing.record_payment(2, :b_invoice_id, '1000 JPY', 'wire-1', 'cash');
SELECT * FROM state;

-- The same pay_no with anything else.
SELECT billing.record_payment(1, :a_invoice_id, '41 USD', 'wire-1', reference => 'RF18');
SELECT billing.record_payment(1, :a_invoice_id, '40 EUR', 'wire-1', reference => 'RF18');
SELECT billing.record_payment(1, :a_invoice_id, '40 USD', 'wire-1');
SELECT billing.record_payment(1, :a_invoice_id, '40 USD', 'wire-1', 'cash', reference => 'RF18');
SELECT billing.record_payment(1, :b_invoice_id, '40 USD', 'wire-1', reference => 'RF18');
SELECT billing.record_payment(2, :b_invoice_id, '1000 JPY', 'wire-1', 'cash', '2026-02-28 23:00+00');

-- Bad input.
SELECT billing.record_payment(1, :a_invoice_id, '0 USD', 'wire-2');
SELECT billing.record_payment(1, :a_invoice_id, '-1 USD', 'wire-2');
SELECT billing.record_payment(1, :a_invoice_id, '1 EUR', 'wire-2');
SELECT billing.record_payment(2, :b_invoice_id, '1 JPY', 'wire-2');
SELECT billing.record_payment(1, :b_invoice_id, '1 USD', 'wire-2');
SELECT billing.record_payment(9, :a_invoice_id, '1 USD', 'wire-2');
SELECT billing.record_payment(NULL, :a_invoice_id, '1 USD', 'wire-2');
SELECT billing.record_payment(1, NULL, '1 USD', 'wire-2');
SELECT billing.record_payment(1, :a_invoice_id, NULL, 'wire-2');
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', NULL);
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', 'wire-2', NULL);
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', '');
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', repeat('p', 256));
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', 'wire-2', at => 'infinity');
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', 'wire-2', at => '2026-03-02 12:00:01Z');
SELECT * FROM state;

-- The last part settles it.
SET billing.test_clock TO '2026-03-05T12:00:00Z';
SELECT amount, received_at FROM billing.record_payment(1, :a_invoice_id, '60 USD', 'wire-2');
SELECT * FROM state;
SELECT e.tenant_id, e.account, sum(e.amount) FROM billing.ledger_entry e GROUP BY 1, 2 HAVING billing.minor_units(sum(e.amount)) <> 0 ORDER BY 1, 2;
SELECT t.kind, t.at, t.accounts, t.amounts, p.pay_no FROM billing.transaction t JOIN billing.payment p USING (tenant_id, payment_id) ORDER BY t.transaction_id;
SELECT billing.record_payment(1, :a_invoice_id, '1 USD', 'wire-3');

-- A subscription that waits for its first payment starts with it.
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1, 'paid', 'Paid', 'USD');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"30"}');
SELECT subscription_id, status, started_at, due_at FROM billing.subscribe(1, 'paid', activate => 'on_payment') \gset s_
SELECT i.invoice_id, i.status, i.total FROM billing.invoice i WHERE i.subscription_id = :s_subscription_id \gset i_
SELECT :'s_status' AS subscription, :'i_status' AS invoice, :'i_total' AS total;
SET billing.test_clock TO '2026-03-07T08:00:00Z';
SELECT pay_no FROM billing.record_payment(1, :i_invoice_id, '10 USD', 'first-1');
SELECT status FROM billing.subscription WHERE subscription_id = :s_subscription_id;
SELECT pay_no FROM billing.record_payment(1, :i_invoice_id, '20 USD', 'first-2');
SELECT status, anchor, started_at, period_start, period_end, due_at FROM billing.subscription WHERE subscription_id = :s_subscription_id;
SELECT pay_no FROM billing.record_payment(1, :i_invoice_id, '20 USD', 'first-2');
SELECT status, version FROM billing.subscription WHERE subscription_id = :s_subscription_id;

-- More than was due: credit, or on its way back where the tenant has it so.
SELECT invoice_id FROM billing.create_invoice(1, 'c', '[{"description": "C", "amount": 100}]') \gset c_
SELECT amount, excess FROM billing.record_payment(1, :c_invoice_id, '30 USD', 'over-1');
SELECT amount, excess FROM billing.record_payment(1, :c_invoice_id, '80.01 USD', 'over-2');
SELECT amount, excess FROM billing.record_payment(1, :c_invoice_id, '80.01 USD', 'over-2');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :c_invoice_id;
SELECT billing.wallet_balance(1);
-- That goes back, too, as far as it is left, once.
SELECT billing.refund_payment(1, 'over-2', '10.02 USD', excess => true);
SELECT billing.refund_payment(1, 'over-2', excess => true, destination => 'wallet');
SELECT billing.refund_payment(1, 'over-2', excess => true, reopen => true);
SELECT billing.refund_payment(1, 'over-1', excess => true);
SELECT status, amount, cause, destination FROM billing.refund_payment(1, 'over-2', '4 USD', refund_no => 'back-1', excess => true);
SELECT status, amount FROM billing.refund_payment(1, 'over-2', '4 USD', refund_no => 'back-1', excess => true);
SELECT billing.refund_payment(1, 'over-2', '4 USD', refund_no => 'back-1');
SELECT status FROM billing.record_refund(1, 'back-1');
SELECT billing.wallet_balance(1);
SELECT status, amount FROM billing.refund_payment(1, 'over-2', refund_no => 'back-2', excess => true);
SELECT billing.wallet_balance(1);
SELECT status FROM billing.cancel_refund(1, 'back-2');
SELECT billing.wallet_balance(1);
SELECT status, amount FROM billing.refund_payment(1, 'over-2', refund_no => 'back-3', excess => true);
SELECT billing.wallet_balance(1), status, paid FROM billing.invoice WHERE invoice_id = :c_invoice_id;
SELECT * FROM billing.audit();
SELECT invoice_id FROM billing.create_invoice(2, 'd', '[{"description": "D", "amount": 1000}]') \gset d_
SELECT status FROM billing.mark_uncollectible(2, :d_invoice_id);
SELECT (billing.update_tenant(2, '{"settings": {"overpayment": "refund"}}')).settings;
SELECT amount, excess FROM billing.record_payment(2, :d_invoice_id, '1500 JPY', 'over-1', 'cash');
SELECT status, paid FROM billing.invoice WHERE invoice_id = :d_invoice_id;
SELECT refund_no, r.status, r.amount, cause, (billing.record_refund(2, refund_no)).status AS recorded FROM billing.refund r WHERE r.tenant_id = 2;
SELECT e.tenant_id, e.account, sum(e.amount) FROM billing.ledger_entry e GROUP BY 1, 2 HAVING billing.minor_units(sum(e.amount)) <> 0 ORDER BY 1, 2;
SELECT * FROM billing.audit();

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
