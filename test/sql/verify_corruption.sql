-- Whatever of an invoice's sources or records is changed behind the guards, verify_invoice or audit names it, and
-- before that neither names anything: of every aggregation, of late usage booked and pending, of drafts and voids.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, aggregation) VALUES ('verify_sum', 'sum'), ('verify_count', 'count'), ('verify_max', 'max'),
	('verify_latest', 'latest'), ('verify_unique', 'unique_count'), ('verify_level', 'weighted_sum');
INSERT INTO billing.plan (plan_id, code, name, settings) VALUES (9701, 'verify_all', 'All there is', '{}'),
	(9702, 'verify_draft', 'Drafts', '{"finalize_after": "3 days"}');
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order)
SELECT p, c.code, c.tariff::billing.tariff, c.meter, c.n
FROM unnest('{9701,9702}'::bigint[]) p, (VALUES
	(1, 'base', NULL, '{"model":"flat","currency":"USD","amount":"29"}'),
	(2, 'sum', 'verify_sum', '{"model":"graduated","currency":"USD","tiers":[{"up_to":"100","unit_amount":"0.10"},{"up_to":null,"unit_amount":"0.033"}]}'),
	(3, 'count', 'verify_count', '{"model":"package","currency":"USD","amount":"5","package_size":"10"}'),
	(4, 'max', 'verify_max', '{"model":"per_unit","currency":"USD","unit_amount":"1.5"}'),
	(5, 'latest', 'verify_latest', '{"model":"per_unit","currency":"USD","unit_amount":"3"}'),
	(6, 'unique', 'verify_unique', '{"model":"per_unit","currency":"USD","unit_amount":"2"}'),
	(7, 'level', 'verify_level', '{"model":"per_unit","currency":"USD","unit_amount":"1"}'),
	(8, 'event', 'verify_sum', '{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30","event_minimum":"0.35"}')) c (n, code, meter, tariff);
SELECT billing.create_tenant(t, 'Tenant ' || t, timezone => z, details => d::jsonb) IS NOT NULL AS made
FROM (VALUES (9701, 'America/New_York', '{}'), (9702, 'UTC', '{"settings":{"tax_percent":7.5}}'), (9703, 'Asia/Kolkata', '{}')) v (t, z, d);
SELECT billing.subscribe(t, p, quantity => 2) IS NOT NULL AS subscribed
FROM (VALUES (9701, 'verify_all'), (9702, 'verify_draft'), (9703, 'verify_all'), (9703, 'verify_all')) v (t, p);
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, properties, subscription_id, recorded_at)
SELECT t, m || n, m, 1 + n % 7, '2026-01-01T00:00:00Z'::timestamptz + n * interval '7 hours 13 minutes',
	jsonb_build_object('value', n % 5),
	CASE WHEN t = 9703 AND n % 3 = 0 THEN (SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = 9703) END, '2026-04-01'
FROM generate_series(9701, 9703) t, unnest('{verify_sum,verify_count,verify_max,verify_latest,verify_unique,verify_level}'::text[]) m,
	generate_series(0, 290) n;

SET billing.test_clock = '2026-02-02T00:00:00Z';
CALL billing.bill_due();
-- Usage that came late, twice: some is booked in March, some in April, some by none.
CREATE FUNCTION pg_temp.come_late(name text, tenants bigint[], at timestamptz) RETURNS void LANGUAGE sql AS $$
	INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, properties, recorded_at)
	SELECT t, name || m || n, m, 5 + n, at + n * interval '5 hours 13 minutes', jsonb_build_object('value', name || n), billing.now()
	FROM unnest(tenants) t, unnest('{verify_sum,verify_count,verify_max,verify_latest,verify_unique,verify_level}'::text[]) m, generate_series(0, 5) n
$$;
SELECT pg_temp.come_late('a', '{9701,9702,9703}', '2026-01-11');
SET billing.test_clock = '2026-03-02T00:00:00Z';
CALL billing.bill_due();
SELECT pg_temp.come_late('b', '{9701,9703}', '2026-01-30');
SET billing.test_clock = '2026-04-01T12:00:00Z';
CALL billing.bill_due();
SELECT pg_temp.come_late('c', '{9701,9702,9703}', '2026-03-11');
CALL billing.compact_usage();
-- One-off, paid in part, void, void and issued again, given up.
SELECT (billing.create_invoice(9701, 'setup', '[{"description":"Setup","amount":"100"},{"description":"Help","quantity":"2.5","unit_amount":"19.99"}]')).total;
SELECT (billing.record_payment(9701, (billing.find_invoice(9701, 'setup')).invoice_id, '40 USD', 'pay-1', 'cash')).status,
	(billing.record_payment(9701, (billing.find_invoice(9701, 'setup')).invoice_id, '1.50 USD', 'pay-2', 'cash')).status;
