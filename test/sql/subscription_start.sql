-- Promise: subscribe puts a tenant on the plan it names, from the instant, for the trial and by the calendar it says, once per
-- request; the first boundary of what has begun is processed at once, and no other.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-03-15T12:00:00Z';
\set ON_ERROR_ROLLBACK on

INSERT INTO billing.meter (code) VALUES ('start_calls');
INSERT INTO billing.plan (plan_id, code, version, name, cycle, currency, trial_days, is_active) VALUES
	(8001, 'start_pro', 1, 'Pro', '1 month', 'USD', 0, true), (8002, 'start_pro', 2, 'Pro', '1 month', 'USD', 0, true),
	(8003, 'start_pro', 3, 'Pro', '1 month', 'USD', 0, false), (8004, 'start_pro', 1, 'Pro', '1 month', 'EUR', 0, true),
	(8005, 'start_team', 1, 'Team', '1 month', 'USD', 14, true), (8006, 'start_team', 2, 'Team', '1 year', 'USD', 30, true),
	(8007, 'start_try', 1, 'Try', '1 month', 'USD', NULL, true), (8008, 'start_once', 1, 'Once', NULL, 'USD', 0, true),
	(8009, 'start_weekly', 1, 'Weekly', '7 days', 'USD', 0, true), (8010, 'start_yearly', 1, 'Yearly', '1 year', 'USD', 0, true),
	(8011, 'start_old', 1, 'Old', '1 month', 'USD', 0, false);
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', billing.tariff(format('{"model":"flat","currency":"%s","amount":"10"}', currency))
FROM billing.plan;
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle) VALUES
	(8010, 'start_calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'start_calls', '1 month');

SELECT tenant_id FROM billing.create_tenant(8001, 'Utica', 'USD', 'America/New_York');
SELECT tenant_id FROM billing.create_tenant(8002, 'Tokio', 'EUR', 'Asia/Tokyo');
SELECT tenant_id FROM billing.create_tenant(8003, 'Third', 'USD');
INSERT INTO billing.gateway (code, driver) VALUES ('manual', 'manual') ON CONFLICT DO NOTHING;
INSERT INTO billing.payment_method (tenant_id, payment_method_id, gateway, type, status) VALUES (8001, 9, 'manual', 'card', 'active');

CREATE TEMPORARY VIEW shown AS
SELECT tenant_id AS t, dense_rank() OVER (ORDER BY subscription_id) AS n, p.code, p.version AS v, status, s.quantity AS q, billing, anchor, started_at, trial_end,
	period_start, period_end, billed_to, due_at
FROM billing.subscription s JOIN billing.plan p USING (plan_id)
WHERE tenant_id BETWEEN 8001 AND 8003
ORDER BY subscription_id;

-- The newest active version in the tenant's currency, from now on; the plan is closed to changes.
SELECT status, currency, timezone, quantity, auto_renew, metadata, version, created_at FROM billing.subscribe(8001, 'start_pro', 3, metadata => '{"order": 17}');
SELECT version, used_at, price_codes FROM billing.plan WHERE code = 'start_pro' ORDER BY currency, version;
SELECT currency, timezone FROM billing.subscribe(8002, 'start_pro');
SELECT currency FROM billing.subscribe(8002, 'start_pro', currency => 'USD');
-- Another cycle of the plan; a lifetime.
SELECT period_start, period_end FROM billing.subscribe(8001, 'start_team', cycle => '1 year', trial_days => 0);
SELECT period_start, period_end, due_at FROM billing.subscribe(8001, 'start_once');
SELECT period_end, due_at FROM billing.subscribe(8001, 'start_once', cycle => '0');

-- Trial: the days of the plan, of the caller, of the setting, on the wall clock (clocks change on 8 March in New York and
-- not in between here), once per plan code.
SELECT status, started_at, trial_end, anchor, due_at FROM billing.subscribe(8003, 'start_team', cycle => '1 month');
SELECT status, trial_end, anchor, due_at FROM billing.subscribe(8003, 'start_team', cycle => '1 year');
SELECT status, trial_end, due_at FROM billing.subscribe(8003, 'start_try');
SELECT status, trial_end, due_at FROM billing.subscribe(8003, 'start_pro', trial_days => 3);
SELECT status, trial_end FROM billing.subscribe(8003, 'start_pro', trial_days => 3);
SELECT status, trial_end, anchor FROM billing.subscribe(8001, 'start_pro', trial_days => 7, at => '2026-03-05 05:00Z');
SELECT status, trial_end, anchor FROM billing.subscribe(8002, 'start_pro', trial_days => 7, anchor => '2026-03-01 00:00+09');

-- In the past: its first boundary alone.  In the future: it waits.
SELECT status, started_at, period_start, period_end, billed_to, due_at FROM billing.subscribe(8003, 'start_pro', at => '2025-12-31 00:00Z');
SELECT status, started_at, period_start, billed_to, due_at FROM billing.subscribe(8003, 'start_pro', at => '2026-04-01 00:00Z');

-- By the calendar: from the start of the month, year or week in which it begins, in the tenant's time zone.
SELECT anchor, period_start, period_end, due_at FROM billing.subscribe(8001, 'start_pro', billing => 'calendar');
SELECT anchor, period_start, period_end, due_at FROM billing.subscribe(8002, 'start_pro', billing => 'calendar');
SELECT anchor, period_start, period_end, due_at FROM billing.subscribe(8001, 'start_yearly', billing => 'calendar');
SELECT anchor, period_start, period_end, due_at FROM billing.subscribe(8001, 'start_weekly', billing => 'calendar');
SELECT anchor, trial_end, period_end FROM billing.subscribe(8001, 'start_weekly', billing => 'calendar', trial_days => 5);
SELECT anchor, period_start, period_end FROM billing.subscribe(8001, 'start_pro', billing => 'calendar', anchor => '2026-01-10 00:00-05');
SELECT anchor, period_start, period_end FROM billing.subscribe(8001, 'start_once', billing => 'calendar');

-- On payment: nothing runs, and there is no trial, until the first invoice is paid.
SELECT status, trial_end, billed_to, due_at FROM billing.subscribe(8003, 'start_try', activate => 'on_payment', trial_days => 9, request_id => 'pay');

-- A request that is repeated returns what it did, and does nothing more.
SELECT status, version, payment_method_id FROM billing.subscribe(8001, 'start_pro', payment_method_id => 9, request_id => 'r1');
SELECT count(*) FROM billing.subscription WHERE tenant_id = 8001;
SELECT status, version, payment_method_id FROM billing.subscribe(8001, 'start_pro', payment_method_id => 9, request_id => 'r1');
SELECT count(*) FROM billing.subscription WHERE tenant_id = 8001;
SELECT billing.subscribe(8001, 'start_pro', 2, payment_method_id => 9, request_id => 'r1');

-- Each is a segment of history and a line in the audit log.
SELECT * FROM shown;
SELECT tenant_id, kind, effective_at, status, quantity, change_no = s.version AS is_version
FROM billing.subscription_change c JOIN billing.subscription s USING (tenant_id, subscription_id, status, quantity)
WHERE tenant_id BETWEEN 8001 AND 8003
ORDER BY subscription_id LIMIT 3;
SELECT count(*) = (SELECT count(*) FROM billing.subscription WHERE tenant_id BETWEEN 8001 AND 8003) AS every_one,
	bool_and(action = 'subscribe' AND before IS NULL AND (after ->> 'subscription_id') = object_id) AS as_expected
FROM billing.audit_log WHERE object = 'subscription' AND tenant_id BETWEEN 8001 AND 8003;
SELECT count(*) = (SELECT count(*) FROM billing.subscription WHERE tenant_id BETWEEN 8001 AND 8003) AS every_one FROM billing.subscription_change WHERE tenant_id BETWEEN 8001 AND 8003;

-- The first boundary has its invoice: what it bills in advance.
SELECT p.code, i.kind, i.status, i.total, i.period_start, i.period_end, n.price_code, n.amount, n.period_start AS item_start, n.period_end AS item_end
FROM billing.invoice i JOIN billing.plan p USING (plan_id) JOIN billing.invoice_item n USING (tenant_id, invoice_id)
WHERE tenant_id BETWEEN 8001 AND 8003 ORDER BY i.subscription_id;

-- A price cannot change any more.
UPDATE billing.price SET tariff = '{"model":"flat","currency":"USD","amount":"12"}' WHERE plan_id = 8002;
ROLLBACK;
