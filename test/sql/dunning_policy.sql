-- Promise: a policy says on which days an invoice that is not paid is asked for, and each attempt is made once; decline codes say
-- what is tried again when, or no more; a job that comes late makes the last attempt that is due and says which it missed.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-03-01T12:00:00Z';

CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	says text; fact text; advice text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS says = MESSAGE_TEXT, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE || ' ' || says, CASE WHEN SQLSTATE !~ '^23' THEN fact END, advice), '(invoice |invoice_id=)\d+', '\1N', 'g');
END $$;
CREATE FUNCTION pg_temp.invoice(number text) RETURNS bigint LANGUAGE sql AS $$ SELECT invoice_id FROM billing.invoice i WHERE i.number = invoice.number $$;
CREATE FUNCTION pg_temp.at(clock text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('billing.test_clock', clock, true);
	WHILE billing.dunning() > 0 LOOP END LOOP;
	RETURN clock;
END $$;
CREATE TEMPORARY VIEW tried AS
SELECT i.number, a.attempt_no, a.retry_no, a.status, a.due_at, a.created_at, a.amount, a.gateway, a.code, a.class, a.retry_at
FROM billing.collection_attempt a JOIN billing.invoice i USING (tenant_id, invoice_id) WHERE tenant_id BETWEEN 9701 AND 9799 ORDER BY 1, 2, 3;
CREATE TEMPORARY VIEW shown AS
SELECT t.tenant_id AS tenant, s.status, t.status AS tenant_is, t.is_unpaid, i.number, i.status AS invoice_is, d.next_at, d.overdue_at, d.frozen_at, d.given_up_at
FROM billing.tenant t LEFT JOIN billing.subscription s USING (tenant_id) LEFT JOIN billing.invoice i USING (tenant_id, subscription_id)
LEFT JOIN billing.invoice_dunning d USING (tenant_id, invoice_id) WHERE tenant_id BETWEEN 9701 AND 9799 ORDER BY 1, i.invoice_id;

-- What is no policy.
SELECT v, pg_temp.attempt(format('INSERT INTO billing.dunning_policy (code, name, days) VALUES (%L, ''x'', %L)', v[1], v[2])) FROM (VALUES (ARRAY['standard', '{3}']), (ARRAY['', '{3}']),
	(ARRAY['a', '{3,3}']), (ARRAY['a', '{0}']), (ARRAY['a', '{5,3}']), (ARRAY['a', '{NULL}']), (ARRAY['a', '{{1,2}}']), (ARRAY['a', '[2:3]={1,2}']), (ARRAY['a', '{3651}'])) AS o (v);
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[$$INSERT INTO billing.dunning_policy (code, name, days, retries) VALUES ('a', 'x', '{}', 21)$$,
	$$INSERT INTO billing.dunning_policy (code, name, days, uncollectible_days) VALUES ('a', 'x', '{}', -1)$$,
	$$INSERT INTO billing.setting (name, value) VALUES ('dunning_policy', 'no such name')$$, $$INSERT INTO billing.setting (name, value) VALUES ('dunning_policy', '')$$,
	$$INSERT INTO billing.setting (name, value) VALUES ('uncollectible_days', '-1')$$, $$INSERT INTO billing.setting (name, value) VALUES ('uncollectible_days', 'Never')$$,
	$$INSERT INTO billing.decline_code (gateway, code, class) VALUES ('stripe', 'x', 'odd')$$, $$INSERT INTO billing.decline_code (gateway, code, class) VALUES ('Stripe', 'x', 'soft')$$,
	$$INSERT INTO billing.decline_code (gateway, code, class, next_attempt) VALUES ('stripe', 'x', 'hard', '1 day')$$,
	$$INSERT INTO billing.decline_code (gateway, code, class, next_attempt) VALUES ('stripe', 'x', 'soft', '1 second')$$]) c;

