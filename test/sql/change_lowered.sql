-- Promise: unused time is credited to the cent also where other lines had lowered its invoice below what it costs: what they took off
-- was owed to the tenant already, paid for the line, and goes back as credit.  A note by hand takes back no more than before.
-- A month costs 30; the price of January is corrected to 5, so that February's invoice is 30 less 25.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('lowered_calls');
INSERT INTO billing.plan (plan_id, code, name, usage_thresholds) VALUES (9851, 'lowered', 'Month', NULL), (9852, 'lowered_small', 'Small', NULL),
	(9853, 'lowered_two', 'Two taxes', NULL), (9854, 'lowered_cut', 'Interim', '{20}');
INSERT INTO billing.price (plan_id, code, tariff, meter, tax_category, is_prorated, sort_order) VALUES
	(9851, 'base', '{"model":"flat","currency":"USD","amount":"30"}', NULL, NULL, true, 0),
	(9852, 'base', '{"model":"flat","currency":"USD","amount":"10"}', NULL, NULL, true, 0),
	(9853, 'base', '{"model":"flat","currency":"USD","amount":"30"}', NULL, 'lowered', true, 0),
	(9853, 'more', '{"model":"flat","currency":"USD","amount":"40"}', NULL, NULL, false, 1),
	(9854, 'base', '{"model":"flat","currency":"USD","amount":"30"}', NULL, NULL, true, 0),
	(9854, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'lowered_calls', NULL, NULL, 1);
INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, category) VALUES ('lowered_added', 'Added', 8.875, false, NULL, NULL),
	('lowered_in', 'Contained', 19, true, NULL, NULL), ('lowered_one', 'One', 5, false, 'XL', NULL), ('lowered_both', 'Both', 9.975, false, 'XL', 'lowered');
INSERT INTO billing.coupon (code, kind, value, duration) VALUES ('LOWERED', 'percentage', 10, 'forever');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, details => CASE t WHEN 9855 THEN '{"tax_rate": "lowered_added"}' WHEN 9856 THEN '{"tax_rate": "lowered_in"}'
	WHEN 9857 THEN '{"tax_rate": "lowered_added"}' WHEN 9859 THEN '{"address": {"country": "XL"}}' ELSE '{}' END::jsonb)) FROM generate_series(9851, 9863) t;
SELECT count(billing.subscribe(t, CASE t WHEN 9859 THEN 'lowered_two' WHEN 9862 THEN 'lowered_cut' ELSE 'lowered' END)) FROM generate_series(9851, 9863) t;
CREATE TEMP VIEW s AS SELECT tenant_id AS t, subscription_id AS id FROM billing.subscription WHERE tenant_id BETWEEN 9851 AND 9863;
CREATE TEMP VIEW document AS
SELECT i.tenant_id AS t, i.invoice_id AS o, i.number, i.kind, i.subtotal, i.discount, i.tax, i.total, i.excess FROM billing.invoice i
UNION ALL
SELECT n.tenant_id, n.credit_note_id, n.number, 'credit note', -n.subtotal, -n.discount, -n.tax, -n.total, n.total - n.total FROM billing.credit_note n;
CREATE FUNCTION pg_temp.last(tenant bigint) RETURNS bigint LANGUAGE sql AS $$SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = tenant$$;
CREATE FUNCTION pg_temp.refused(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, 'invoice \d+', 'invoice N');
END $$;
CREATE FUNCTION pg_temp.pay(tenant bigint) RETURNS text LANGUAGE sql AS
$$SELECT (billing.record_payment(tenant, i.invoice_id, i.amount_due, i.number)).amount::text FROM billing.invoice i WHERE i.tenant_id = tenant AND i.status = 'open'$$;
SELECT count(billing.apply_coupon(t, 'LOWERED', id)) FROM s WHERE t = 9857;
SELECT amount FROM billing.grant_credit(9860, '35 USD');
SELECT count(pg_temp.pay(t)) FROM s WHERE t NOT IN (9852, 9860);

