-- Promise: whatever is granted, topped up, consumed, drawn by invoices and given back while time passes, what is left is what a plain
-- model of its own says, at every instant, past ones included; history adds up to it, and nothing is used that is not there.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
SET LOCAL timezone = 'UTC';

SELECT plan(15);

SELECT setseed(0.37);

-- Tenants 1 to 3 have no credit limit, 4 to 6 have one.
SELECT count(billing.create_tenant(9900 + t, 'Wallet ' || t, 'USD', details => CASE WHEN t > 3 THEN '{"settings": {"credit_limit": "20 USD"}}' ELSE '{}' END::jsonb))
FROM generate_series(1, 6) AS t;

-- The model: cents, one row a grant, that time is told to before anything happens.
CREATE TEMPORARY TABLE model (grant_id bigint PRIMARY KEY, tenant bigint, amount bigint, balance bigint, is_paid boolean, priority int, effective timestamptz,
	expires timestamptz, scope text, step interval, low bigint, high bigint, renewals int DEFAULT 0, settles timestamptz);
CREATE TEMPORARY TABLE model_owed AS SELECT 9900 + t AS tenant, 0::bigint AS owed, CASE WHEN t > 3 THEN 2000 ELSE 0 END AS most FROM generate_series(1, 6) t;
CREATE TEMPORARY TABLE model_draw (invoice_id bigint, grant_id bigint, units bigint, is_back boolean DEFAULT false);
CREATE TEMPORARY TABLE probe (tenant bigint, at timestamptz, scope text, units bigint);
CREATE TEMPORARY TABLE act (step int, what text, state text, told text, wanted text);