INSERT INTO billing.dunning_policy (code, name, days, retries, uncollectible_days) VALUES
	('patient', 'Patient', '{1,5,20}', 2, NULL), ('once', 'Once', '{}', 0, 40);
INSERT INTO billing.plan (plan_id, code, name, cycle, features, settings) VALUES (9701, 'dun', 'Dun', '1 year', '{"export": true}', '{}'),
	(9702, 'dun_patient', 'Patient', '1 year', '{}', '{"dunning_policy": "patient"}');
INSERT INTO billing.price (plan_id, code, tariff) SELECT p, 'base', '{"model":"flat","currency":"USD","amount":"120"}' FROM unnest('{9701,9702}'::bigint[]) p;
-- Nobody names one that there is not, and one that is named stays.
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[$$SELECT billing.create_tenant(9701, 'x', details => '{"settings": {"dunning_policy": "gone"}}')$$,
	$$INSERT INTO billing.setting (name, value) VALUES ('dunning_policy', 'gone')$$, $$UPDATE billing.plan SET settings = '{"dunning_policy": "gone"}' WHERE plan_id = 9701$$,
	$$DELETE FROM billing.dunning_policy WHERE code = 'patient'$$]) c;
-- By the plan, by the tenant.
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9701, 9705) t;
SELECT settings FROM billing.update_tenant(9703, '{"timezone": "America/New_York", "settings": {"dunning_policy": "once"}}');
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[$$SELECT billing.update_tenant(9704, '{"settings": {"dunning_policy": "gone"}}')$$, $$DELETE FROM billing.dunning_policy WHERE code = 'once'$$]) c;
SELECT settings, dunning_policy FROM billing.update_tenant(9704, '{"settings": {"dunning_policy": "standard", "dunning_attempts": 2, "dunning_interval_days": 1, "grace_days": 1}}');
INSERT INTO billing.setting (name, value) VALUES ('dunning_policy', 'once');
UPDATE billing.setting SET value = 'standard' WHERE name = 'dunning_policy' RETURNING dunning_policy;
SELECT settings FROM billing.update_tenant(9705, '{"settings": {"collection": "send_invoice"}}');
SELECT status FROM billing.subscribe(9701, 'dun') UNION ALL SELECT status FROM billing.subscribe(9702, 'dun_patient') UNION ALL SELECT status FROM billing.subscribe(9703, 'dun_patient')
UNION ALL SELECT status FROM billing.subscribe(9704, 'dun') UNION ALL SELECT status FROM billing.subscribe(9705, 'dun');
SELECT tenant_id, policy, collection, attempts, days, retries, grace_ends_at, last_attempt_at, suspend_at, give_up_at FROM billing.dunning_timeline WHERE tenant_id BETWEEN 9701 AND 9799 ORDER BY 1;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9701 AND 9799;

