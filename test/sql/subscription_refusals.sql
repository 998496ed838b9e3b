-- Promise: what cannot be done to a subscription is refused with its SQLSTATE, a detail and a hint, and changes not one row.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL intervalstyle TO 'postgres';
SET LOCAL billing.test_clock TO '2026-01-10T00:00:00Z';
\pset format unaligned
\pset tuples_only on

INSERT INTO billing.plan (plan_id, code, version, name, cycle, currency, is_active) VALUES
	(8301, 'refuse_month', 1, 'Month', '1 month', 'USD', true), (8302, 'refuse_old', 1, 'Old', '1 month', 'USD', false),
	(8303, 'refuse_two', 1, 'Two', '1 month', 'USD', true), (8304, 'refuse_two', 1, 'Two', '1 year', 'USD', true),
	(8305, 'refuse_once', 1, 'Once', NULL, 'USD', true);
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"31"}' FROM billing.plan
WHERE plan_id BETWEEN 8301 AND 8305;
SELECT count(billing.create_tenant(t, 'Tenant ' || t)) FROM generate_series(8301, 8303) t;
UPDATE billing.tenant SET status = 'frozen', frozen_at = '2026-01-10' WHERE tenant_id IN (8302, 8303);
UPDATE billing.tenant SET status = 'closed', closed_at = '2026-01-10' WHERE tenant_id = 8303;

-- One in each state: the names are their ids.
CREATE TEMPORARY TABLE one (name text, id bigint);
INSERT INTO one SELECT 'active', (billing.subscribe(8301, 'refuse_month')).subscription_id;
INSERT INTO one SELECT 'lifetime', (billing.subscribe(8301, 'refuse_once')).subscription_id;
INSERT INTO one SELECT 'pending', (billing.subscribe(8301, 'refuse_month', at => '2026-02-01')).subscription_id;
INSERT INTO one SELECT 'canceled', (billing.subscribe(8301, 'refuse_month')).subscription_id;
INSERT INTO one SELECT 'canceling', (billing.subscribe(8301, 'refuse_month')).subscription_id;
INSERT INTO one SELECT 'expired', (billing.subscribe(8301, 'refuse_month', at => '2025-12-01', auto_renew => false)).subscription_id;
SELECT count(billing.cancel_subscription(8301, id, 'now')) FROM one WHERE name = 'canceled';
SELECT count(billing.cancel_subscription(8301, id)) FROM one WHERE name = 'canceling';
CALL billing.bill_due();

-- Everything an attempt could have changed.
CREATE FUNCTION pg_temp.everything() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(row, E'\n' ORDER BY row)) FROM (
		SELECT 's' || s::text AS row FROM billing.subscription s UNION ALL SELECT 'c' || c::text FROM billing.subscription_change c
		UNION ALL SELECT 'i' || i::text FROM billing.invoice i UNION ALL SELECT 'n' || n::text FROM billing.invoice_item n
		UNION ALL SELECT 'a' || a::text FROM billing.audit_log a UNION ALL SELECT 'r' || r::text FROM billing.request r
		UNION ALL SELECT 't' || t::text FROM billing.tenant t UNION ALL SELECT 'p' || p::text FROM billing.plan p
		UNION ALL SELECT 'u' || u::text FROM billing.counter u UNION ALL SELECT 'l' || l::text FROM billing.calculation_log l) AS rows (row) $$;

-- A function is called with these arguments; :name stands for the id of that one.
CREATE FUNCTION pg_temp.attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; says text; fact text; advice text; before text = pg_temp.everything(); command text = call; o one;
BEGIN
	FOR o IN SELECT * FROM one LOOP
		command := replace(command, ':' || o.name, o.id::text);
	END LOOP;
	BEGIN
		EXECUTE 'SELECT billing.' || command;
		RETURN E'\nDONE ' || call;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, says = MESSAGE_TEXT, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	END;
	RETURN concat_ws(E'\n', E'\n' || call, state || ' ' || regexp_replace(says, 'subscription \d+', 'subscription N'),
		'  ' || regexp_replace(coalesce(nullif(fact, ''), 'NO DETAIL'), '\m(subscription_id|id)=(?!999)\d+', '\1=N'),
		'  ' || coalesce(nullif(advice, ''), 'NO HINT'), CASE WHEN before <> pg_temp.everything() THEN 'SOMETHING CHANGED' END);
