-- Promise: what an application asks of a subscription is answered by the clock and the tenant's calendar, whether or not
-- the bill run has come to a boundary.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -

INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (8401, 'read_month', 'Month', '1 month'), (8402, 'read_once', 'Once', NULL);
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"31"}' FROM billing.plan
WHERE plan_id IN (8401, 8402);
SELECT count(billing.create_tenant(t, 'Tenant ' || t, timezone => zone)) FROM (VALUES (8401, 'Asia/Tokyo'), (8402, 'America/New_York')) AS v (t, zone);

CREATE FUNCTION pg_temp.facts(now text) RETURNS TABLE (name text, status text, is_trial boolean, is_expired boolean, days_remaining int, next_billing_date date)
LANGUAGE sql AS $$
	SELECT set_config('billing.test_clock', now, true);
	SELECT s.metadata ->> 'name', s.status, billing.is_trial(tenant_id, subscription_id), billing.is_expired(tenant_id, subscription_id),
		billing.days_remaining(tenant_id, subscription_id), billing.next_billing_date(tenant_id, subscription_id)
	FROM billing.subscription s WHERE tenant_id = 8401 ORDER BY subscription_id $$;

SET LOCAL billing.test_clock TO '2026-03-01T00:00:00Z';
SELECT count(billing.subscribe(8401, 'read_month', metadata => '{"name": "plain"}'));
SELECT count(billing.subscribe(8401, 'read_month', auto_renew => false, metadata => '{"name": "ends"}'));
SELECT count(billing.subscribe(8401, 'read_month', trial_days => 10, metadata => '{"name": "trial"}'));
SELECT count(billing.subscribe(8401, 'read_month', metadata => '{"name": "canceling"}'));
SELECT count(billing.subscribe(8401, 'read_once', metadata => '{"name": "once"}'));
SELECT count(billing.subscribe(8401, 'read_month', at => '2026-06-01', metadata => '{"name": "later"}'));
SELECT count(billing.cancel_subscription(8401, subscription_id)) FROM billing.subscription WHERE tenant_id = 8401 AND metadata ->> 'name' = 'canceling';

-- The first day in Tokyo is the whole of 1 March; the day turns there at 15:00 UTC.
SELECT * FROM pg_temp.facts('2026-03-01T00:00:00Z');
SELECT name, days_remaining FROM pg_temp.facts('2026-03-01T14:59:59.999999Z') WHERE name IN ('plain', 'trial');
SELECT name, days_remaining FROM pg_temp.facts('2026-03-01T15:00:00Z') WHERE name IN ('plain', 'trial');
-- The trial's end, the period's end, and beyond: no bill run has been.
SELECT * FROM pg_temp.facts('2026-03-10T23:59:59.999999Z') WHERE name = 'trial';
SELECT * FROM pg_temp.facts('2026-03-11T00:00:00Z') WHERE name = 'trial';
SELECT * FROM pg_temp.facts('2026-03-31T23:59:59.999999Z') WHERE name <> 'later';
SELECT * FROM pg_temp.facts('2026-04-01T00:00:00Z');
SELECT * FROM pg_temp.facts('2026-04-20T00:00:00Z') WHERE name <> 'later';
-- It comes.
CALL billing.bill_due();
SELECT * FROM pg_temp.facts('2026-04-20T00:00:00Z');

-- The one that is active: not one that has ended by the clock, or that has not begun.
CREATE FUNCTION pg_temp.active(now text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', now, true);
	RETURN (billing.get_active_subscription(8402)).metadata ->> 'name';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET LOCAL billing.test_clock TO '2026-03-01T12:00:00Z';
SELECT pg_temp.active('2026-03-01T12:00:00Z');
SELECT count(billing.subscribe(8402, 'read_month', at => '2026-04-01', metadata => '{"name": "second"}'));
SELECT pg_temp.active('2026-03-01T12:00:00Z');
SELECT count(billing.subscribe(8402, 'read_month', auto_renew => false, metadata => '{"name": "first"}'));
SELECT pg_temp.active('2026-03-31T00:00:00Z');
SELECT pg_temp.active('2026-04-01T11:00:00Z');
CALL billing.bill_due();
SELECT pg_temp.active('2026-04-01T11:00:00Z');
SELECT count(billing.subscribe(8402, 'read_once', metadata => '{"name": "third"}'));
SELECT pg_temp.active('2026-04-01T11:00:00Z');
ROLLBACK;