-- Attempt 0 is at the due date, where nothing is overdue yet; nobody collects here.
SELECT pg_temp.at('2026-03-01T12:00:00Z');
SELECT * FROM tried;
SELECT * FROM shown;
SELECT pg_temp.at('2026-03-01T18:00:00Z'), billing.dunning() AS again;
SELECT * FROM shown;
SELECT pg_temp.at('2026-03-02T12:00:00Z');
SELECT * FROM tried WHERE attempt_no > 0;
-- The job comes late: of three attempts it makes the last.
SELECT pg_temp.at('2026-03-10T12:00:00Z');
SELECT * FROM tried WHERE attempt_no > 0;
SELECT pg_temp.at('2026-03-11T12:00:00Z');
SELECT * FROM shown;
SELECT pg_temp.at('2026-03-21T12:00:00Z');
SELECT tenant, status, tenant_is FROM shown WHERE tenant = 9702;
SELECT pg_temp.at('2026-03-22T12:00:00Z');
SELECT * FROM shown;
SELECT * FROM tried WHERE number LIKE 'INV-9702-%';
-- A policy that is another one now: what was made stays, and the days that are still to come are new.
UPDATE billing.dunning_policy SET days = '{1,5,20,30}' WHERE code = 'patient';
SELECT action, object, object_id, before ->> 'days' AS before, after ->> 'days' AS after FROM billing.audit_log WHERE object = 'dunning_policy';
SELECT pg_temp.at('2026-03-31T12:00:00Z');
SELECT attempt_no, status, due_at FROM tried WHERE number LIKE 'INV-9702-%' AND attempt_no > 2;
-- Given up after 40 days in New York, whose clocks went forward meanwhile: the tenant stays frozen, and nothing looks at it any more.
SELECT pg_temp.at('2026-04-10T10:59:59Z');
SELECT invoice_is FROM shown WHERE tenant = 9703;
SELECT pg_temp.at('2026-04-10T11:00:00Z');
SELECT * FROM shown WHERE tenant = 9703;
SELECT kind, accounts, amounts FROM billing.transaction WHERE tenant_id = 9703 ORDER BY transaction_id;
SELECT status_reason FROM billing.invoice WHERE tenant_id = 9703;
SELECT (billing.enforce_expiration(9703)).is_unpaid;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9701 AND 9799;
-- Money that comes after all settles it.
SELECT status FROM billing.record_payment(9703, pg_temp.invoice('INV-9703-000001'), '120 USD', 'late');
SELECT * FROM shown WHERE tenant = 9703;

-- Decline codes, told by an application that collects by itself: the last attempt, which nobody here could make.
SELECT * FROM billing.decline_code_default WHERE gateway = 'any' OR code = 'insufficient_funds';
SELECT count(*) > 60 AS many, count(*) = count(DISTINCT (gateway, code)) AS are_once, bool_and(class IN ('soft', 'hard', 'action')) AS are_known,
	bool_and(next_attempt IS NULL OR class = 'soft') AS only_soft FROM billing.decline_code_default;
