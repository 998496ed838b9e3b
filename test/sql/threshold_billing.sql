-- Usage that passes a threshold is billed before its period ends, each threshold once; the invoice that ends the period takes off
-- what was billed so, whatever came late, was corrected or voided meanwhile, and whatever the tariff: what is billed in all is what it costs.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, aggregation) VALUES ('cut_calls', 'sum'), ('cut_seats', 'max');
INSERT INTO billing.plan (plan_id, code, name, usage_thresholds, usage_threshold_step) VALUES (9701, 'cut_month', 'Month', '{10,25}', 50), (9702, 'cut_none', 'None', NULL, NULL);
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order) SELECT p, v.* FROM generate_series(9701, 9702) p, (VALUES
	('base', '{"model":"flat","currency":"USD","amount":"5"}'::billing.tariff, NULL, 0),
	('calls', '{"model":"volume","currency":"USD","tiers":[{"up_to":"50","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5"}],"minimum":"3"}', 'cut_calls', 1),
	('seats', '{"model":"percentage","currency":"USD","rate":"100","event_minimum":"2"}', 'cut_seats', 2)) v;
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(9701, 9704) t;
SELECT count(billing.subscribe(t, 'cut_month')) FROM generate_series(9701, 9702) t;
SELECT count(billing.subscribe(t, 'cut_none')) FROM generate_series(9703, 9704) t;
CREATE TEMP VIEW line AS
SELECT i.tenant_id AS tenant, regexp_replace(i.biz_key, '^sub/\d+/', '') AS key, i.status, i.total, l.line, l.kind, l.price_code AS price, l.quantity, l.amount,
	l.usage_events AS events, regexp_replace(a.biz_key, '^sub/\d+/', '') AS of
