-- Promise: by whatever aggregation and tariff usage is billed, whenever it became known or was corrected, whatever its price was corrected to, and whatever
-- drafts were made final, rebuilt, voided and issued again meanwhile, each line and its adjustments, and what
-- interim invoices billed of it, come to what all the events that count cost; and a preview shows what is billed then.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone TO 'UTC';

SELECT plan(14);

SELECT setseed(0.3);
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';

INSERT INTO billing.meter (code, aggregation, property)
SELECT 'late_' || a, a, CASE a WHEN 'unique_count' THEN 'user' END FROM unnest('{sum,count,max,latest,unique_count,weighted_sum}'::text[]) a;
INSERT INTO billing.meter (code) VALUES ('late_each');
-- Invoices are open at once, two days old, when a person says so, and again with prices on both cycles of a plan.
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, settings) VALUES (6201, 'late_0', 'Month', '1 month', 0, '{}'),
	(6202, 'late_1', 'Week', '7 days', 5, '{"finalize_after": "2 days"}'), (6203, 'late_2', 'Month', '1 month', 0, '{"finalize_after": "never"}'),
	(6204, 'late_3', 'Quarter', '3 months', 0, '{}'), (6205, 'late_4', 'Quarter', '3 months', 0, '{"finalize_after": "1 day"}');
UPDATE billing.plan SET usage_thresholds = '{5,20}', usage_threshold_step = 30 WHERE plan_id IN (6201, 6203, 6205);
INSERT INTO billing.price (plan_id, code, cycle, meter, tariff)
SELECT p.plan_id, c.prefix || m.code, CASE WHEN c.prefix = 'm' THEN interval '1 month' END, m.code, CASE
		WHEN m.code = 'late_each' THEN '{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30","free_events":2,"event_minimum":"0.5"}'
		WHEN m.aggregation IN ('sum', 'weighted_sum') THEN '{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"0.333"},{"up_to":null,"unit_amount":"0.1","flat_amount":"1"}]}'
		WHEN m.aggregation = 'max' THEN '{"model":"volume","currency":"USD","tiers":[{"up_to":"10","unit_amount":"0.333"},{"up_to":null,"unit_amount":"0.1"}],"minimum":"0.77"}'
		ELSE '{"model":"per_unit","currency":"USD","unit_amount":"0.015","free_units":"1"}' END::billing.tariff
FROM billing.plan p JOIN (VALUES ('p', 6201), ('m', 6204)) c (prefix, plan_id) ON p.plan_id >= c.plan_id, billing.meter m
WHERE p.plan_id BETWEEN 6201 AND 6205 AND m.code LIKE 'late\_%';
INSERT INTO billing.price (plan_id, code, tariff)
SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"30"}' FROM billing.plan WHERE plan_id BETWEEN 6201 AND 6205;

CREATE FUNCTION pg_temp.pick(names text[]) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT names[1 + floor(random() * cardinality(names))::int] $$;

