-- Promise: what is given back of a payment comes from its invoice or its credit to the smallest unit, never more than was captured and is
-- still there, and once whoever retries.  Nothing is broken behind each step.
\set SHOW_CONTEXT never
DROP EXTENSION IF EXISTS billing CASCADE;
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock TO '2026-01-10T00:00:00Z';
CREATE FUNCTION pg_temp.back(VARIADIC given text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r billing.refund;
	more text;
BEGIN
	EXECUTE format('SELECT (r).* FROM billing.refund_payment(%s) AS r', array_to_string(given, ', ')) INTO r;
	RETURN format('%s %s to %s, %s', r.amount, r.status, r.destination, r.cause);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS more = PG_EXCEPTION_DETAIL;
	RETURN format('%s %s (%s)', SQLSTATE, regexp_replace(SQLERRM, 'invoice \\d+', 'invoice N'), regexp_replace(more, ' id=\d+| invoice_id=\d+', '', 'g'));
END $$;
CREATE FUNCTION pg_temp.ledger(tenant bigint) RETURNS TABLE (account text, balance billing.amount) LANGUAGE sql AS
	'SELECT account, balance FROM billing.trial_balance WHERE tenant_id = tenant AND billing.minor_units(balance) <> 0 ORDER BY account COLLATE "C"';
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD')) FROM generate_series(1, 4) t;

-- Parts of an invoice: back to where the money came from, and to the wallet at once.
SELECT invoice_id AS a FROM billing.create_invoice(1, 'a', '[{"description": "One", "amount": "33.33"}, {"description": "Two", "amount": "66.67"}]') \gset
SELECT status FROM billing.record_payment(1, :a, '100 USD', 'wire 1');
SELECT pg_temp.back('1', '''wire 1''', '''40 USD''', '''damaged''', '''r1''');
SELECT pg_temp.back('1', '''wire 1''', '''40 USD''', '''damaged''', '''r1''') AS retried;
SELECT pg_temp.back('1', '''wire 1''', 'NULL', '''damaged''', '''r1''') AS retried;
SELECT pg_temp.back('1', '''wire 1''', '''41 USD''', '''damaged''', '''r1''') AS another;
SELECT pg_temp.back('1', '''wire 1''', '''40 USD''', '''late''', '''r1''') AS another;
SELECT pg_temp.back('1', '''wire 1''', '''40 USD''', '''damaged''', '''r1''', '''wallet''') AS another;
SELECT pg_temp.back('1', '''wire 1''', '''40 USD''', '''damaged''', '''r1''', '''method''', 'true') AS another;
SELECT pg_temp.back('1', '''wire 1''', '''60.01 USD''');
SELECT pg_temp.back('1', '''wire 1''', '''0 USD''');
SELECT pg_temp.back('1', '''wire 1''', '''1 EUR''');
SELECT pg_temp.back('1', '''nothing''');
SELECT pg_temp.back('1', '''wire 1''', 'NULL', 'NULL', '''''');
SELECT pg_temp.back('1', '''wire 1''', 'NULL', 'NULL', 'NULL', '''moon''');
SELECT pg_temp.back('1', '''wire 1''', '''25 USD''', 'NULL', '''r2''', '''wallet''');
SELECT billing.wallet_balance(1);
SELECT pg_temp.back('1', '''wire 1''', 'NULL', 'NULL', '''r3''');
SELECT pg_temp.back('1', '''wire 1''');
SELECT n.number, n.destination, n.total, n.refunded, n.reason, r.refund_no, r.status, r.destination, r.settled_at IS NOT NULL AS is_settled, r.grant_id IS NOT NULL AS is_credit
FROM billing.credit_note n JOIN billing.refund r USING (tenant_id, credit_note_id) WHERE n.tenant_id = 1 ORDER BY n.number;
SELECT n.number, c.invoice_line, c.amount FROM billing.credit_note n JOIN billing.credit_note_item c USING (tenant_id, credit_note_id) ORDER BY 1, 2;
SELECT status, paid, credited, amount_due FROM billing.invoice WHERE invoice_id = :a;
SELECT refund_no, (billing.record_refund(1, refund_no)).status FROM billing.refund WHERE tenant_id = 1 AND status = 'pending' ORDER BY 1;
SELECT status FROM billing.find_payment(1, 'wire 1');
SELECT * FROM pg_temp.ledger(1);
SELECT * FROM billing.audit();

-- Also while something else of the invoice is still due: that stays so.
SELECT invoice_id AS b FROM billing.create_invoice(1, 'b', '[{"description": "One", "amount": "50"}]') \gset
SELECT status FROM billing.record_payment(1, :b, '20 USD', 'wire 2');
SELECT pg_temp.back('1', '''wire 2''');
SELECT status, total, paid, credited, amount_due FROM billing.invoice WHERE invoice_id = :b;
SELECT creditable, amount_due, money, refundable FROM billing.invoice_funds(1, :b);
SELECT (billing.record_refund(1, refund_no)).status FROM billing.refund WHERE status = 'pending';
SELECT status FROM billing.find_payment(1, 'wire 2');
-- What became credit otherwise does not go back once more.
SELECT invoice_id AS c FROM billing.create_invoice(1, 'c', '[{"description": "One", "amount": "50"}]') \gset
SELECT status FROM billing.record_payment(1, :c, '50 USD', 'wire 3');
SELECT granted FROM billing.issue_credit_note(1, :c, '[{"line": 1, "amount": "30"}]');
SELECT pg_temp.back('1', '''wire 3''', '''20.01 USD''');
SELECT pg_temp.back('1', '''wire 3''', 'NULL', 'NULL', '''r5''', '''method''', 'true');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :c;
SELECT status FROM billing.cancel_refund(1, 'r5', 'rather not');
SELECT billing.wallet_balance(1);
SELECT * FROM billing.audit();

-- Tax and discount: the parts come to exactly what is asked for, or the nearest amounts are named.
SELECT settings FROM billing.update_tenant(2, '{"settings": {"tax_percent": "20"}}');
SELECT invoice_id AS d, total, tax FROM billing.create_invoice(2, 'd', '[{"description": "One", "amount": "10"}]') \gset
SELECT :'total' AS total, :'tax' AS tax;
SELECT status FROM billing.record_payment(2, :d, '12 USD', 'wire 4');
SELECT pg_temp.back('2', '''wire 4''', '''0.03 USD''');
SELECT pg_temp.back('2', '''wire 4''', '''0.04 USD''');
SELECT pg_temp.back('2', '''wire 4''', '''11.96 USD''');
SELECT n.total, n.tax, t.base, t.amount FROM billing.credit_note n JOIN billing.credit_note_tax t USING (tenant_id, credit_note_id) WHERE n.tenant_id = 2 ORDER BY n.number;
-- A unit of the next line makes up for what rounding leaves.
SELECT invoice_id AS e FROM billing.create_invoice(2, 'e', '[{"description": "One", "amount": "10"}, {"description": "Two", "amount": "10"}]') \gset
SELECT status FROM billing.record_payment(2, :e, '24 USD', 'wire 5');
SELECT pg_temp.back('2', '''wire 5''', '''0.03 USD''');
SELECT c.invoice_line, c.amount, c.tax FROM billing.credit_note_item c WHERE c.tenant_id = 2 AND c.invoice_id = :e ORDER BY 1;
-- Lines that lower the invoice go back with all that is left of it.
SELECT invoice_id AS f FROM billing.create_invoice(2, 'f', '[{"description": "One", "amount": "100"}, {"description": "Less", "amount": "-30"}]') \gset
SELECT status FROM billing.record_payment(2, :f, '84 USD', 'wire 6');
SELECT pg_temp.back('2', '''wire 6''', '''60 USD''');
SELECT pg_temp.back('2', '''wire 6''');
SELECT n.number, c.invoice_line, c.amount, c.tax FROM billing.credit_note n JOIN billing.credit_note_item c USING (tenant_id, credit_note_id)
WHERE n.invoice_id = :f ORDER BY 1, 2;
SELECT creditable, money FROM billing.invoice_funds(2, :f);
SELECT * FROM billing.audit();

-- Reopened: the invoice is owed again, no document says otherwise, and the money is owed until it went.
SELECT invoice_id AS g FROM billing.create_invoice(3, 'g', '[{"description": "One", "amount": "50"}]') \gset
SELECT status FROM billing.record_payment(3, :g, '50 USD', 'wire 7');
SELECT pg_temp.back('3', '''wire 7''', '''50 USD''', '''wrong payer''', '''r7''', '''method''', 'true');
SELECT pg_temp.back('3', '''wire 7''', '''50 USD''', '''wrong payer''', '''r7''', '''method''', 'true') AS retried;
SELECT status, paid, amount_due, paid_at FROM billing.invoice WHERE invoice_id = :g;
SELECT * FROM pg_temp.ledger(3);
SELECT status FROM billing.record_refund(3, 'r7');
SELECT status FROM billing.find_payment(3, 'wire 7');
SELECT pg_temp.back('3', '''wire 7''', '''1 USD''');
SELECT status FROM billing.record_payment(3, :g, '50 USD', 'wire 8');
SELECT pg_temp.back('3', '''wire 8''', '''12 USD''', 'NULL', '''r8''', '''wallet''', 'true');
SELECT status, paid, amount_due FROM billing.invoice WHERE invoice_id = :g;
SELECT count(*) AS notes FROM billing.credit_note WHERE tenant_id = 3;
SELECT * FROM pg_temp.ledger(3);
SELECT kind, document, description, amount, balance FROM billing.tenant_statement(3);
SELECT * FROM billing.audit();

-- Of a top-up what is left of its credit.
SELECT balance FROM billing.top_up(4, '50 USD', 'cash 1');
SELECT billing.consume(4, '20 USD', 'calls', 'c1');
SELECT pg_temp.back('4', '''cash 1''', '''30.01 USD''');
SELECT pg_temp.back('4', '''cash 1''', '''10 USD''', 'NULL', 'NULL', '''wallet''');
SELECT pg_temp.back('4', '''cash 1''', '''10 USD''', 'NULL', 'NULL', '''method''', 'true');
SELECT pg_temp.back('4', '''cash 1''', '''10 USD''', 'NULL', '''t1''');
SELECT pg_temp.back('4', '''cash 1''', 'NULL', 'NULL', '''t2''');
SELECT pg_temp.back('4', '''cash 1''');
SELECT billing.wallet_balance(4);
-- Of what was bought all is credit: excess says nothing more, and a retry that says it is a retry.
SELECT refund_no, status, amount, cause FROM billing.refund_payment(4, 'cash 1', '10 USD', refund_no => 't1', excess => true);
SELECT status FROM billing.record_refund(4, 't1');
SELECT status, grant_id IS NOT NULL AS is_credit FROM billing.fail_refund(4, 't2');
SELECT billing.wallet_balance(4);
SELECT kind, amount FROM billing.wallet_entry WHERE tenant_id = 4 ORDER BY entry_id;
SELECT * FROM pg_temp.ledger(4);
SELECT * FROM billing.audit();

-- What nothing guards but audit() is told by it.
BEGIN;
ALTER TABLE billing.refund DISABLE TRIGGER refund_final_guard;
UPDATE billing.refund SET amount = '60.01 USD' WHERE refund_no = 'r7';
SELECT invariant, detail FROM billing.audit() ORDER BY 1, 2;
ROLLBACK;

-- Only who may act for the tenant.
CREATE ROLE refund_app;
SELECT billing.grant_access('refund_app', 'app');
SET ROLE refund_app;
SET billing.tenant_id TO '1';
SELECT pg_temp.back('3', '''wire 8''');
RESET ROLE;
RESET billing.tenant_id;
SELECT billing.revoke_access('refund_app');
DROP ROLE refund_app;
