-- Jobs that remind know when the first reminder is due, to the instant at which its lead time begins, and look again an hour after they ran
-- for what came within it meanwhile; each reminder is written once, also when notifications that are old are deleted.
\set home :DBNAME
CREATE DATABASE billing_notice_due;
\c billing_notice_due
CREATE EXTENSION billing;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-31T09:00:00Z';
CREATE VIEW due AS SELECT billing.job_due_at('remind_trials') AS trials, billing.job_due_at('remind_renewals') AS renewals,
	billing.job_due_at('remind_invoices') AS invoices;
CREATE VIEW told AS SELECT kind, occasion, created_at, status FROM billing.notification WHERE kind <> 'invoice' ORDER BY created_at, kind, occasion;
SELECT name, every FROM billing.job_default WHERE name LIKE 'remind%' ORDER BY name;
-- Nothing there: nothing due, and nobody runs.
SELECT * FROM due;
CALL billing.run_due();
SELECT name FROM billing.job_state WHERE name LIKE 'remind%';

INSERT INTO billing.plan (plan_id, code, name, cycle, settings) VALUES (1, 'pro', 'Pro', '1 month', '{"net_days": 14}'),
	(2, 'early', 'Early', '1 month', '{"renewal_reminder_days": 20, "net_days": 0}'), (3, 'quiet', 'Quiet', '1 month', '{"trial_reminder_days": 0}');
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', '{"model":"flat","currency":"USD","amount":"49"}' FROM billing.plan;
SELECT count(billing.create_tenant(t, 'Tenant ' || t, 'USD', email => t || '@example.com')) FROM generate_series(1, 5) t;
-- Its trial ends in 10 days; it renews on 28 February, and its invoice is due on 14 February.
SELECT status, trial_end FROM billing.subscribe(1, 'pro', trial_days => 10);
SELECT status, period_end FROM billing.subscribe(2, 'pro');
SELECT due_at FROM billing.invoice WHERE tenant_id = 2;
-- Of a plan that wants 20 days: another lead, so of the first subscription, too, to look at.
SELECT status, period_end FROM billing.subscribe(3, 'early');
SELECT * FROM due;

-- To the second: not before, and at once.
SET billing.test_clock = '2026-02-07T08:59:59Z';
CALL billing.run_due();
SELECT * FROM told;
SET billing.test_clock = '2026-02-07T09:00:00Z';
SELECT * FROM due;
CALL billing.run_due();
SELECT * FROM told;

-- A trial that is shorter than its lead is found an hour later.
SET billing.test_clock = '2026-02-07T09:20:00Z';
SELECT status, trial_end FROM billing.subscribe(4, 'pro', trial_days => 1);
SELECT * FROM due;
SET billing.test_clock = '2026-02-07T10:00:00Z';
CALL billing.run_due();
SELECT * FROM told WHERE created_at = billing.now();

-- So is what was canceled and goes on.
SET billing.test_clock = '2026-02-13T09:00:00Z';
CALL billing.run_due();
SELECT * FROM told WHERE created_at > '2026-02-08';
SELECT count(billing.record_payment(tenant_id, invoice_id, amount_due, 'p-' || tenant_id)) FROM billing.invoice WHERE status = 'open';
SELECT status, cancel_at FROM billing.cancel_subscription(2, (SELECT subscription_id FROM billing.get_active_subscription(2)));
SET billing.test_clock = '2026-02-22T08:30:00Z';
CALL billing.run_due();
SELECT status, cancel_at FROM billing.reactivate_subscription(2, (SELECT subscription_id FROM billing.get_active_subscription(2)));
SELECT renewals FROM due;
SET billing.test_clock = '2026-02-22T09:30:00Z';
CALL billing.run_due();
SELECT * FROM told WHERE created_at = billing.now();

-- Where nobody wants any nothing is due; where a plan does, that is.
SELECT status FROM billing.subscribe(5, 'pro', trial_days => 30);
BEGIN;
DELETE FROM billing.job_state;
SELECT * FROM due;
INSERT INTO billing.setting (name, value) VALUES ('renewal_reminder_days', '0'), ('trial_reminder_days', '0'), ('invoice_reminder_days', '0');
SELECT * FROM due;
SELECT * FROM billing.reminder_lead;
ROLLBACK;

-- An index answers, in its order, whatever there is that is not due.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT s.due_at FROM billing.subscription s WHERE s.status = 'trialing' AND s.due_at > now() ORDER BY s.due_at LIMIT 1;
EXPLAIN (COSTS OFF) SELECT v.due_at FROM billing.invoice v WHERE v.status = 'open' AND v.dunning_at IS NULL AND v.due_at > now() ORDER BY v.dunning_at, v.due_at LIMIT 1;
RESET enable_bitmapscan;
RESET enable_seqscan;

-- Deleted is what was not to be sent any more since long; a reminder that was deleted is not written again.
SELECT value FROM billing.setting_default WHERE name = 'notice_retention_days';
INSERT INTO billing.setting (name, value) VALUES ('notice_retention_days', '1');
SELECT billing.delete_old_notices();
SELECT count(*), min(expires_at) FROM billing.notification;
UPDATE billing.notification SET status = 'sent', sent_at = billing.now(), next_attempt_at = NULL WHERE kind = 'renewal_reminder';
-- At the instant that it is about it may be told of no more, and could be deleted if nothing was to be kept.
SET billing.test_clock = '2026-02-28T08:59:59Z';
UPDATE billing.setting SET value = '0' WHERE name = 'notice_retention_days';
SELECT billing.delete_old_notices(), billing.remind_renewals();
SET billing.test_clock = '2026-02-28T09:00:00.000001Z';
SELECT kind, status FROM billing.notification WHERE expires_at < billing.now() ORDER BY kind;
SELECT billing.delete_old_notices(1), billing.delete_old_notices(), billing.delete_old_notices();
SELECT billing.remind_trials(), billing.remind_renewals(), billing.remind_invoices();
SELECT min(expires_at) > billing.now() AS all_can_be_sent FROM billing.notification;
-- Asked for again, it is kept as long as it may be sent, and what nobody sent goes, too.
SELECT resends, expires_at FROM billing.resend_notice(2, (SELECT notification_id FROM billing.notification WHERE tenant_id = 2 AND kind = 'invoice' ORDER BY 1 LIMIT 1));
SET billing.test_clock = '2026-03-15T09:00:00Z';
CALL billing.run_due();
SELECT done > 0 AS deleted FROM billing.job_state WHERE name = 'delete_old_notices';
SELECT status, resends FROM billing.notification WHERE tenant_id = 2 AND kind = 'invoice' ORDER BY notification_id LIMIT 1;
SELECT billing.delete_old_notices(0);
SELECT billing.delete_old_notices(NULL);
\c :home
DROP DATABASE billing_notice_due;
