-- Payment methods of some tenants, added, chosen, removed, failing and expiring at random, with subscriptions and months that go by: whatever
-- happens, a tenant that can pay has one default, nothing in use was taken away, and no invoice is paid twice.
BEGIN;
SELECT plan(11);
SELECT setseed(0.42);
SET LOCAL timezone = 'UTC';
SELECT set_config('billing.test_clock', '2026-01-01T00:00:00Z', true);
INSERT INTO billing.gateway (code, driver, settings) VALUES ('any_method', 'manual', '{"is_test": "true"}');
INSERT INTO billing.decline_code (gateway, code, class, next_attempt, ends_method) VALUES ('manual', 'poor', 'soft', '1 day', false), ('manual', 'stolen', 'hard', NULL, true),
	('manual', 'other', 'hard', NULL, false);
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (42400, 'any_method', 'Pro', '1 month', 0);
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (42400, 'base', 'Pro', '{"model":"flat","currency":"USD","amount":"10"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD', (ARRAY['UTC', 'Asia/Tokyo', 'America/Chicago'])[1 + t % 3])) FROM generate_series(42401, 42412) t;

-- What was done, and what came of it: the SQLSTATE where it was refused.
CREATE TEMP TABLE done (n serial, what text, tenant_id bigint, outcome text, could boolean);
CREATE FUNCTION pg_temp.act(what text, who bigint, command text, could boolean DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE came text := 'done';
BEGIN
	IF command IS NOT NULL THEN
		BEGIN EXECUTE command; EXCEPTION WHEN OTHERS THEN came := SQLSTATE || ' ' || SQLERRM; END;
		INSERT INTO done (what, tenant_id, outcome, could) VALUES (what, who, came, could);
	END IF;
END $$;
CREATE FUNCTION pg_temp.pick(who bigint) RETURNS billing.payment_method LANGUAGE sql AS $$
	SELECT m FROM billing.payment_method m WHERE m.tenant_id = who ORDER BY random() LIMIT 1 $$;
-- Can it be used: is it active, and its month not over where the tenant is?
CREATE FUNCTION pg_temp.is_good(m billing.payment_method) RETURNS boolean LANGUAGE sql AS $$
	SELECT m.status = 'active' AND make_date(m.exp_year, m.exp_month, 1) + interval '1 month' >
		billing.now() AT TIME ZONE (SELECT t.timezone FROM billing.tenant t WHERE t.tenant_id = m.tenant_id) $$;
-- Is it the default, or a subscription's that goes on, with no other usable one?  As it is told in doc/payment_method.md.
CREATE FUNCTION pg_temp.may_go(m billing.payment_method) RETURNS boolean LANGUAGE sql AS $$
	SELECT m.status = 'removed' OR NOT (m.is_default AND pg_temp.is_good(m) OR EXISTS (SELECT FROM billing.subscription s WHERE s.tenant_id = m.tenant_id AND s.payment_method_id = m.payment_method_id AND s.ended_at IS NULL))
		OR EXISTS (SELECT FROM billing.payment_method o WHERE o.tenant_id = m.tenant_id AND pg_temp.is_good(o) AND o.payment_method_id <> m.payment_method_id) $$;

CREATE FUNCTION pg_temp.live(days int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE who bigint; m billing.payment_method; what float8; token text;
BEGIN
	FOR day IN 1 .. days LOOP
		PERFORM set_config('billing.test_clock', to_char(timestamptz '2026-01-01Z' + day * interval '19 hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
		FOR i IN 1 .. 4 LOOP
			who := 42401 + floor(random() * 12);
			what := random();
			m := pg_temp.pick(who);
			IF what < 0.35 THEN
				token := (ARRAY['ok_' || day || '_' || i, 'ok_' || day || '_' || i, 'declined_poor', 'declined_stolen', 'declined_other'])[1 + floor(random() * 5)];
				PERFORM pg_temp.act('add', who, format('SELECT billing.add_payment_method(%s, ''any_method'', ''card'', ''tok_%s'', %L, exp_month => %s, exp_year => 2026)', who, token,
					random() < 0.3, 1 + floor(random() * 12)));
			ELSIF what < 0.55 THEN
				PERFORM pg_temp.act('remove', who, 'SELECT billing.remove_payment_method(' || who || ', ' || m.payment_method_id || ')', pg_temp.may_go(m));
			ELSIF what < 0.75 THEN
				PERFORM pg_temp.act('choose', who, 'SELECT billing.set_default_payment_method(' || who || ', ' || m.payment_method_id || ')', pg_temp.is_good(m));
			ELSIF what < 0.9 THEN
				PERFORM pg_temp.act('subscribe', who, format('SELECT billing.subscribe(%s, ''any_method'', payment_method_id => %L)', who,
					CASE WHEN random() < 0.5 THEN m.payment_method_id END), NULL);
			ELSE
				PERFORM pg_temp.act('cancel', who, (SELECT format('SELECT billing.cancel_subscription(%s, %s, ''now'')', who, s.subscription_id) FROM billing.subscription s
					WHERE s.tenant_id = who AND s.ended_at IS NULL ORDER BY random() LIMIT 1));
			END IF;
		END LOOP;
		CALL billing.bill_due();
		PERFORM billing.expire_payment_methods(), billing.dunning(), billing.retry_payments();
	END LOOP;
END $$;
SELECT pg_temp.live(180);

SELECT cmp_ok((SELECT count(*) FROM done WHERE outcome = 'done'), '>', 300::bigint, 'much was done');
SELECT is((SELECT string_agg(DISTINCT what || ' ' || split_part(outcome, ' ', 1), ', ' ORDER BY what || ' ' || split_part(outcome, ' ', 1)) FROM done WHERE outcome <> 'done'
	AND split_part(outcome, ' ', 1) NOT IN ('YB010')),
	'add YB017, choose YB004, remove YB013, subscribe YB004', 'what was refused was refused for what it says');
SELECT is_empty($$SELECT * FROM done WHERE what = 'remove' AND could IS DISTINCT FROM (outcome = 'done')$$, 'a method goes exactly where another can take its place');
SELECT is_empty($$SELECT * FROM done WHERE what = 'choose' AND could IS DISTINCT FROM (outcome = 'done')$$, 'exactly an active one is chosen');
SELECT is_empty($$SELECT tenant_id FROM billing.payment_method WHERE tenant_id BETWEEN 42401 AND 42412 GROUP BY tenant_id
	HAVING count(*) FILTER (WHERE is_default) <> (count(*) FILTER (WHERE status = 'active') > 0)::int$$, 'one default exactly where something is usable');
SELECT is_empty($$SELECT s.* FROM billing.subscription s JOIN billing.payment_method m USING (tenant_id, payment_method_id)
	WHERE s.tenant_id BETWEEN 42401 AND 42412 AND s.ended_at IS NULL AND m.status = 'removed'$$, 'no subscription that goes on is paid by what was removed');
SELECT is_empty($$SELECT m.* FROM billing.payment_method m JOIN billing.tenant t USING (tenant_id) WHERE m.tenant_id BETWEEN 42401 AND 42412 AND m.status = 'active'
	AND (make_date(m.exp_year, m.exp_month, 1) + interval '1 month') <= billing.now() AT TIME ZONE t.timezone$$, 'nothing that is over is active');
SELECT is_empty($$SELECT invoice_id FROM billing.payment WHERE tenant_id BETWEEN 42401 AND 42412 AND status = 'succeeded' GROUP BY tenant_id, invoice_id HAVING count(*) > 1$$, 'no invoice is paid twice');
SELECT is_empty($$SELECT a.* FROM billing.collection_attempt a JOIN billing.collection_attempt b ON b.tenant_id = a.tenant_id AND b.payment_method_id = a.payment_method_id AND b.code = 'stolen'
	WHERE a.tenant_id BETWEEN 42401 AND 42412 AND a.created_at > b.created_at$$, 'a stolen card is not tried again, for whatever');
SELECT is_empty($$SELECT c.* FROM billing.payment_method_change c WHERE c.tenant_id BETWEEN 42401 AND 42412 AND c.reason NOT IN ('added', 'chosen', 'removed', 'failed', 'expired')$$, 'each change has its reason');
SELECT is_empty($$SELECT f.* FROM generate_series(42401, 42412) t, billing.audit(t) f$$, 'every invariant holds');

SELECT * FROM finish();
ROLLBACK;
