-- Promise: usage of a tenant with a spend_limit is refused where it would make its bill of the period larger than that, by the very
-- amount the bill run would bill, whatever the tariff, and other tenants are not asked.
LOAD 'billing';
BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-10T12:00:00Z';
\pset format unaligned
\pset null -

INSERT INTO billing.meter (code, aggregation) VALUES ('sp_calls', 'sum'), ('sp_peak', 'max'), ('sp_step', 'sum');
INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (9871, 'sp_month', 'Month', '1 month', 'USD'), (9872, 'sp_year', 'Year', '1 year', 'USD'),
	(9873, 'sp_euro', 'Euro', '1 month', 'EUR'), (9874, 'sp_more', 'More', '1 month', 'USD'), (9875, 'sp_most', 'Most', '1 year', 'USD'), (9876, 'sp_steps', 'Steps', '1 month', 'USD');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9871, 'base', '{"model":"flat","currency":"USD","amount":"1000"}', NULL, NULL),
	(9871, 'calls', '{"model":"graduated","currency":"USD","free_units":"10","tiers":[{"up_to":"100","unit_amount":"0.5"},{"up_to":null,"unit_amount":"0.255"}]}', 'sp_calls', NULL),
	(9871, 'peak', '{"model":"per_unit","currency":"USD","unit_amount":"2"}', 'sp_peak', NULL),
	(9872, 'step', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'sp_step', '1 month'),
	(9873, 'calls', '{"model":"per_unit","currency":"EUR","unit_amount":"1"}', 'sp_calls', NULL),
	(9874, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"2"}', 'sp_calls', NULL),
	(9876, 'steps', '{"model":"per_unit","currency":"USD","unit_amount":"3"}', 'sp_step', NULL),
	(9875, 'step', '{"model":"per_unit","currency":"USD","unit_amount":"2"}', 'sp_step', '1 month');
