-- Promise: parts of a line take its tax back by proportion, each as what all parts so far do less what those before did, so
-- that the whole of an invoice leaves nothing in any account.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-03-01T12:00:00Z';
INSERT INTO billing.tax_rate (code, name, percent, country, is_inclusive) VALUES
	('de', 'USt', 19, 'DE', true), ('fr', 'TVA', 20, 'FR', false);
INSERT INTO billing.tax_rate (code, name, percent, country, region) VALUES ('us', 'State', 8.875, 'US', 'NY');
SELECT tenant_id FROM billing.create_tenant(1, 'Berlin', 'EUR', details => '{"address": {"country": "DE"}}');
SELECT tenant_id FROM billing.create_tenant(2, 'Paris', 'EUR', details => '{"address": {"country": "FR"}}');
SELECT tenant_id FROM billing.create_tenant(3, 'New York', 'USD', details => '{"address": {"country": "US", "region": "NY"}}');
CREATE TEMPORARY VIEW note AS
	SELECT number, subtotal, tax, tax_included, total, credited, granted FROM billing.credit_note ORDER BY credit_note_id;

-- The share of a part: what is rounded is the sum so far.
SELECT billing.credit_share('1 USD', '3 USD', '0 USD', '1 USD') AS first, billing.credit_share('1 USD', '3 USD', '1 USD', '1 USD') AS second,
	billing.credit_share('1 USD', '3 USD', '2 USD', '1 USD') AS third, billing.credit_share('1 USD', '3 USD', '0 USD', '3 USD') AS whole;
SELECT billing.credit_share('-0.05 USD', '-10 USD', '0 USD', '-1 USD') AS first, billing.credit_share('-0.05 USD', '-10 USD', '-1 USD', '-1 USD') AS second,
	billing.credit_share('0.05 USD', '-10 USD', '-9 USD', '-1 USD') AS last, billing.credit_share('0 USD', '10 USD', '0 USD', '10 USD') AS nothing;
SELECT billing.credit_share('92233720368547758.07 USD', '92233720368547758.07 USD', '0 USD', '92233720368547758.07 USD') AS most,
	billing.credit_share('-92233720368547758.08 USD', '-92233720368547758.08 USD', '-92233720368547758.07 USD', '-0.01 USD') AS least;
SELECT billing.credit_share('1 USD', '3 USD', '2 USD', '1.01 USD');
SELECT billing.credit_share('1 USD', '3 USD', '0 USD', '-1 USD');
SELECT billing.credit_share('1 USD', '-3 USD', '0 USD', '1 USD');
SELECT billing.credit_share('1 USD', '0 USD', '0 USD', '0 USD');
SELECT billing.credit_share('1 EUR', '3 USD', '0 USD', '1 USD');
SELECT billing.credit_share('1 USD', '3 USD', '0 EUR', '1 USD');

-- Tax that prices contain.
SELECT invoice_id AS a, subtotal, tax, tax_included, total FROM billing.create_invoice(1, 'a', '[{"description": "A", "amount": 10}, {"description": "B", "amount": 0.99}]') \gset a_
SELECT :'a_subtotal', :'a_tax', :'a_tax_included', :'a_total';
SELECT line, amount, tax, tax_included FROM billing.creditable_lines(1, :a_a) ORDER BY 1;
SELECT number FROM billing.issue_credit_note(1, :a_a, '[{"line": 1, "amount": 3.33}]');
SELECT pay_no FROM billing.record_payment(1, :a_a, '7 EUR', 'p');
SELECT number FROM billing.issue_credit_note(1, :a_a, '[{"line": 1, "amount": 3.33}, {"line": 1, "amount": 0.01}]');
SELECT number FROM billing.issue_credit_note(1, :a_a);
SELECT * FROM note WHERE number LIKE 'CN-1%';
SELECT c.credit_note_id = n.credit_note_id AS is_note, line, invoice_line, c.amount, credited_before, c.tax, c.tax_included FROM billing.credit_note_item c
	JOIN billing.credit_note n USING (tenant_id, credit_note_id) WHERE tenant_id = 1 ORDER BY c.credit_note_id, line;
