-- Promise: with level app an application does a tenant's month - signs it up, records its usage, bills and reads it - and
-- nobody else's; a reader sees the result; an admin runs the bills of all.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE access_app;
CREATE ROLE access_reader;
CREATE ROLE access_admin;
RESET client_min_messages;
SELECT billing.grant_access('access_app', 'app'), billing.grant_access('access_reader', 'reader'), billing.grant_access('access_admin', 'admin');
SET billing.test_clock = '2026-01-31T00:00:00Z';
BEGIN;
\set ON_ERROR_ROLLBACK on

SET ROLE access_admin;
INSERT INTO billing.meter (code, unit) VALUES ('access_flow', 'call');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9601, 'access_flow', 'Flow');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (9601, 'base', '{"model":"flat","currency":"USD","amount":"29"}', NULL),
	(9601, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 'access_flow');
SELECT tenant_id FROM billing.create_tenant(9602, 'Other');
SELECT tenant_id, status FROM billing.subscribe(9602, 'access_flow');

SET ROLE access_app;
SET billing.tenant_id = '9601';
SELECT tenant_id FROM billing.create_tenant(9601, 'Flow');
SELECT status, period_end AT TIME ZONE 'UTC' AS period_end FROM billing.subscribe(9601, 'access_flow');
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (9601, 'e1', 'access_flow', 100);
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity) VALUES (9602, 'e1', 'access_flow', 100);
SELECT billing.record_usage(9601, 'access_flow', 50, 'e2'), billing.record_usage(9601, 'access_flow', 50, 'e2') AS again;
SELECT billing.record_usage(9602, 'access_flow', 50, 'e2');
SELECT billing.usage(9601, 'access_flow', '[2026-01-31Z,2026-03-01Z)') AS mine, billing.usage(9602, 'access_flow', '[2026-01-31Z,2026-03-01Z)') AS other;
SELECT p.kind, p.price_code, p.quantity, p.amount FROM billing.subscription s, billing.preview_invoice(9601, s.subscription_id) AS p;
SELECT tenant_id, number, total FROM billing.pending_invoices(9601);
SELECT tenant_id, number, total FROM billing.pending_invoices(9602);
SELECT f.status, f.paid FROM billing.invoice i, billing.find_invoice(9601, i.biz_key) AS f;
SELECT billing.find_invoice(9602, 'any');
SELECT billing.get_active_subscription(9602);
CALL billing.bill_due();

RESET ROLE;
SET billing.test_clock = '2026-03-05T00:00:00Z';
RESET billing.tenant_id;
SET ROLE access_admin;
CALL billing.bill_due();
SELECT tenant_id, count(*) FROM billing.invoice WHERE tenant_id IN (9601, 9602) GROUP BY 1 ORDER BY 1;

RESET ROLE;
SET billing.tenant_id = '9601';
SET ROLE access_reader;
SELECT tenant_id, number, status, total, amount_due FROM billing.invoice ORDER BY number;
SELECT line, price_code, quantity, amount FROM billing.invoice_item ORDER BY invoice_id, line;
SELECT count(*) > 5 AS explained FROM billing.invoice i, billing.explain_invoice(9601, i.invoice_id);
SELECT count(*) AS days, sum(quantity) FROM billing.daily_usage(9601, 'access_flow', '[2026-01-31Z,2026-03-01Z)') AS d;
SELECT account, sum(amount) FROM billing.ledger_entry GROUP BY account ORDER BY account;
SELECT billing.is_trial(9601, subscription_id), billing.days_remaining(9601, subscription_id) FROM billing.get_active_subscription(9601);
SELECT billing.void_invoice(9601, 1);
SELECT billing.subscribe(9601, 'access_flow');
RESET ROLE;
ROLLBACK;
RESET billing.tenant_id;
SELECT billing.revoke_access(r) FROM unnest('{access_reader,access_app,access_admin}'::text[]) AS r;
DROP ROLE access_reader, access_app, access_admin;
