-- Promise: whatever is paid, voided, given up, canceled, renewed or changed, and however late anybody looks, after a look each
-- subscription and tenant is what its invoices and the clock say, a second look finds nothing, and no time suspended is billed.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone = 'UTC';
SET LOCAL billing.test_clock = '2026-01-31T12:00:00Z';

SELECT plan(9);

SELECT setseed(0.41);

INSERT INTO billing.meter (code, name) VALUES ('overdue_calls', 'Calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, settings) VALUES (9951, 'over_month', 'Month', '1 month', '{}'),
	(9952, 'over_week', 'Week', '1 week', '{"grace_days": 2, "dunning_attempts": 1, "dunning_interval_days": 2}'), (9953, 'over_year', 'Year', '1 year', '{"grace_days": 12}');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9951, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL, NULL), (9951, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'overdue_calls', NULL),
	(9952, 'base', '{"model":"flat","currency":"USD","amount":"7"}', NULL, NULL), (9952, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'overdue_calls', NULL),
	(9953, 'base', '{"model":"flat","currency":"USD","amount":"365"}', NULL, NULL), (9953, 'seat', '{"model":"flat","currency":"USD","amount":"31"}', NULL, '1 month');
SELECT count(billing.create_tenant(9950 + t, 'Property ' || t, 'USD', (ARRAY['UTC', 'America/New_York', 'Pacific/Auckland'])[1 + t % 3])) FROM generate_series(1, 6) AS t;
SELECT count(billing.subscribe(9950 + t, (ARRAY['over_month', 'over_week', 'over_year'])[p], auto_renew => random() < 0.8))
FROM generate_series(1, 6) AS t, generate_series(1, 3) AS p WHERE p = 1 + t % 3 OR random() < 0.6;