SELECT account, balance FROM billing.trial_balance WHERE tenant_id = 1 ORDER BY 1;
SELECT * FROM billing.explain_credit_note(1, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-1-000002'));

-- Tax that is added; a rate whose cents do not divide.
SELECT invoice_id AS b, total FROM billing.create_invoice(2, 'b', '[{"description": "A", "amount": 100}, {"description": "Off", "amount": "-10"}]') \gset b_
SELECT invoice_id AS c, total FROM billing.create_invoice(3, 'c', '[{"description": "A", "amount": 9.99}, {"description": "B", "amount": 9.99}, {"description": "C", "amount": 9.99}]') \gset c_
SELECT :'b_total', :'c_total';
SELECT number FROM billing.issue_credit_note(2, :b_b, '[{"line": 1, "amount": "33.33"}]');
SELECT number FROM billing.issue_credit_note(2, :b_b, '[{"line": 1, "amount": "33.33"}, {"line": 2, "amount": "-3.33"}]');
SELECT number FROM billing.issue_credit_note(2, :b_b, '[{"line": 1}]');
SELECT number FROM billing.issue_credit_note(2, :b_b);
SELECT count(billing.issue_credit_note(3, :c_c, jsonb_build_array(jsonb_build_object('line', l, 'amount', 0.99)))) FROM generate_series(1, 3) l, generate_series(1, 10);
SELECT number FROM billing.issue_credit_note(3, :c_c);
SELECT * FROM note WHERE number !~ 'CN-1';
SELECT tenant_id, account, balance FROM billing.trial_balance WHERE tenant_id > 1 ORDER BY 1, 2;
SELECT tenant_id, status, total, credited FROM billing.invoice ORDER BY 1;
SELECT tenant_id, sum(subtotal), sum(tax), sum(tax_included), sum(total) FROM billing.credit_note GROUP BY 1 ORDER BY 1;
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- Several taxes, on some lines or all: each goes back by itself, and all of it with the last part.
INSERT INTO billing.tax_rate (code, name, percent, country) VALUES ('ca-gst', 'GST', 5, 'CA');
INSERT INTO billing.tax_rate (code, name, percent, country, region, category) VALUES ('ca-qst', 'QST', 9.975, 'CA', 'QC', NULL), ('ca-book', 'Books', 0, 'CA', 'QC', 'book');
SELECT tenant_id FROM billing.create_tenant(4, 'Montreal', 'CAD', details => '{"address": {"country": "CA", "region": "QC"}}');
SELECT invoice_id AS d, total FROM billing.create_invoice(4, 'd', '[{"description": "A", "amount": 10.03}, {"description": "B", "amount": 20.07, "tax_category": "book"},
	{"description": "C", "amount": 0.99}]') \gset d_
CREATE TEMPORARY VIEW tax AS SELECT n.number, x.line_no, x.tax_rate, x.base, x.amount FROM billing.credit_note_tax x
	JOIN billing.credit_note n USING (tenant_id, credit_note_id) ORDER BY x.tenant_id, credit_note_id, line_no;
SELECT line_no, tax_rate, lines, base, amount FROM billing.invoice_tax WHERE invoice_id = :d_d ORDER BY 1;
SELECT * FROM billing.invoice_tax_shares(4, :d_d) ORDER BY 1, 2;
SELECT number, tax, tax_count FROM billing.issue_credit_note(4, :d_d, '[{"line": 1, "amount": 3.33}]');
SELECT number, tax, tax_count FROM billing.issue_credit_note(4, :d_d, '[{"line": 1, "amount": 3.34}, {"line": 2, "amount": 10.01}]');
SELECT number, tax, tax_count FROM billing.issue_credit_note(4, :d_d);
SELECT * FROM tax WHERE number LIKE 'CN-4%';
SELECT invoice_line_no, sum(base) AS base, sum(amount) AS amount FROM billing.credit_note_tax WHERE tenant_id = 4 GROUP BY 1 ORDER BY 1;
SELECT * FROM billing.explain_credit_note(4, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-4-000002'));

-- No more of a tax than the invoice has of it, also where the invoice has more than that in all.
SELECT invoice_id AS e FROM billing.create_invoice(4, 'e', '[{"description": "A", "amount": 100}, {"description": "Off", "amount": -90}, {"description": "B", "amount": 500, "tax_category": "book"}]') \gset
SELECT number FROM billing.issue_credit_note(4, :e, '[{"line": 1, "amount": 50}]');
SELECT number, tax FROM billing.issue_credit_note(4, :e, '[{"line": 1, "amount": 50}, {"line": 2, "amount": -45}]');
SELECT number FROM billing.issue_credit_note(4, :e, '[{"line": 1, "amount": 50}]');

-- What is not taken, and why, is stated again.
SELECT tenant_id FROM billing.create_tenant(5, 'Charity', 'CAD', details => '{"address": {"country": "CA", "region": "QC"}, "tax_exemption": "registered charity"}');
SELECT invoice_id AS f FROM billing.create_invoice(5, 'f', '[{"description": "A", "amount": 10}]') \gset
SELECT number, tax, tax_count FROM billing.issue_credit_note(5, :f, '[{"line": 1, "amount": 4}]');
SELECT line_no, tax_rate, percent, base, amount, note FROM billing.credit_note_tax WHERE tenant_id = 5;
SELECT explanation FROM billing.explain_credit_note(5, (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-5-000001'));
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- Nothing changes them, none is added, and whoever did is found out.
UPDATE billing.credit_note_tax SET amount = '0 CAD';
INSERT INTO billing.credit_note_tax SELECT tenant_id, credit_note_id, 3, invoice_id, 3, tax_rate, percent, is_inclusive, base, amount, note FROM billing.credit_note_tax
	WHERE tenant_id = 5;
SET session_replication_role = replica;
UPDATE billing.credit_note_tax SET amount = amount + '0.01 CAD' WHERE tenant_id = 4 AND invoice_line_no = 2 AND credit_note_id = (SELECT credit_note_id FROM billing.credit_note WHERE number = 'CN-4-000001');
UPDATE billing.credit_note_tax SET percent = 1 WHERE tenant_id = 5;
RESET session_replication_role;
SELECT invariant, tenant_id, detail FROM billing.audit() ORDER BY 1, 2, 3;
SELECT tenant_id, problem, detail FROM billing.verify_all();

-- A history that was loaded without its taxes is told of, and not taken back.
SET session_replication_role = replica;
DELETE FROM billing.invoice_tax WHERE tenant_id = 4 AND invoice_id = :e;
RESET session_replication_role;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
SELECT billing.issue_credit_note(4, :e, '[{"line": 3, "amount": 1}]');
\set VERBOSITY default

-- Nobody is told that all is well with a tenant that is not there.
SELECT * FROM billing.verify_all(99);
SELECT * FROM billing.audit(99);
SELECT count(*) FROM billing.verify_all(1);

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
