-- Promise: an invoice bears the taxes of where its tenant is and of what is sold: lines, taxes and total agree, whatever is included.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone = 'UTC';
SET billing.test_clock = '2026-03-01T00:00:00Z';
INSERT INTO billing.tax_rate (code, name, percent, is_inclusive, country, region, category, replaces_country, is_reverse_charge) VALUES
	('de-19', 'VAT', 19, false, 'DE', NULL, NULL, false, false), ('de-7', 'VAT', 7, false, 'DE', NULL, 'book', false, false),
	('fr-20', 'TVA', 20, false, 'FR', NULL, NULL, false, true),
	('ca-gst', 'GST', 5, false, 'CA', NULL, NULL, false, false), ('ca-gst-book', 'GST on books', 0, false, 'CA', NULL, 'book', false, false),
	('ca-qst', 'QST', 9.975, false, 'CA', 'QC', NULL, false, false),
	('ca-hst', 'HST', 13, false, 'CA', 'ON', NULL, true, false),
	('jp-10', 'Consumption tax', 10, true, 'JP', NULL, NULL, false, false), ('jp-8', 'Consumption tax, reduced', 8, true, 'JP', NULL, 'food', false, false),
	('br-icms', 'ICMS', 18, true, 'BR', NULL, NULL, false, false), ('br-pis', 'PIS', 1.65, true, 'BR', NULL, NULL, false, false),
	('br-iss', 'ISS', 5, false, 'BR', NULL, NULL, false, false), ('own', 'Of who names it', 3, false, NULL, NULL, NULL, false, false);
UPDATE billing.tax_rate SET is_active = false WHERE code = 'own';
INSERT INTO billing.setting (name, value) VALUES ('tax_percent', '1');

CREATE FUNCTION pg_temp.tenant(id bigint, details jsonb, currency text DEFAULT 'USD') RETURNS text LANGUAGE sql AS
	$$ SELECT (billing.create_tenant(id, 'Tenant ' || id, currency, details => details)).status $$;
SELECT pg_temp.tenant(1, '{"address": {"country": "DE"}}'), pg_temp.tenant(2, '{"address": {"country": "fr"}}'),
	pg_temp.tenant(3, '{"address": {"country": "FR"}, "tax_id": "FR1"}'), pg_temp.tenant(4, '{"address": {"country": "CA", "region": "QC"}}'),
	pg_temp.tenant(5, '{"address": {"country": "CA", "region": "on"}}'), pg_temp.tenant(6, '{"address": {"country": "CA"}}'),
	pg_temp.tenant(7, '{"address": {"country": "JP"}}', 'JPY'), pg_temp.tenant(8, '{"address": {"country": "BR"}}'),
	pg_temp.tenant(9, '{"address": {"country": "DE"}, "tax_exemption": "Charity"}'), pg_temp.tenant(10, '{"address": {"country": "DE"}, "settings": {"tax_percent": 2}}'),
	pg_temp.tenant(11, '{"address": {"country": "DE"}, "settings": {"tax_percent": 2}}'), pg_temp.tenant(12, '{"address": "Berlin"}'),
	pg_temp.tenant(13, '{"settings": {"tax_percent": 0}}');
UPDATE billing.tenant SET tax_rate = 'own' WHERE tenant_id = 11;

-- Which taxes: of two lines, the first of no category, the second a book, or food.
SELECT t.tenant_id, x.* FROM billing.tenant t CROSS JOIN LATERAL unnest(billing.choose_taxes(t.tenant_id,
	CASE WHEN t.tenant_id = 7 THEN '{NULL,food}' ELSE '{NULL,book}' END::text[])) x ORDER BY t.tenant_id, x.tax_rate;

-- How much: 10.01 and 20.05, at once.
SELECT billing.currency(v.total), v.tenant_id, v.subtotal, v.tax, v.tax_included, v.total, v.tax_percent, v.tax_count
FROM billing.tenant t CROSS JOIN LATERAL billing.create_invoice(t.tenant_id, 'one', jsonb_build_array(jsonb_build_object('description', 'First',
	'amount', CASE t.currency WHEN 'JPY' THEN '1001' ELSE '10.01' END), jsonb_build_object('description', 'Second',
	'amount', CASE t.currency WHEN 'JPY' THEN '2005' ELSE '20.05' END, 'tax_category', CASE t.tenant_id WHEN 7 THEN 'food' ELSE 'book' END))) v
