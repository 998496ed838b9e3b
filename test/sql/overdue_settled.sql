-- Promise: whatever settles what is overdue lets a subscription go on and thaws its tenant; what only gives it up, or ends the
-- subscription, does not; an admin's freeze is nobody else's to lift.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';

INSERT INTO billing.plan (plan_id, code, name, cycle, features) VALUES (9911, 'settled', 'Settled', '1 month', '{"export": true}'),
	(9912, 'settled_once', 'Once', NULL, '{"keep": true}'), (9913, 'settled_more', 'More', '1 month', '{}');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9911, 'base', '{"model":"flat","currency":"USD","amount":"31"}'),
	(9912, 'base', '{"model":"flat","currency":"USD","amount":"500"}'), (9913, 'base', '{"model":"flat","currency":"USD","amount":"62"}');
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9911, 9930) t;

CREATE TEMPORARY VIEW shown AS
SELECT s.tenant_id AS tenant, s.status, period_end, due_at, paused_at, pauses, cancel_at, ended_at, t.status AS tenant_is, t.status_reason, t.is_unpaid, t.frozen_at,
	billing.has_feature(s.tenant_id, 'export') AS exports
FROM billing.subscription s JOIN billing.tenant t USING (tenant_id) ORDER BY tenant_id, subscription_id;
CREATE TEMPORARY VIEW owed AS
SELECT i.tenant_id AS tenant, i.number, i.kind, i.status, i.amount_due, i.due_at FROM billing.invoice i ORDER BY i.tenant_id, i.invoice_id;
CREATE FUNCTION pg_temp.id(tenant bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT min(subscription_id) FROM billing.subscription WHERE tenant_id = tenant $$;
CREATE FUNCTION pg_temp.invoice(number text) RETURNS bigint LANGUAGE sql AS $$ SELECT invoice_id FROM billing.invoice i WHERE i.number = invoice.number $$;
CREATE FUNCTION pg_temp.pay(number text) RETURNS text LANGUAGE sql AS $$
	SELECT p.status FROM billing.invoice i CROSS JOIN LATERAL billing.record_payment(i.tenant_id, i.invoice_id, i.amount_due,
		format('%s %s', i.number, i.version)) p WHERE i.number = pay.number $$;
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	says text; fact text; advice text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS says = MESSAGE_TEXT, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || regexp_replace(says, 'subscription \d+', 'subscription N'),
		regexp_replace(fact, '\m(subscription_id|id)=\d+', '\1=N'), advice);
END $$;

-- Voided; credited; paid by the credit note of another invoice.
SELECT count(billing.subscribe(t, 'settled')) FROM generate_series(9911, 9919) t;
SELECT number FROM billing.create_invoice(9913, 'other', '[{"description": "Other", "amount": 40}]');
SELECT pg_temp.pay('INV-9913-000002');
SET LOCAL billing.test_clock TO '2026-01-12T00:00:00Z';
SELECT count(billing.enforce_expiration(t)) FROM generate_series(9911, 9914) t;
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant BETWEEN 9911 AND 9914;
SELECT status FROM billing.void_invoice(9911, pg_temp.invoice('INV-9911-000001'));
SELECT total FROM billing.issue_credit_note(9912, pg_temp.invoice('INV-9912-000001'));
SELECT total, applied FROM billing.issue_credit_note(9913, pg_temp.invoice('INV-9913-000002'), destination => 'invoice', to_invoice_id => pg_temp.invoice('INV-9913-000001'));
SELECT * FROM shown WHERE tenant BETWEEN 9911 AND 9914;
-- Issued again, what was overdue has a due date to come.
SELECT status FROM billing.void_invoice(9914, pg_temp.invoice('INV-9914-000001'), reissue => true);
SELECT * FROM shown WHERE tenant = 9914;
SELECT * FROM owed WHERE tenant = 9914;