SELECT set_config('billing.test_clock', '2026-04-12T00:00:00Z', true);
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9711, 9716) t;
SELECT count(billing.subscribe(t, 'dun')) FROM generate_series(9711, 9716) t;
SELECT pg_temp.attempt($$SELECT billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'insufficient_funds', 'stripe')$$);
SELECT pg_temp.at('2026-04-12T01:00:00Z');
SELECT attempt_no, retry_no, status, gateway, code, class, message, retry_at FROM billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'insufficient_funds', 'stripe', 'Your card has insufficient funds.', 'r1');
SELECT attempt_no, retry_at FROM billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'insufficient_funds', 'stripe', 'Your card has insufficient funds.', 'r1');
SELECT pg_temp.attempt($$SELECT billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'lost_card', 'stripe', request_id => 'r1')$$);
SELECT pg_temp.attempt($$SELECT billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'lost_card', 'stripe')$$);
-- Hard: not tried any more.  An action: the timetable goes on.  Unknown: as any soft one.  Of a table: as that says, for every gateway that says nothing itself.
INSERT INTO billing.decline_code (gateway, code, class, next_attempt) VALUES ('any', 'odd', 'soft', '6 hours'), ('stripe', 'do_not_honor', 'hard', NULL);
SELECT class, retry_at FROM billing.fail_attempt(9712, pg_temp.invoice('INV-9712-000001'), 'do_not_honor', 'stripe');
SELECT class, retry_at FROM billing.fail_attempt(9713, pg_temp.invoice('INV-9713-000001'), 'authentication_required', 'stripe');
SELECT class, retry_at FROM billing.fail_attempt(9714, pg_temp.invoice('INV-9714-000001'), 'whatever', 'adyen');
SELECT class, retry_at FROM billing.fail_attempt(9715, pg_temp.invoice('INV-9715-000001'), 'odd', 'adyen');
SELECT class, retry_at FROM billing.fail_attempt(9716, pg_temp.invoice('INV-9716-000001'), 'odd', 'adyen');
SELECT status FROM billing.record_payment(9716, pg_temp.invoice('INV-9716-000001'), '120 USD', 'soon');
SELECT class, next_attempt FROM billing.find_decline_code('stripe', 'do_not_honor') UNION ALL SELECT class, next_attempt FROM billing.find_decline_code('stripe', 'odd')
UNION ALL SELECT class, next_attempt FROM billing.find_decline_code('stripe', 'no_payment_method') UNION ALL SELECT class, next_attempt FROM billing.find_decline_code('x', 'y');
SELECT billing.retry_payments();
SELECT set_config('billing.test_clock', '2026-04-12T07:00:00Z', true);
SELECT billing.retry_payments(1), billing.retry_payments(), billing.retry_payments();
SELECT number, attempt_no, retry_no, status, due_at, code, class, retry_at FROM tried WHERE number ~ '-971[1-6]-';
-- Three times, by the standard; and not later than the next attempt.
SELECT retry_no, retry_at FROM billing.fail_attempt(9715, pg_temp.invoice('INV-9715-000001'), 'odd', 'adyen');
SELECT set_config('billing.test_clock', '2026-04-12T13:00:00Z', true), billing.retry_payments();
SELECT retry_no, retry_at FROM billing.fail_attempt(9715, pg_temp.invoice('INV-9715-000001'), 'odd', 'adyen');
SELECT set_config('billing.test_clock', '2026-04-12T19:00:00Z', true), billing.retry_payments();
SELECT retry_no, retry_at FROM billing.fail_attempt(9715, pg_temp.invoice('INV-9715-000001'), 'odd', 'adyen');
SELECT set_config('billing.test_clock', '2026-04-14T01:00:00Z', true), billing.retry_payments();
SELECT retry_no, retry_at FROM billing.fail_attempt(9711, pg_temp.invoice('INV-9711-000001'), 'insufficient_funds', 'stripe');
SELECT pg_temp.at('2026-04-15T00:00:00Z');
SELECT number, attempt_no, retry_no, status, due_at, code, class, retry_at FROM tried WHERE number ~ '-971[1-6]-' AND (attempt_no > 0 OR retry_no > 0);
-- What is stopped is suspended in its time all the same.
SELECT pg_temp.at('2026-04-22T00:00:00Z');
SELECT tenant, status, tenant_is, invoice_is FROM shown WHERE tenant BETWEEN 9711 AND 9716;
SELECT count(*) FROM tried WHERE number ~ '-9712-';

-- Under way: it is not past due before an answer came, nor suspended; without one within a day it has failed.
SELECT set_config('billing.test_clock', '2026-05-01T00:00:00Z', true);
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9721, 9722) t;
SELECT count(billing.subscribe(t, 'dun')) FROM generate_series(9721, 9722) t;
INSERT INTO billing.collection_attempt (tenant_id, invoice_id, attempt_no, status, due_at, amount) SELECT tenant_id, invoice_id, 0, 'pending', due_at, amount_due FROM billing.invoice WHERE tenant_id IN (9721, 9722);
SELECT pg_temp.at('2026-05-01T00:00:01Z'), (billing.enforce_expiration(9721)).status;
SELECT is_pending, has_failed, suspend_at FROM billing.overdue_invoice WHERE tenant_id = 9721;
SELECT * FROM shown WHERE tenant IN (9721, 9722);
SELECT class FROM billing.fail_attempt(9722, pg_temp.invoice('INV-9722-000001'), 'generic_decline', 'stripe');
SELECT * FROM shown WHERE tenant IN (9721, 9722);
SELECT pg_temp.at('2026-05-02T00:00:00Z');
SELECT attempt_no, status, code, class, settled_at, retry_at FROM billing.collection_attempt WHERE tenant_id = 9721;
SELECT status FROM shown WHERE tenant = 9721;
-- The last attempt is answered before anybody is suspended.
SELECT pg_temp.at('2026-05-10T00:00:00Z');
SET LOCAL session_replication_role TO 'replica';
UPDATE billing.collection_attempt SET status = 'pending', code = NULL, class = NULL, settled_at = NULL WHERE tenant_id = 9721 AND attempt_no = 3;
RESET session_replication_role;
SELECT pg_temp.at('2026-05-10T23:59:59Z');
SELECT status FROM shown WHERE tenant = 9721;
SAVEPOINT late;
UPDATE billing.collection_attempt SET created_at = '2026-05-11T00:00:00Z' WHERE tenant_id = 9721 AND attempt_no = 3;
SELECT pg_temp.at('2026-05-11T12:00:00Z');
SELECT status FROM shown WHERE tenant = 9721;
SELECT pg_temp.at('2026-05-12T00:00:00Z');
SELECT status FROM shown WHERE tenant = 9721;
ROLLBACK TO late;