-- Corrected; one that is smaller from February on, one whose usage an interim invoice, unpaid, bills before
-- it is corrected to none.
SET billing.test_clock = '2026-01-20T00:00:00Z';
SELECT code, count(*), sum(difference) FROM unnest('{lowered,lowered_two}'::text[]) code,
	billing.rerate(code, 'base', '{"model":"flat","currency":"USD","amount":"5"}', '[2026-01-01Z,2026-02-01Z)') GROUP BY 1 ORDER BY 1;
SELECT (billing.change_plan(t, id, 'lowered_small', effective => 'period_end')).status FROM s WHERE t = 9858;
SELECT count(billing.record_usage(9862, 'lowered_calls', 25, 'u', '2026-01-19Z'));
CALL billing.bill_due();
SELECT (billing.correct_usage(9862, 'u', 0, 'u+')).superseded_by;
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT i.tenant_id AS t, i.subtotal, i.discount, i.tax, i.total, i.excess, i.status, f.creditable, f.money, f.promotional, f.offset_by_lines
FROM billing.invoice i, billing.invoice_funds(i.tenant_id, i.invoice_id) f WHERE i.tenant_id BETWEEN 9851 AND 9862 AND i.invoice_id = pg_temp.last(i.tenant_id) ORDER BY 1;
SELECT count(pg_temp.pay(t)) FROM s WHERE t NOT IN (9852, 9860, 9862);

-- By hand not more than is left, unused or not.
SELECT pg_temp.refused(format('SELECT billing.issue_credit_note(9851, %s, ''[{"line":1,"amount":"5.01"}]'')', pg_temp.last(9851)));
SELECT pg_temp.refused(format('SELECT billing.issue_credit_note(9859, %s, ''[{"line":1,"amount":"10"}]'')', pg_temp.last(9859)));
-- One whose correction is taken back with as much of the line: what is left of it.
SELECT (billing.issue_credit_note(9863, pg_temp.last(9863), '[{"line":1,"amount":"28"},{"line":2,"amount":"-24"}]')).total;

SET billing.test_clock = '2026-02-02T00:00:00Z';
SELECT (billing.change_plan(9853, id, 'lowered_small')).status FROM s WHERE t = 9853;
SELECT (billing.pause_subscription(9854, id)).status FROM s WHERE t = 9854;
SELECT (billing.change_plan(9861, id, quantity => 2, proration => 'invoice_now')).status FROM s WHERE t = 9861;
SELECT t, (billing.cancel_subscription(t, id, 'now')).status FROM s WHERE t NOT IN (9853, 9854, 9861) ORDER BY t;

SELECT n.tenant_id AS t, n.subtotal, n.discount, n.tax, n.tax_included, n.total, n.credited, n.granted, n.offset_by_lines AS by_lines, n.promotional
FROM billing.credit_note n WHERE n.tenant_id BETWEEN 9851 AND 9863 ORDER BY n.tenant_id, n.credit_note_id;
SELECT t.tenant_id AS t, x.tax_rate, x.amount AS invoiced, t.amount AS credited FROM billing.credit_note_tax t JOIN billing.invoice_tax x ON x.tenant_id = t.tenant_id AND x.invoice_id = t.invoice_id
	AND x.line_no = t.invoice_line_no WHERE t.tenant_id BETWEEN 9851 AND 9863 ORDER BY 1, t.line_no;
-- What all documents of a tenant come to, and what it has in credit: with no discount and tax 5 of January and the first day of February, 30 / 28.
SELECT t, sum(subtotal) AS subtotal, sum(discount) AS discount, sum(tax) AS tax, sum(total) - sum(excess) AS total,
	(SELECT sum(g.balance) FROM billing.credit_grant g WHERE g.tenant_id = t AND g.is_paid) AS credit FROM document WHERE t BETWEEN 9851 AND 9863 GROUP BY t ORDER BY t;
