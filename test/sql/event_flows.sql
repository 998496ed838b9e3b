-- Promise: whatever happens is told once, by what made it happen, in its transaction and in the order in which it happened; a
-- retry tells nothing, nor does what is rolled back.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-31T12:00:00Z';

INSERT INTO billing.meter (code) VALUES ('told_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, features, limits) VALUES
	(7101, 'told', 'Told', '1 month', 0, '{"export": true}', '[]'),
	(7102, 'told_more', 'More', '1 month', 0, '{"export": true, "sync": true}', '[{"meter": "told_calls", "limit": 100, "per": "day", "kind": "hard"}]'),
	(7103, 'told_trial', 'Trial', '1 month', 10, '{}', '[]'),
	(7104, 'told_calls', 'Calls', '1 month', 0, '{}', '[]');
UPDATE billing.plan SET usage_thresholds = '{10}' WHERE plan_id = 7104;
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(7101, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL), (7102, 'base', '{"model":"flat","currency":"USD","amount":"62"}', NULL),
	(7103, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL),
	(7104, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'told_calls');

-- What was told of a tenant since this was last asked, and what the payload says of its object.
CREATE TEMPORARY TABLE asked (up_to bigint);
INSERT INTO asked VALUES (0);
CREATE FUNCTION pg_temp.told(tenant bigint) RETURNS TABLE (type text, object text) LANGUAGE sql AS $$
	WITH since AS (UPDATE asked SET up_to = (SELECT coalesce(max(event_id), 0) FROM billing.event) RETURNING (SELECT up_to FROM asked) AS id)
	SELECT e.type, concat_ws(' ', o ->> 'name', o ->> 'source', o ->> 'number', o ->> 'pay_no', o ->> 'refund_no', o ->> 'kind', o ->> 'plan', o ->> 'status',
		o ->> 'balance', o ->> 'amount_due', o ->> 'amount', o ->> 'period_start', o ->> 'usage_amount',
		(SELECT string_agg(f ->> 'feature', ',') FROM jsonb_array_elements(o -> 'features') f))
	FROM billing.event e CROSS JOIN LATERAL (SELECT e.payload #> '{data,object}') d (o), since s
	WHERE e.tenant_id = told.tenant AND e.event_id > s.id ORDER BY e.event_id
$$;
CREATE FUNCTION pg_temp.invoice(number text) RETURNS bigint LANGUAGE sql AS 'SELECT invoice_id FROM billing.invoice i WHERE i.number = $1';
CREATE FUNCTION pg_temp.subscription(tenant bigint) RETURNS bigint LANGUAGE sql
	AS 'SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = $1';
CREATE FUNCTION pg_temp.version(tenant bigint) RETURNS integer LANGUAGE sql
	AS 'SELECT version FROM billing.subscription WHERE tenant_id = $1 AND subscription_id = pg_temp.subscription($1)';

-- Tenants.
SELECT tenant_id FROM billing.create_tenant(7101, 'Told', request_id => 'r');
SELECT tenant_id FROM billing.create_tenant(7101, 'Told', request_id => 'r');
SELECT * FROM pg_temp.told(7101);
SELECT version FROM billing.update_tenant(7101, '{"name": "Told Ltd"}', request_id => 'u');
SELECT version FROM billing.update_tenant(7101, '{"name": "Told Ltd"}', request_id => 'u');
SELECT * FROM pg_temp.told(7101);
SELECT status FROM billing.freeze_tenant(7101, 'misused');
SELECT status FROM billing.freeze_tenant(7101, 'misused');
SELECT status FROM billing.unfreeze_tenant(7101);
SELECT * FROM pg_temp.told(7101);

-- A subscription comes before its first invoice, whatever was written first.
SELECT status FROM billing.subscribe(7101, 'told', request_id => 's');
SELECT status FROM billing.subscribe(7101, 'told', request_id => 's');
SELECT * FROM pg_temp.told(7101);
-- What is rolled back is not told.
SAVEPOINT back;
SELECT status FROM billing.record_payment(7101, pg_temp.invoice('INV-7101-000001'), '31 USD', 'p0');
SELECT count(*) FROM billing.event WHERE tenant_id = 7101 AND type = 'invoice.paid';
ROLLBACK TO back;
SELECT count(*) FROM billing.event WHERE tenant_id = 7101 AND type = 'invoice.paid';
-- A part pays nothing off.
SELECT status FROM billing.record_payment(7101, pg_temp.invoice('INV-7101-000001'), '1 USD', 'p1');
SELECT status FROM billing.record_payment(7101, pg_temp.invoice('INV-7101-000001'), '30 USD', 'p2');
SELECT status FROM billing.record_payment(7101, pg_temp.invoice('INV-7101-000001'), '30 USD', 'p2');
SELECT * FROM pg_temp.told(7101);

-- What a subscription is changed to.
SELECT plan_id FROM billing.change_plan(7101, pg_temp.subscription(7101), 'told_more', effective => 'period_end');
SELECT * FROM pg_temp.told(7101);
SELECT next_plan_id FROM billing.cancel_scheduled_change(7101, pg_temp.subscription(7101));
SELECT plan_id FROM billing.change_plan(7101, pg_temp.subscription(7101), 'told_more', proration => 'invoice_now');
SELECT * FROM pg_temp.told(7101);
SELECT billing.move_subscriptions('told_more', 'told', 'period_end');
SELECT billing.move_subscriptions('told_more', 'told', 'period_end');
SELECT auto_renew FROM billing.update_subscription(7101, pg_temp.subscription(7101), '{"auto_renew": false}');
SELECT auto_renew FROM billing.renew_subscription(7101, pg_temp.subscription(7101));
SELECT auto_renew FROM billing.renew_subscription(7101, pg_temp.subscription(7101));
SELECT period_end FROM billing.extend_subscription(7101, pg_temp.subscription(7101), '2026-03-01T12:00Z', pg_temp.version(7101));
SELECT status FROM billing.pause_subscription(7101, pg_temp.subscription(7101));
SELECT status FROM billing.resume_subscription(7101, pg_temp.subscription(7101));
SELECT * FROM pg_temp.told(7101);

-- The end of a period: as it is changed, renewed, canceled, expired.
SELECT plan_id FROM billing.change_plan(7101, pg_temp.subscription(7101), 'told', effective => 'period_end');
SELECT * FROM pg_temp.told(7101);
SET LOCAL billing.test_clock TO '2026-04-01T12:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7101);
SELECT status FROM billing.cancel_subscription(7101, pg_temp.subscription(7101));
SELECT status FROM billing.cancel_subscription(7101, pg_temp.subscription(7101));
SELECT status FROM billing.reactivate_subscription(7101, pg_temp.subscription(7101));
SELECT status FROM billing.cancel_subscription(7101, pg_temp.subscription(7101));
SELECT * FROM pg_temp.told(7101);
SET LOCAL billing.test_clock TO '2026-05-01T12:00Z';
CALL billing.bill_due();
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7101);
SELECT status FROM billing.subscribe(7101, 'told', auto_renew => false);
SELECT * FROM pg_temp.told(7101);
SET LOCAL billing.test_clock TO '2026-06-01T12:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7101);
SELECT status FROM billing.renew_subscription(7101, pg_temp.subscription(7101));
SELECT * FROM pg_temp.told(7101);
-- At once: what was charged in advance is credited first.
SELECT status FROM billing.cancel_subscription(7101, pg_temp.subscription(7101), 'now');
SELECT * FROM pg_temp.told(7101);

-- What begins later, begins with a trial, or with its payment.
SELECT tenant_id FROM billing.create_tenant(7102, 'Later');
SELECT status FROM billing.subscribe(7102, 'told_trial', at => '2026-06-02T12:00Z');
SELECT * FROM pg_temp.told(7102);
SET LOCAL billing.test_clock TO '2026-06-02T12:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7102);
SET LOCAL billing.test_clock TO '2026-06-12T12:00Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7102);
SELECT status FROM billing.subscribe(7102, 'told', at => '2026-07-12T12:00Z');
SELECT status FROM billing.cancel_subscription(7102, pg_temp.subscription(7102));
SELECT status FROM billing.subscribe(7102, 'told', activate => 'on_payment');
SELECT * FROM pg_temp.told(7102);
SELECT status FROM billing.record_payment(7102, pg_temp.invoice('INV-7102-000002'), '31 USD', 'p1');
SELECT * FROM pg_temp.told(7102);

-- Money that does not come, and then comes.
SET LOCAL billing.test_clock TO '2026-06-12T12:00:01Z';
SELECT billing.enforce_expirations() > 0;
SELECT * FROM pg_temp.told(7102);
SET LOCAL billing.test_clock TO '2026-06-22T12:00:01Z';
SELECT billing.enforce_expirations() > 0;
SELECT billing.enforce_expirations();
SELECT * FROM pg_temp.told(7102);
SELECT status FROM billing.record_payment(7102, pg_temp.invoice('INV-7102-000001'), '31 USD', 'p2');
SELECT * FROM pg_temp.told(7102);

-- Invoices by hand, and what becomes of them.
SELECT tenant_id FROM billing.create_tenant(7103, 'Invoiced');
SELECT status FROM billing.create_invoice(7103, 'a', '[{"description": "Setup", "unit_amount": "50"}]', finalize => false);
SELECT status FROM billing.create_invoice(7103, 'a', '[{"description": "Setup", "unit_amount": "50"}]', finalize => false);
SELECT line FROM billing.add_item(7103, (SELECT invoice_id FROM billing.find_invoice(7103, 'a')), 'More', amount => '10 USD');
SELECT status FROM billing.finalize_invoice(7103, (SELECT invoice_id FROM billing.find_invoice(7103, 'a')));
SELECT status FROM billing.void_invoice(7103, (SELECT invoice_id FROM billing.find_invoice(7103, 'a')));
SELECT * FROM pg_temp.told(7103);
SELECT status FROM billing.create_invoice(7103, 'b', '[{"description": "Setup", "unit_amount": "50"}]');
SELECT status FROM billing.mark_uncollectible(7103, (SELECT invoice_id FROM billing.find_invoice(7103, 'b')));
SELECT * FROM pg_temp.told(7103);
-- Issued again: the first is void, the second created and final.
SELECT status FROM billing.subscribe(7103, 'told');
SELECT * FROM pg_temp.told(7103);
SELECT number FROM billing.void_invoice(7103, pg_temp.invoice('INV-7103-000003'), reissue => true);
SELECT * FROM pg_temp.told(7103);
-- A draft of the run, made final by it.
SELECT version FROM billing.update_tenant(7103, '{"settings": {"finalize_after": "1 hours"}}');
SET LOCAL billing.test_clock TO '2026-07-22T12:00:01Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7103);
SET LOCAL billing.test_clock TO '2026-07-22T14:00:01Z';
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7103);

