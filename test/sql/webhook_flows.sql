-- Promise: with each event stands its delivery, to each endpoint that wants it, whichever statement writes it: that of a flow, of the
-- bill run, of drafts that become final.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-31T12:00:00Z';
SELECT endpoint_id AS all_events FROM billing.create_webhook_endpoint('https://example.com/all') \gset
SELECT endpoint_id AS paid FROM billing.create_webhook_endpoint('https://example.com/paid', '{*.paid,subscription.renewed}', only_tenant_id => 9302) \gset
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (9301, 'delivered', 'Delivered', '1 month', 0);
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9301, 'base', '{"model":"flat","currency":"USD","amount":"49"}');
SELECT count(billing.create_tenant(t, 'Tenant ' || t, details => CASE t WHEN 9303 THEN '{"settings": {"finalize_after": "1 day"}}' ELSE '{}' END::jsonb))
FROM generate_series(9301, 9303) t;
SELECT count(billing.subscribe(t, 'delivered')) FROM generate_series(9301, 9303) t;
SELECT count(billing.record_payment(tenant_id, invoice_id, total, 'pay')) FROM billing.invoice WHERE tenant_id = 9302;
SET LOCAL billing.test_clock TO '2026-02-28T12:00:00Z';
CALL billing.bill_due();
SET LOCAL billing.test_clock TO '2026-03-02T12:00:00Z';
CALL billing.bill_due();

-- No event is missing, and none is there twice, or for whom it is not.
SELECT e.type, count(*) AS events, count(d.event_id) AS deliveries
FROM billing.event e LEFT JOIN billing.webhook_delivery d ON d.tenant_id = e.tenant_id AND d.event_id = e.event_id AND d.endpoint_id = :all_events
WHERE e.tenant_id BETWEEN 9301 AND 9303 GROUP BY e.type ORDER BY e.type;
SELECT d.tenant_id, e.type, count(*) FROM billing.webhook_delivery d JOIN billing.event e USING (tenant_id, event_id)
WHERE d.endpoint_id = :paid GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS not_due_at_once FROM billing.webhook_delivery WHERE state <> 'pending' OR next_attempt_at <> '-infinity' OR attempts <> 0;
ROLLBACK;