CREATE FUNCTION pg_temp.pass(who bigint, until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	g record;
	part bigint;
BEGIN
	-- Money pays first what was consumed on credit, when it begins to count.
	FOR g IN SELECT * FROM model WHERE tenant = who AND settles <= until ORDER BY settles, grant_id LOOP
		SELECT least(owed, g.balance) INTO part FROM model_owed WHERE tenant = who;
		UPDATE model_owed SET owed = owed - part WHERE tenant = who;
		UPDATE model SET balance = balance - part, settles = NULL WHERE grant_id = g.grant_id;
	END LOOP;
	FOR g IN SELECT * FROM model WHERE tenant = who LOOP
		WHILE g.step IS NOT NULL AND g.effective + (g.renewals + 1) * g.step <= until
			AND (g.expires IS NULL OR g.effective + (g.renewals + 1) * g.step < g.expires) LOOP
			g.balance := least(greatest(g.balance, g.low), g.high) + g.amount;
			g.renewals := g.renewals + 1;
		END LOOP;
		IF g.expires <= until THEN
			g.balance := 0;
		END IF;
		UPDATE model m SET balance = g.balance, renewals = g.renewals WHERE m.grant_id = g.grant_id AND (m.balance, m.renewals) <> (g.balance, g.renewals);
	END LOOP;
END $$;

CREATE FUNCTION pg_temp.left_for(who bigint, at timestamptz, use text) RETURNS bigint LANGUAGE sql AS $$
	SELECT coalesce(sum(balance), 0)::bigint FROM model WHERE tenant = who AND effective <= at AND (use IS NULL OR scope IN ('any', use))
$$;

CREATE FUNCTION pg_temp.probe(who bigint, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.pass(who, at);
	INSERT INTO probe SELECT who, at, u, pg_temp.left_for(who, at, u) - CASE WHEN u IS DISTINCT FROM 'invoice' THEN o.owed ELSE 0 END
	FROM unnest(ARRAY[NULL, 'consume', 'invoice']) u, model_owed o WHERE o.tenant = who;
END $$;

-- Takes up to so much of the grants in their order; returns what is left to be taken.
CREATE FUNCTION pg_temp.take(who bigint, now timestamptz, use text, units bigint, invoice bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	g record;
	part bigint;
BEGIN
	FOR g IN SELECT * FROM model WHERE tenant = who AND effective <= now AND scope IN ('any', use) AND balance > 0
		ORDER BY priority, expires NULLS LAST, is_paid, grant_id LOOP
		part := least(g.balance, units);
		units := units - part;
		UPDATE model SET balance = balance - part WHERE grant_id = g.grant_id;
		IF part > 0 AND invoice IS NOT NULL THEN
			INSERT INTO model_draw VALUES (invoice, g.grant_id, part);
		END IF;
	END LOOP;
	RETURN units;
END $$;

CREATE FUNCTION pg_temp.granted(g billing.credit_grant) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO model VALUES (g.grant_id, g.tenant_id, billing.minor_units(g.amount), billing.minor_units(g.amount), g.is_paid, g.priority, g.effective_at,
		g.expires_at, g.scope, g.recurrence, coalesce(billing.minor_units(g.rollover_min), 0), coalesce(billing.minor_units(g.rollover_max), 0), 0,
		CASE WHEN g.is_paid THEN g.effective_at END);
	PERFORM pg_temp.pass(g.tenant_id, billing.now());
END $$;

CREATE FUNCTION pg_temp.cents(most int) RETURNS billing.amount LANGUAGE sql AS $$
	SELECT billing.from_minor_units(1 + floor(random() * most)::bigint, 'USD')
$$;

CREATE FUNCTION pg_temp.act(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	who bigint := 9901 + floor(random() * 6);
	before timestamptz := billing.now();
	now timestamptz := before + make_interval(mins => 1 + floor(random() * CASE WHEN random() < 0.1 THEN 9000 ELSE 600 END)::int);
	what float := random();
	kind text;
	asked bigint;
	rest bigint;
	told text;
	wanted text;
	g billing.credit_grant;
	v billing.invoice;
	low bigint;
	every interval;
BEGIN
	PERFORM pg_temp.probe(who, before + random() * (now - before));
	PERFORM set_config('billing.test_clock', to_char(now, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true);
	PERFORM pg_temp.pass(who, now);
	CASE
		WHEN what < 0.10 THEN
			kind := 'top_up';
			PERFORM pg_temp.granted(t) FROM billing.top_up(who, pg_temp.cents(3000), 'w' || n, expires_at => CASE WHEN random() < 0.3 THEN now + random() * interval '20 days' END) t;
		WHEN what < 0.25 THEN
			kind := 'grant';
			SELECT * INTO g FROM billing.grant_credit(who, pg_temp.cents(1500), is_paid => random() < 0.6, priority => 49 + floor(random() * 3)::int,
				effective_at => CASE WHEN random() < 0.5 THEN now + random() * interval '5 days' END,
				expires_at => CASE WHEN random() < 0.5 THEN now + interval '5 days' + random() * interval '20 days' END, scope => (ARRAY['any', 'any', 'invoice', 'consume'])[1 + floor(random() * 4)]);
			PERFORM pg_temp.granted(g);
		WHEN what < 0.35 THEN
			kind := 'grant again and again, or later';
			every := (ARRAY['1 day', '36 hours', '1 week', NULL])[1 + floor(random() * 4)];
			low := floor(random() * 200);
			SELECT * INTO g FROM billing.grant_credit(who, pg_temp.cents(500), effective_at => now + CASE WHEN random() < 0.4 THEN random() * interval '5 days' ELSE interval '0' END,
				expires_at => CASE WHEN random() < 0.7 THEN now + interval '6 days' + random() * interval '20 days' END, recurrence => every,
				scope => (ARRAY['any', 'any', 'invoice', 'consume'])[1 + floor(random() * 4)], rollover_min => CASE WHEN every IS NOT NULL AND n % 3 = 0 THEN billing.from_minor_units(low, 'USD') END,
				rollover_max => CASE WHEN every IS NOT NULL AND n % 3 < 2 THEN billing.from_minor_units(low + floor(random() * 1000)::bigint, 'USD') END);
			PERFORM pg_temp.granted(g);
		WHEN what < 0.70 THEN
			kind := 'consume';
			asked := 1 + floor(random() * CASE WHEN who > 9903 THEN 3000 ELSE 1500 END);
			SELECT (pg_temp.left_for(who, now, 'consume') - owed - asked)::text, CASE WHEN pg_temp.left_for(who, now, 'consume') - owed - asked < -most THEN 'YB008' END
			INTO wanted, told FROM model_owed WHERE tenant = who;
			IF told IS NOT NULL THEN
				wanted := told;
			ELSE
				rest := pg_temp.take(who, now, 'consume', asked, NULL);
				UPDATE model_owed SET owed = owed + rest WHERE tenant = who;
			END IF;
			told := billing.minor_units(billing.consume(who, billing.from_minor_units(asked, 'USD'), NULL, 'c' || n))::text;
		WHEN what < 0.85 THEN
			kind := 'invoice';
			asked := 1 + floor(random() * 2500);
			SELECT * INTO v FROM billing.create_invoice(who, 'i' || n, jsonb_build_array(jsonb_build_object('description', 'A', 'amount', round(asked / 100.0, 2))));
			wanted := (asked - pg_temp.take(who, now, 'invoice', asked, v.invoice_id))::text;
			told := billing.minor_units(v.wallet_applied)::text;
		WHEN what < 0.95 THEN
			kind := 'void an invoice';
			SELECT * INTO v FROM billing.invoice i WHERE i.tenant_id = who AND i.status IN ('open', 'paid') ORDER BY random() LIMIT 1;
			IF v.invoice_id IS NOT NULL THEN
				PERFORM billing.void_invoice(who, v.invoice_id);
				-- Money that comes back begins to count anew.
				UPDATE model m SET balance = balance + d.units, settles = CASE WHEN m.is_paid THEN now END FROM model_draw d
				WHERE d.invoice_id = v.invoice_id AND m.grant_id = d.grant_id AND coalesce(m.expires > now, true);
			END IF;
		ELSE
			kind := 'void a grant';
			SELECT * INTO g FROM billing.credit_grant c WHERE c.tenant_id = who AND c.source IN ('top_up', 'grant') AND c.voided_at IS NULL
				AND c.effective_at <= now AND coalesce(c.expires_at > now, true) ORDER BY random() LIMIT 1;
			IF g.grant_id IS NOT NULL THEN
				PERFORM billing.void_grant(who, g.grant_id);
				UPDATE model SET balance = 0, step = NULL, expires = now WHERE grant_id = g.grant_id;
			END IF;
	END CASE;
	PERFORM pg_temp.probe(who, now);
	INSERT INTO act VALUES (n, kind, '00000', told, wanted);
EXCEPTION WHEN SQLSTATE 'YB008' THEN
	INSERT INTO act VALUES (n, 'consume', 'YB008', 'YB008', wanted);
END $$;
SELECT count(pg_temp.act(n)) FROM generate_series(1, 600) n;

SELECT ok(count(*) FILTER (WHERE state = '00000') > 400 AND count(DISTINCT what) = 7 AND count(*) FILTER (WHERE state = 'YB008') > 10
	AND count(*) FILTER (WHERE what = 'invoice' AND told <> '0') > 30, 'calls of every kind did something, and some were refused') FROM act;
SELECT is_empty($$ SELECT * FROM act WHERE told IS DISTINCT FROM wanted $$, 'what was consumed, drawn and refused is what the model says');
SELECT ok(count(*) > 10, 'grants were renewed and rolled over') FROM billing.wallet_entry WHERE tenant_id BETWEEN 9901 AND 9906 AND kind = 'rollover';
SELECT ok(count(*) > 10, 'what was drawn came back') FROM billing.wallet_entry WHERE tenant_id BETWEEN 9901 AND 9906 AND kind = 'return';
SELECT ok(count(*) > 0, 'credit was used before it came, and paid') FROM billing.wallet_entry WHERE tenant_id BETWEEN 9904 AND 9906 AND kind = 'settle';
SELECT cmp_ok(count(*), '>', 3::bigint, 'also by money that began to count later') FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id)
WHERE tenant_id BETWEEN 9904 AND 9906 AND kind = 'settle' AND g.is_paid AND g.source = 'grant' AND g.effective_at > g.created_at;
SELECT is_empty($$ SELECT e.entry_id FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id)
	WHERE e.tenant_id BETWEEN 9901 AND 9906 AND (e.at < g.effective_at OR e.at > coalesce(g.expires_at, 'infinity') AND e.kind NOT IN ('return', 'expire')) $$,
	'nothing moves a grant outside its time');

SELECT is_empty($$ SELECT * FROM probe p WHERE units <> billing.minor_units(billing.wallet_balance(p.tenant, at => p.at, scope => p.scope)) $$,
	'at any instant the balance is what the model had then, of every use');
SELECT is_empty($$ SELECT o.tenant, u FROM model_owed o, unnest(ARRAY[NULL, 'consume', 'invoice']) u WHERE pg_temp.pass(o.tenant, billing.now()) IS NOT NULL
	AND pg_temp.left_for(o.tenant, billing.now(), u) - CASE WHEN u IS DISTINCT FROM 'invoice' THEN owed ELSE 0 END
		<> billing.minor_units(billing.wallet_balance(o.tenant, scope => u)) $$, 'and so is that at present, which the open grants say');
SELECT is_empty($$ SELECT tenant_id FROM billing.wallet_history WHERE tenant_id BETWEEN 9901 AND 9903 AND billing.minor_units(balance) < 0 $$,
	'history is never below zero without a credit limit');
SELECT is_empty($$ SELECT tenant_id FROM billing.wallet_history h JOIN model_owed o ON o.tenant = h.tenant_id WHERE billing.minor_units(balance) < -o.most $$,
	'nor further than the limit');

SELECT ok(billing.expire_credit() >= 0, 'what time has brought is booked');
SELECT is_empty($$ SELECT g.grant_id, g.balance, m.balance FROM billing.credit_grant g JOIN model m USING (grant_id) WHERE billing.minor_units(g.balance) <> m.balance $$,
	'then each grant has what the model''s has');
SELECT is_empty($$ SELECT g.grant_id FROM billing.credit_grant g LEFT JOIN billing.wallet_entry e USING (tenant_id, grant_id) WHERE g.tenant_id BETWEEN 9901 AND 9906
	GROUP BY g.tenant_id, g.grant_id, g.balance HAVING coalesce(sum(billing.minor_units(e.amount)), 0) <> billing.minor_units(g.balance) $$,
	'the history of each grant adds up to its balance');
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9901 AND 9906 $$, 'nothing is found by the audit');

SELECT * FROM finish();
ROLLBACK;