END $$;

-- subscribe
SELECT pg_temp.attempt(call) FROM unnest(ARRAY[
	$$subscribe(NULL, 'refuse_month')$$, $$subscribe(8301, NULL)$$, $$subscribe(8301, 'refuse_month', NULL)$$,
	$$subscribe(8301, 'refuse_month', billing => NULL)$$, $$subscribe(8301, 'refuse_month', activate => NULL)$$,
	$$subscribe(8301, 'refuse_month', auto_renew => NULL)$$, $$subscribe(8301, 'refuse_month', metadata => NULL)$$,
	$$subscribe(8399, 'refuse_month')$$, $$subscribe(8301, 'refuse_nothing')$$, $$subscribe(8301, 'refuse_month', cycle => '1 year')$$,
	$$subscribe(8301, 'refuse_two')$$, $$subscribe(8301, 'refuse_month', currency => 'EUR')$$, $$subscribe(8301, 'refuse_month', currency => 'XXX')$$,
	$$subscribe(8301, 'refuse_old')$$, $$subscribe(8302, 'refuse_month')$$, $$subscribe(8303, 'refuse_month')$$,
	$$subscribe(8301, 'refuse_month', 0)$$, $$subscribe(8301, 'refuse_month', -1)$$, $$subscribe(8301, 'refuse_month', trial_days => -1)$$,
	$$subscribe(8301, 'refuse_month', trial_days => 3651)$$, $$subscribe(8301, 'refuse_month', at => 'infinity')$$,
	$$subscribe(8301, 'refuse_month', anchor => '-infinity')$$,
	$$subscribe(8301, 'refuse_month', billing => 'monthly')$$, $$subscribe(8301, 'refuse_month', activate => 'later')$$,
	$$subscribe(8301, 'refuse_month', metadata => '[]')$$, $$subscribe(8301, 'refuse_month', coupon => 'WELCOME')$$,
	$$subscribe(8301, 'refuse_month', request_id => '')$$]) AS call;

-- cancel_subscription
SELECT pg_temp.attempt(call) FROM unnest(ARRAY[
	$$cancel_subscription(NULL, 1)$$, $$cancel_subscription(8301, NULL)$$, $$cancel_subscription(8301, :active, NULL)$$,
	$$cancel_subscription(8399, 1)$$, $$cancel_subscription(8301, 99999999)$$, $$cancel_subscription(8302, :active)$$,
	$$cancel_subscription(8301, :active, 'tomorrow')$$, $$cancel_subscription(8301, :canceled)$$, $$cancel_subscription(8301, :expired, 'now')$$,
	$$cancel_subscription(8301, :lifetime)$$]) AS call;

-- reactivate_subscription, renew_subscription
SELECT pg_temp.attempt(call) FROM unnest(ARRAY[
	$$reactivate_subscription(NULL, 1)$$, $$reactivate_subscription(8301, NULL)$$, $$reactivate_subscription(8399, 1)$$,
	$$reactivate_subscription(8301, 99999999)$$, $$reactivate_subscription(8301, :active)$$, $$reactivate_subscription(8301, :canceled)$$,
	$$reactivate_subscription(8301, :expired)$$, $$reactivate_subscription(8301, :pending)$$,
	$$renew_subscription(NULL, 1)$$, $$renew_subscription(8301, NULL)$$, $$renew_subscription(8399, 1)$$, $$renew_subscription(8301, 99999999)$$,
	$$renew_subscription(8302, 1)$$, $$renew_subscription(8303, 1)$$, $$renew_subscription(8301, :canceled)$$, $$renew_subscription(8301, :canceling)$$]) AS call;