SELECT (billing.create_invoice(9701, 'mistake', '[{"description":"Mistake","amount":"7"}]')).total;
SELECT (billing.void_invoice(9701, (billing.find_invoice(9701, 'mistake')).invoice_id)).status;
SELECT (billing.create_invoice(9701, 'lost', '[{"description":"Lost","amount":"7"}]')).total;
SELECT (billing.mark_uncollectible(9701, (billing.find_invoice(9701, 'lost')).invoice_id)).status;
SELECT (billing.create_invoice(9701, 'draft', '[{"description":"Draft","amount":"7"}]', finalize => false)).status;

-- The invoices of a tenant in their order: 1 is the first.
CREATE FUNCTION pg_temp.nth(tenant bigint, n integer) RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT invoice_id FROM billing.invoice WHERE tenant_id = tenant ORDER BY invoice_id OFFSET n - 1 LIMIT 1 $$;
SELECT (billing.void_invoice(9703, pg_temp.nth(9703, 8), reissue => true)).status;
SELECT (billing.void_invoice(9703, pg_temp.nth(9703, 5))).status;
SELECT tenant_id, row_number() OVER (PARTITION BY tenant_id ORDER BY invoice_id) AS n, kind, status, period_end, item_count, subtotal, tax, total
FROM billing.invoice WHERE tenant_id BETWEEN 9701 AND 9703 ORDER BY tenant_id, invoice_id;
SELECT left(event_id, 1) AS late, l.tenant_id, count(*), count(invoice_id) AS booked, count(voided_invoice_id) AS voided
FROM billing.usage_late l WHERE tenant_id BETWEEN 9701 AND 9703 GROUP BY 1, 2 ORDER BY 2, 1;

-- What is wrong with a tenant: the order of an invoice in place of its id, and no values.
CREATE FUNCTION pg_temp.findings(tenant bigint) RETURNS TABLE (by text, problem text, object text, detail text, count bigint) LANGUAGE sql AS $$
	WITH invoice AS (
		SELECT invoice_id::text AS id, row_number() OVER (ORDER BY invoice_id) AS n FROM billing.invoice WHERE tenant_id = tenant
	), found AS (
		SELECT 'verify' AS by, p.problem, 'invoice ' || i.n AS object, split_part(p.detail, ':', 1) AS detail
		FROM billing.verify_all(tenant) p JOIN invoice i ON i.id = p.invoice_id::text
		UNION ALL
		SELECT 'audit', a.invariant, coalesce(regexp_replace(a.object, ' ' || i.id || '\M', ' ' || i.n),
			regexp_replace(regexp_replace(a.object, '^(\S+) \d+', '\1 N'), '^usage_late .*', 'usage_late')), NULL
		FROM billing.audit() a LEFT JOIN invoice i ON i.id = substring(a.object FROM '(?:invoice|calculation_log|invoice_item) (\d+)')
		WHERE a.tenant_id = tenant OR a.object LIKE 'plan ' || tenant || '%' OR a.detail LIKE '%invoice_final_guard%'
	)
	SELECT by, problem, object, detail, count(*) FROM found GROUP BY 1, 2, 3, 4 ORDER BY 1 DESC, 3, 2, 4
$$;

SELECT t, f.* FROM generate_series(9701, 9703) t, pg_temp.findings(t) f;
SELECT * FROM billing.verify_invoice(9701, pg_temp.nth(9701, 2));