-- Usage that passes a threshold.
SELECT tenant_id FROM billing.create_tenant(7104, 'Caller');
SELECT status FROM billing.subscribe(7104, 'told_calls');
SELECT billing.record_usage(7104, 'told_calls', 12, 'e1');
SET LOCAL billing.test_clock TO '2026-07-22T15:00:01Z';
CALL billing.bill_due();
CALL billing.bill_due();
SELECT * FROM pg_temp.told(7104);

-- Credit notes and refunds.
SELECT tenant_id FROM billing.create_tenant(7105, 'Refunded');
SELECT status FROM billing.create_invoice(7105, 'a', '[{"description": "Setup", "unit_amount": "50"}]');
SELECT status FROM billing.record_payment(7105, pg_temp.invoice('INV-7105-000001'), '50 USD', 'p1');
SELECT * FROM pg_temp.told(7105);
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000001'), '[{"line": 1, "amount": "20"}]', 'refund', request_id => 'n');
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000001'), '[{"line": 1, "amount": "20"}]', 'refund', request_id => 'n');
SELECT status FROM billing.record_refund(7105, 'CN-7105-000001/1');
SELECT status FROM billing.record_refund(7105, 'CN-7105-000001/1');
SELECT * FROM pg_temp.told(7105);
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000001'), '[{"line": 1, "amount": "10"}]', 'refund');
SELECT status FROM billing.fail_refund(7105, 'CN-7105-000002/1');
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000001'), '[{"line": 1, "amount": "5"}]', 'refund');
SELECT status FROM billing.cancel_refund(7105, 'CN-7105-000003/1', request_id => 'c');
SELECT status FROM billing.cancel_refund(7105, 'CN-7105-000003/1', request_id => 'c');
SELECT * FROM pg_temp.told(7105);
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000001'), NULL, 'wallet');
SELECT * FROM pg_temp.told(7105);
SELECT status FROM billing.create_invoice(7105, 'b', '[{"description": "Setup", "unit_amount": "60"}]');
SELECT * FROM pg_temp.told(7105);
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000002'), '[{"line": 1, "amount": "30"}]', 'wallet');
SELECT * FROM pg_temp.told(7105);

