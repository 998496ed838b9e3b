-- Promise: what is due by the clock happens by the clock: trials end, subscriptions that wait for their start begin, those that wait for
-- a payment lapse, cancellations and ends are reached, and nobody has to call anything but the jobs, however late these are.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';

INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, features) VALUES (9751, 'clock', 'Clock', '1 month', 0, '{"export": true}'), (9752, 'clock_trial', 'Trial', '1 month', 10, '{}');
INSERT INTO billing.price (plan_id, code, tariff) SELECT p, 'base', '{"model":"flat","currency":"USD","amount":"31"}' FROM unnest('{9751,9752}'::bigint[]) p;
INSERT INTO billing.coupon (code, name, kind, value, redemption_limit) VALUES ('CLOCK', 'Clock', 'percentage', 10, 1);
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9751, 9759) t;

CREATE TEMPORARY VIEW shown AS
SELECT s.tenant_id AS tenant, s.status, s.period_start, s.period_end, s.ended_at, t.status AS tenant_is, billing.has_feature(s.tenant_id, 'export') AS exports
FROM billing.subscription s JOIN billing.tenant t USING (tenant_id) WHERE tenant_id BETWEEN 9751 AND 9759 ORDER BY tenant_id, subscription_id;
CREATE TEMPORARY VIEW owed AS
SELECT i.tenant_id AS tenant, i.number, i.kind, i.status, i.amount_due, i.status_reason FROM billing.invoice i WHERE i.tenant_id BETWEEN 9751 AND 9759 ORDER BY i.tenant_id, i.invoice_id;
CREATE FUNCTION pg_temp.id(tenant bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT min(subscription_id) FROM billing.subscription WHERE tenant_id = tenant $$;
CREATE FUNCTION pg_temp.pay(number text, amount billing.amount DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT p.status FROM billing.invoice i CROSS JOIN LATERAL billing.record_payment(i.tenant_id, i.invoice_id, coalesce(pay.amount, i.amount_due),
		format('%s %s', i.number, i.version)) p WHERE i.number = pay.number $$;
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '(subscription|invoice) \d+', '\1 N');
END $$;
-- The jobs, whenever there is something to do, and nothing else.
INSERT INTO billing.job (name, every) VALUES ('bill_due', '1 second'), ('dunning', '1 second');
CREATE FUNCTION pg_temp.at(clock text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', clock, true);
	CALL billing.run_due();
	RETURN clock;
END $$;

SELECT status FROM billing.subscribe(9751, 'clock_trial')
UNION ALL SELECT status FROM billing.subscribe(9752, 'clock', at => '2026-01-05T00:00:00Z')
UNION ALL SELECT status FROM billing.subscribe(9753, 'clock', activate => 'on_payment', coupon => 'CLOCK')
UNION ALL SELECT status FROM billing.subscribe(9754, 'clock', activate => 'on_payment')
UNION ALL SELECT status FROM billing.subscribe(9755, 'clock')
UNION ALL SELECT status FROM billing.subscribe(9756, 'clock', auto_renew => false)
UNION ALL SELECT status FROM billing.subscribe(9757, 'clock_trial')
UNION ALL SELECT status FROM billing.subscribe(9758, 'clock', activate => 'on_payment');
SELECT cancel_at FROM billing.cancel_subscription(9755, pg_temp.id(9755)) UNION ALL SELECT cancel_at FROM billing.cancel_subscription(9757, pg_temp.id(9757));
SELECT pg_temp.pay('INV-9755-000001'), pg_temp.pay('INV-9756-000001'), pg_temp.pay('INV-9754-000001', '1 USD');
INSERT INTO billing.payment (tenant_id, pay_no, invoice_id, status, amount, method) SELECT 9758, 'flight', invoice_id, 'processing', amount_due, 'card' FROM billing.invoice WHERE number = 'INV-9758-000001';

-- What waits for its payment lapses after pending_timeout, and so does its invoice: nobody pays for what does not begin. Not where some money
-- came, or is coming.
SELECT pg_temp.at('2026-01-01T23:59:59Z');
SELECT tenant, status FROM shown WHERE tenant IN (9753, 9754, 9758);
SELECT pg_temp.at('2026-01-02T00:00:00Z');
SELECT * FROM shown WHERE tenant IN (9753, 9754, 9758);
SELECT * FROM owed WHERE tenant IN (9753, 9754, 9758);
SELECT kind, status, effective_at, reason FROM billing.subscription_change WHERE tenant_id = 9753 ORDER BY change_no;
SELECT pg_temp.attempt($$SELECT billing.renew_subscription(9753, pg_temp.id(9753))$$);
SELECT pg_temp.attempt($$SELECT pg_temp.pay('INV-9753-000001', '1 USD')$$);
-- The coupon that it had taken the last one of is free again.
SELECT status FROM billing.subscribe(9759, 'clock', coupon => 'CLOCK');
SELECT pg_temp.pay('INV-9759-000001'), pg_temp.pay('INV-9754-000001');
SELECT tenant, status, period_start FROM shown WHERE tenant IN (9754, 9759);

-- A subscription begins where it said, a trial ends, a canceled one has none to come.
SELECT pg_temp.at('2026-01-12T00:00:00Z');
SELECT * FROM shown WHERE tenant IN (9751, 9752, 9757);
SELECT * FROM owed WHERE tenant IN (9751, 9752, 9757);
SELECT pg_temp.pay('INV-9751-000001'), pg_temp.pay('INV-9752-000001');
-- All ends, weeks late: canceled, expired, and gone with its grace.
SELECT pg_temp.at('2026-02-20T00:00:00Z');
SELECT * FROM shown WHERE tenant IN (9755, 9756, 9757);
-- It lapses also where somebody voided the invoice, once its time is over; and is waited for from when it was asked for, not from when that was arranged.
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9771, 9773) t;
SELECT status FROM billing.subscribe(9771, 'clock', activate => 'on_payment')
UNION ALL SELECT status FROM billing.subscribe(9772, 'clock', activate => 'on_payment', at => '2026-03-01T00:00:00Z')
UNION ALL SELECT status FROM billing.update_tenant(9773, '{"settings": {"finalize_after": "never"}}') UNION ALL SELECT status FROM billing.subscribe(9773, 'clock', activate => 'on_payment');
SELECT status FROM billing.void_invoice(9771, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9771));
SELECT tenant_id, lapse_at, is_pending FROM billing.waiting_subscription WHERE tenant_id BETWEEN 9771 AND 9773 ORDER BY 1;
SELECT pg_temp.at('2026-02-20T23:59:59Z');
SELECT tenant_id, status FROM billing.subscription WHERE tenant_id BETWEEN 9771 AND 9773 ORDER BY 1;
SELECT pg_temp.at('2026-02-21T00:00:00Z');
SELECT tenant_id, status, ended_at FROM billing.subscription WHERE tenant_id BETWEEN 9771 AND 9773 ORDER BY 1;
SELECT type FROM billing.event WHERE tenant_id = 9771 ORDER BY event_id;
SELECT next_at FROM billing.invoice_dunning WHERE tenant_id = 9771;
-- A draft is not asked for yet; one that began to wait later lapses later.
SELECT pg_temp.at('2026-03-01T00:00:00Z');
SELECT tenant_id, status FROM billing.subscription WHERE tenant_id BETWEEN 9772 AND 9773 ORDER BY 1;
SELECT status FROM billing.finalize_invoice(9773, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9773));
SELECT pg_temp.at('2026-03-01T12:00:00Z');
SELECT tenant_id, status FROM billing.subscription WHERE tenant_id BETWEEN 9772 AND 9773 ORDER BY 1;
SELECT pg_temp.at('2026-03-02T00:00:00Z');
SELECT tenant_id, status, ended_at FROM billing.subscription WHERE tenant_id BETWEEN 9772 AND 9773 ORDER BY 1;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9751 AND 9773;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9751 AND 9759;
ROLLBACK;
