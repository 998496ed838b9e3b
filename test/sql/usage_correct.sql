-- An event that was recorded in error is taken out, or another takes its place: it stays recorded and counts in no total from then
-- on, whatever the aggregation; who asks what was known before, and who verifies an invoice of before, still has it.
LOAD 'billing';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
BEGIN;
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, aggregation, property) VALUES ('fix_sum', 'sum', NULL), ('fix_count', 'count', NULL), ('fix_max', 'max', NULL),
	('fix_latest', 'latest', NULL), ('fix_unique', 'unique_count', 'user'), ('fix_weighted', 'weighted_sum', NULL);
INSERT INTO billing.plan (plan_id, code, name) VALUES (9501, 'fix_month', 'Month');
-- More usage may cost less.
INSERT INTO billing.price (plan_id, code, tariff, meter, sort_order)
SELECT 9501, code, CASE WHEN code = 'fix_sum' THEN '{"model":"volume","currency":"USD","tiers":[{"up_to":"100","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5"}]}'
	ELSE '{"model":"per_unit","currency":"USD","unit_amount":"1"}' END::billing.tariff, code, row_number() OVER (ORDER BY code)
FROM billing.meter WHERE code LIKE 'fix\_%';
SELECT (billing.create_tenant(9501, 'Fix')).status;
SELECT status FROM billing.subscribe(9501, 'fix_month');
SET billing.test_clock = '2026-01-26T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, properties)
SELECT 9501, m || n, 'fix_' || m, n * 10, timestamptz '2026-01-11 00:00Z' + n * interval '5 days' - CASE n WHEN 3 THEN interval '2 seconds' ELSE '0' END,
	jsonb_build_object('user', 'user ' || n % 2)
FROM unnest('{sum,count,max,latest,unique,weighted}'::text[]) m, generate_series(0, 3) n;
CREATE TEMP VIEW used AS
SELECT string_agg(format('%s %s', substr(m.code, 5), trim_scale(billing.usage(9501, m.code, '[2026-01-01Z,2026-02-01Z)'))), ', ' ORDER BY m.code) AS used
FROM billing.meter m WHERE m.code LIKE 'fix\_%';
CREATE TEMP VIEW line AS
SELECT regexp_replace(i.biz_key, '^sub/\d+/', '') AS key, i.total, l.line, l.kind, l.price_code, trim_scale(l.quantity) AS quantity, l.amount, l.usage_events
FROM billing.invoice i LEFT JOIN billing.invoice_item l USING (tenant_id, invoice_id) WHERE i.tenant_id = 9501 ORDER BY i.invoice_id, l.line;
TABLE used;

-- Before it is compacted, once it is, and of a part that the rollup does not cut; the greatest and the last are of each.
SET billing.test_clock = '2026-01-27T00:00:00Z';
SELECT event_id, superseded_by, reason, corrected_at FROM billing.cancel_usage(9501, 'sum3', 'a test');
TABLE used;
SELECT count((billing.cancel_usage(9501, m || '3')).event_id) FROM unnest('{count,max,latest,unique,weighted}'::text[]) m;
TABLE used;
SELECT billing.usage(9501, 'fix_sum', '[2026-01-11 00:00:00Z,2026-01-25 23:59:59Z)') AS cut, billing.usage(9501, 'fix_sum', '[2026-01-01Z,2026-02-01Z)', '2026-01-26Z') AS known,
	billing.usage(9501, 'fix_sum', '[2026-01-01Z,2026-02-01Z)', '2026-01-27Z') AS known_since;
SELECT day, quantity, events FROM billing.daily_usage(9501, 'fix_sum', '[2026-01-25Z,2026-01-27Z)');

-- Another in its place, which may be corrected in turn.
SELECT event_id, superseded_by FROM billing.correct_usage(9501, 'sum2', 25, 'sum2+', 'counted wrong');
SELECT event_id, superseded_by FROM billing.correct_usage(9501, 'sum2+', 200, 'sum2++', at => '2026-01-20 10:00Z', properties => '{"user": "other"}');
SELECT event_id, meter, quantity, at, properties FROM billing.usage_event WHERE tenant_id = 9501 AND event_id LIKE 'sum2%' ORDER BY event_id;
TABLE used;

-- The same again, with a request or without, is done; recording what was taken out adds nothing.
SELECT corrected_at FROM billing.cancel_usage(9501, 'sum3', 'again');
SELECT superseded_by FROM billing.correct_usage(9501, 'sum2', 25.0, 'sum2+');
SELECT (billing.cancel_usage(9501, 'count2', request_id => 'once')).event_id;
SELECT (billing.cancel_usage(9501, 'count2', request_id => 'once')).event_id;
SELECT billing.record_usage(9501, 'fix_sum', 30, 'sum3', '2026-01-25 23:59:58Z', '{"user": "user 1"}');
SELECT count(*) FROM billing.usage_correction WHERE tenant_id = 9501;
TABLE used;