SELECT count(billing.create_tenant(t, 'Tenant')) FROM generate_series(9871, 9876) t;
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE fact text; advice text; answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN coalesce(answer, '-');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || ' | ' || fact || ' | ' || advice;
END $$;
CREATE FUNCTION pg_temp.used(tenant_id bigint, meter text, quantity numeric, id text, at timestamptz DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text := split_part(pg_temp.attempt(format('SELECT billing.record_usage(%s, %L, %s, %L, %L)', $1, $2, $3, $4, $5)), ' | ', 1);
BEGIN
	RETURN answer || '; spent ' || billing.spend($1);
END $$;

SELECT status FROM billing.subscribe(9871, 'sp_month');
SELECT settings FROM billing.update_tenant(9871, '{"settings": {"spend_limit": "50.00 USD"}}');
-- Free units cost nothing, the last cent is within, one more is not; nothing of what was refused is there.
SELECT pg_temp.used(9871, 'sp_calls', 10, 'a1');
SELECT pg_temp.used(9871, 'sp_calls', 100, 'a2');
SELECT pg_temp.used(9871, 'sp_calls', 1, 'a3');
SELECT pg_temp.used(9871, 'sp_peak', 0.001, 'a4');
SELECT event_id FROM billing.usage_event WHERE tenant_id = 9871 ORDER BY 1;
-- A retry of what was recorded is no more usage; what is taken back may always be, and makes room.
SELECT pg_temp.used(9871, 'sp_calls', 100, 'a2');
SELECT pg_temp.used(9871, 'sp_calls', -4, 'a5');
SELECT pg_temp.used(9871, 'sp_peak', 1, 'a6');
SELECT pg_temp.used(9871, 'sp_peak', 1, 'a7');
SELECT pg_temp.used(9871, 'sp_peak', 1.1, 'a8');
-- It is what would be billed.
SELECT sum(amount) FROM billing.preview_invoice(9871, (SELECT subscription_id FROM billing.get_active_subscription(9871))) WHERE kind = 'usage';
-- Raised, lowered below what there is, lifted.
SELECT count(billing.update_tenant(9871, '{"settings": {"spend_limit": "50.01 USD"}}'));
SELECT pg_temp.used(9871, 'sp_peak', 1.005, 'a9');
SELECT count(billing.update_tenant(9871, '{"settings": {"spend_limit": "0 USD"}}'));
SELECT pg_temp.used(9871, 'sp_calls', 1, 'b1');
SELECT pg_temp.used(9871, 'sp_calls', -1, 'b2');
-- What costs nothing more is taken beyond the limit too, and so is a retry.
SELECT pg_temp.used(9871, 'sp_peak', 1, 'b4');
SELECT pg_temp.used(9871, 'sp_step', 1, 'b5');
SELECT pg_temp.used(9871, 'sp_calls', 100, 'a2');
SELECT count(billing.update_tenant(9871, '{"settings": {"spend_limit": "none"}}'));
SELECT pg_temp.used(9871, 'sp_calls', 1000, 'b3');
-- The next period begins anew, by the clock, also before the bill run has come to it; an event belongs to the period it happened in.
SELECT count(billing.update_tenant(9871, '{"settings": {"spend_limit": "2 USD"}}'));
SET LOCAL billing.test_clock TO '2026-02-10T12:00:00Z';
SELECT pg_temp.used(9871, 'sp_peak', 1, 'c1');
SELECT pg_temp.used(9871, 'sp_peak', 1.01, 'c2');
SELECT pg_temp.used(9871, 'sp_calls', 1, 'c3', '2026-02-10 11:59:59Z');
CALL billing.bill_due();
SELECT billing.spend(9871), billing.spend(9871, '2026-02-01');
-- A currency is the same in any case of its code, and must be one.
SELECT billing.spend(9871, currency => 'usd'), billing.spend(9871, currency => 'eur');
SELECT split_part(pg_temp.attempt($$SELECT billing.spend(9871, currency => 'XYZ')$$), ' | ', 1);
SELECT pg_temp.used(9871, 'sp_peak', 1.01, 'c4');
-- A price with a cycle of its own; a trial is free; another currency is another bill; of several subscriptions the sum.
SELECT count(billing.update_tenant(t, '{"settings": {"spend_limit": "5 USD"}}')) FROM generate_series(9872, 9874) t;
SELECT status FROM billing.subscribe(9872, 'sp_year');
SELECT pg_temp.used(9872, 'sp_step', 5, 'd1');
SELECT pg_temp.used(9872, 'sp_step', 0.01, 'd2');
SET LOCAL billing.test_clock TO '2026-03-10T12:00:00Z';
SELECT pg_temp.used(9872, 'sp_step', 5, 'd3');
CALL billing.bill_due();
SELECT pg_temp.used(9872, 'sp_step', 0.01, 'd4');
SELECT status FROM billing.subscribe(9873, 'sp_month', trial_days => 3);
SELECT pg_temp.used(9873, 'sp_peak', 100, 'e1');
SET LOCAL billing.test_clock TO '2026-03-13T12:00:00Z';
SELECT pg_temp.used(9873, 'sp_peak', 2, 'e2');
SELECT pg_temp.used(9873, 'sp_peak', 3, 'e3');
SELECT status FROM billing.subscribe(9873, 'sp_euro', currency => 'EUR');
SELECT pg_temp.attempt(format('SELECT billing.record_usage(9873, ''sp_calls'', 100, ''e4'', subscription_id => %s)', subscription_id)),
	billing.spend(9873), billing.spend(9873, currency => 'EUR')
FROM billing.subscription WHERE tenant_id = 9873 AND currency = 'EUR';
SELECT count(billing.subscribe(9874, 'sp_month')) FROM generate_series(1, 2);
SELECT pg_temp.attempt(format('SELECT billing.record_usage(9874, ''sp_peak'', 1.5, ''f'' || %s, subscription_id => %s)', subscription_id, subscription_id)) LIKE 'YB009%' AS refused
FROM (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9874 ORDER BY 1 OFFSET 0) s;
SELECT billing.spend(9874);
SELECT split_part(pg_temp.attempt('SELECT billing.spend(9870)'), ' | ', 1), split_part(pg_temp.attempt('SELECT billing.spend(NULL)'), ' | ', 1);
SELECT pg_temp.attempt($$SELECT billing.record_usage(9871, 'sp_peak', 100, 'detail')$$);
-- usage_status has it beside the limits of meters.
SELECT tenant_id, subscription_id, meter, aggregation, unit, per, period_start, period_end, used, kind, limit_quantity, remaining, resets_at
FROM billing.usage_status WHERE tenant_id BETWEEN 9871 AND 9874 AND meter IS NULL ORDER BY tenant_id;
-- COPY and INSERT are not asked: what they add counts.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at, subscription_id)
SELECT 9874, 'g1', 'sp_peak', 50, billing.now(), min(subscription_id) FROM billing.subscription WHERE tenant_id = 9874;
SELECT used, limit_quantity, remaining FROM billing.usage_status WHERE tenant_id = 9874 AND meter IS NULL;

-- A change within the period begins no other: each plan prices its part, billed or not, as the next invoice has them.
CREATE FUNCTION pg_temp.compared(tenant_id bigint) RETURNS text LANGUAGE sql AS $$
	SELECT 'spent ' || billing.spend($1) || ', next invoice ' || sum(l.amount) || coalesce(' and billed ' || (SELECT sum(i.amount)
		FROM billing.invoice v JOIN billing.invoice_item i USING (tenant_id, invoice_id)
		WHERE v.tenant_id = $1 AND i.kind = 'usage' AND i.period_start >= s.period_start), '')
	FROM billing.get_active_subscription($1) s
	CROSS JOIN LATERAL billing.preview_invoice($1, s.subscription_id) l WHERE l.kind = 'usage' GROUP BY s.period_start $$;
