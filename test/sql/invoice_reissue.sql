-- A voided invoice of a subscription is issued again from its sources as they are known, once, and no usage is billed twice.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
SET billing.test_clock TO '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, unit) VALUES ('calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1, 'pro', 'Pro', 'USD');
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order) VALUES
	(1, 'base', 'Base fee', '{"model":"flat","currency":"USD","amount":"29"}', NULL, 1),
	(1, 'calls', 'API calls', '{"model":"graduated","currency":"USD","free_units":100,"tiers":[{"up_to":"1000","unit_amount":"0.0133"},{"up_to":null,"unit_amount":"0.005","flat_amount":"1"}]}', 'calls', 2);
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD');
SELECT setval('billing.id_seq', 10) \gset _
SELECT subscription_id FROM billing.subscribe(1, 'pro') \gset
SET billing.test_clock TO '2026-02-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT 1, 'e' || n, 'calls', 17.3, timestamptz '2026-01-10 00:00Z' + n * interval '1 h' FROM generate_series(1, 100) n;
SELECT setval('billing.id_seq', 100) \gset _
CALL billing.bill_due();
CREATE TEMPORARY VIEW bills AS
	SELECT i.biz_key, i.number, i.status, i.total, l.chain_no, (SELECT string_agg(n.line || ' ' || n.kind || ' ' || n.amount, ', ' ORDER BY n.line) FROM billing.invoice_item n
		WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id) AS lines,
		billing.invoice_inputs(i.tenant_id, i.invoice_id, l.party_salt) = l.inputs AND l.hash = sha256(convert_to(l.inputs, 'UTF8')) AS is_stored
	FROM billing.invoice i JOIN billing.calculation_log l USING (tenant_id, invoice_id) ORDER BY i.invoice_id;
CREATE FUNCTION pg_temp.id(text) RETURNS bigint LANGUAGE sql AS $$ SELECT invoice_id FROM billing.invoice WHERE number = $1 $$;
SELECT regexp_replace(biz_key, '^sub/\d+', 'sub/N') AS biz_key, number, status, total, chain_no, lines, is_stored FROM bills;

-- Usage that came late is booked on the next invoice; the one it corrects is not issued again while that stands.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (1, 'late', 'calls', 1000, '2026-01-20 00:00Z');
SET billing.test_clock TO '2026-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT number, status, total, lines FROM bills;
SELECT billing.void_invoice(1, pg_temp.id('INV-1-000002'), reissue => true);
SELECT status FROM billing.void_invoice(1, pg_temp.id('INV-1-000003'), 'wrong');
SELECT count(*) AS waiting FROM billing.usage_late WHERE invoice_id IS NULL;
SELECT number, status, total, item_count FROM billing.void_invoice(1, pg_temp.id('INV-1-000002'), 'again', true, 'r1');
SELECT number, status, total, item_count FROM billing.void_invoice(1, pg_temp.id('INV-1-000002'), 'again', true, 'r1');
SELECT number, status, total, item_count FROM billing.build_invoice(1, :subscription_id, '2026-02-01Z', '2026-03-01Z');
SELECT setval('billing.id_seq', 200) \gset _
SELECT billing.void_invoice(1, (SELECT invoice_id FROM billing.create_invoice(1, 'one', '[{"description": "One", "amount": 1}]')), reissue => true);
SELECT regexp_replace(biz_key, '^sub/\d+', 'sub/N') AS biz_key, number, status, total, chain_no, lines, is_stored FROM bills;

-- What was voided leaves nothing on the ledger; each event is billed once.
SELECT account, sum(amount) FROM billing.ledger_entry GROUP BY account HAVING billing.minor_units(sum(amount)) <> 0 ORDER BY account;
SELECT sum(amount_due) FROM billing.pending_invoices(1);
SET billing.test_clock TO '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT number, status, total, lines FROM bills WHERE status = 'open';
SELECT * FROM billing.explain_invoice(1, pg_temp.id('INV-1-000004'));

-- So is one that bills a change within the period: the parts go over to the one issued in its place, and the voided one stays sound.
SET billing.test_clock TO '2026-04-11T00:00:00Z';
SELECT setval('billing.id_seq', 300) \gset _
SELECT quantity FROM billing.change_plan(1, :subscription_id, quantity => 2, proration => 'invoice_now');
SELECT i.number, i.status, i.total, i.period_start, i.period_end FROM billing.void_invoice(1,
	(SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1 AND kind = 'change'), reissue => true) i;
SELECT number, status, total, period_start, period_end FROM billing.invoice WHERE kind = 'change' ORDER BY invoice_id;
SELECT * FROM billing.audit();
SELECT * FROM billing.verify_all();

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