ORDER BY v.tenant_id;
SELECT tenant_id, line_no, tax_rate, percent, is_inclusive, lines, base, amount, note FROM billing.invoice_tax ORDER BY tenant_id, line_no;
SELECT tenant_id, line, amount, tax, tax_included FROM billing.invoice_item ORDER BY tenant_id, line;
SELECT tenant_id, account, amount FROM billing.ledger_entry WHERE tenant_id IN (7, 8) ORDER BY 1, 2;
SELECT explanation FROM billing.explain_invoice(8, (billing.find_invoice(8, 'one')).invoice_id) WHERE line IS NULL;
SELECT explanation FROM billing.explain_invoice(3, (billing.find_invoice(3, 'one')).invoice_id) WHERE line IS NULL;
SELECT explanation FROM billing.explain_invoice(9, (billing.find_invoice(9, 'one')).invoice_id) WHERE line IS NULL;

-- A credit takes back what a charge took, to the unit.
SELECT c.line_taxes, (billing.compose('USD', '{-10.01 USD,-20.05 USD}', '{0 USD,0 USD}', t)).line_taxes AS taken_back, c.tax, c.total,
	(billing.compose('USD', '{-10.01 USD,-20.05 USD}', '{0 USD,0 USD}', t)).excess
FROM (SELECT billing.choose_taxes(8, '{NULL,book}')) x (t) CROSS JOIN LATERAL billing.compose('USD', '{10.01 USD,20.05 USD}', '{0 USD,0 USD}', t) c;
-- Lines that include different taxes: an exact sum of fractions, rounded once. 3 x 0.01 at 10 of 110, 0.05 at 10 of 128.
SELECT c.tax, c.line_taxes, c.tax_amounts, c.tax_bases FROM billing.compose('USD', '{0.01 USD,0.01 USD,0.01 USD,0.05 USD}', '{0 USD,0 USD,0 USD,0 USD}',
	ARRAY[ROW('a', 10, true, NULL, NULL), ROW('b', 18, true, '{4}', NULL)]::billing.applied_tax[]) c;
-- Discounts come first.
SELECT c.subtotal, c.discount, c.tax, c.total, c.line_taxes FROM billing.compose('USD', '{100 USD,50 USD}', '{90 USD,50 USD}',
	ARRAY[ROW('a', 10, false, NULL, NULL)]::billing.applied_tax[]) c;
-- No line, no tax, the ends of the range.
SELECT * FROM billing.compose('USD', '{}', '{}', '{}');
SELECT c.tax, c.total FROM billing.compose('JPY', '{9223372036854775807 JPY}', '{0 JPY}', ARRAY[ROW('a', 100, true, NULL, NULL)]::billing.applied_tax[]) c;
SELECT billing.compose('JPY', '{9223372036854775807 JPY}', '{0 JPY}', ARRAY[ROW('a', 100, false, NULL, NULL)]::billing.applied_tax[]);
SELECT billing.compose('JPY', '{9223372036854775807 JPY,1 JPY}', '{0 JPY,0 JPY}', '{}');
SELECT billing.compose('USD', '{1 EUR}', '{0 USD}', '{}');
SELECT billing.compose('USD', '{1 USD}', '{}', '{}');
SELECT billing.compose('USD', '{1 USD}', '{NULL}', '{}');
SELECT billing.compose('USD', '{1 USD}', '{0 USD}', ARRAY[ROW('a', 101, true, NULL, NULL)]::billing.applied_tax[]);
SELECT billing.compose('USD', '{1 USD}', '{0 USD}', '{NULL}');

-- The bill run chooses the same, and a draft is calculated again with what holds then.
INSERT INTO billing.plan (plan_id, code, name, currency) VALUES (1, 'kiosk', 'Kiosk', 'USD');
INSERT INTO billing.price (plan_id, code, tariff, tax_category, sort_order) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"10.01"}', NULL, 1),
	(1, 'book', '{"model":"flat","currency":"USD","amount":"20.05"}', 'book', 2);
