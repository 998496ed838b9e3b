-- An invoice that is final keeps what it states, its lines and its calculation; any row that was once legal can be inserted.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
INSERT INTO billing.tenant (tenant_id, name) VALUES (1, 'one');

CREATE FUNCTION pg_temp.invoice(id bigint, status text, item_count int, subtotal billing.amount) RETURNS void LANGUAGE sql AS $$
	INSERT INTO billing.invoice (tenant_id, invoice_id, biz_key, kind, status, number, issued_at, due_at, currency, item_count, subtotal, discount, tax, excess, total, credited, wallet_applied, paid)
	SELECT 1, id, 'key ' || id, 'one_off', status, n, at, at, 'USD', item_count, subtotal, '0 USD', '0 USD', '0 USD', subtotal, '0 USD', '0 USD', CASE WHEN status = 'paid' THEN subtotal ELSE '0 USD' END
	FROM (SELECT CASE WHEN status <> 'draft' THEN 'N-' || id END, CASE WHEN status <> 'draft' THEN timestamptz '2026-01-01 00:00+00' END) v(n, at)
$$;
CREATE FUNCTION pg_temp.item(id bigint, line int, amount billing.amount) RETURNS void LANGUAGE sql AS $$
	INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, discount, tax)
	VALUES (1, id, line, 'manual', amount, amount - amount, amount - amount)
$$;

-- As a restore brings them: final invoices of every state, then their lines in any order, up to as many as they list.
SELECT pg_temp.invoice(1, 'open', 2, '3 USD'), pg_temp.invoice(2, 'paid', 1, '2 USD'), pg_temp.invoice(3, 'void', 1, '1 USD'),
	pg_temp.invoice(4, 'uncollectible', 1, '1 USD'), pg_temp.invoice(5, 'draft', 2, '5 USD');
SELECT pg_temp.item(1, 2, '2 USD'), pg_temp.item(1, 1, '1 USD'), pg_temp.item(2, 1, '2 USD'), pg_temp.item(3, 1, '1 USD'), pg_temp.item(5, 7, '5 USD');
SELECT pg_temp.item(1, 3, '1 USD');
SELECT pg_temp.item(4, 2, '1 USD');
INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, amount, usage_events, usage_digest, adjusts_invoice_id, adjusts_line, discount, tax)
VALUES (1, 5, 8, 'adjustment', '1 USD', 0, 0, 1, 3, '0 USD', '0 USD');
INSERT INTO billing.calculation_log (tenant_id, invoice_id, inputs, hash, chain_no, chain_hash, calculated_at)
	VALUES (1, 1, '{}', '\x01', 1, '\x02', '2026-01-01 00:00+00'), (1, 5, '{}', '\x01', NULL, NULL, '2026-01-01 00:00+00');

-- A final invoice keeps all but what happens to it.
UPDATE billing.invoice SET subtotal = '4 USD', total = '4 USD' WHERE invoice_id = 1;
UPDATE billing.invoice SET due_at = due_at + interval '1 day' WHERE invoice_id = 1;
UPDATE billing.invoice SET notes = 'late' WHERE invoice_id = 2;
UPDATE billing.invoice SET number = 'N-9' WHERE invoice_id = 3;
UPDATE billing.invoice SET paid = '1 USD', sent_at = '2026-01-02 00:00+00', version = version + 1 WHERE invoice_id = 1
	RETURNING paid, amount_due, version;
\set VERBOSITY terse
UPDATE billing.invoice SET paid = '4 USD' WHERE invoice_id = 1;
UPDATE billing.invoice SET status = 'paid' WHERE invoice_id = 1;
\set VERBOSITY default
DELETE FROM billing.invoice WHERE invoice_id = 3;
UPDATE billing.invoice SET invoice_id = 9 WHERE invoice_id = 5;
SET client_min_messages = warning;
TRUNCATE billing.invoice CASCADE;
RESET client_min_messages;

-- Only legal transitions.
UPDATE billing.invoice SET status = 'open' WHERE invoice_id = 3;
\set VERBOSITY terse
UPDATE billing.invoice SET status = 'void' WHERE invoice_id = 2;
\set VERBOSITY default
UPDATE billing.invoice SET status = 'paid', number = 'N-5', issued_at = '2026-01-01 00:00+00', due_at = '2026-01-01 00:00+00', paid = total WHERE invoice_id = 5;

-- Lines and calculation of a final invoice stay; those of a draft do not have to.
UPDATE billing.invoice_item SET amount = '9 USD' WHERE invoice_id = 1;
DELETE FROM billing.invoice_item WHERE invoice_id = 3;
UPDATE billing.calculation_log SET inputs = '{"a":1}' WHERE invoice_id = 1;
DELETE FROM billing.calculation_log WHERE invoice_id = 1;
UPDATE billing.invoice_item SET description = 'seven' WHERE invoice_id = 5 RETURNING line, description;
UPDATE billing.calculation_log SET chain_no = 2, chain_hash = '\x03' WHERE invoice_id = 5;
UPDATE billing.calculation_log SET chain_no = 3, chain_hash = '\x03' WHERE invoice_id = 5;

-- A draft becomes final only as the sum of its lines, and as many as it says.
PREPARE finalize AS UPDATE billing.invoice SET status = 'open', number = 'N-5', issued_at = '2026-01-01 00:00+00', due_at = '2026-01-01 00:00+00' WHERE invoice_id = 5 RETURNING status, total;
EXECUTE finalize;
SELECT pg_temp.item(5, 1, '1 USD');
EXECUTE finalize;
UPDATE billing.invoice_item SET amount = '1 EUR' WHERE invoice_id = 5 AND line = 1;
EXECUTE finalize;
UPDATE billing.invoice_item SET amount = '0 USD' WHERE invoice_id = 5 AND line = 1;
EXECUTE finalize;
EXECUTE finalize;

-- A draft may go, after its lines.
SELECT pg_temp.invoice(6, 'draft', 0, '0 USD'), pg_temp.item(6, 1, '0 USD');
DELETE FROM billing.invoice WHERE invoice_id = 6;
DELETE FROM billing.invoice_item WHERE invoice_id = 6;
DELETE FROM billing.invoice WHERE invoice_id = 6 RETURNING invoice_id;

-- Money that moved stays as it was told.
INSERT INTO billing.payment (tenant_id, payment_id, pay_no, invoice_id, status, amount, method) VALUES (1, 1, 'p', 1, 'processing', '1 USD', 'card');
UPDATE billing.payment SET amount = '2 USD';
UPDATE billing.payment SET status = 'pending';
UPDATE billing.payment SET status = 'succeeded' RETURNING status;
DELETE FROM billing.payment;
INSERT INTO billing.transaction (tenant_id, transaction_id, kind, invoice_id, payment_id, at, accounts, amounts)
	VALUES (1, 1, 'payment', 1, 1, '2026-01-01 00:00+00', '{cash,receivable}', '{1 USD,-1 USD}');
UPDATE billing.transaction SET kind = 'refund';
DELETE FROM billing.transaction;
INSERT INTO billing.audit_log (tenant_id, real_at, actor, action, object) VALUES (1, '2026-01-01 00:00+00', 'a', 'b', 'c');
DELETE FROM billing.audit_log;
SELECT status, count(*) FROM billing.invoice GROUP BY 1 ORDER BY 1;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