-- Given up: not paid.  It stays suspended, and what is past due is suspended in its time; a payment after all is one.
SELECT status FROM billing.enforce_expiration(9915);
SET LOCAL billing.test_clock TO '2026-01-13T00:00:00Z';
SELECT status FROM billing.mark_uncollectible(9915, pg_temp.invoice('INV-9915-000001'), 'gone');
SELECT status FROM billing.mark_uncollectible(9914, pg_temp.invoice('INV-9914-000002'), 'gone');
SELECT (billing.enforce_expiration(9914)).status, (billing.enforce_expiration(9915)).status;
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant IN (9914, 9915);
SELECT pg_temp.pay('INV-9915-000001');
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9915;
SET LOCAL billing.test_clock TO '2026-01-22T00:00:00Z';
SELECT billing.enforce_expirations() > 0 AS changed;
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9914;

-- Canceled while suspended, it ends at once; the tenant stays frozen until it has paid, or what it owes is given up.
SELECT tenant, status, is_unpaid FROM shown WHERE tenant IN (9916, 9917);
SELECT status, ended_at FROM billing.cancel_subscription(9916, pg_temp.id(9916), proration => 'none');
SELECT status, ended_at FROM billing.cancel_subscription(9917, pg_temp.id(9917), 'now');
SELECT tenant, status, tenant_is, is_unpaid, exports FROM shown WHERE tenant IN (9916, 9917);
SELECT * FROM owed WHERE tenant IN (9916, 9917);
SELECT status FROM billing.enforce_expiration(9916);
SELECT pg_temp.attempt($$SELECT billing.subscribe(9916, 'settled')$$);
SELECT pg_temp.pay('INV-9916-000001');
SELECT status FROM billing.mark_uncollectible(9917, pg_temp.invoice('INV-9917-000001'));
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant IN (9916, 9917);
SELECT status FROM billing.subscribe(9916, 'settled');
-- A credit for unused time lowers what keeps it frozen, and another thaws it.
SELECT total FROM billing.issue_credit_note(9918, pg_temp.invoice('INV-9918-000001'), '[{"line": 1, "amount": 25}]');
SELECT status FROM billing.cancel_subscription(9918, pg_temp.id(9918), 'now');
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9918;
SELECT * FROM owed WHERE tenant = 9918;
SELECT total FROM billing.issue_credit_note(9918, pg_temp.invoice('INV-9918-000001'));
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9918;

-- An end that was certain before: reached while suspended, it ends there; paid before, it goes on up to it.
SELECT count(billing.subscribe(t, 'settled')) FROM generate_series(9920, 9924) t;
SELECT count(billing.cancel_subscription(t, pg_temp.id(t))) FROM generate_series(9920, 9921) t;
SELECT count(billing.update_subscription(t, pg_temp.id(t), '{"auto_renew": false}')) FROM generate_series(9922, 9924) t;
SELECT pg_temp.pay('INV-9924-000001');
SET LOCAL billing.test_clock TO '2026-01-23T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9923);
SELECT status FROM shown WHERE tenant = 9923;
SELECT version FROM billing.update_tenant(9923, '{"settings": {"grace_days": 60}}');
SET LOCAL billing.test_clock TO '2026-02-05T00:00:00Z';
SELECT count(billing.enforce_expiration(t)) FROM generate_series(9920, 9922) t;
SELECT * FROM shown WHERE tenant BETWEEN 9920 AND 9922;
SET LOCAL billing.test_clock TO '2026-02-10T00:00:00Z';
SELECT pg_temp.pay('INV-9921-000001');
SELECT * FROM shown WHERE tenant = 9921;
SET LOCAL billing.test_clock TO '2026-02-22T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9920);
SELECT next_status FROM billing.overdue_subscription WHERE tenant_id = 9922;
SELECT billing.enforce_expirations() > 0 AS changed;
CALL billing.bill_due();
-- 9923 expired past due; 9924, which paid, has its grace; what ended suspended has none.
SELECT * FROM shown WHERE tenant BETWEEN 9920 AND 9924;
SELECT tenant_id AS tenant, kind, status, effective_at FROM billing.subscription_change WHERE tenant_id BETWEEN 9920 AND 9923 ORDER BY 1, change_no;
-- Renewed when it has paid, and not before.
SELECT pg_temp.attempt($$SELECT billing.renew_subscription(9922, pg_temp.id(9922))$$);
SELECT pg_temp.pay('INV-9922-000001');
SET LOCAL billing.test_clock TO '2026-03-10T00:00:00Z';
SELECT status FROM billing.renew_subscription(9922, pg_temp.id(9922));
SELECT * FROM shown WHERE tenant = 9922;
-- Its grace over, what 9924 had is gone from the snapshot, too.
SELECT count(*) FROM billing.entitlement WHERE tenant_id = 9924;
SELECT status FROM billing.enforce_expiration(9924);
SELECT count(*) FROM billing.entitlement WHERE tenant_id = 9924;
-- One whose end the bill run has not come to.
SELECT status FROM billing.update_subscription(9922, pg_temp.id(9922), '{"auto_renew": false}');
SELECT count(pg_temp.pay(number)) FROM owed WHERE tenant = 9922 AND amount_due > '0 USD';
SET LOCAL billing.test_clock TO '2026-04-11T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9922);
SELECT status, ended_at, exports, is_unpaid FROM shown WHERE tenant = 9922;