-- Something is done with an invoice; gives the SQLSTATE, or OK.
CREATE FUNCTION pg_temp.act(tenant bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v billing.invoice;
BEGIN
	SELECT * INTO v FROM billing.invoice WHERE tenant_id = tenant AND status IN ('draft', 'open') ORDER BY random() LIMIT 1;
	CASE v.status || pg_temp.pick('{1,2,3,4,5,6}')
		WHEN 'draft1', 'draft2' THEN PERFORM billing.finalize_invoice(tenant, v.invoice_id);
		WHEN 'draft3', 'draft4' THEN PERFORM billing.rebuild_invoice(tenant, v.invoice_id);
		WHEN 'open1' THEN PERFORM billing.void_invoice(tenant, v.invoice_id, reissue => true);
		ELSE NULL;
	END CASE;
	RETURN 'OK ' || v.status;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

CREATE TEMPORARY TABLE done (result text);
CREATE FUNCTION pg_temp.step(tenant bigint, step int, clock timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', to_char(clock AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
	INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id, properties)
	SELECT tenant, step || '-' || i, 'late_' || pg_temp.pick('{sum,count,max,latest,unique_count,weighted_sum,each}'), round((random() * 30 - 5)::numeric, 2),
		clock - random() * CASE WHEN random() < 0.8 THEN interval '6 days' ELSE interval '50 days' END,
		CASE WHEN random() < 0.3 THEN (SELECT min(subscription_id) FROM billing.subscription WHERE tenant_id = tenant) END,
		jsonb_build_object('user', floor(random() * 6))
	FROM generate_series(1, 6) i;
	PERFORM CASE WHEN random() < 0.5 THEN billing.cancel_usage(tenant, e.event_id, 'in error')
		ELSE billing.correct_usage(tenant, e.event_id, round((random() * 30 - 5)::numeric, 2), e.event_id || '+') END
	FROM (SELECT e.event_id FROM billing.usage_event e LEFT JOIN billing.usage_correction c USING (tenant_id, event_id)
		WHERE e.tenant_id = tenant AND c.event_id IS NULL AND random() < 0.7 ORDER BY random() LIMIT 1) e;
	PERFORM FROM (SELECT pg_temp.pick('{late_0,late_1,late_2,late_3,late_4}') AS code, pg_temp.pick('{sum,count,max,latest,unique_count,weighted_sum,each}') AS meter,
		pg_temp.pick('{p,m}') AS prefix, random() * 0.2 AS unit OFFSET 0) r
		JOIN billing.plan f ON f.code = r.code JOIN billing.price p ON p.plan_id = f.plan_id AND p.code = r.prefix || 'late_' || r.meter
		CROSS JOIN LATERAL billing.rerate(r.code, p.code, format('{"model":"volume","currency":"USD","tiers":[{"up_to":"20","unit_amount":"%s"},{"up_to":null,"unit_amount":"0.05"}]}',
			round(r.unit::numeric, 3))::billing.tariff, tstzrange(clock - random() * interval '60 days', NULL), CASE WHEN random() < 0.5 THEN tenant END) x
	WHERE random() < 0.06;
	IF random() < 0.1 THEN
		PERFORM billing.update_tenant(tenant, jsonb_build_object('timezone', pg_temp.pick('{UTC,America/New_York,Asia/Tokyo,Pacific/Apia}')));
	END IF;
	IF random() < 0.2 THEN CALL billing.compact_usage(); END IF;
	IF random() < 0.4 THEN CALL billing.bill_due(clock - CASE WHEN random() < 0.3 THEN interval '3 days' ELSE '0' END, 1 + floor(random() * 5)::int); END IF;
	INSERT INTO done VALUES (pg_temp.act(tenant));
END $$;

CREATE FUNCTION pg_temp.finish_all() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL billing.bill_due();
	PERFORM billing.finalize_invoice(tenant_id, invoice_id)
	FROM (SELECT tenant_id, invoice_id FROM billing.invoice WHERE status = 'draft' AND tenant_id BETWEEN 62001 AND 62999 ORDER BY random()) d;
END $$;

-- What is previewed at the next boundary of each subscription, with usage that just came, and what is billed there.
CREATE TEMPORARY TABLE seen (is_bill boolean, tenant_id bigint, boundary timestamptz, kind text, price_code text, quantity numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz);
CREATE FUNCTION pg_temp.preview() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s billing.subscription;
BEGIN
	FOR s IN SELECT * FROM billing.subscription WHERE tenant_id BETWEEN 62001 AND 62999 ORDER BY due_at, tenant_id LOOP
		PERFORM pg_temp.step(s.tenant_id, s.version + 1000, s.due_at - interval '3 days 1 hour');
		PERFORM set_config('billing.test_clock', to_char(s.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
		INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
		SELECT s.tenant_id, format('preview %s %s', s.version, i), 'late_sum', i, s.due_at - i * interval '9 days' FROM generate_series(1, 5) i;
		INSERT INTO seen SELECT false, s.tenant_id, s.due_at, p.kind, p.price_code, p.quantity, p.amount, p.period_start, p.period_end
		FROM billing.preview_invoice(s.tenant_id, s.subscription_id) p WHERE p.kind NOT IN ('tax', 'excess', 'total');
		PERFORM billing.build_invoice(s.tenant_id, s.subscription_id, CASE WHEN s.due_at < s.period_end THEN s.billed_to ELSE s.period_start END, s.due_at);
		INSERT INTO seen SELECT true, s.tenant_id, s.due_at, n.kind, n.price_code, n.quantity, n.amount, n.period_start, n.period_end
		FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
		WHERE i.tenant_id = s.tenant_id AND i.period_end = s.due_at AND i.status <> 'void';
	END LOOP;
END $$;

-- Most of a year, then all subscriptions end, and whatever that brings is made final.
CREATE FUNCTION pg_temp.play(tenants int, steps int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	clock timestamptz := '2026-01-04 10:00Z';
BEGIN
	PERFORM billing.create_tenant(62000 + t, 'Tenant ' || t, timezone => pg_temp.pick('{UTC,America/New_York,Asia/Tokyo}')) FROM generate_series(1, tenants) t;
	PERFORM billing.subscribe(62000 + t, 'late_' || t % 5, billing => pg_temp.pick('{calendar,anniversary}')) FROM generate_series(1, tenants) t;
	FOR step IN 1..steps LOOP
		PERFORM pg_temp.step(62000 + t, step, clock + t * interval '7 minutes') FROM generate_series(1, tenants) t;
		clock := clock + random() * interval '12 days';
	END LOOP;
	PERFORM pg_temp.finish_all();
	PERFORM pg_temp.preview();
	PERFORM billing.cancel_subscription(tenant_id, subscription_id, 'now') FROM billing.subscription WHERE tenant_id BETWEEN 62001 AND 62999;
	PERFORM pg_temp.finish_all(), pg_temp.finish_all();
END $$;
SELECT pg_temp.play(10, 45);

SELECT is_empty('SELECT result FROM done WHERE result !~ ''OK'' AND result <> ''YB004''', 'nothing failed but what is refused');
SELECT cmp_ok(count(*), '>', 40::bigint, 'much was done with drafts') FROM done WHERE result = 'OK draft';
SELECT cmp_ok(count(*), '>', 10::bigint, 'invoices were voided and issued again') FROM billing.invoice
WHERE tenant_id BETWEEN 62001 AND 62999 AND status = 'void';
SELECT cmp_ok(count(*), '>', 400::bigint, 'much came late') FROM billing.usage_late WHERE tenant_id BETWEEN 62001 AND 62999 AND NOT is_correction;
SELECT cmp_ok(count(*), '>', 100::bigint, 'much was corrected late') FROM billing.usage_late WHERE tenant_id BETWEEN 62001 AND 62999 AND is_correction;

SELECT cmp_ok(count(*), '>', 20::bigint, 'usage was billed before its period ended') FROM billing.invoice WHERE tenant_id BETWEEN 62001 AND 62999 AND kind = 'threshold';
SELECT cmp_ok(count(*), '>', 10::bigint, 'adjustments are previewed') FROM seen WHERE kind = 'adjustment' AND NOT is_bill;
SELECT bag_eq('SELECT tenant_id, boundary, kind, price_code, quantity, amount::text, period_start, period_end FROM seen WHERE NOT is_bill',
	'SELECT tenant_id, boundary, kind, price_code, quantity, amount::text, period_start, period_end FROM seen WHERE is_bill', 'what is billed is what was previewed');

CREATE TEMPORARY VIEW compared AS
SELECT b.*, c.correction_id, CASE WHEN p.meter = 'late_each' AND c.tariff IS NULL THEN coalesce(e.each, '0 USD')
	ELSE billing.charge(coalesce(c.tariff, p.tariff), coalesce(e.quantity, 0), e.events) END AS cost
FROM (SELECT i.tenant_id, i.plan_id, n.price_code, n.period_start, max(n.period_end) FILTER (WHERE n.kind = 'usage') AS period_end,
		sum(n.amount) AS billed
	FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
	WHERE i.tenant_id BETWEEN 62001 AND 62999 AND n.meter IS NOT NULL AND i.status <> 'void' GROUP BY 1, 2, 3, 4) b
JOIN billing.price p ON p.plan_id = b.plan_id AND p.code = b.price_code
JOIN billing.meter m ON m.code = p.meter
LEFT JOIN LATERAL (SELECT c.correction_id, c.tariff
	FROM billing.rerated_line r JOIN billing.price_correction c USING (correction_id)
	JOIN billing.invoice_item n ON n.tenant_id = r.tenant_id AND n.invoice_id = r.adjusts_invoice_id AND n.line = r.adjusts_line
	JOIN billing.invoice v ON v.tenant_id = n.tenant_id AND v.invoice_id = n.invoice_id AND v.status <> 'void'
	WHERE r.tenant_id = b.tenant_id AND n.price_code = b.price_code AND n.period_start = b.period_start AND n.period_end = b.period_end
	ORDER BY c.correction_id DESC LIMIT 1) c ON true
CROSS JOIN LATERAL (
	SELECT count(*) AS events, CASE m.aggregation WHEN 'sum' THEN sum(e.quantity) WHEN 'count' THEN count(*) WHEN 'max' THEN max(e.quantity)
			WHEN 'latest' THEN (array_agg(e.quantity ORDER BY e.at DESC, e.event_id DESC))[1]
			WHEN 'unique_count' THEN count(DISTINCT e.properties ->> 'user')
			ELSE sum(e.quantity * extract(epoch FROM b.period_end - e.at)) / extract(epoch FROM b.period_end - b.period_start) END AS quantity,
		billing.charge_events((SELECT x.tariff FROM billing.price x WHERE x.plan_id = 6201 AND x.code = 'plate_each'), e.quantity
			ORDER BY e.at, e.event_id) FILTER (WHERE p.meter = 'late_each') AS each
	FROM billing.usage_event e
	WHERE e.tenant_id = b.tenant_id AND e.meter = p.meter AND e.at >= b.period_start AND e.at < b.period_end
		AND NOT EXISTS (SELECT FROM billing.usage_correction c WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id)) e;

SELECT cmp_ok(count(*), '>', 500::bigint, 'there is much to compare') FROM compared WHERE billing.minor_units(cost) > 0;
SELECT cmp_ok(count(*), '>', 30::bigint, 'also of what was rerated') FROM compared WHERE correction_id IS NOT NULL AND billing.minor_units(cost) > 0;
SELECT is_empty('SELECT * FROM compared WHERE billed <> cost', 'each line, with its adjustments, is what its events cost');
SELECT is_empty('SELECT * FROM billing.usage_late WHERE tenant_id BETWEEN 62001 AND 62999 AND invoice_id IS NULL
	AND EXISTS (SELECT FROM billing.invoice_adjustments(tenant_id, subscription_id, ARRAY[0, subscription_id]))', 'nothing that changes an amount waits');
SELECT is_empty('SELECT * FROM billing.audit() WHERE tenant_id BETWEEN 62001 AND 62999', 'the audit finds nothing');
SELECT is_empty('SELECT v.* FROM billing.tenant t, billing.verify_all(t.tenant_id) v WHERE t.tenant_id BETWEEN 62001 AND 62999',
	'every invoice is calculated again as it is');

SELECT * FROM finish();
ROLLBACK;
