-- Promise: of subscriptions that price one meter, usage that names none is billed by exactly one, whatever becomes of them:
-- overlap, an end, a renewal from its end, a renewal that begins anew.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -

INSERT INTO billing.meter (code) VALUES ('meters_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (8501, 'meters', 'Calls', '1 month'), (8502, 'meters_paid', 'Calls', '1 month');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES
	(8501, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'meters_calls'),
	(8502, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'meters_calls'),
	(8502, 'base', '{"model":"flat","currency":"USD","amount":"1"}', NULL);

-- What was billed, and how many of the days (an event each at noon) no line holds, or more than one.
CREATE TEMPORARY VIEW lines AS
SELECT tenant_id, s.metadata ->> 'name' AS name, i.period_end AS boundary, n.quantity, n.period_start::date AS from, n.period_end::date AS to
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id BETWEEN 8501 AND 8504 AND n.price_code = 'calls' ORDER BY tenant_id, i.period_end, s.subscription_id;
CREATE FUNCTION pg_temp.id(tenant_id bigint, name text) RETURNS bigint LANGUAGE sql
	AS $$ SELECT subscription_id FROM billing.subscription s WHERE s.tenant_id = id.tenant_id AND s.metadata ->> 'name' = id.name $$;

SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT count(billing.create_tenant(t, 'Meters')) FROM generate_series(8501, 8504) t;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at, recorded_at)
SELECT t, 'e' || i, 'meters_calls', timestamptz '2026-01-01 12:00Z' + i * interval '1 day', '2026-06-30'
FROM generate_series(8501, 8504) t, generate_series(0, 119) i;

-- Two at once: the first takes all, the second what comes after its end.  61 days in January, February and the first two of March.
SELECT (billing.subscribe(8501, 'meters', metadata => '{"name": "first"}')).status;
SET LOCAL billing.test_clock TO '2026-01-04T00:00:00Z';
SELECT (billing.subscribe(8501, 'meters', metadata => '{"name": "second"}')).status;
SET LOCAL billing.test_clock TO '2026-02-11T00:00:00Z';
CALL billing.bill_due();
SELECT (billing.cancel_subscription(8501, pg_temp.id(8501, 'first'), 'now')).status;
SET LOCAL billing.test_clock TO '2026-04-10T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE tenant_id = 8501;

-- An end and a renewal from there, before the other was billed beyond: it takes the days again.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT (billing.subscribe(8502, 'meters', auto_renew => false, metadata => '{"name": "first"}')).status;
SET LOCAL billing.test_clock TO '2026-01-28T00:00:00Z';
SELECT (billing.subscribe(8502, 'meters', metadata => '{"name": "second"}')).status;
SET LOCAL billing.test_clock TO '2026-02-05T00:00:00Z';
CALL billing.bill_due();
SELECT status, period_start, lapses FROM billing.renew_subscription(8502, pg_temp.id(8502, 'first'));
SET LOCAL billing.test_clock TO '2026-04-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE tenant_id = 8502;

-- The other was billed beyond the end: it begins anew even within the days of grace.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT (billing.subscribe(8503, 'meters', auto_renew => false, metadata => '{"name": "first"}')).status;
SET LOCAL billing.test_clock TO '2026-01-04T00:00:00Z';
SELECT (billing.subscribe(8503, 'meters', metadata => '{"name": "second"}')).status;
SET LOCAL billing.test_clock TO '2026-02-05T00:00:00Z';
CALL billing.bill_due();
SELECT status, period_start, lapses FROM billing.renew_subscription(8503, pg_temp.id(8503, 'first'));
SELECT auto_renew FROM billing.update_subscription(8503, pg_temp.id(8503, 'first'), '{"auto_renew": true}');
SET LOCAL billing.test_clock TO '2026-05-06T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE tenant_id = 8503;

-- A day late from the lapse is the second one's, on its next invoice; one from before is the first one's.
INSERT INTO billing.usage_event (tenant_id, event_id, meter, at, recorded_at) VALUES
	(8503, 'late 1', 'meters_calls', '2026-02-03', '2026-06-30'), (8503, 'late 2', 'meters_calls', '2026-01-20', '2026-06-30');
SET LOCAL billing.test_clock TO '2026-06-06T00:00:00Z';
CALL billing.bill_due();
SELECT s.metadata ->> 'name' AS name, n.kind, n.quantity, n.period_start::date AS from, n.period_end::date AS to
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id = 8503 AND n.kind = 'adjustment' ORDER BY s.subscription_id, n.period_start;

-- One that begins later, and one whose payment comes late, do not take again what was billed before they could.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT (billing.subscribe(8504, 'meters', at => '2026-02-01', metadata => '{"name": "first"}')).status;
SELECT (billing.subscribe(8504, 'meters_paid', activate => 'on_payment', metadata => '{"name": "paid"}')).status;
SELECT (billing.subscribe(8504, 'meters', at => '2026-01-04', metadata => '{"name": "second"}')).status;
SET LOCAL billing.test_clock TO '2026-02-05T00:00:00Z';
CALL billing.bill_due();
SELECT (billing.cancel_subscription(8504, pg_temp.id(8504, 'first'))).status;
SET LOCAL billing.test_clock TO '2026-04-05T00:00:00Z';
CALL billing.bill_due();
SELECT status FROM billing.record_payment(8504, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 8504
	AND subscription_id = pg_temp.id(8504, 'paid')), '1 USD', 'p1', 'cash', at => '2026-03-20');
SELECT started_at FROM billing.subscription WHERE tenant_id = 8504 AND subscription_id = pg_temp.id(8504, 'paid');
SET LOCAL billing.test_clock TO '2026-05-06T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE tenant_id = 8504;

-- Every event once.
SELECT tenant_id, sum(quantity) AS billed, (SELECT count(*) FROM billing.usage_event e
	WHERE e.tenant_id = l.tenant_id AND e.at < (SELECT max(boundary) FROM lines m WHERE m.tenant_id = l.tenant_id)
	  AND (e.tenant_id < 8504 OR e.at >= '2026-01-04')) AS events
FROM lines l GROUP BY tenant_id ORDER BY tenant_id;
ROLLBACK;