-- What is refused.
SAVEPOINT s; SELECT billing.cancel_usage(9501, 'none'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.cancel_usage(9501, NULL); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.cancel_usage(9502, 'sum3'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.cancel_usage(9501, 'sum2'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.cancel_usage(9501, 'sum1', request_id => 'once'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum2', 25, 'sum4'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum2', 26, 'sum2+'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum3', 1, 'sum4'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 10, 'sum1'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 20, 'max1'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 25, 'sum2+', at => '2026-01-21Z', properties => '{"user": "user 0"}'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 'NaN', 'sum4'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 1, 'sum4', at => '2026-02-27Z'); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', 1, ''); ROLLBACK TO s;
SAVEPOINT s; SELECT billing.correct_usage(9501, 'sum1', NULL, 'sum4'); ROLLBACK TO s;
SAVEPOINT s; UPDATE billing.usage_correction SET reason = 'no'; ROLLBACK TO s;
SAVEPOINT s; DELETE FROM billing.usage_correction; ROLLBACK TO s;
SAVEPOINT s; SET billing.tenant_id = 9502; CREATE ROLE fix_app; SELECT billing.grant_access('fix_app', 'app'); SET ROLE fix_app;
SELECT billing.cancel_usage(9501, 'sum1'); ROLLBACK TO s;

-- A tenant that is frozen, or closed, is corrected all the same, but nothing is moved to where it is.
SAVEPOINT s;
SELECT status FROM billing.freeze_tenant(9501);
SET billing.test_clock = '2026-01-28T00:00:00Z';
SAVEPOINT t; SELECT billing.correct_usage(9501, 'sum1', 11, 'sum4', at => '2026-01-27Z'); ROLLBACK TO t;
SELECT superseded_by FROM billing.correct_usage(9501, 'sum1', 11, 'sum4', at => '2026-01-26 23:59:59Z');
SELECT superseded_by FROM billing.correct_usage(9501, 'sum1', 11, 'sum4', at => '2026-01-26 23:59:59Z');
SELECT superseded_by FROM billing.correct_usage(9501, 'sum4', 12, 'sum5');
SELECT event_id FROM billing.cancel_usage(9501, 'sum5');
-- What came by INSERT while it is frozen is corrected where it is.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9501, 'sum6', 'fix_sum', 5, '2026-01-27 12:00Z');
SELECT superseded_by FROM billing.correct_usage(9501, 'sum6', 6, 'sum7', at => '2026-01-27 12:00Z');
SELECT status FROM billing.cancel_subscription(9501, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9501), 'now');
SELECT (billing.mark_uncollectible(9501, invoice_id)).status FROM billing.invoice WHERE tenant_id = 9501 AND status = 'open';
SELECT status FROM billing.close_tenant(9501);
SAVEPOINT t; SELECT billing.correct_usage(9501, 'max1', 11, 'sum8', at => '2026-01-28Z'); ROLLBACK TO t;
SELECT superseded_by FROM billing.correct_usage(9501, 'max1', 11, 'sum8', at => '2026-01-26Z');
ROLLBACK TO s;
SET billing.test_clock = '2026-01-27T00:00:00Z';

-- Once the period is billed, the next invoice books the difference: more usage, and so a lower tier, no longer; nor is it the last,
-- the greatest, a user of its own.
SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
SELECT (billing.correct_usage(9501, 'sum2++', 60, 'sum2+++')).superseded_by;
SELECT count((billing.cancel_usage(9501, m || '1')).event_id) FROM unnest('{count,unique,weighted}'::text[]) m;
SELECT count((billing.cancel_usage(9501, m || '2')).event_id) FROM unnest('{max,latest}'::text[]) m;
SELECT event_id, is_correction, invoice_id FROM billing.usage_late WHERE tenant_id = 9501 ORDER BY 1, 2;
SELECT count(*) FROM billing.verify_all(9501);
SELECT p.kind, p.price_code, trim_scale(p.quantity) AS quantity, p.amount FROM billing.get_active_subscription(9501) s, billing.preview_invoice(9501, s.subscription_id) p WHERE p.kind <> 'usage';
SET billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
-- And again, of a period before the last: nothing is left of it.
SELECT count((billing.cancel_usage(9501, event_id)).event_id) FROM billing.usage_event e LEFT JOIN billing.usage_correction c USING (tenant_id, event_id)
WHERE e.tenant_id = 9501 AND c.event_id IS NULL;
TABLE used;
SET billing.test_clock = '2026-04-01T00:00:00Z';
CALL billing.bill_due();
TABLE line;
SELECT price_code, sum(amount) FROM line WHERE kind IS NOT NULL GROUP BY price_code ORDER BY 1;
SELECT explanation FROM billing.invoice v, billing.explain_invoice(9501, v.invoice_id) x
WHERE v.tenant_id = 9501 AND x.line = 12 AND v.period_end = '2026-03-01Z';
SELECT * FROM billing.verify_all(9501);
SELECT * FROM billing.audit(9501);
SELECT count(*), sum(events) FROM billing.usage_rollup WHERE tenant_id = 9501;

-- The derived tables do not know of them when they are made again, and invoices state what was known.
TRUNCATE billing.usage_rollup, billing.usage_period, billing.usage_horizon, billing.usage_floor;
TABLE used;
SELECT * FROM billing.verify_all(9501);
CALL billing.compact_usage();
SELECT * FROM billing.verify_all(9501);
SELECT * FROM billing.audit(9501);
SELECT count(*) FROM billing.usage_late WHERE tenant_id = 9501 AND invoice_id IS NULL;

-- What somebody else wrote is found.
SAVEPOINT s; SET session_replication_role = replica; DELETE FROM billing.usage_correction WHERE tenant_id = 9501 AND event_id = 'sum2+++';
SELECT DISTINCT invariant FROM billing.audit(9501) ORDER BY 1; ROLLBACK TO s;
SAVEPOINT s; SET session_replication_role = replica; UPDATE billing.usage_correction SET superseded_by = 'max1' WHERE tenant_id = 9501 AND event_id = 'sum2';
SELECT DISTINCT invariant FROM billing.audit(9501) ORDER BY 1; ROLLBACK TO s;
SAVEPOINT s; SELECT billing.record_usage(9501, 'fix_sum', 1, 'next', '2026-03-31Z'); SET session_replication_role = replica;
INSERT INTO billing.usage_correction (tenant_id, event_id) VALUES (9501, 'next'); SELECT invariant, object FROM billing.audit(9501) ORDER BY 1; ROLLBACK TO s;
ROLLBACK;
