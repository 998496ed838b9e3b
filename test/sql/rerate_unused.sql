-- A credit for unused time starts from what was really charged: corrected prices count, whether they were booked before the
-- change, wait for an invoice, or come after it; so does what was credited by hand, for the time that it was credited for.
-- A year of 365 days costs 365, and 100 of them are used: 100, or 200 and 20 at the corrected prices.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('unused_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9651, 'unused', 'Year', '1 year'), (9652, 'unused_other', 'Other', '1 year');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9651, 'base', '{"model":"flat","currency":"USD","amount":"365"}', NULL, NULL),
	(9651, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'unused_calls', '1 month'),
	(9652, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'unused_calls', '1 month');
CREATE TEMP VIEW s AS SELECT tenant_id AS t, subscription_id AS id FROM billing.subscription WHERE tenant_id BETWEEN 9651 AND 9669;
CREATE TEMP VIEW document AS
SELECT i.tenant_id AS t, i.invoice_id, i.number || '/' || l.line AS line, l.kind, l.amount, l.period_start::date AS "from", NULL::boolean AS is_unused, i.invoice_id AS o, l.line AS n
FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id BETWEEN 9651 AND 9669 AND l.amount <> '0 USD'
UNION ALL
SELECT c.tenant_id, c.invoice_id, c.number, 'credit of ' || l.invoice_line, -l.amount, l.period_start::date, l.is_unused, c.credit_note_id, l.line
FROM billing.credit_note c JOIN billing.credit_note_item l USING (tenant_id, credit_note_id) WHERE c.tenant_id BETWEEN 9651 AND 9669;
CREATE FUNCTION pg_temp.rerate(tenant bigint, amount text) RETURNS text LANGUAGE sql AS
$$SELECT string_agg(r.line || ': ' || r.difference, ', ') FROM billing.rerate('unused', 'base', format('{"model":"flat","currency":"USD","amount":"%s"}', amount)::billing.tariff, '[2026-01-01Z,)', tenant) r$$;
CREATE FUNCTION pg_temp.cancel(tenant bigint) RETURNS text LANGUAGE sql AS
$$SELECT (billing.cancel_subscription(t, id, 'now')).status FROM s WHERE t = tenant$$;
CREATE FUNCTION pg_temp.first_invoice(tenant bigint) RETURNS bigint LANGUAGE sql AS
$$SELECT min(invoice_id) FROM billing.invoice WHERE tenant_id = tenant$$;
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(9651, 9665) t;
SELECT count(billing.subscribe(t, 'unused')) FROM generate_series(9651, 9665) t;

-- Booked by the invoice of February: raised, lowered, raised and then lowered below what it was, lowered and raised again.
SET billing.test_clock = '2026-01-15T00:00:00Z';
SELECT t, pg_temp.rerate(t, p) FROM (VALUES (9651, '730'), (9652, '73'), (9653, '730'), (9654, '73')) v (t, p);
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT t, pg_temp.rerate(t, p) FROM (VALUES (9653, '73'), (9654, '730')) v (t, p);
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();

-- Waiting when the service ends, or corrected after it.
SET billing.test_clock = '2026-04-11T00:00:00Z';
CALL billing.bill_due();
SELECT t, pg_temp.rerate(t, p) FROM (VALUES (9655, '730'), (9656, '73')) v (t, p);
-- By hand: of the whole line, of used days, of days that will not be used, and of more than was used.
SELECT t, (billing.issue_credit_note(t, pg_temp.first_invoice(t), l::jsonb)).total FROM (VALUES
	(9659, '[{"line":1,"amount":"73"}]'), (9660, '[{"line":1,"amount":"5","period_start":"2026-02-01Z","period_end":"2026-02-06Z"}]'),
	(9661, '[{"line":1,"amount":"5","period_start":"2026-12-01Z","period_end":"2026-12-06Z"}]'),
	(9662, '[{"line":1,"amount":"300","period_start":"2026-02-01Z","period_end":"2026-02-06Z"}]'),
	(9663, '[{"line":1,"amount":"50","period_start":"2026-12-01Z","period_end":"2027-01-01Z"}]')) v (t, l) ORDER BY t;
-- And of the line that raised the price.
SELECT (billing.issue_credit_note(9651, i.invoice_id, format('[{"line":%s,"amount":"36.50"}]', l.line)::jsonb)).total
FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE tenant_id = 9651 AND l.kind = 'adjustment';
SELECT p.kind, p.price_code, p.amount, p.period_start::date FROM s, billing.preview_change(9655, s.id, 'unused_other') p WHERE t = 9655 AND p.kind <> 'charge';
SELECT (billing.change_plan(t, id, 'unused_other')).status FROM s WHERE t IN (9655, 9664) ORDER BY t;
SELECT t, pg_temp.cancel(t) FROM generate_series(9651, 9663) t WHERE t <> 9655;
SELECT t, pg_temp.rerate(t, p) FROM (VALUES (9657, '730'), (9658, '73'), (9664, '730'), (9656, '73')) v (t, p);
-- To what it was, and as it was to be: nothing more comes of it.
SELECT pg_temp.rerate(9657, '365');
SELECT pg_temp.rerate(9657, '730');
CALL billing.bill_due();
SET billing.test_clock = '2026-05-01T00:00:00Z';
CALL billing.bill_due();
SELECT t, line, kind, amount, "from", is_unused FROM document WHERE t BETWEEN 9651 AND 9664 ORDER BY t, o, n;
SELECT t, sum(amount) AS came_to FROM document WHERE t BETWEEN 9651 AND 9664 GROUP BY t ORDER BY t;

-- Corrected once more, after the service ended: what was booked, credited and corrected since comes to the same.
SELECT t, pg_temp.rerate(t, '547.50') FROM generate_series(9651, 9658) t;
SET billing.test_clock = '2026-06-01T00:00:00Z';
CALL billing.bill_due();
SELECT t, sum(amount) AS came_to FROM document WHERE t BETWEEN 9651 AND 9658 GROUP BY t ORDER BY t;
SELECT x.line, x.explanation FROM document d, billing.explain_invoice(9652, d.invoice_id) x WHERE d.t = 9652 AND d.kind = 'adjustment' AND x.line = d.n AND d.o = (SELECT max(o) FROM document WHERE t = 9652);
SELECT b.* FROM billing.invoice v, billing.rebuild_invoice(v.tenant_id, v.invoice_id) b WHERE v.tenant_id BETWEEN 9651 AND 9664;

-- A draft that has the correction: it follows what is credited.
UPDATE billing.tenant SET settings = '{"finalize_after": "never"}' WHERE tenant_id = 9665;
SELECT pg_temp.rerate(9665, '730');
SET billing.test_clock = '2026-07-01T00:00:00Z';
CALL billing.bill_due();
SELECT l.kind, l.amount FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE tenant_id = 9665 AND status = 'draft' AND amount <> '0 USD';
SELECT pg_temp.cancel(9665);
SELECT l.kind, l.amount, r.used_to FROM billing.invoice i JOIN billing.invoice_item l USING (tenant_id, invoice_id)
LEFT JOIN billing.rerated_line r ON r.tenant_id = i.tenant_id AND r.invoice_id = i.invoice_id WHERE i.tenant_id = 9665 AND i.status = 'draft' AND l.amount <> '0 USD';
SELECT count(billing.finalize_invoice(tenant_id, invoice_id)) FROM billing.invoice WHERE tenant_id = 9665 AND status = 'draft';
SELECT line, kind, amount, "from", is_unused FROM document WHERE t = 9665 ORDER BY o, n;
SELECT sum(amount) AS came_to FROM document WHERE t = 9665;

-- What it was booked for is not booked again, by a retry or where an invoice is voided and made again.
SELECT (billing.void_invoice(d.t, d.invoice_id, reissue => true)).total FROM document d WHERE d.t = 9658 AND d.kind = 'adjustment' AND d.o = (SELECT max(o) FROM document WHERE t = 9658 AND kind = 'adjustment');
SELECT t, pg_temp.rerate(t, '547.50') FROM generate_series(9651, 9658) t;
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();
SAVEPOINT s; SET session_replication_role = replica; UPDATE billing.rerated_line SET used_to = '2026-03-01Z' WHERE tenant_id = 9657;
SELECT DISTINCT invariant FROM billing.audit(9657);
SELECT DISTINCT problem FROM billing.verify_all(9657); ROLLBACK TO s;
ROLLBACK;