-- One random call; gives its SQLSTATE, 00000 if it went well.
CREATE FUNCTION pg_temp.act(step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tenant bigint := 9951 + floor(random() * 6);
	s billing.subscription;
	i billing.invoice;
	what float := random();
BEGIN
	SELECT * INTO s FROM billing.subscription WHERE tenant_id = tenant ORDER BY random() LIMIT 1;
	SELECT * INTO i FROM billing.invoice WHERE tenant_id = tenant AND status IN ('open', 'uncollectible') ORDER BY due_at + random() * interval '9 days' LIMIT 1;
	CASE
	WHEN what < 0.34 THEN
		PERFORM billing.record_payment(tenant, i.invoice_id, CASE WHEN random() < 0.8 THEN i.amount_due ELSE billing.amount(0.01, 'USD') END, 'pay ' || step);
	WHEN what < 0.37 THEN PERFORM billing.void_invoice(tenant, i.invoice_id, reissue => random() < 0.4);
	WHEN what < 0.40 THEN PERFORM billing.mark_uncollectible(tenant, i.invoice_id);
	WHEN what < 0.44 THEN PERFORM billing.issue_credit_note(tenant, i.invoice_id, CASE WHEN random() < 0.5 THEN '[{"line": 1, "amount": 1}]'::jsonb END);
	WHEN what < 0.47 THEN PERFORM billing.cancel_subscription(tenant, s.subscription_id, (ARRAY['now', 'period_end'])[1 + floor(random() * 2)::int]);
	WHEN what < 0.50 THEN PERFORM billing.renew_subscription(tenant, s.subscription_id);
	WHEN what < 0.53 THEN PERFORM billing.change_plan(tenant, s.subscription_id, quantity => 1 + floor(random() * 3)::int,
		proration => (ARRAY['prorate', 'invoice_now', 'none'])[1 + floor(random() * 3)::int]);
	WHEN what < 0.55 THEN PERFORM billing.pause_subscription(tenant, s.subscription_id);
	WHEN what < 0.58 THEN PERFORM billing.resume_subscription(tenant, s.subscription_id);
	WHEN what < 0.60 THEN PERFORM billing.freeze_tenant(tenant, 'abuse');
	WHEN what < 0.64 THEN PERFORM billing.unfreeze_tenant(tenant);
	WHEN what < 0.66 THEN PERFORM billing.subscribe(tenant, 'over_week');
	WHEN what < 0.68 THEN PERFORM billing.update_subscription(tenant, s.subscription_id, jsonb_build_object('auto_renew', random() < 0.6));
	WHEN what < 0.76 THEN PERFORM billing.record_usage(tenant, 'overdue_calls', floor(random() * 100)::numeric, 'u' || step, subscription_id => s.subscription_id);
	WHEN what < 0.84 THEN CALL billing.bill_due();
	WHEN what < 0.92 THEN PERFORM billing.enforce_expiration(tenant);
	ELSE PERFORM billing.enforce_expirations();
	END CASE;
	RETURN '00000';
EXCEPTION WHEN OTHERS THEN
	IF SQLSTATE NOT LIKE 'YB%' AND SQLSTATE NOT IN ('22004', '22023') THEN
		RAISE WARNING 'step %: % % tenant % subscription %', step, SQLSTATE, SQLERRM, tenant, s.subscription_id;
	END IF;
	RETURN SQLSTATE;
END $$;

-- What is wrong after a look at everything.
CREATE FUNCTION pg_temp.looked(step int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM billing.enforce_expirations();
	RETURN QUERY SELECT format('step %s: %s', step, o) FROM billing.overdue_subscription o WHERE o.tenant_id BETWEEN 9951 AND 9956 AND o.next_status <> o.status;
	RETURN QUERY SELECT format('step %s: %s', step, a) FROM billing.audit_subscription a WHERE a.tenant_id BETWEEN 9951 AND 9956;
	RETURN QUERY SELECT format('step %s: subscription %s is %s and owes nothing overdue', step, s.subscription_id, s.status) FROM billing.subscription s
		WHERE s.tenant_id BETWEEN 9951 AND 9956 AND s.status IN ('past_due', 'suspended')
		  AND NOT EXISTS (SELECT FROM billing.overdue_invoice o WHERE o.tenant_id = s.tenant_id AND o.subscription_id = s.subscription_id);
	RETURN QUERY SELECT format('step %s: tenant %s is frozen for nothing', step, t.tenant_id) FROM billing.tenant t
		WHERE t.tenant_id BETWEEN 9951 AND 9956 AND t.is_unpaid AND NOT billing.stays_frozen(t.tenant_id);
END $$;

CREATE TEMPORARY TABLE done (step int, state text);
CREATE TEMPORARY TABLE wrong (what text);
DO $$
DECLARE
	clock timestamptz := '2026-01-31T12:00:00Z';
BEGIN
	FOR step IN 1 .. 900 LOOP
		clock := clock + random() * random() * interval '30 hours';
		IF random() < 0.02 THEN
			clock := clock + random() * interval '12 days';
		END IF;
		PERFORM set_config('billing.test_clock', to_char(clock AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true);
		INSERT INTO done VALUES (step, pg_temp.act(step));
		IF step % 10 = 0 THEN
			INSERT INTO wrong SELECT pg_temp.looked(step);
		END IF;
	END LOOP;
END $$;

CREATE TEMPORARY VIEW change AS SELECT c.* FROM billing.subscription_change c WHERE c.tenant_id BETWEEN 9951 AND 9956;
SELECT cmp_ok((SELECT count(*) FROM change WHERE kind = 'suspended'), '>', 20::bigint, 'many were suspended');
SELECT cmp_ok((SELECT count(*) FROM change WHERE kind = 'resumed' AND reason IS NULL), '>', 10::bigint, 'and went on');
SELECT cmp_ok((SELECT count(*) FROM change WHERE kind = 'settled'), '>', 5::bigint, 'or were settled before');
SELECT is_empty('SELECT state, count(*) FROM done WHERE state NOT LIKE ''YB%'' AND state NOT IN (''00000'', ''22004'', ''22023'') GROUP BY 1', 'no call fails for another reason than it states');
SELECT is_empty('SELECT what FROM wrong', 'after a look each is what its invoices and the clock say');
SELECT is((SELECT billing.enforce_expirations()), 0::bigint, 'a second look finds nothing');
SELECT is_empty($$ SELECT i.invoice_id, i.line, i.price_code, i.period_start, i.period_end FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id)
	JOIN billing.subscription s USING (tenant_id, subscription_id) CROSS JOIN LATERAL unnest(s.pauses) p
	WHERE v.tenant_id BETWEEN 9951 AND 9956 AND i.kind = 'usage' AND i.period_start < i.period_end AND tstzrange(i.period_start, i.period_end) && p AND NOT isempty(p) $$,
	'no usage is billed of time in which it rested');
SELECT is_empty($$ SELECT i.invoice_id, i.line, i.price_code, i.period_start, i.period_end, p FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id)
	JOIN billing.subscription s USING (tenant_id, subscription_id) CROSS JOIN LATERAL unnest(s.pauses) p
	WHERE v.tenant_id BETWEEN 9951 AND 9956 AND i.kind = 'fixed' AND p @> i.period_start AND i.period_start > lower(p) $$,
	'nothing in advance begins while it rests');
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9951 AND 9956
	UNION ALL SELECT problem, tenant_id, invoice_id::text, detail FROM billing.verify_all() WHERE tenant_id BETWEEN 9951 AND 9956 $$, 'nothing is found by the audit, and every invoice follows from its sources');

SELECT * FROM finish();
ROLLBACK;
