-- Promise: a subscription whose invoice is not paid is past due from the due date on, and suspended, with its tenant frozen, from
-- the later of the end of the grace and a day after the last attempt on; paid, it goes on at once, and no time it was suspended in is billed.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-02-28T12:00:00Z';

INSERT INTO billing.meter (code, name) VALUES ('overdue_calls', 'Calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, features, settings) VALUES
	(9901, 'overdue', 'Overdue', '1 month', '{"export": true}', '{}'), (9902, 'overdue_week', 'Week', '1 week', '{"sync": true}', '{}'),
	(9903, 'overdue_year', 'Year', '1 year', '{}', '{"grace_days": 30, "dunning_attempts": 2, "dunning_interval_days": 5}');
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(9901, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL, NULL),
	(9901, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'overdue_calls', NULL),
	(9902, 'base', '{"model":"flat","currency":"USD","amount":"7"}', NULL, NULL),
	(9903, 'base', '{"model":"flat","currency":"USD","amount":"365"}', NULL, NULL),
	(9903, 'seat', '{"model":"flat","currency":"USD","amount":"31"}', NULL, '1 month'),
	(9903, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'overdue_calls', '1 month');

CREATE TEMPORARY VIEW shown AS
SELECT s.tenant_id AS tenant, s.metadata ->> 'name' AS name, s.status, period_start, period_end, billed_to, due_at, paused_at, pauses, t.status AS tenant_is,
	t.status_reason, t.is_unpaid, t.frozen_at
FROM billing.subscription s JOIN billing.tenant t USING (tenant_id) WHERE tenant_id BETWEEN 9901 AND 9999 ORDER BY tenant_id, subscription_id;
CREATE TEMPORARY VIEW owed AS
SELECT i.tenant_id AS tenant, i.number, s.metadata ->> 'name' AS name, i.kind, i.status, i.amount_due, i.period_start, i.period_end, i.due_at
FROM billing.invoice i LEFT JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE i.tenant_id BETWEEN 9901 AND 9999 ORDER BY i.tenant_id, i.invoice_id;
CREATE TEMPORARY VIEW history AS
SELECT s.tenant_id AS tenant, s.metadata ->> 'name' AS name, kind, effective_at, c.status, reason
FROM billing.subscription_change c JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE tenant_id BETWEEN 9901 AND 9999
ORDER BY s.tenant_id, s.subscription_id, change_no;
CREATE FUNCTION pg_temp.pay(number text, amount billing.amount DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT p.status FROM billing.invoice i CROSS JOIN LATERAL billing.record_payment(i.tenant_id, i.invoice_id, coalesce(pay.amount, i.amount_due),
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

-- New York's clocks go forward on 8 March: a day is 23 hours there, and the last attempt, 9 days after 7:00, is at 7:00.
SELECT tenant_id FROM billing.create_tenant(9901, 'Owes', 'USD', 'America/New_York');
SELECT status FROM billing.subscribe(9901, 'overdue', metadata => '{"name": "A"}');
SELECT * FROM billing.overdue_invoice WHERE tenant_id = 9901;
-- At the due date it is not overdue; from the next moment on it is, and past due.
SELECT status, is_unpaid, version FROM billing.enforce_expiration(9901);
SET LOCAL billing.test_clock TO '2026-02-28T12:00:00.000001Z';
SELECT number, status, amount_due, due_at, grace_ends_at, dunning_attempts, last_attempt_at, suspend_at FROM billing.overdue_invoice WHERE tenant_id = 9901;
SELECT status, invoices, due_at, grace_ends_at, last_attempt_at, suspend_at, next_status FROM billing.overdue_subscription WHERE tenant_id = 9901;
SELECT billing.record_usage(9901, 'overdue_calls', 100, 'e1');
SELECT status, is_unpaid, version FROM billing.enforce_expiration(9901);
SELECT status, is_unpaid, version FROM billing.enforce_expiration(9901);
SELECT * FROM shown;
-- It has what it had, and is billed on.
SELECT billing.has_feature(9901, 'export');
SET LOCAL billing.test_clock TO '2026-03-10T10:59:59.999999Z';
SELECT billing.enforce_expirations() >= 0;
SELECT status FROM billing.subscription WHERE tenant_id = 9901;
SET LOCAL billing.test_clock TO '2026-03-10T11:00:00Z';
SELECT next_status FROM billing.overdue_subscription WHERE tenant_id = 9901;
SELECT billing.enforce_expirations() > 0 AS changed, billing.enforce_expirations() AS again;
SELECT * FROM shown;
-- What it used up to there is billed, once.
SELECT * FROM owed;
SELECT billing.has_feature(9901, 'export'), billing.feature_limit(9901, 'export'), billing.is_served(9901);
SELECT pg_temp.attempt($$SELECT billing.record_usage(9901, 'overdue_calls', 1, 'e2')$$);
SELECT billing.record_usage(9901, 'overdue_calls', 5, 'e3', at => '2026-03-09T00:00:00Z');
SELECT pg_temp.attempt($$SELECT billing.subscribe(9901, 'overdue')$$);
SELECT pg_temp.attempt($$SELECT billing.consume(9901, '1 USD', 'x', 'c1')$$);
SELECT action, object, before ->> 'status' AS before, after ->> 'status' AS after FROM billing.audit_log
WHERE tenant_id = 9901 AND action LIKE 'enforce%' ORDER BY object;
-- Weeks later nothing is due of it; a part of what it owes leaves it suspended, and so does one of two invoices.
SET LOCAL billing.test_clock TO '2026-04-20T12:00:00Z';
CALL billing.bill_due();
SELECT billing.enforce_expirations(), (billing.enforce_expiration(9901)).status;
SELECT pg_temp.pay('INV-9901-000001', '30 USD'), (SELECT status FROM shown);
SELECT pg_temp.pay('INV-9901-000001'), (SELECT status FROM shown), (SELECT tenant_is FROM shown);
SELECT number, suspend_at FROM billing.overdue_invoice WHERE tenant_id = 9901;
-- The last one: it goes on in the period of its grid, whose rest is billed; the month it was away from is not, nor is usage of that time.
SELECT pg_temp.pay('INV-9901-000002');
SELECT * FROM shown;
SELECT * FROM owed;
SELECT * FROM history;
SELECT billing.has_feature(9901, 'export');
SELECT status, version FROM billing.enforce_expiration(9901);
-- What came late of the time before is booked at its next boundary.
SET LOCAL billing.test_clock TO '2026-04-29T12:00:00Z';
CALL billing.bill_due();
SELECT i.number, n.kind, n.price_code, n.quantity, n.amount, n.period_start, n.period_end FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
WHERE tenant_id = 9901 ORDER BY i.invoice_id, line;

-- Suspended and paid within a period: that was charged, is paid, and is not charged again.
SELECT tenant_id FROM billing.create_tenant(9902, 'Quick');
SELECT status FROM billing.subscribe(9902, 'overdue', metadata => '{"name": "B"}');
SET LOCAL billing.test_clock TO '2026-05-09T12:00:00Z';
SELECT status FROM billing.enforce_expiration(9902);
SET LOCAL billing.test_clock TO '2026-05-12T00:00:00Z';
SELECT pg_temp.pay('INV-9902-000001');
SELECT * FROM shown WHERE tenant = 9902;
SELECT * FROM owed WHERE tenant = 9902;

-- A grace that is longer than the attempts, of a plan; attempts that are longer than the grace, of a tenant; and none of either.
SELECT tenant_id FROM billing.create_tenant(9903, 'Patient');
SELECT tenant_id FROM billing.create_tenant(9904, 'Tried', details => '{"settings": {"dunning_attempts": 10, "dunning_interval_days": 3}}');
SELECT tenant_id FROM billing.create_tenant(9905, 'At once', details => '{"settings": {"dunning_attempts": 0, "grace_days": 0}}');
SELECT count(billing.subscribe(t, 'overdue_year', metadata => '{"name": "C"}')) FROM generate_series(9903, 9905) t;
SELECT number, due_at FROM billing.invoice WHERE tenant_id BETWEEN 9903 AND 9905 ORDER BY 1;
SET LOCAL billing.test_clock TO '2026-05-12T00:00:01Z';
SELECT number, grace_ends_at, dunning_attempts, last_attempt_at, suspend_at FROM billing.overdue_invoice WHERE tenant_id BETWEEN 9903 AND 9905 ORDER BY 1;
-- The installation's own, where neither says it.
INSERT INTO billing.setting (name, value) VALUES ('grace_days', '20'), ('dunning_attempts', '1');
SELECT number, grace_ends_at, dunning_attempts, last_attempt_at, suspend_at FROM billing.overdue_invoice WHERE tenant_id BETWEEN 9901 AND 9905 ORDER BY 1;
DELETE FROM billing.setting WHERE name IN ('grace_days', 'dunning_attempts');

-- A year with monthly prices, suspended in its second month and paid in its fifth: of the month that runs the rest.
SET LOCAL billing.test_clock TO '2026-06-15T00:00:00Z';
CALL billing.bill_due();
SELECT billing.record_usage(9903, 'overdue_calls', 7, 'y1', at => '2026-06-13T00:00:00Z');
SELECT status FROM billing.enforce_expiration(9903);
SELECT * FROM shown WHERE tenant = 9903;
SET LOCAL billing.test_clock TO '2026-09-20T00:00:00Z';
CALL billing.bill_due();
SELECT count(pg_temp.pay(number)) FROM billing.overdue_invoice WHERE tenant_id = 9903;
SELECT * FROM shown WHERE tenant = 9903;
SELECT i.number, i.kind, n.price_code, n.quantity, n.amount, n.period_start, n.period_end FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
WHERE tenant_id = 9903 ORDER BY i.invoice_id, line;

-- Several subscriptions: only what is unpaid is suspended, but the tenant is frozen, until nothing of that is owed any more.
SELECT tenant_id FROM billing.create_tenant(9906, 'Several');
SELECT status FROM billing.subscribe(9906, 'overdue', metadata => '{"name": "paid"}');
SELECT pg_temp.pay('INV-9906-000001');
SELECT status FROM billing.subscribe(9906, 'overdue_week', metadata => '{"name": "unpaid"}');
SET LOCAL billing.test_clock TO '2026-09-22T00:00:00Z';
SELECT status FROM billing.subscribe(9906, 'overdue_week', metadata => '{"name": "younger"}');
SET LOCAL billing.test_clock TO '2026-09-27T00:00:00Z';
CALL billing.bill_due();
SET LOCAL billing.test_clock TO '2026-09-30T00:00:00Z';
CALL billing.bill_due();
SELECT status FROM billing.enforce_expiration(9906);
SELECT * FROM shown WHERE tenant = 9906;
SELECT * FROM owed WHERE tenant = 9906;
SELECT billing.has_feature(9906, 'export'), billing.has_feature(9906, 'sync');
-- Paid what the suspended one owes: the other is still in its time.
SELECT count(pg_temp.pay(o.number)) FROM billing.overdue_invoice o JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id = 9906 AND s.metadata ->> 'name' = 'unpaid';
SELECT name, status, tenant_is, status_reason FROM shown WHERE tenant = 9906;
SELECT count(pg_temp.pay(number)) FROM billing.overdue_invoice WHERE tenant_id = 9906;
SELECT name, status, tenant_is FROM shown WHERE tenant = 9906;
SELECT * FROM history WHERE tenant = 9906;

-- Payment at the instant of the suspension, before it or after it: active.
SELECT tenant_id FROM billing.create_tenant(9907, 'Instant');
SELECT status FROM billing.subscribe(9907, 'overdue', metadata => '{"name": "D"}');
SELECT status FROM billing.subscribe(9907, 'overdue', metadata => '{"name": "E"}');
SET LOCAL billing.test_clock TO '2026-10-10T00:00:00Z';
SELECT pg_temp.pay('INV-9907-000001'), (billing.enforce_expiration(9907)).status;
SELECT name, status, tenant_is, paused_at FROM shown WHERE tenant = 9907;
SELECT pg_temp.pay('INV-9907-000002');
SELECT name, status, tenant_is, period_end, due_at, pauses FROM shown WHERE tenant = 9907;

-- The end of a period at that instant: its arrears are billed, another does not begin.  Where the run is late the tenant was served, and is billed.
SELECT tenant_id FROM billing.create_tenant(9908, 'Boundary', details => '{"settings": {"dunning_attempts": 0, "grace_days": 7}}');
SELECT status FROM billing.subscribe(9908, 'overdue_week', metadata => '{"name": "F"}');
SELECT status FROM billing.subscribe(9908, 'overdue_week', metadata => '{"name": "G"}', at => '2026-10-09T00:00:00Z');
SET LOCAL billing.test_clock TO '2026-10-17T00:00:00Z';
SELECT billing.enforce_expirations() > 0 AS changed;
SELECT * FROM shown WHERE tenant = 9908;
SELECT * FROM owed WHERE tenant = 9908;
SELECT count(pg_temp.pay(number)) FROM owed WHERE tenant = 9908 AND amount_due > '0 USD';
SELECT * FROM shown WHERE tenant = 9908;
SELECT * FROM owed WHERE tenant = 9908;

-- A one-off invoice is overdue like any other, and nothing follows from it: no subscription owes it.
SELECT tenant_id FROM billing.create_tenant(9909, 'One-off');
SELECT status FROM billing.subscribe(9909, 'overdue', metadata => '{"name": "H"}');
SELECT pg_temp.pay('INV-9909-000001');
SELECT number FROM billing.create_invoice(9909, 'setup', '[{"description": "Setup", "amount": 100}]');
SET LOCAL billing.test_clock TO '2026-11-16T00:00:00Z';
SELECT status FROM billing.enforce_expiration(9909);
SELECT number, subscription_id, suspend_at FROM billing.overdue_invoice WHERE tenant_id = 9909;
SELECT name, status, tenant_is FROM shown WHERE tenant = 9909;

SELECT * FROM billing.audit() WHERE tenant_id BETWEEN 9901 AND 9999;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9901 AND 9999;
ROLLBACK;