-- An admin's freeze: before it, the subscription is suspended all the same and goes on when it is paid; the tenant stays frozen.
SELECT count(billing.subscribe(t, 'settled')) FROM generate_series(9925, 9927) t;
SELECT status FROM billing.freeze_tenant(9925, 'abuse');
SET LOCAL billing.test_clock TO '2026-05-01T00:00:00Z';
SELECT count(billing.enforce_expiration(t)) FROM generate_series(9925, 9927) t;
SELECT tenant, status, tenant_is, status_reason, is_unpaid, frozen_at FROM shown WHERE tenant BETWEEN 9925 AND 9927;
SELECT pg_temp.pay('INV-9925-000001');
-- After it, whoever freezes it takes it over, also by the same word.
SET LOCAL billing.test_clock TO '2026-05-02T00:00:00Z';
SELECT status, is_unpaid, status_reason, frozen_at FROM billing.freeze_tenant(9926, 'unpaid');
SELECT version FROM billing.freeze_tenant(9926, 'again');
SELECT pg_temp.pay('INV-9926-000001');
-- Unfrozen, it is active, and its subscription suspended: nothing freezes it again for that.
SELECT status, is_unpaid, status_reason FROM billing.unfreeze_tenant(9927, 'promised');
SELECT (billing.enforce_expiration(9927)).status, billing.enforce_expirations() >= 0;
SELECT tenant, status, tenant_is, status_reason, is_unpaid, frozen_at, exports FROM shown WHERE tenant BETWEEN 9925 AND 9927;

-- What a suspended subscription refuses, and one that is past due.
SELECT pg_temp.attempt(format(c, pg_temp.id(9927))) FROM unnest(ARRAY[$$SELECT billing.change_plan(9927, %s, 'settled_more')$$,
	$$SELECT billing.change_plan(9927, %s, quantity => 2, effective => 'period_end')$$, $$SELECT billing.add_addon(9927, %s, 'settled_more')$$,
	$$SELECT billing.pause_subscription(9927, %s)$$, $$SELECT billing.resume_subscription(9927, %s)$$,
	$$SELECT billing.extend_subscription(9927, %s, '2027-01-01', version) FROM billing.subscription WHERE tenant_id = 9927$$,
	$$SELECT billing.reactivate_subscription(9927, %s)$$]) c;
SELECT pg_temp.attempt($$SELECT billing.get_active_subscription(9927)$$);
SELECT pg_temp.attempt($$SELECT billing.close_tenant(9927)$$);
SELECT billing.move_subscriptions('settled', 'settled_more') >= 0 AS others, (SELECT next_plan_id FROM billing.subscription WHERE tenant_id = 9927);
SELECT status, auto_renew FROM billing.update_subscription(9927, pg_temp.id(9927), '{"auto_renew": false}');
SELECT status, auto_renew FROM billing.renew_subscription(9927, pg_temp.id(9927));
SELECT next_billing_date, days_remaining FROM billing.next_billing_date(9927, pg_temp.id(9927)), billing.days_remaining(9927, pg_temp.id(9927));
SELECT status FROM billing.subscribe(9928, 'settled');
SET LOCAL billing.test_clock TO '2026-05-03T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9928);
SELECT status, tenant_is FROM shown WHERE tenant = 9928;
SELECT pg_temp.attempt($$SELECT billing.pause_subscription(9928, pg_temp.id(9928))$$);
-- Past due, it changes: what is credited lowers what it owes.
SELECT status, plan_id FROM billing.change_plan(9928, pg_temp.id(9928), 'settled_more', proration => 'invoice_now');
SELECT * FROM owed WHERE tenant = 9928;
SELECT status FROM billing.get_active_subscription(9928);

