-- A tenant is reminded once of each trial that ends, period that renews or expires, and invoice that is due, as many
-- days ahead as the settings say, in its language, on its calendar; not of what is no longer so.
-- A job reminds all tenants there are.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-31T09:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle, settings) VALUES (9961, 'reminded', 'Pro & Co', '1 month', '{}'),
	(9962, 'weekly', 'Weekly', '7 days', '{}'), (9963, 'net', 'Net', '1 month', '{"net_days": 14}'),
	(9964, 'early', 'Early', '1 month', '{"renewal_reminder_days": 20, "trial_reminder_days": 0, "net_days": 3}');
INSERT INTO billing.price (plan_id, code, tariff)
	SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"49"}' FROM billing.plan WHERE plan_id BETWEEN 9961 AND 9964;
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD', 'America/New_York', t || '@example.com',
	'{"settings": {"seller": {"name": "Example Ltd"}, "notices": "trial_ending,renewal_reminder,expiry_reminder,invoice_due"}}')) FROM generate_series(9961, 9966) t;
SELECT locale FROM billing.update_tenant(9962, '{"name": "北京公司", "timezone": "Asia/Shanghai", "locale": "zh-Hans-CN"}');
CREATE VIEW told AS
	SELECT tenant_id AS t, kind, occasion AT TIME ZONE 'UTC' AS occasion, status, next_attempt_at AT TIME ZONE 'UTC' AS next, error
	FROM billing.notification WHERE tenant_id BETWEEN 9961 AND 9966 ORDER BY tenant_id, occasion, kind;
CREATE FUNCTION remind_all() RETURNS TABLE (trials bigint, renewals bigint, invoices bigint)
	LANGUAGE sql BEGIN ATOMIC SELECT billing.remind_trials(), billing.remind_renewals(), billing.remind_invoices(); END;

-- A month that renews, a week that would be reminded of at its beginning, a month of a plan that wants 20 days.
SELECT status FROM billing.subscribe(9961, 'reminded');
SELECT status FROM billing.subscribe(9961, 'weekly');
SELECT status FROM billing.subscribe(9961, 'early');
-- One that does not renew, a trial, and one of a plan that wants no reminder of it.
SELECT status FROM billing.subscribe(9962, 'reminded', auto_renew => false);
SELECT status FROM billing.subscribe(9962, 'net', trial_days => 10);
SELECT status FROM billing.subscribe(9962, 'early', trial_days => 10);
-- One canceled, and an invoice that is due in 14 days.
SELECT status FROM billing.subscribe(9963, 'reminded');
SELECT status FROM billing.cancel_subscription(9963, (SELECT subscription_id FROM billing.get_active_subscription(9963)));
SELECT status FROM billing.subscribe(9964, 'net');
SELECT * FROM remind_all();

SET billing.test_clock = '2026-02-07T08:59:59Z';
SELECT * FROM remind_all();
SET billing.test_clock = '2026-02-07T09:00:00Z';
SELECT * FROM remind_all();
SELECT * FROM told;
SET billing.test_clock = '2026-02-08T13:59:59Z';
CALL billing.bill_due();
SELECT * FROM remind_all();
-- Days are the tenant's, to the instant: 20 before 28 February, 9:00 UTC, is 4:00 in New York.
SET billing.test_clock = '2026-02-12T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM remind_all();
SELECT * FROM told;
SELECT * FROM remind_all();

-- Mail that nobody wants, or that has nowhere to go, is skipped, and told of all the same.
SELECT email FROM billing.update_tenant(9961, '{"email": null}');
SELECT count(*) FROM billing.update_tenant(9962, '{"settings": {"notices": "invoice,receipt"}}');
SET billing.test_clock = '2026-02-21T09:00:00Z';
CALL billing.bill_due();
SELECT * FROM remind_all();
SELECT * FROM told WHERE status = 'skipped';
SELECT count(*) FROM billing.update_tenant(9962, '{"settings": {"notices": "expiry_reminder"}}');