SELECT status FROM billing.subscribe(9875, 'sp_month');
SELECT settings FROM billing.update_tenant(9875, '{"settings": {"spend_limit": "100 USD"}}');
SELECT pg_temp.used(9875, 'sp_calls', 50, 'h1');
SET LOCAL billing.test_clock TO '2026-03-20T12:00:00Z';
SELECT plan_id FROM billing.change_plan(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)), 'sp_more');
SELECT pg_temp.used(9875, 'sp_calls', 30, 'h2');
SELECT pg_temp.used(9875, 'sp_calls', 10.01, 'h3');
SELECT pg_temp.compared(9875);
-- Back, with an invoice at once: what it billed counts on.
SET LOCAL billing.test_clock TO '2026-03-25T12:00:00Z';
SELECT plan_id FROM billing.change_plan(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)), 'sp_month', proration => 'invoice_now');
SELECT pg_temp.used(9875, 'sp_calls', 10, 'h4');
SELECT pg_temp.used(9875, 'sp_calls', 50.01, 'h5');
SELECT pg_temp.compared(9875);
-- So do a price of its own, one more, and a pause.
SELECT count(*) FROM billing.override_price(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)), 'peak', '{"model":"per_unit","currency":"USD","unit_amount":"4"}');
SELECT count(*) FROM billing.add_addon(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)), 'sp_steps');
SELECT pg_temp.used(9875, 'sp_peak', 1, 'h6');
SELECT pg_temp.used(9875, 'sp_step', 1, 'h7');
SELECT pg_temp.compared(9875);
SET LOCAL billing.test_clock TO '2026-03-28T12:00:00Z';
SELECT status FROM billing.pause_subscription(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)));
SET LOCAL billing.test_clock TO '2026-03-30T12:00:00Z';
SELECT status FROM billing.resume_subscription(9875, (SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = 9875));
SELECT pg_temp.used(9875, 'sp_step', 1, 'h8');
SELECT pg_temp.compared(9875);
-- An interim invoice takes nothing off what counts; a correction and what is canceled change it.
SELECT is_own FROM billing.set_usage_thresholds(9875, (SELECT subscription_id FROM billing.get_active_subscription(9875)), '{88}');
SET LOCAL billing.test_clock TO '2026-03-31T12:00:00Z';
CALL billing.bill_due();
SELECT total FROM billing.invoice WHERE tenant_id = 9875 AND kind = 'threshold';
SELECT pg_temp.used(9875, 'sp_step', 1, 'h9');
SELECT event_id FROM billing.correct_usage(9875, 'h9', 2, 'h9b');
SELECT event_id FROM billing.cancel_usage(9875, 'h2');
SELECT pg_temp.used(9875, 'sp_calls', 0.01, 'h10');
SELECT pg_temp.compared(9875);
SET LOCAL billing.test_clock TO '2026-04-13T12:00:00Z';
CALL billing.bill_due();
SELECT billing.spend(9875), billing.spend(9875, '2026-04-01');
-- Usage of a period before is judged by that one, at its prices.
SELECT pg_temp.used(9875, 'sp_calls', 40, 'h11', '2026-03-21');
SELECT pg_temp.attempt($$SELECT billing.record_usage(9875, 'sp_calls', 20, 'h12', '2026-03-21')$$);
-- Steps of a year: by the month, also where a change fell into it.
SELECT status FROM billing.subscribe(9876, 'sp_year');
SELECT settings FROM billing.update_tenant(9876, '{"settings": {"spend_limit": "10 USD"}}');
SELECT pg_temp.used(9876, 'sp_step', 4, 'i1');
SET LOCAL billing.test_clock TO '2026-04-20T12:00:00Z';
SELECT plan_id FROM billing.change_plan(9876, (SELECT subscription_id FROM billing.get_active_subscription(9876)), 'sp_most', proration => 'invoice_now');
SELECT pg_temp.used(9876, 'sp_step', 3, 'i2');
SELECT pg_temp.used(9876, 'sp_step', 0.01, 'i3');
SELECT used, period_start, resets_at FROM billing.usage_status WHERE tenant_id = 9876 AND meter IS NULL;
SET LOCAL billing.test_clock TO '2026-05-13T12:00:00Z';
SELECT pg_temp.used(9876, 'sp_step', 5, 'i4');
SELECT used, period_start, resets_at FROM billing.usage_status WHERE tenant_id = 9876 AND meter IS NULL;

-- What is no limit.
SELECT v AS value, split_part(pg_temp.attempt(format('SELECT billing.update_tenant(9874, %L)', jsonb_build_object('settings', jsonb_build_object('spend_limit', v)))), ' | ', 1) AS answer
FROM unnest('{"-1 USD",5,"1.001 USD","1 XYZ",unlimited}'::text[]) v;
SELECT split_part(pg_temp.attempt($$INSERT INTO billing.setting VALUES ('spend_limit', '5 USD')$$), ' | ', 1);
ROLLBACK;