-- What is bought once; what is paused; what waits for its first payment, or was canceled before it.
SELECT status FROM billing.subscribe(9929, 'settled_once');
SELECT status FROM billing.subscribe(9930, 'settled');
SELECT status FROM billing.pause_subscription(9930, pg_temp.id(9930));
SELECT status FROM billing.subscribe(9930, 'settled', activate => 'on_payment');
SELECT status FROM billing.subscribe(9930, 'settled_more', activate => 'on_payment');
SELECT status FROM billing.cancel_subscription(9930, (SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = 9930));
SET LOCAL billing.test_clock TO '2026-06-03T00:00:00Z';
SELECT count(billing.enforce_expiration(t)) FROM generate_series(9929, 9930) t;
SELECT tenant, status, due_at, paused_at, tenant_is FROM shown WHERE tenant >= 9929;
SELECT count(*), count(suspend_at) FROM billing.overdue_invoice WHERE tenant_id = 9930;
SELECT pg_temp.pay('INV-9929-000001');
SELECT tenant, status, due_at, pauses, tenant_is FROM shown WHERE tenant = 9929;
SELECT * FROM owed WHERE tenant = 9929;

-- Found long after its end: what came late is billed as of the present, not of the end.
SET LOCAL billing.test_clock TO '2026-07-01T00:00:00Z';
INSERT INTO billing.meter (code, name) VALUES ('settled_calls', 'Calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9914, 'settled_usage', 'Usage', '1 month');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (9914, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL),
	(9914, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'settled_calls');
SELECT tenant_id FROM billing.create_tenant(9931, 'Late');
SELECT status FROM billing.subscribe(9931, 'settled_usage');
SELECT cancel_at FROM billing.cancel_subscription(9931, pg_temp.id(9931));
SET LOCAL billing.test_clock TO '2026-07-11T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9931);
SET LOCAL billing.test_clock TO '2026-07-20T00:00:00Z';
SELECT billing.record_usage(9931, 'settled_calls', 500, 'late', at => '2026-07-10T00:00:00Z');
SET LOCAL billing.test_clock TO '2026-09-15T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9931);
SELECT tenant, status, due_at, ended_at, tenant_is FROM shown WHERE tenant = 9931;
SELECT i.number, i.kind, i.amount_due, i.period_end, i.issued_at, i.due_at FROM billing.invoice i WHERE i.tenant_id = 9931 ORDER BY i.invoice_id;
SELECT kind, effective_at FROM billing.subscription_change WHERE tenant_id = 9931 ORDER BY change_no;

-- A request that is repeated returns what it did; of another body, or of somebody else, it is refused.
SELECT version FROM billing.enforce_expiration(9929, 'r1');
SELECT version FROM billing.update_tenant(9929, '{"name": "Once"}');
SELECT version FROM billing.enforce_expiration(9929, 'r1');
SELECT version FROM billing.enforce_expiration(9929);
SELECT pg_temp.attempt(c) FROM unnest(ARRAY['SELECT billing.enforce_expiration(NULL)', 'SELECT billing.enforce_expiration(9999999)',
	'SELECT billing.enforce_expirations(0)', 'SELECT billing.enforce_expirations(NULL)']) c;

SELECT * FROM billing.audit() WHERE tenant_id BETWEEN 9911 AND 9999;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9911 AND 9999;

-- What audit() finds that no flow leaves behind.
SAVEPOINT broken;
SET LOCAL session_replication_role TO 'replica';
UPDATE billing.subscription SET due_at = '2027-01-01' WHERE tenant_id = 9927;
UPDATE billing.subscription SET status = 'past_due' WHERE tenant_id = 9925;
UPDATE billing.tenant SET is_unpaid = true WHERE tenant_id = 9925;
SELECT invariant, tenant_id FROM billing.audit() WHERE tenant_id IN (9925, 9927) AND invariant ~ 'rests|owes' ORDER BY 1, 2;
ROLLBACK TO broken;
ROLLBACK;
