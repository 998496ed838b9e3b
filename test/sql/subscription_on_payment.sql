-- Promise: a subscription that waits for its first payment is pending until its first invoice is paid in full, and then
-- starts at the instant of that payment; where there is nothing to pay it does not wait.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-10T00:00:00Z';
\pset format unaligned
\pset null -

INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (8201, 'pay_month', 'Month', '1 month'), (8202, 'pay_free', 'Free', '1 month'),
	(8203, 'pay_empty', 'Empty', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (8201, 'base', '{"model":"flat","currency":"USD","amount":"31"}'),
	(8202, 'base', '{"model":"flat","currency":"USD","amount":"0"}');
SELECT tenant_id FROM billing.create_tenant(8201, 'Payer', 'USD', 'America/New_York');

CREATE TEMPORARY VIEW shown AS
SELECT metadata ->> 'name' AS name, status, started_at, anchor, period_start, period_end, billed_to, due_at
FROM billing.subscription WHERE tenant_id = 8201 ORDER BY subscription_id;
CREATE FUNCTION pg_temp.invoice(name text) RETURNS bigint LANGUAGE sql
	AS $$ SELECT invoice_id FROM billing.invoice i JOIN billing.subscription s USING (tenant_id, subscription_id)
	WHERE tenant_id = 8201 AND s.metadata ->> 'name' = invoice.name $$;

-- Paid in two parts: the second one starts it.
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', trial_days => 14, metadata => '{"name": "A"}');
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', billing => 'calendar', metadata => '{"name": "B"}');
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', at => '2026-02-01 05:00Z', metadata => '{"name": "C"}');
SELECT status FROM billing.subscribe(8201, 'pay_free', activate => 'on_payment', metadata => '{"name": "free"}');
SELECT status FROM billing.subscribe(8201, 'pay_empty', activate => 'on_payment', metadata => '{"name": "empty"}');
SELECT * FROM shown;
SELECT status, total, paid FROM billing.invoice WHERE tenant_id = 8201 ORDER BY invoice_id;
SET LOCAL billing.test_clock TO '2026-03-12T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM shown WHERE status = 'pending';
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('A'), '10 USD', 'p1', 'cash');
SELECT status FROM shown WHERE name = 'A';
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('A'), '21 USD', 'p2', 'cash');
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('B'), '22.21 USD', 'p3', 'cash', at => '2026-03-11 12:00Z');
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('C'), '31 USD', 'p4', 'cash');
SELECT * FROM shown WHERE name < 'D';
SELECT s.metadata ->> 'name' AS name, kind, effective_at, c.status FROM billing.subscription_change c JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id = 8201 AND s.metadata ->> 'name' < 'D' ORDER BY s.subscription_id, change_no;

-- It goes on from there; a payment that comes again changes nothing.
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('A'), '21 USD', 'p2', 'cash');
SET LOCAL billing.test_clock TO '2026-04-13T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM shown;

-- One that was canceled while it waited stays so, paid or not.
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', metadata => '{"name": "D"}');
SELECT status FROM billing.cancel_subscription(8201, (SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = 8201));
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('D'), '31 USD', 'p5', 'cash');
SELECT name, status FROM shown WHERE name = 'D';

-- A payment that came before the order starts it where it was ordered for, and no period is billed twice.
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', metadata => '{"name": "E"}');
SELECT status FROM billing.subscribe(8201, 'pay_month', activate => 'on_payment', at => '2026-03-20 00:00Z', metadata => '{"name": "F"}');
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('E'), '31 USD', 'p6', 'cash', at => '2026-02-25 00:00Z');
SELECT status FROM billing.record_payment(8201, pg_temp.invoice('F'), '31 USD', 'p7', 'cash', at => '2026-04-01 00:00Z');
CALL billing.bill_due();
SELECT * FROM shown WHERE name IN ('E', 'F');
SELECT invariant, object, detail FROM billing.audit() WHERE tenant_id = 8201;
ROLLBACK;