-- All of a payment went back, in two refunds.
SELECT status FROM billing.create_invoice(7105, 'c', '[{"description": "Setup", "unit_amount": "60"}]');
SELECT (billing.record_payment(7105, invoice_id, amount_due, 'p3')).status FROM billing.invoice WHERE number = 'INV-7105-000003';
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000003'), '[{"line": 1, "amount": "20"}]', 'refund');
SELECT number FROM billing.issue_credit_note(7105, pg_temp.invoice('INV-7105-000003'), NULL, 'refund');
SELECT refund_no, (billing.record_refund(7105, refund_no)).status FROM billing.refund WHERE tenant_id = 7105 AND status = 'pending' ORDER BY refund_no;
SELECT * FROM pg_temp.told(7105);

-- The wallet.
SELECT tenant_id FROM billing.create_tenant(7106, 'Prepaid');
SELECT balance FROM billing.top_up(7106, '20 USD', 't1');
SELECT balance FROM billing.top_up(7106, '20 USD', 't1');
SELECT balance FROM billing.grant_credit(7106, '5 USD', expires_at => '2026-08-01Z', reason => 'welcome', request_id => 'g');
SELECT balance FROM billing.grant_credit(7106, '5 USD', expires_at => '2026-08-01Z', reason => 'welcome', request_id => 'g');
SELECT balance FROM billing.grant_credit(7106, '7 USD', recurrence => '1 month');
SELECT billing.consume(7106, '1 USD', 'call', 'c1');
SELECT * FROM pg_temp.told(7106);
SET LOCAL billing.test_clock TO '2026-10-22T15:00:00Z';
SELECT billing.expire_credit();
SELECT billing.expire_credit();
SELECT * FROM pg_temp.told(7106);
SELECT balance FROM billing.void_grant(7106, (SELECT grant_id FROM billing.credit_grant WHERE tenant_id = 7106 AND source = 'top_up'));
SELECT balance FROM billing.void_grant(7106, (SELECT grant_id FROM billing.credit_grant WHERE tenant_id = 7106 AND source = 'top_up'));
SELECT * FROM pg_temp.told(7106);
SELECT status FROM billing.close_tenant(7106);
SELECT status FROM billing.close_tenant(7106);
SELECT * FROM pg_temp.told(7106);