\set QUIET on
SET session_replication_role = replica;
\echo '-- an event: its quantity, that there is none, that there is one more'
SAVEPOINT s; UPDATE billing.usage_event SET quantity = 99 WHERE tenant_id = 9702 AND event_id = 'verify_sum3'; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.usage_event WHERE tenant_id = 9702 AND event_id = 'verify_unique4'; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- a rollup'
SAVEPOINT s; UPDATE billing.usage_rollup SET sum = sum + 1 WHERE tenant_id = 9702 AND meter = 'verify_sum' AND level = 'd' AND bucket = '2026-02-03';
SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.usage_rollup WHERE tenant_id = 9702 AND meter = 'verify_max' AND bucket = '2026-02-03'; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- late usage that nobody booked, that another invoice booked, that came in time'
SAVEPOINT s; UPDATE billing.usage_late SET invoice_id = NULL WHERE tenant_id = 9701 AND event_id = 'averify_sum0'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.usage_late SET invoice_id = pg_temp.nth(9702, 2) WHERE tenant_id = 9701 AND event_id = 'averify_sum0'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.usage_late WHERE tenant_id = 9701 AND event_id = 'averify_sum0'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
\echo '-- a tariff, a price that is gone, the settings an invoice was made with (which change nothing)'
SAVEPOINT s; UPDATE billing.price SET tariff = '{"model":"per_unit","currency":"USD","unit_amount":"1.6"}' WHERE plan_id = 9702 AND code = 'max'; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.price WHERE plan_id = 9702 AND code = 'event'; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.tenant SET settings = '{"tax_percent": 19, "invoice_prefix": "X"}' WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- an item: its amount, its text, gone, one more'
SAVEPOINT s; UPDATE billing.invoice_item SET amount = amount + '0.01 USD' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2) AND line = 3; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice_item SET description = 'else' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2) AND line = 3; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.invoice_item WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2) AND line = 3; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; INSERT INTO billing.invoice_item (tenant_id, invoice_id, line, kind, description, amount, discount, tax) VALUES (9702, pg_temp.nth(9702, 2), 99, 'manual', 'Gift', '1 USD', '0 USD', '0 USD'); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice_item SET amount = '1 EUR' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2) AND line = 3; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- the invoice: its totals, whom it names, its plan, its number, its state, its key'
SAVEPOINT s; UPDATE billing.invoice SET tax = tax + '1 USD', total = total + '1 USD' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice SET billing_name = 'Somebody' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice SET plan_id = 9701 WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice SET number = 'INV-9702-000009' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice SET status = 'void' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.invoice SET period_end = period_end + interval '1 hour' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.invoice WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- the log: its text, that and its hash, nonsense, its columns, gone'
SAVEPOINT s; UPDATE billing.calculation_log SET inputs = replace(inputs, '"quantity":2,', '"quantity":3,') WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.calculation_log SET inputs = replace(inputs, '"quantity":2,', '"quantity":3,'), hash = sha256(convert_to(replace(inputs, '"quantity":2,', '"quantity":3,'), 'UTF8'))
	WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.calculation_log SET inputs = '{"engine":"\u0000' WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.calculation_log SET quantity = 3 WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.calculation_log SET arrears = tstzrange(lower(arrears), upper(arrears) - interval '1 hour') WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.calculation_log WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- a link of the chain, and its number'
SAVEPOINT s; UPDATE billing.calculation_log SET chain_hash = sha256('x') WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.calculation_log SET chain_no = 77 WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- who was erased, with the salt, leaves the proof'
SAVEPOINT s; UPDATE billing.invoice SET billing_name = NULL WHERE tenant_id = 9702; UPDATE billing.calculation_log SET party_salt = NULL WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- a counter, a payment, a transaction, a grant'
SAVEPOINT s; UPDATE billing.counter SET invoice_number = invoice_number + 1 WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.counter SET chain_hash = sha256('x') WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.payment SET amount = '41 USD' WHERE tenant_id = 9701 AND pay_no = 'pay-1'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.payment SET status = 'failed' WHERE tenant_id = 9701 AND pay_no = 'pay-1'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.payment WHERE tenant_id = 9701 AND pay_no = 'pay-1'; SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.transaction SET amounts = ARRAY(SELECT a * 2 FROM unnest(amounts) a) WHERE tenant_id = 9702 AND invoice_id = pg_temp.nth(9702, 2); SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.transaction WHERE tenant_id = 9701 AND kind IN ('void', 'write_off'); SELECT * FROM pg_temp.findings(9701); ROLLBACK TO s;
\echo '-- a subscription: its state, its next boundary, its currency; the prices that a plan states'
SAVEPOINT s; UPDATE billing.subscription SET due_at = NULL WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.subscription SET billed_to = due_at, period_start = due_at WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.subscription SET currency = 'EUR' WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.subscription WHERE tenant_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.plan SET price_codes = '{base}' WHERE plan_id = 9702; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- a horizon of another cluster; a guard that is off'
SAVEPOINT s; UPDATE billing.usage_horizon SET snapshot = '900000000000:900000000000:', own_xid = '900000000000' WHERE tenant_id = 9702;
SELECT * FROM pg_temp.findings(9702) WHERE problem LIKE '%horizon%'; ROLLBACK TO s;
SAVEPOINT s; ALTER TABLE billing.invoice DISABLE TRIGGER invoice_final_guard; SELECT * FROM pg_temp.findings(9702); ROLLBACK TO s;
\echo '-- and all is well again'
SELECT t, f.* FROM generate_series(9701, 9703) t, pg_temp.findings(t) f;
SET session_replication_role = origin;
SELECT * FROM billing.verify_invoice(9701, 0);
SELECT * FROM billing.verify_invoice(NULL, 0);
ROLLBACK;
