-- Promise: whatever happens to a subscription within its period - plans changed at once or billed at once, pauses - what billing.spend()
-- says is what is billed of the period and what the next invoice will bill; with a spend_limit nothing that is recorded passes it, and refuses nothing
-- that would have fitted.

BEGIN;
SET LOCAL timezone TO 'UTC';
SELECT plan(6);
SELECT setseed(0.25);

INSERT INTO billing.meter (code, aggregation) VALUES ('spp_sum', 'sum'), ('spp_max', 'max'), ('spp_count', 'count'), ('spp_mean', 'weighted_sum');
INSERT INTO billing.plan (plan_id, code, name)
SELECT 8100 + n, 'spp' || n, 'Plan' FROM generate_series(0, 2) n;
INSERT INTO billing.price (plan_id, code, tariff, meter)
SELECT 8100 + n, m, CASE WHEN n = 1 AND m = 'spp_sum'
	THEN '{"model":"volume","currency":"USD","tiers":[{"up_to":"20","unit_amount":"1"},{"up_to":null,"unit_amount":"0.4"}]}'
	ELSE format('{"model":"graduated","currency":"USD","free_units":"%s","tiers":[{"up_to":"10","unit_amount":"%s"},{"up_to":null,"unit_amount":"0.333"}]}',
		n, n + 0.5) END::billing.tariff, m
FROM generate_series(0, 2) n, unnest('{spp_sum,spp_max,spp_count,spp_mean}'::text[]) m
WHERE n < 2 OR m <> 'spp_max';

CREATE TEMP TABLE seen (tenant_id bigint, step integer, act text, spent billing.amount, expected billing.amount, limited boolean);
CREATE TEMP TABLE refused (spent billing.amount, would_be billing.amount);

CREATE FUNCTION pg_temp.billed(t bigint, s bigint) RETURNS billing.amount LANGUAGE sql AS $$
	SELECT coalesce(sum(x.amount), '0 USD')
	FROM billing.subscription b
	CROSS JOIN LATERAL (
		SELECT i.amount FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id)
		WHERE v.tenant_id = t AND i.kind = 'usage' AND i.period_start >= b.period_start
		UNION ALL
		SELECT l.amount FROM billing.preview_invoice(t, s) l WHERE l.kind = 'usage' AND b.status <> 'paused') x
	WHERE b.tenant_id = t AND b.subscription_id = s $$;

CREATE FUNCTION pg_temp.act(t bigint, s bigint, n integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text := (SELECT status FROM billing.subscription WHERE tenant_id = t AND subscription_id = s);
	r float := random(); fact text;
BEGIN
	IF state = 'paused' THEN
		PERFORM billing.resume_subscription(t, s);
		RETURN 'resume';
	ELSIF r < 0.1 THEN
		PERFORM billing.pause_subscription(t, s);
		RETURN 'pause';
	ELSIF r < 0.35 THEN
		PERFORM billing.change_plan(t, s, 'spp' || floor(random() * 3), proration => (ARRAY['prorate', 'none', 'invoice_now'])[1 + floor(random() * 3)::integer]);
		RETURN 'change';
	END IF;
	PERFORM billing.record_usage(t, (ARRAY['spp_sum', 'spp_max', 'spp_count', 'spp_mean'])[1 + floor(random() * 4)::integer],
		round((random() * 16 - 2)::numeric, 1), 'e' || n);
	RETURN 'record';
EXCEPTION WHEN SQLSTATE 'YB009' THEN
	GET STACKED DIAGNOSTICS fact = PG_EXCEPTION_DETAIL;
	INSERT INTO refused VALUES ((regexp_match(fact, 'spent=(\S+ \S+)'))[1]::billing.amount, (regexp_match(fact, 'would_be=(\S+ \S+)'))[1]::billing.amount);
	RETURN 'refused';
END $$;

CREATE FUNCTION pg_temp.play(t bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE s bigint; done text;
BEGIN
	PERFORM set_config('billing.test_clock', '2026-01-01T00:00:00Z', true);
	PERFORM billing.create_tenant(t, 'Spends', details => CASE WHEN t % 2 = 0 THEN '{"settings": {"spend_limit": "12 USD"}}'::jsonb END);
	s := (billing.subscribe(t, 'spp0')).subscription_id;
	FOR step IN 1..16 LOOP
		PERFORM set_config('billing.test_clock', to_char(timestamp '2026-01-01' + step * interval '41 hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
		done := pg_temp.act(t, s, step);
		INSERT INTO seen VALUES (t, step, done, billing.spend(t), pg_temp.billed(t, s), t % 2 = 0);
	END LOOP;
END $$;
DO $$ BEGIN FOR t IN 8100..8139 LOOP PERFORM pg_temp.play(t); END LOOP; END $$;

SELECT cmp_ok((SELECT count(*) FROM seen WHERE act IN ('change', 'pause', 'resume')), '>', 120::bigint, 'periods were cut');
SELECT cmp_ok((SELECT count(*) FROM refused), '>', 20::bigint, 'usage was refused');
SELECT is_empty($$SELECT * FROM seen WHERE spent <> expected ORDER BY tenant_id, step LIMIT 3$$, 'it is what was billed of the period and what will be');
-- A cut alone may make a mean dearer; what is recorded does not.
SELECT is_empty($$SELECT * FROM (SELECT *, lag(spent) OVER (PARTITION BY tenant_id ORDER BY step) AS before FROM seen) s
	WHERE limited AND act = 'record' AND spent > '12 USD' AND spent > before ORDER BY tenant_id, step LIMIT 3$$, 'the limit is kept');
SELECT is_empty($$SELECT * FROM refused WHERE would_be <= '12 USD' OR would_be <= spent LIMIT 3$$, 'nothing is refused that would have fitted');
SELECT cmp_ok((SELECT count(*) FROM seen WHERE spent > '12 USD'), '>', 20::bigint, 'and who has no limit spends more');
SELECT * FROM finish();
ROLLBACK;