FROM billing.invoice i LEFT JOIN billing.invoice_item l USING (tenant_id, invoice_id) LEFT JOIN billing.invoice a ON a.tenant_id = l.tenant_id AND a.invoice_id = l.adjusts_invoice_id
WHERE i.tenant_id BETWEEN 9701 AND 9704 ORDER BY i.tenant_id, i.invoice_id, l.line;
CREATE FUNCTION pg_temp.use(tenant bigint, id text, meter text, quantity numeric, clock timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', to_char(clock AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
	PERFORM billing.record_usage(tenant, meter, quantity, id, clock - interval '1 minute');
	CALL billing.bill_due();
	CALL billing.bill_due();
END $$;

-- What a call is refused with, whatever ids it names.
CREATE FUNCTION pg_temp.refused(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE query;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '(invoice|subscription) \d+', '\1 N') || coalesce(nullif(' / ' || hint, ' / '), '');
END $$;

-- Below, at, and several at once; a threshold that was passed is not passed again, the minimum is not asked for so far.
SELECT pg_temp.use(9701, 'a', 'cut_calls', 9, '2026-01-05 10:00Z');
SELECT count(*) FROM line WHERE kind = 'interim';
SELECT pg_temp.use(9701, 'b', 'cut_calls', 1, '2026-01-06 10:00Z');
SELECT pg_temp.use(9701, 'c', 'cut_calls', 10, '2026-01-07 10:00Z');
SELECT pg_temp.use(9701, 'd', 'cut_seats', 1, '2026-01-08 10:00Z');
SELECT pg_temp.use(9701, 'e', 'cut_seats', 4, '2026-01-09 10:00Z');
SELECT * FROM line WHERE tenant = 9701;
SELECT usage_thresholds, cut_at, cut_amount FROM billing.subscription_threshold WHERE tenant_id = 9701;
-- More usage that costs less, late usage and a correction of what was billed so.
SELECT pg_temp.use(9701, 'f', 'cut_calls', 40, '2026-01-10 10:00Z');
SELECT billing.record_usage(9701, 'cut_calls', 60, 'late', '2026-01-05Z');
SELECT (billing.correct_usage(9701, 'e', 3, 'e+')).event_id;
SELECT pg_temp.use(9701, 'g', 'cut_calls', 1, '2026-01-11 10:00Z');
SELECT event_id, is_correction, invoice_id IS NOT NULL AS is_booked FROM billing.usage_late WHERE tenant_id = 9701 ORDER BY 1, 2;
SELECT p.kind, p.price_code, p.quantity, p.amount FROM billing.get_active_subscription(9701) s, billing.preview_invoice(9701, s.subscription_id) p;
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM line WHERE tenant = 9701 AND key > '2026-01-07' AND key < '2026-02-02' OR tenant = 9702 AND key > '2026-01-02';
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();
SELECT x.line, x.explanation FROM billing.invoice v, billing.explain_invoice(9701, v.invoice_id) x WHERE v.tenant_id = 9701
	AND v.kind = 'threshold' AND v.period_end = '2026-01-09 10:00Z' AND x.line IS NOT NULL;
SELECT x.line, x.explanation FROM billing.invoice v, billing.explain_invoice(9701, v.invoice_id) x WHERE v.tenant_id = 9701
	AND v.period_end = '2026-02-01Z' AND x.line = 4;

-- What is late for the whole period is adjusted as ever, and the next period begins with what all of it came to.
SELECT billing.record_usage(9701, 'cut_calls', -100, 'later', '2026-01-20Z');
SELECT pg_temp.use(9701, 'h', 'cut_calls', 5, '2026-02-05 10:00Z');
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM line WHERE tenant = 9701 AND key > '2026-02-02';
SELECT price, sum(amount) FROM line WHERE tenant = 9701 AND price <> 'base' AND key < '2026-03-02' GROUP BY 1;

-- Thresholds of one's own, a part of a period, and an interim invoice that is voided: it is not made again, and what it billed the
-- next one does; one that is issued again has the same; one that was taken off stays.
SELECT is_own, usage_thresholds, usage_threshold_step FROM billing.set_usage_thresholds(9703, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9703), NULL, 10);
SELECT is_own, usage_thresholds, usage_threshold_step FROM billing.set_usage_thresholds(9702, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9702), '{}');
SELECT pg_temp.use(9702, 'a', 'cut_calls', 30, '2026-03-05 10:00Z'), pg_temp.use(9703, 'a', 'cut_calls', 11, '2026-03-05 11:00Z'), pg_temp.use(9704, 'a', 'cut_calls', 30, '2026-03-05 11:00Z');
SELECT (billing.void_invoice(v.tenant_id, v.invoice_id)).status FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'threshold';
SELECT pg_temp.use(9703, 'b', 'cut_calls', 2, '2026-03-06 10:00Z');
SELECT pg_temp.use(9703, 'c', 'cut_calls', 10, '2026-03-07 10:00Z');
SELECT (billing.void_invoice(v.tenant_id, v.invoice_id, reissue => true)).total FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'threshold' AND v.status = 'open';
SELECT pg_temp.use(9703, 'd', 'cut_calls', 0.5, '2026-03-08 10:00Z');
SELECT status FROM billing.cancel_subscription(9703, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9703), 'now');
SELECT * FROM line WHERE tenant > 9701 AND key > '2026-03-02' AND price <> 'base';
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();
SELECT pg_temp.refused(format('SELECT billing.void_invoice(%s, %s)', v.tenant_id, v.invoice_id)) FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'threshold' AND v.status = 'open';
SAVEPOINT s; SELECT (billing.void_invoice(v.tenant_id, v.invoice_id)).status FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'final';
SELECT pg_temp.refused(format('SELECT billing.void_invoice(%s, %s, reissue => true)', v.tenant_id, v.invoice_id)) FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'threshold' AND v.status = 'open';
SELECT (billing.void_invoice(v.tenant_id, v.invoice_id)).status FROM billing.invoice v WHERE v.tenant_id = 9703 AND v.kind = 'threshold' AND v.status = 'open';
SELECT * FROM billing.verify_all(9703); SELECT * FROM billing.audit(9703); ROLLBACK TO s;

