-- A price that is corrected after it was billed becomes signed lines of the next invoices of who was billed by it, once: rounded
-- amounts compared, with usage that came late meanwhile, of fixed prices and parts of a period too, and whatever is voided.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
BEGIN;
SET billing.test_clock = '2026-01-11T00:00:00Z';
INSERT INTO billing.meter (code) VALUES ('rate_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9601, 'rate_plan', 'Month', '1 month'), (9602, 'rate_plan', 'Year', '1 year');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order)
SELECT p, c, t::billing.tariff, m, s FROM generate_series(9601, 9602) p, (VALUES ('base', '{"model":"flat","currency":"USD","amount":"31"}', NULL, 0),
	('calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'rate_calls', 1),
	('each', '{"model":"percentage","currency":"USD","rate":"1","event_amount":"0.10"}', 'rate_calls', 2)) v (c, t, m, s);
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(9601, 9604) t;
SELECT count(billing.subscribe(t, 'rate_plan', cycle => CASE t WHEN 9604 THEN interval '1 year' ELSE '1 month' END, billing => 'calendar')) FROM generate_series(9601, 9604) t;
CREATE TEMP VIEW line AS
SELECT i.tenant_id AS tenant, regexp_replace(i.biz_key, '^sub/\d+/(\d+-\d+-\d+)T00:00:00Z', '\1') AS key, i.status, l.line, l.kind, l.price_code AS price,
	l.quantity, l.amount, l.period_start::date AS "from", l.adjusts_line AS of
FROM billing.invoice i LEFT JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id BETWEEN 9601 AND 9604 ORDER BY i.tenant_id, i.invoice_id, l.line;
SET billing.test_clock = '2026-01-21T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT t, 'e' || n, 'rate_calls', 111 * n, timestamptz '2026-01-11Z' + n * interval '1 day' FROM generate_series(9601, 9604) t, generate_series(1, 4) n;
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT status FROM billing.cancel_subscription(9602, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9602), 'now');
SELECT * FROM line WHERE tenant = 9601;

-- What each is owed, before anything is booked: of a part of a period a part; the same call changes nothing.
CREATE TEMP VIEW differences AS
SELECT r.tenant_id, r.line, r.quantity, r.difference, r.period_start::date AS "from" FROM billing.rerate('rate_plan', 'base',
	'{"model":"flat","currency":"USD","amount":"24.80"}', '[2026-01-01Z,2026-02-01Z)', cycle => '1 month', reason => 'a promised rebate') r;
TABLE differences;
TABLE differences;
SELECT r.tenant_id, r.line, r.quantity, r.difference FROM billing.rerate('rate_plan', 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.0104"}', '[2026-01-01Z,2026-02-01Z)', 9601, cycle => '1 month') r;
-- Later it was to be something else; of each event on its own.
SELECT r.tenant_id, r.line, r.quantity, r.difference FROM billing.rerate('rate_plan', 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.02"}', '[2026-01-01Z,)', cycle => '1 month') r;
SELECT r.tenant_id, r.line, r.quantity, r.difference FROM billing.rerate('rate_plan', 'each', '{"model":"percentage","currency":"USD","rate":"1","event_minimum":"2"}', '[2026-01-01Z,)', cycle => '1 month', version => 1) r;
SELECT p.kind, p.price_code, p.quantity, p.amount FROM billing.get_active_subscription(9601) s, billing.preview_invoice(9601, s.subscription_id) p WHERE p.kind = 'adjustment';
SELECT plan_id, price_code, tariff, during, reason FROM billing.price_correction ORDER BY correction_id;
SELECT count(*), count(invoice_id) FROM billing.rerated_line;

-- With usage that comes late it is one line; the one that has ended gets one more invoice; of what is voided the next one books.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9601, 'late', 'rate_calls', 1000, '2026-01-31Z');
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT count(billing.void_invoice(tenant_id, invoice_id)) FROM billing.invoice WHERE tenant_id = 9603 AND period_end = '2026-03-01Z';
SELECT r.tenant_id, r.line, r.difference FROM billing.rerate('rate_plan', 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.02"}', '[2026-01-01Z,)', cycle => '1 month') r;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9601, 'later', 'rate_calls', 100, '2026-01-30Z');
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM line WHERE kind = 'adjustment' OR quantity <> 0 AND price <> 'base' OR tenant = 9602;
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();
SELECT tenant_id, count(*), count(invoice_id) FROM billing.rerated_line GROUP BY 1 ORDER BY 1;
SELECT x.line, x.explanation FROM billing.invoice v, billing.explain_invoice(9601, v.invoice_id) x
WHERE v.tenant_id = 9601 AND v.period_end = '2026-03-01Z' AND x.line > 3;
-- Nothing more comes of it, and a rebuild agrees.
TABLE differences;
SELECT b.* FROM billing.invoice v, billing.rebuild_invoice(9601, v.invoice_id) b WHERE v.tenant_id = 9601;
-- Back to what it was.
SELECT r.tenant_id, r.line, r.difference FROM billing.rerate('rate_plan', 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', '[2026-01-01Z,)', 9601, cycle => '1 month') r;
SELECT b.price_code, b.stored_amount, b.amount, b.difference FROM billing.invoice v, billing.rebuild_invoice(9601, v.invoice_id) b WHERE v.tenant_id = 9601;
SET billing.test_clock = '2026-05-01T00:00:00Z';
CALL billing.bill_due();
SELECT price, sum(amount) FROM line WHERE tenant = 9601 AND price <> 'base' GROUP BY 1 ORDER BY 1;
SELECT * FROM billing.verify_all();

-- A draft that is calculated again takes it; an invoice that is issued again has what it had.
UPDATE billing.tenant SET settings = '{"finalize_after": "never"}' WHERE tenant_id = 9603;
SET billing.test_clock = '2026-06-01T00:00:00Z';
CALL billing.bill_due();
SELECT count(*) FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-04-15Z,2026-05-15Z)', 9603, cycle => '1 month') r;
SELECT b.price_code, b.kind, b.amount FROM billing.invoice v, billing.rebuild_invoice(9603, v.invoice_id) b WHERE v.tenant_id = 9603 AND v.status = 'draft';
SELECT (billing.finalize_invoice(9603, invoice_id)).total FROM billing.invoice WHERE tenant_id = 9603 AND status = 'draft';
SELECT (billing.void_invoice(9603, invoice_id, reissue => true)).total FROM billing.invoice WHERE tenant_id = 9603 AND period_end = '2026-06-01Z';
SELECT key, status, kind, price, amount, "from" FROM line WHERE tenant = 9603 AND key LIKE '2026-06%' AND price = 'base';
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();

-- What is refused, and what others changed.
INSERT INTO billing.plan (plan_id, code, name, version) VALUES (9603, 'rate_plan', 'Month', 2);
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9603, 'base', '{"model":"flat","currency":"USD","amount":"40"}');
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-01-01Z,)'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-01-01Z,)', cycle => '0'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'none', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-01-01Z,)'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('none', 'base', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-01-01Z,)'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"EUR","amount":"1"}', '[2026-01-01Z,)'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"USD","amount":"1"}', 'empty', cycle => '1 year'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"percentage","currency":"USD","rate":"1","event_minimum":"2"}', '[2026-01-01Z,)', cycle => '1 year'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', '{"model":"flat","currency":"USD","amount":"1"}', '[2026-01-01Z,)', 9699, cycle => '1 year'); ROLLBACK TO s;
SAVEPOINT s; SELECT * FROM billing.rerate('rate_plan', 'base', NULL, '[2026-01-01Z,)', cycle => '1 year'); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.price_correction SET reason = 'no'; ROLLBACK TO s;
SAVEPOINT s; SET session_replication_role = replica; UPDATE billing.price_correction SET during = '[2027-01-01Z,)' WHERE price_code = 'each';
SELECT DISTINCT invariant FROM billing.audit(9601); ROLLBACK TO s;
SAVEPOINT s; SET session_replication_role = replica; UPDATE billing.price_correction SET tariff = '{"model":"per_unit","currency":"USD","unit_amount":"0.0205"}' WHERE price_code = 'calls' AND during @> 'infinity'::timestamptz;
SELECT problem FROM billing.verify_all(9601); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.rerated_line SET invoice_id = adjusts_invoice_id WHERE tenant_id = 9601;
SELECT DISTINCT invariant FROM billing.audit(9601); ROLLBACK TO s;
ROLLBACK;