-- extend_subscription, update_subscription
SELECT pg_temp.attempt(call) FROM unnest(ARRAY[
	$$extend_subscription(NULL, 1, '2026-03-01', 1)$$, $$extend_subscription(8301, NULL, '2026-03-01', 1)$$,
	$$extend_subscription(8301, :active, NULL, 2)$$, $$extend_subscription(8301, :active, '2026-03-01', NULL)$$,
	$$extend_subscription(8399, 1, '2026-03-01', 1)$$, $$extend_subscription(8301, 99999999, '2026-03-01', 1)$$,
	$$extend_subscription(8301, :active, '2026-03-01', 1)$$, $$extend_subscription(8301, :active, '2026-03-01', 3)$$,
	$$extend_subscription(8301, :active, '2026-02-10', 2)$$, $$extend_subscription(8301, :active, '2026-02-09', 2)$$,
	$$extend_subscription(8301, :active, 'infinity', 2)$$, $$extend_subscription(8301, :lifetime, '2026-03-01', 2)$$,
	$$extend_subscription(8301, :pending, '2026-03-01', 1)$$, $$extend_subscription(8301, :canceled, '2026-03-01', 4)$$,
	$$extend_subscription(8301, :expired, '2026-03-01', 3)$$,
	$$update_subscription(NULL, 1, '{}')$$, $$update_subscription(8301, NULL, '{}')$$, $$update_subscription(8301, :active, NULL)$$,
	$$update_subscription(8399, 1, '{}')$$, $$update_subscription(8301, 99999999, '{}')$$, $$update_subscription(8301, :active, '{}', 1)$$,
	$$update_subscription(8301, :active, '7')$$, $$update_subscription(8301, :active, '{"status": "expired"}')$$,
	$$update_subscription(8301, :active, '{"payment_method_id": "7"}')$$, $$update_subscription(8301, :canceled, '{"auto_renew": true}')$$]) AS call;

-- Readers.
SELECT pg_temp.attempt(call) FROM unnest(ARRAY[
	$$get_active_subscription(NULL)$$, $$get_active_subscription(8399)$$, $$get_active_subscription(8302)$$, $$get_active_subscription(8301)$$,
	$$is_expired(8301, NULL)$$, $$is_expired(8301, 99999999)$$, $$is_trial(NULL, 1)$$, $$is_trial(8302, :active)$$,
	$$days_remaining(8301, 99999999)$$, $$next_billing_date(8301, 99999999)$$]) AS call;

-- Somebody else's.
CREATE ROLE refuse_role;
GRANT USAGE ON SCHEMA billing TO refuse_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA billing TO refuse_role;
GRANT SELECT ON billing.subscription, billing.tenant TO refuse_role;
CREATE FUNCTION pg_temp.attempt_as(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	says text; fact text; advice text;
BEGIN
	SET LOCAL ROLE refuse_role;
	EXECUTE 'SELECT billing.' || call;
	RETURN E'\nDONE ' || call;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS says = MESSAGE_TEXT, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', E'\n' || call, SQLSTATE || ' ' || says, '  ' || fact, '  ' || advice);
END $$;
SET LOCAL billing.tenant_id TO '8302';
SELECT pg_temp.attempt_as(call) FROM unnest(ARRAY[$$subscribe(8301, 'refuse_month')$$, $$cancel_subscription(8301, 1)$$,
	$$renew_subscription(8301, 1)$$, $$reactivate_subscription(8301, 1)$$, $$extend_subscription(8301, 1, '2027-01-01', 1)$$,
	$$update_subscription(8301, 1, '{}')$$, $$get_active_subscription(8301)$$]) AS call;
RESET ROLE;
ROLLBACK;