-- Drafts: one that waits is taken off as it stands, and is calculated again with what came late.
UPDATE billing.tenant SET settings = '{"finalize_after": "never"}' WHERE tenant_id = 9701;
SELECT pg_temp.use(9701, 'i', 'cut_calls', 150, '2026-03-15 10:00Z');
SELECT billing.record_usage(9701, 'cut_calls', 6, 'late again', '2026-03-15 09:00Z');
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT b.kind, b.price_code, b.amount FROM billing.invoice v, billing.rebuild_invoice(9701, v.invoice_id) b WHERE v.tenant_id = 9701 AND v.status = 'draft';
SELECT count(billing.finalize_invoice(tenant_id, invoice_id)) FROM (SELECT * FROM billing.invoice WHERE tenant_id = 9701 AND status = 'draft' ORDER BY invoice_id DESC) d;
SELECT * FROM line WHERE tenant = 9701 AND key > '2026-03-02' AND price <> 'base';
SELECT b.* FROM billing.invoice v, billing.rebuild_invoice(9701, v.invoice_id) b WHERE v.tenant_id = 9701 AND v.kind = 'threshold';
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();
-- Once the derived tables are gone.
TRUNCATE billing.usage_rollup, billing.usage_period, billing.usage_horizon, billing.usage_floor;
CALL billing.compact_usage();
SELECT count(*) FROM billing.usage_late WHERE invoice_id IS NULL;
SELECT * FROM billing.verify_all();
SELECT * FROM billing.audit();

-- What is refused, and what others changed.
SELECT pg_temp.refused($$SELECT billing.set_usage_thresholds(9701, 1, '{10}')$$);
SELECT pg_temp.refused($$SELECT billing.set_usage_thresholds(9703, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9703), '{10}')$$);
SELECT pg_temp.refused($$SELECT billing.set_usage_thresholds(9701, NULL, '{10}')$$);
SELECT t, s, billing.are_thresholds(t::numeric[], s) FROM (VALUES ('{1,2}', 1), ('{2,1}', 1), ('{0}', NULL), ('{1,1}', NULL), ('{NaN}', NULL), ('{1,Infinity}', NULL), ('{1,NULL}', NULL), ('{{1}}', NULL),
	('[0:0]={1}', NULL), ('{}', NULL), (NULL, 0), (NULL, -1), (NULL, 'NaN'), (NULL, 5::numeric)) v (t, s);
SELECT a, billing.threshold_level('{10,25}', 50, a) AS both, billing.threshold_level(NULL, 50, a) AS step, billing.threshold_level('{10,25}', NULL, a) AS fixed
FROM unnest('{-5,0,9.99,10,24.99,25,74.99,75,125,126}'::numeric[]) a;
SELECT pg_temp.refused($$SELECT billing.set_usage_thresholds(9701, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9701), '{10,5}')$$);
SELECT pg_temp.refused($$INSERT INTO billing.plan (code, name, usage_thresholds) VALUES ('cut_bad', 'Bad', '{5,5}')$$);
-- So many, and no more.
SELECT n, billing.are_thresholds(ARRAY(SELECT generate_series(1, n))::numeric[], NULL) FROM unnest('{100,101}'::integer[]) n;
SELECT pg_temp.refused($$SELECT billing.set_usage_thresholds(9701, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9701),
	ARRAY(SELECT generate_series(1, 100000))::numeric[])$$);
SELECT pg_temp.refused($$UPDATE billing.plan SET usage_thresholds = '{5}' WHERE plan_id = 9701$$);
SAVEPOINT s; SET session_replication_role = replica; DELETE FROM billing.invoice_item WHERE tenant_id = 9703 AND kind = 'interim_credit';
SELECT DISTINCT invariant FROM billing.audit(9703) ORDER BY 1; SELECT problem FROM billing.verify_all(9703); ROLLBACK TO s;
ROLLBACK;