-- Each has its event, also one that is skipped.
SELECT e.tenant_id AS t, e.type, e.payload #>> '{data,object,id}' = n.object_id::text AS same, e.payload #>> '{data,object,period_end}' AS period_end
FROM billing.event e JOIN billing.notice_kind k ON k.event = e.type
JOIN billing.notification n ON n.tenant_id = e.tenant_id AND n.kind = k.kind AND n.object_id::text = e.payload #>> '{data,object,id}'
ORDER BY e.tenant_id, e.event_id;
SELECT count(*) AS without_event FROM billing.notification n JOIN billing.notice_kind k USING (kind)
WHERE NOT EXISTS (SELECT FROM billing.event e WHERE e.tenant_id = n.tenant_id AND e.type = k.event AND e.payload #>> '{data,object,id}' = n.object_id::text);

-- What it says: each in its language, and whether it is still so.
SELECT n.tenant_id AS t, n.kind, s.recipient, s.locale, s.language, s.is_current, s.subject, s.body
FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.tenant_id BETWEEN 9961 AND 9966 ORDER BY n.tenant_id, n.occasion, n.kind, n.object_id;
SELECT s.html FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.tenant_id = 9962 ORDER BY n.occasion, n.kind, n.object_id;

-- A paid invoice is no reminder, nor one that is due before the reminder could come.
SET billing.test_clock = '2026-02-22T00:00:00Z';
SELECT count(*) FROM billing.create_invoice(9965, 'owed', '[{"description": "x", "amount": "10.00 USD"}]');
SELECT count(*) FROM billing.update_tenant(9965, '{"settings": {"net_days": 14}}');
SELECT count(*) FROM billing.create_invoice(9965, 'owed and paid', '[{"description": "x", "amount": "10.00 USD"}]');
SELECT count(*) FROM billing.create_invoice(9965, 'owed still', '[{"description": "x", "amount": "10.00 USD"}]');
SELECT status FROM billing.record_payment(9965, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9965 AND biz_key = 'owed and paid'), '10.00 USD', 'p1');
SET billing.test_clock = '2026-03-05T00:00:00Z';
SELECT billing.remind_invoices();
SELECT v.biz_key, n.status FROM billing.notification n JOIN billing.invoice v ON v.tenant_id = n.tenant_id AND v.invoice_id = n.object_id
WHERE n.tenant_id = 9965;
SELECT is_current FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) WHERE n.tenant_id = 9965;
SELECT status FROM billing.record_payment(9965, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9965 AND biz_key = 'owed still'), '10.00 USD', 'p2');
SELECT is_current FROM billing.notification n CROSS JOIN LATERAL billing.show_notice(n.tenant_id, n.notification_id) WHERE n.tenant_id = 9965;

-- A batch is of whole tenants.
SET billing.test_clock = '2026-03-01T00:00:00Z';
SELECT count(billing.create_invoice(9966, 'many ' || i, '[{"description": "x", "amount": "10.00 USD"}]')) FROM (SELECT billing.update_tenant(9966, '{"settings": {"net_days": 14}}')) u CROSS JOIN generate_series(1, 5) i;
SET billing.test_clock = '2026-03-14T00:00:00Z';
SELECT billing.remind_invoices(2);
SELECT count(*) FROM billing.notification WHERE tenant_id = 9966;
SELECT billing.remind_invoices(2);

-- Sent, or not, it can be sent again; one that waits, sooner.
UPDATE billing.notification SET status = 'sent', next_attempt_at = NULL, sent_at = billing.now(), attempts = 3 WHERE tenant_id = 9965;
SELECT status, attempts, resends, next_attempt_at AT TIME ZONE 'UTC' AS next, expires_at AT TIME ZONE 'UTC' AS expires, sent_at AT TIME ZONE 'UTC' AS sent
FROM billing.resend_notice(9965, (SELECT notification_id FROM billing.notification WHERE tenant_id = 9965));
UPDATE billing.notification SET next_attempt_at = billing.now() + '2 hours', attempts = 4, error = 'down' WHERE tenant_id = 9965;
SELECT status, attempts, resends, next_attempt_at AT TIME ZONE 'UTC' AS next, error
FROM billing.resend_notice(9965, (SELECT notification_id FROM billing.notification WHERE tenant_id = 9965));

-- Refusals.
\set SHOW_CONTEXT never
SELECT billing.remind_trials(0);
\echo :LAST_ERROR_SQLSTATE
SELECT billing.remind(NULL, 1);
SELECT billing.remind('{invoice_due}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT billing.resend_notice(9965, 0);
\echo :LAST_ERROR_SQLSTATE
SELECT billing.resend_notice(9965, NULL);
UPDATE billing.notification SET object_id = 1 WHERE tenant_id = 9965;
\set VERBOSITY sqlstate
UPDATE billing.notification SET status = 'sent' WHERE tenant_id = 9965;
UPDATE billing.notification SET status = 'sent', next_attempt_at = NULL WHERE tenant_id = 9965;
UPDATE billing.notification SET status = 'failed' WHERE tenant_id = 9965;
INSERT INTO billing.notification (tenant_id, kind, object_id, occasion, expires_at)
	SELECT tenant_id, kind, object_id, occasion, expires_at FROM billing.notification WHERE tenant_id = 9965;
INSERT INTO billing.notification (tenant_id, kind, object_id, occasion, expires_at) VALUES (9965, 'thanks', 1, 'epoch', 'epoch');
\set VERBOSITY default
INSERT INTO billing.setting (name, value) VALUES ('notices', 'all,none');
INSERT INTO billing.setting (name, value) VALUES ('renewal_reminder_days', '91');
SELECT tenant_id FROM billing.update_tenant(9965, '{"settings": {"renewal_reminder_days": 3}}');
SELECT * FROM billing.audit();
DROP FUNCTION remind_all();
DROP VIEW told;
RESET billing.test_clock;