SELECT n.tenant_id AS t, g.scope, g.is_paid, g.source FROM billing.credit_note n JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE n.tenant_id = 9851;
SELECT n.tenant_id AS t, f.creditable, f.money, f.promotional, f.offset_by_lines FROM (SELECT DISTINCT tenant_id, invoice_id FROM billing.credit_note) n,
	billing.invoice_funds(n.tenant_id, n.invoice_id) f WHERE n.tenant_id BETWEEN 9851 AND 9863 ORDER BY n.tenant_id;
SELECT x.line, x.explanation FROM billing.credit_note n, billing.explain_credit_note(n.tenant_id, n.credit_note_id) x WHERE n.tenant_id = 9851;

-- Nothing of it is left by hand, of no line; what other lines have is, where a tax alone was taken back beyond what the invoice has of it.
SELECT pg_temp.refused(format('SELECT billing.issue_credit_note(9851, %s, %s)', pg_temp.last(9851), l)) FROM (VALUES ('NULL'), ('''[{"line":1,"amount":"0.01"}]'''),
	('''[{"line":1},{"line":2,"amount":"-1"}]'''), ('''[{"line":2}]''')) v (l);
SELECT pg_temp.refused(format('SELECT billing.issue_credit_note(9859, %s, ''[{"line":1,"amount":"1"}]'')', pg_temp.last(9859)));
SELECT (billing.issue_credit_note(9859, pg_temp.last(9859), '[{"line":2,"amount":"10"}]')).total;
SELECT (billing.issue_credit_note(9859, pg_temp.last(9859))).total;

SELECT t.tenant_id AS t, t.balance = -coalesce((SELECT sum(g.balance) FROM billing.credit_grant g WHERE g.tenant_id = t.tenant_id AND g.is_paid), t.balance - t.balance) AS is_credit
FROM billing.trial_balance t WHERE t.tenant_id BETWEEN 9851 AND 9863 AND t.account = 'customer_credit' ORDER BY 1;
SELECT t.account, t.balance FROM billing.trial_balance t WHERE t.tenant_id = 9855 ORDER BY 1;
SELECT kind, amount, balance FROM billing.tenant_statement(9851);
SELECT b.* FROM billing.invoice v, billing.rebuild_invoice(v.tenant_id, v.invoice_id) b WHERE v.tenant_id BETWEEN 9851 AND 9863;
SELECT invariant, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9851 AND 9863;
SELECT problem, detail FROM billing.verify_all() WHERE tenant_id BETWEEN 9851 AND 9863;

-- The credit pays the next invoice.
SELECT (billing.create_invoice(9851, 'next', '[{"description": "Next", "amount": "20"}]')).status;

-- The audit finds what does not add up.
CREATE FUNCTION pg_temp.broken(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL session_replication_role = replica;
	EXECUTE statement;
	RETURN QUERY SELECT DISTINCT a.invariant || ': ' || regexp_replace(a.object, '\d+', 'N') FROM billing.audit() a WHERE a.tenant_id IN (9851, 9855, 9859) ORDER BY 1;
	RAISE EXCEPTION USING ERRCODE = 'YB000';
EXCEPTION WHEN SQLSTATE 'YB000' THEN
	NULL;
END $$;
SELECT * FROM pg_temp.broken('UPDATE billing.credit_note SET offset_by_lines = offset_by_lines - ''0.01 USD'' WHERE tenant_id = 9851');
SELECT * FROM pg_temp.broken('UPDATE billing.credit_note SET offset_by_lines = ''25.01 USD'' WHERE tenant_id = 9851');
SELECT * FROM pg_temp.broken('UPDATE billing.credit_note_item SET is_unused = false WHERE tenant_id = 9851');
SELECT * FROM pg_temp.broken('UPDATE billing.credit_note_item SET is_unused = false WHERE tenant_id = 9855');
SELECT * FROM pg_temp.broken('UPDATE billing.credit_note_tax SET amount = amount + ''0.60 USD'' WHERE tenant_id = 9859');
ROLLBACK;
