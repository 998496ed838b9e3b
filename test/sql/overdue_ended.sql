-- Promise: to cancel before the grace is over is no way around it: what an ended subscription owes freezes its tenant when it would have been
-- suspended; once, so that a tenant that a person has thawed is not frozen again by the clock for the same debt.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';

INSERT INTO billing.plan (plan_id, code, name, cycle, features) VALUES (9741, 'ended', 'Ended', '1 month', '{"export": true}'), (9742, 'ended_other', 'Other', '1 month', '{"sync": true}');
INSERT INTO billing.price (plan_id, code, tariff) SELECT p, 'base', '{"model":"flat","currency":"USD","amount":"31"}' FROM unnest('{9741,9742}'::bigint[]) p;
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9741, 9749) t;
SELECT count(billing.subscribe(t, 'ended')) FROM generate_series(9741, 9748) t;

CREATE TEMPORARY VIEW shown AS
SELECT s.tenant_id AS tenant, s.status, s.ended_at, t.status AS tenant_is, t.status_reason, t.is_unpaid, t.frozen_at, billing.has_feature(s.tenant_id, 'sync') AS syncs
FROM billing.subscription s JOIN billing.tenant t USING (tenant_id) WHERE tenant_id BETWEEN 9741 AND 9749 ORDER BY tenant_id, subscription_id;
CREATE FUNCTION pg_temp.id(tenant bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT min(subscription_id) FROM billing.subscription WHERE tenant_id = tenant $$;
CREATE FUNCTION pg_temp.pay(number text) RETURNS text LANGUAGE sql AS $$
	SELECT p.status FROM billing.invoice i CROSS JOIN LATERAL billing.record_payment(i.tenant_id, i.invoice_id, i.amount_due,
		format('%s %s', i.number, i.version)) p WHERE i.number = pay.number $$;
CREATE FUNCTION pg_temp.at(clock text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', clock, true);
	WHILE billing.dunning() > 0 LOOP END LOOP;
	RETURN clock;
END $$;

-- Canceled a second before it was to be suspended; one expires; one has another subscription that goes on; one owes nothing any more.
SELECT pg_temp.at('2026-01-02T00:00:00Z');
SELECT tenant, status, tenant_is FROM shown;
SELECT status FROM billing.subscribe(9743, 'ended_other');
SELECT pg_temp.pay('INV-9743-000002'), pg_temp.pay('INV-9744-000001');
SELECT pg_temp.at('2026-01-10T23:59:59Z');
SELECT count(billing.cancel_subscription(t, pg_temp.id(t), 'now', proration => 'none')) FROM generate_series(9741, 9744) t;
-- To be thawed while one is not frozen is no way around it either.
SELECT status FROM billing.unfreeze_tenant(9742);
SELECT status, is_unpaid FROM billing.enforce_expiration(9741);
SELECT number, status, suspend_at FROM billing.overdue_invoice WHERE tenant_id = 9741;
SELECT count(*) FROM billing.overdue_subscription WHERE tenant_id = 9741;
SELECT next_at FROM billing.invoice_dunning WHERE tenant_id = 9741;
SELECT pg_temp.at('2026-01-11T00:00:00Z');
SELECT * FROM shown;
SELECT action, object, after ->> 'status' AS status FROM billing.audit_log WHERE tenant_id = 9741 ORDER BY audit_id;
-- Paid, it is thawed at once; given up by a person, too.
SELECT pg_temp.pay('INV-9741-000001');
SELECT status FROM billing.mark_uncollectible(9742, (SELECT invoice_id FROM billing.invoice WHERE number = 'INV-9742-000001'), 'gone');
SELECT tenant, tenant_is, status_reason FROM shown WHERE tenant IN (9741, 9742);

-- Thawed by a person, it is not frozen again for what it owed then, by whoever looks and however long.
SELECT status, is_unpaid FROM billing.unfreeze_tenant(9743, 'promised');
SELECT pg_temp.at('2026-01-12T00:00:00Z'), billing.enforce_expirations() >= 0;
SELECT status FROM billing.enforce_expiration(9743);
SELECT pg_temp.at('2026-01-25T00:00:00Z');
SELECT tenant, status, tenant_is, status_reason, is_unpaid, syncs FROM shown WHERE tenant = 9743;
-- Another debt is another one: what it is to owe of the other subscription, canceled in its turn.
CALL billing.bill_due('2026-02-02T00:00:00Z');
SELECT pg_temp.at('2026-02-03T00:00:00Z');
SELECT count(billing.cancel_subscription(9743, s.subscription_id, 'now', proration => 'none')) FROM billing.subscription s WHERE tenant_id = 9743 AND s.ended_at IS NULL;
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9743;
SELECT pg_temp.at('2026-02-12T00:00:00Z');
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9743;

-- Suspended, thawed by a person, then canceled: the same debt, and what was billed up to the suspension, which is due later.
SET LOCAL billing.test_clock TO '2026-03-01T00:00:00Z';
INSERT INTO billing.meter (code, name) VALUES ('ended_calls', 'Calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, settings) VALUES (9743, 'ended_usage', 'Usage', '1 month', '{"net_days": 5}');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (9743, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL),
	(9743, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'ended_calls');
SELECT status FROM billing.subscribe(9749, 'ended_usage');
SELECT billing.record_usage(9749, 'ended_calls', 500, 'u');
SELECT pg_temp.at('2026-03-16T00:00:00Z');
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9749;
SELECT number, kind, amount_due, due_at FROM billing.invoice WHERE tenant_id = 9749 ORDER BY invoice_id;
SELECT status FROM billing.unfreeze_tenant(9749, 'promised');
SELECT status FROM billing.cancel_subscription(9749, pg_temp.id(9749), proration => 'none');
SELECT pg_temp.at('2026-05-01T00:00:00Z');
SELECT tenant, status, tenant_is, is_unpaid FROM shown WHERE tenant = 9749;
SELECT count(*) AS due FROM billing.due_freeze WHERE tenant_id = 9749;

-- One that an admin froze before: his, and what it owed when he thaws it is known to him.
SELECT tenant, status, tenant_is, status_reason FROM shown WHERE tenant = 9745;
SELECT status FROM billing.unfreeze_tenant(9745) UNION ALL SELECT status FROM billing.freeze_tenant(9745, 'abuse');
SELECT status FROM billing.cancel_subscription(9745, pg_temp.id(9745), proration => 'none');
SELECT pg_temp.at('2026-05-02T00:00:00Z');
SELECT tenant, status, tenant_is, status_reason, is_unpaid FROM shown WHERE tenant = 9745;
SELECT status FROM billing.unfreeze_tenant(9745, 'sorted out');
SELECT pg_temp.at('2026-05-20T00:00:00Z');
SELECT tenant, status, tenant_is, status_reason, is_unpaid FROM shown WHERE tenant = 9745;

-- Given up by the clock, it still keeps its tenant frozen: to wait is no way around it either. A person may thaw it, for good.
SELECT version FROM billing.update_tenant(9746, '{"settings": {"uncollectible_days": 90}}');
SELECT status FROM billing.cancel_subscription(9746, pg_temp.id(9746), proration => 'none');
SELECT billing.enforce_expirations() >= 0;
SELECT pg_temp.at('2026-06-01T00:00:00Z');
SELECT tenant, status, tenant_is, is_unpaid, billing.stays_frozen(tenant) FROM shown WHERE tenant = 9746;
SELECT i.status, d.given_up_at, d.next_at FROM billing.invoice i JOIN billing.invoice_dunning d USING (tenant_id, invoice_id) WHERE tenant_id = 9746;
SELECT status FROM billing.enforce_expiration(9746);
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9741 AND 9749;
SELECT status FROM billing.unfreeze_tenant(9746, 'promised');
SELECT status FROM billing.enforce_expiration(9746);
SELECT status FROM billing.freeze_tenant(9746, 'abuse');
SELECT pg_temp.pay('INV-9746-000001');
SELECT tenant, status, tenant_is, status_reason FROM shown WHERE tenant = 9746;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9741 AND 9749;
ROLLBACK;