-- What a tenant may use.
SELECT feature FROM billing.override_entitlement(7105, 'beta', 'true');
SELECT billing.refresh_entitlements(7105);
SELECT billing.remove_override(7105, 'beta');
SELECT * FROM pg_temp.told(7105);

-- What a tenant pays by, and the default that passes on.
INSERT INTO billing.gateway (code, driver, settings) VALUES ('event_gateway', 'manual', '{"is_test": "true"}');
SELECT status, is_default FROM billing.add_payment_method(7105, 'event_gateway', 'card', 'tok_ok_1');
SELECT status, is_default FROM billing.add_payment_method(7105, 'event_gateway', 'card', 'tok_ok_2');
SELECT status FROM billing.remove_payment_method(7105, (SELECT payment_method_id FROM billing.payment_method WHERE tenant_id = 7105 AND is_default));
SELECT * FROM pg_temp.told(7105);

-- What is asked of a gateway.
SELECT status FROM billing.create_payment(7105, NULL, '3 USD', '7105_event1', 'event_gateway', 'bank_transfer', purpose => 'top_up');
SELECT status FROM billing.fail_payment(7105, '7105_event1', 'not_received');
SELECT status FROM billing.create_payment(7105, NULL, '4 USD', '7105_event2', 'event_gateway', 'bank_transfer', purpose => 'top_up');
SELECT status FROM billing.cancel_payment(7105, '7105_event2');
SELECT status FROM billing.cancel_payment(7105, '7105_event2');
SELECT * FROM pg_temp.told(7105);

-- Every type that a flow makes was told, but for those of jobs by the clock, of endpoints and of what a gateway says later, which have tests of their own; ids ascend, and each payload says the same as its row.
SELECT t.type AS not_told FROM billing.event_type t
WHERE t.description NOT LIKE '%nothing makes it yet'
	AND t.type NOT IN ('subscription.trial_ending', 'subscription.renewing', 'subscription.expiring', 'invoice.due_soon', 'webhook.test', 'payment_method.failed', 'payment_method.expiring',
		'payment.reversed', 'dispute.opened', 'dispute.won', 'dispute.lost', 'refund.refused', 'mirrored_subscription.updated')
	AND NOT EXISTS (SELECT FROM billing.event e WHERE e.type = t.type AND e.tenant_id BETWEEN 7101 AND 7106);
SELECT DISTINCT e.type AS told_but_not_known FROM billing.event e WHERE e.type NOT IN (SELECT type FROM billing.event_type);
SELECT count(*) AS differ FROM billing.event e WHERE e.tenant_id BETWEEN 7101 AND 7106
	AND (e.payload ->> 'type', e.payload ->> 'event_id', e.payload ->> 'tenant_id', (e.payload ->> 'timestamp')::timestamptz,
		coalesce(e.payload #>> '{data,object,tenant_id}', e.payload #>> '{data,object,id}'))
	IS DISTINCT FROM (e.type, e.event_id::text, e.tenant_id::text, e.created_at, e.tenant_id::text);
SELECT * FROM billing.audit();
ROLLBACK;
