-- Promise: what waits for its first payment lapses once its time is over, whenever its invoice is due and however late the job comes, before anything
-- else is done for it: a late run asks for no money, gives up nothing and ends as a punctual one.  What waits on goes on being asked for.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';

CREATE FUNCTION pg_temp.at(clock text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', clock, true);
	WHILE billing.dunning() > 0 LOOP END LOOP;
	RETURN clock;
END $$;
CREATE FUNCTION pg_temp.types(tenant bigint) RETURNS text LANGUAGE sql
	AS $$ SELECT string_agg(e.type, ' ' ORDER BY e.event_id) FROM billing.event e WHERE e.tenant_id = tenant $$;
CREATE TEMPORARY VIEW shown AS
SELECT tenant_id AS tenant, s.status, s.ended_at, i.status AS invoice_is, i.status_reason, i.due_at, d.next_at,
	(SELECT count(*) FROM billing.collection_attempt a WHERE a.tenant_id = i.tenant_id) AS attempts
FROM billing.subscription s JOIN billing.invoice i USING (tenant_id, subscription_id) LEFT JOIN billing.invoice_dunning d USING (tenant_id, invoice_id)
WHERE tenant_id BETWEEN 9781 AND 9799 ORDER BY 1, i.invoice_id;

INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9781, 'lapse', 'Lapse', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9781, 'base', '{"model":"flat","currency":"USD","amount":"49"}');
INSERT INTO billing.coupon (code, name, kind, value, redemption_limit) VALUES ('LAPSE', 'Lapse', 'percentage', 10, 1);
SELECT count(billing.create_tenant(t, format('Tenant %s', t), details => CASE WHEN t <= 9782 THEN '{"settings": {"uncollectible_days": 10}}'
	WHEN t IN (9785, 9786) THEN '{}' ELSE '{"settings": {"net_days": 14}}' END::jsonb)) FROM generate_series(9781, 9786) t;
SELECT status FROM billing.subscribe(9781, 'lapse', activate => 'on_payment') UNION ALL SELECT status FROM billing.subscribe(9782, 'lapse', activate => 'on_payment', coupon => 'LAPSE')
UNION ALL SELECT status FROM billing.subscribe(9783, 'lapse', activate => 'on_payment');
SELECT status FROM billing.subscribe(9784, 'lapse', activate => 'on_payment', at => '2026-01-03T00:00:00Z');
SELECT status FROM billing.subscribe(9785, 'lapse', activate => 'on_payment');
SELECT status FROM billing.subscribe(9786, 'lapse', activate => 'on_payment');
SELECT status FROM billing.record_payment(9786, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9786), '9 USD', 'part');

-- Not before its time, and then without its invoice being due: dunning_due_at() names the instant.
SELECT pg_temp.at('2026-01-01T12:00:00Z');
SELECT tenant, status, invoice_is, due_at, next_at FROM shown WHERE tenant = 9783;
SELECT count(*) FROM billing.invoice_dunning WHERE tenant_id = 9784;
SELECT billing.dunning_due_at() <= '2026-01-02T00:00:00Z' AS is_known;
SELECT (billing.enforce_expiration(9781)).status;
SET LOCAL billing.test_clock TO '2026-01-02T00:00:00Z';
SELECT (billing.enforce_expiration(9781)).status, (billing.enforce_expiration(9783)).status;
SELECT * FROM shown WHERE tenant IN (9781, 9783);

-- One that the bill run asks for money is known, too.
SET LOCAL billing.test_clock TO '2026-01-03T00:00:00Z';
CALL billing.bill_due();
SELECT d.next_at <= '2026-01-04T00:00:00Z' AS is_known FROM billing.invoice_dunning d WHERE tenant_id = 9784;

-- Weeks late all has gone as if it had been in time: nothing was asked for, nothing given up, the coupon is free.  What a part was paid of is asked for.
SELECT pg_temp.at('2026-01-21T00:00:00Z');
SELECT * FROM shown;
SELECT a.attempt_no, a.status, a.amount FROM billing.collection_attempt a WHERE tenant_id = 9786 ORDER BY 1;
SELECT tenant_id, account, balance FROM billing.trial_balance WHERE tenant_id BETWEEN 9781 AND 9785 AND billing.minor_units(balance) <> 0;
SELECT pg_temp.types(t) FROM unnest('{9782,9784}'::bigint[]) t;
SELECT status FROM billing.subscribe(9784, 'lapse', coupon => 'LAPSE');

-- What lapses is not given up before, though that would be due.
SELECT count(billing.create_tenant(t, format('Tenant %s', t), details => '{"settings": {"uncollectible_days": 1, "grace_days": 0, "dunning_attempts": 0, "pending_timeout": "10 days"}}')) FROM generate_series(9787, 9788) t;
SELECT count(billing.subscribe(t, 'lapse', activate => 'on_payment')) FROM generate_series(9787, 9788) t;
SELECT pg_temp.at('2026-01-25T00:00:00Z');
SELECT n.give_up_at < billing.now() AS is_due FROM billing.dunning_timeline n WHERE tenant_id IN (9787, 9788);
SELECT * FROM shown WHERE tenant IN (9787, 9788);

-- Nor is it tried again by the job that does this, whichever comes first; one whose last attempt is not answered yet waits for that.
INSERT INTO billing.decline_code (gateway, code, class, next_attempt) VALUES ('any', 'lapse', 'soft', '20 days');
SELECT count(billing.fail_attempt(tenant_id, invoice_id, 'lapse')) FROM billing.invoice WHERE tenant_id IN (9787, 9788);
SET LOCAL session_replication_role TO 'replica';
UPDATE billing.collection_attempt SET retry_at = '2026-01-31T12:00:00Z' WHERE tenant_id IN (9787, 9788);
UPDATE billing.collection_attempt SET status = 'pending', code = NULL, class = NULL, settled_at = NULL, retry_at = NULL, created_at = '2026-01-25T00:00:00Z' WHERE tenant_id = 9788;
RESET session_replication_role;
SET LOCAL billing.test_clock TO '2026-01-31T12:00:00Z';
SELECT billing.retry_payments(), billing.retry_payments();
SELECT pg_temp.at('2026-01-31T12:00:00Z');
SELECT * FROM shown WHERE tenant IN (9787, 9788);
SELECT pg_temp.at('2026-02-04T00:00:00Z');
SELECT * FROM shown WHERE tenant IN (9787, 9788);
SELECT status, code FROM billing.collection_attempt WHERE tenant_id = 9788;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9781 AND 9799;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9781 AND 9799;
ROLLBACK;