-- Somebody says that it is worth to try again: what failed for good is followed by another attempt, and the timetable goes on.
SELECT set_config('billing.test_clock', '2026-05-20T00:00:00Z', true);
SELECT count(billing.create_tenant(t, format('Tenant %s', t))) FROM generate_series(9741, 9743) t;
SELECT count(billing.subscribe(t, 'dun')) FROM generate_series(9741, 9743) t;
SELECT pg_temp.attempt($$SELECT billing.retry_payment(9741, pg_temp.invoice('INV-9741-000001'))$$);
SELECT pg_temp.at('2026-05-20T01:00:00Z');
SELECT (billing.fail_attempt(t, pg_temp.invoice(format('INV-%s-000001', t)), 'lost_card', 'stripe')).class FROM generate_series(9741, 9742) t;
SELECT pg_temp.at('2026-05-21T00:00:00Z');
SELECT attempt_no, retry_no, status, due_at, code, class FROM billing.retry_payment(9741, pg_temp.invoice('INV-9741-000001'), 'r1');
SELECT attempt_no, retry_no FROM billing.retry_payment(9741, pg_temp.invoice('INV-9741-000001'), 'r1');
SELECT n.is_stopped, n.has_failed FROM billing.dunning_timeline n WHERE tenant_id IN (9741, 9742) ORDER BY tenant_id;
SELECT pg_temp.at('2026-05-23T00:00:00Z');
-- What was due meanwhile goes before a retry; those before it were missed.
SELECT pg_temp.at('2026-05-27T00:00:00Z');
SELECT number, attempt_no, retry_no, status, due_at, code FROM tried WHERE number ~ '-974[12]-';
SELECT attempt_no, retry_no, status, due_at, code FROM billing.retry_payment(9742, pg_temp.invoice('INV-9742-000001'));
SELECT class, retry_at FROM billing.fail_attempt(9742, pg_temp.invoice('INV-9742-000001'), 'stolen_card', 'stripe');
SELECT pg_temp.at('2026-05-29T00:00:00Z');
SELECT number, attempt_no, retry_no, status, due_at, code FROM tried WHERE number ~ '-9742-';
-- Not while one is under way, of what is paid or given up, of who pays by himself, or of nothing.
SET LOCAL session_replication_role TO 'replica';
UPDATE billing.collection_attempt SET status = 'pending', code = NULL, class = NULL, settled_at = NULL WHERE tenant_id = 9742 AND attempt_no = 2;
RESET session_replication_role;
SELECT status FROM billing.mark_uncollectible(9741, pg_temp.invoice('INV-9741-000001'));
SELECT version FROM billing.update_tenant(9743, '{"settings": {"collection": "send_invoice"}}');
SELECT pg_temp.attempt(format('SELECT billing.retry_payment(%s, pg_temp.invoice(''INV-%1$s-000001''))', t)) FROM generate_series(9741, 9743) t;
SELECT pg_temp.attempt(c) FROM unnest(ARRAY['SELECT billing.retry_payment(9742, 1)', 'SELECT billing.retry_payment(9742, NULL)', 'SELECT billing.retry_payment(NULL, 1)']) c;