SELECT count(billing.subscribe(t, 'kiosk')) FROM generate_series(1, 13) t WHERE t <> 7;
SELECT s.tenant_id, s.subtotal, s.tax, s.tax_included, s.total, s.tax_percent,
	(s.tax, s.tax_included, s.total, s.tax_percent) IS NOT DISTINCT FROM (o.tax, o.tax_included, o.total, o.tax_percent) AS same
FROM billing.invoice s JOIN billing.invoice o ON o.tenant_id = s.tenant_id AND o.biz_key = 'one' WHERE s.subscription_id IS NOT NULL ORDER BY 1;
SELECT kind, description, quantity, amount FROM billing.preview_invoice(8, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 8)) WHERE line IS NULL;
SELECT kind, description, quantity, amount FROM billing.preview_invoice(3, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 3)) WHERE line IS NULL;
SELECT (billing.update_tenant(4, '{"settings": {"finalize_after": "never"}}')).version;
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
CREATE FUNCTION pg_temp.draft(t bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT invoice_id FROM billing.invoice WHERE tenant_id = t AND status = 'draft' $$;
SELECT subtotal, tax, total, tax_count FROM billing.invoice WHERE tenant_id = 4 AND status = 'draft';
SELECT (billing.add_item(4, pg_temp.draft(4), 'A book', amount => '1 USD', tax_category => 'book')).tax;
SELECT (billing.update_tenant(4, '{"address": {"country": "CA", "region": "ON"}}')).version;
SELECT count(*) FROM billing.rebuild_invoice(4, pg_temp.draft(4));
SELECT line, amount, tax, tax_category FROM billing.invoice_item WHERE invoice_id = pg_temp.draft(4) ORDER BY 1;
SELECT tax_rate, lines, base, amount FROM billing.invoice_tax WHERE invoice_id = pg_temp.draft(4) ORDER BY line_no;
SELECT status, subtotal, tax, total FROM billing.finalize_invoice(4, pg_temp.draft(4));
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();

-- A part of a period in which nothing is billed makes no invoice, also where one would say why it bears no tax.
INSERT INTO billing.meter (code, name, unit) VALUES ('copies', 'Copies', 'copies');
INSERT INTO billing.plan (plan_id, code, name, trial_days) VALUES (2, 'copier', 'Copier', 0);
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (2, 'copies', '{"model":"per_unit","currency":"USD","unit_amount":"0.1"}', 'copies');
SELECT status FROM billing.subscribe(9, 'copier');
SELECT status FROM billing.pause_subscription(9, (SELECT subscription_id FROM billing.subscription WHERE (tenant_id, plan_id) = (9, 2)));
SELECT status FROM billing.resume_subscription(9, (SELECT subscription_id FROM billing.subscription WHERE (tenant_id, plan_id) = (9, 2)));
SELECT kind, total FROM billing.invoice WHERE (tenant_id, plan_id) = (9, 2);

-- A rate that an invoice states stays; another may change and go; nothing is out of range.
UPDATE billing.tax_rate SET percent = 20 WHERE code = 'de-19';
UPDATE billing.tax_rate SET is_active = false, name = 'VAT until March' WHERE code = 'de-19';
DELETE FROM billing.tax_rate WHERE code = 'ca-hst';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('new', 'New', 1);
UPDATE billing.tax_rate SET percent = 2 WHERE code = 'new';
DELETE FROM billing.tax_rate WHERE code = 'new';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('bad', 'Bad', 100.1);
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('bad', 'Bad', 1.0000001);
INSERT INTO billing.tax_rate (code, name, percent, country) VALUES ('bad', 'Bad', 1, 'de');
INSERT INTO billing.tax_rate (code, name, percent, region) VALUES ('bad', 'Bad', 1, 'QC');
INSERT INTO billing.tax_rate (code, name, percent, country, replaces_country) VALUES ('bad', 'Bad', 1, 'DE', true);
-- Of a final invoice the taxes stay, and there are no more of them.
UPDATE billing.invoice_tax SET amount = '0 USD' WHERE tenant_id = 1;
DELETE FROM billing.invoice_tax WHERE tenant_id = 1;
INSERT INTO billing.invoice_tax SELECT tenant_id, invoice_id, 9, tax_rate, percent, is_inclusive, lines, base, amount, note FROM billing.invoice_tax WHERE tenant_id = 2 LIMIT 1;
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