-- A one-off invoice is asked for and given up like any other, and nothing else follows.
SELECT set_config('billing.test_clock', '2026-06-01T00:00:00Z', true);
SELECT version FROM billing.create_tenant(9731, 'One off', details => '{"settings": {"uncollectible_days": 5}}');
SELECT number FROM billing.create_invoice(9731, 'one', '[{"description": "One", "amount": 40}]');
SELECT policy, collection, suspend_at, give_up_at FROM billing.dunning_timeline WHERE tenant_id = 9731;
SELECT pg_temp.at('2026-06-10T00:00:00Z'), pg_temp.at('2026-06-11T00:00:00Z');
SELECT i.status, t.status AS tenant_is, d.next_at, (SELECT count(*) FROM billing.collection_attempt a WHERE a.tenant_id = 9731)
FROM billing.invoice i JOIN billing.tenant t USING (tenant_id) JOIN billing.invoice_dunning d USING (tenant_id, invoice_id) WHERE tenant_id = 9731;

-- Each is told of once, when it is found; and not where money came before.
SELECT i.number, count(e.event_id) AS told, min(e.created_at) AS at, d.overdue_at FROM billing.invoice i JOIN billing.invoice_dunning d USING (tenant_id, invoice_id)
LEFT JOIN billing.event e ON e.tenant_id = i.tenant_id AND e.type = 'invoice.overdue' AND e.payload #>> '{data,object,id}' = i.invoice_id::text
WHERE i.tenant_id BETWEEN 9701 AND 9799 GROUP BY i.number, d.overdue_at ORDER BY 1;

-- What was tried stays; refusals.
SELECT pg_temp.attempt(c) FROM unnest(ARRAY['DELETE FROM billing.collection_attempt', 'UPDATE billing.collection_attempt SET attempt_no = 9', 'TRUNCATE billing.collection_attempt',
	'SELECT billing.dunning(0)', 'SELECT billing.dunning(NULL)', 'SELECT billing.retry_payments(0)', 'SELECT billing.retry_payments(NULL)',
	$$SELECT billing.fail_attempt(9721, 1, 'x')$$, $$SELECT billing.fail_attempt(9721, NULL, 'x')$$, $$SELECT billing.fail_attempt(NULL, 1, 'x')$$,
	$$SELECT billing.fail_attempt(9721, 1, 'x', 'Stripe')$$, $$SELECT billing.fail_attempt(9721, 1, 'x', 'any')$$, $$SELECT billing.fail_attempt(9721, 1, '')$$,
	$$SELECT billing.fail_attempt(9721, 1, NULL)$$, $$SELECT billing.fail_attempt(9721, 1, 'x', NULL)$$, $$SELECT billing.fail_attempt(9799999, 1, 'x')$$]) c;
SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9701 AND 9799;
SELECT * FROM billing.verify_all() WHERE tenant_id BETWEEN 9701 AND 9799;

-- What audit() finds that no flow leaves behind.
SET LOCAL session_replication_role TO 'replica';
UPDATE billing.invoice_dunning SET next_at = NULL WHERE tenant_id = 9721;
DELETE FROM billing.collection_attempt WHERE tenant_id = 9722 AND attempt_no = 1;
UPDATE billing.collection_attempt SET status = 'pending', code = NULL, class = NULL, settled_at = NULL WHERE tenant_id = 9722 AND attempt_no > 1;
DELETE FROM billing.invoice_dunning WHERE tenant_id = 9722;
INSERT INTO billing.collection_attempt (tenant_id, invoice_id, attempt_no, status, due_at, amount) VALUES (9721, -1, 0, 'pending', billing.now(), '1 USD');
SELECT invariant, tenant_id, regexp_replace(object, ' -?\d+', ' N') AS object FROM billing.audit() WHERE tenant_id IN (9721, 9722) ORDER BY 1, 2, 3;
ROLLBACK;
