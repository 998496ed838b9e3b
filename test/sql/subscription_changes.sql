-- Promise: a subscription is canceled, reactivated, renewed, extended and updated by saying where its next boundary is;
-- the bill run does what happens there, late or not, and what it does is what was asked for.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-10T00:00:00Z';

INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (8101, 'change_month', 'Month', '1 month'),
	(8102, 'change_year', 'Year', '1 year'), (8103, 'change_once', 'Once', NULL);
INSERT INTO billing.price (plan_id, code, tariff, meter, cycle, timing) VALUES
	(8101, 'base', '{"model":"flat","currency":"USD","amount":"31"}', NULL, NULL, NULL),
	(8101, 'support', '{"model":"flat","currency":"USD","amount":"3.10"}', NULL, NULL, 'arrears'),
	(8102, 'base', '{"model":"flat","currency":"USD","amount":"365"}', NULL, NULL, NULL),
	(8102, 'seats', '{"model":"flat","currency":"USD","amount":"31"}', NULL, '1 month', NULL),
	(8103, 'base', '{"model":"flat","currency":"USD","amount":"500"}', NULL, NULL, NULL);
SELECT tenant_id FROM billing.create_tenant(8101, 'Change');
INSERT INTO billing.gateway (code, driver) VALUES ('manual', 'manual') ON CONFLICT DO NOTHING;
INSERT INTO billing.payment_method (tenant_id, payment_method_id, gateway, type, status) VALUES (8101, 7, 'manual', 'card', 'active');

-- What is shown of one: its row, its history, its invoices.
CREATE TEMPORARY VIEW shown AS
SELECT s.metadata ->> 'name' AS name, status, period_start, period_end, due_at, cancel_at, ended_at, auto_renew AS renews, version AS v
FROM billing.subscription s WHERE tenant_id = 8101;
CREATE TEMPORARY VIEW history AS
SELECT s.metadata ->> 'name' AS name, kind, effective_at, c.status, c.anchor, c.period_start, c.period_end, reason
FROM billing.subscription_change c JOIN billing.subscription s USING (tenant_id, subscription_id) WHERE tenant_id = 8101
ORDER BY s.subscription_id, change_no;
CREATE TEMPORARY VIEW lines AS
SELECT s.metadata ->> 'name' AS name, i.period_end AS boundary, i.kind, n.price_code AS price, n.amount, n.period_start, n.period_end
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.subscription s USING (tenant_id, subscription_id)
WHERE tenant_id = 8101 ORDER BY s.subscription_id, i.period_end, i.invoice_id, line;
CREATE FUNCTION pg_temp.id(name text) RETURNS bigint LANGUAGE sql
	AS $$ SELECT subscription_id FROM billing.subscription s WHERE tenant_id = 8101 AND s.metadata ->> 'name' = id.name $$;
-- What a refused command says, ids left out.
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	says text; fact text; advice text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS says = MESSAGE_TEXT, fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || regexp_replace(says, 'subscription \d+', 'subscription N'),
		regexp_replace(fact, '\m(subscription_id|id)=\d+', '\1=N'), advice);
END $$;

-- At the end of the period: nothing changes before; it can be taken back.
SELECT status FROM billing.subscribe(8101, 'change_month', metadata => '{"name": "A"}');
SELECT status, cancel_at, canceled_at, cancel_reason, due_at FROM billing.cancel_subscription(8101, pg_temp.id('A'), reason => 'too dear');
SELECT version FROM billing.cancel_subscription(8101, pg_temp.id('A'), reason => 'again');
SELECT status, cancel_at, canceled_at, cancel_reason, due_at FROM billing.reactivate_subscription(8101, pg_temp.id('A'));
SELECT pg_temp.attempt($$SELECT billing.reactivate_subscription(8101, pg_temp.id('A'))$$);
SELECT version FROM billing.renew_subscription(8101, pg_temp.id('A'));
SELECT cancel_at FROM billing.cancel_subscription(8101, pg_temp.id('A'), request_id => 'c2');
SELECT pg_temp.attempt($$SELECT billing.renew_subscription(8101, pg_temp.id('A'))$$);
SET LOCAL billing.test_clock TO '2026-02-12T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM shown WHERE name = 'A';
SELECT * FROM lines WHERE name = 'A';
SELECT * FROM history WHERE name = 'A';
SELECT cancel_at FROM billing.cancel_subscription(8101, pg_temp.id('A'), request_id => 'c2');
SELECT pg_temp.attempt($$SELECT billing.cancel_subscription(8101, pg_temp.id('A'))$$);
SELECT pg_temp.attempt($$SELECT billing.reactivate_subscription(8101, pg_temp.id('A'))$$);
SELECT pg_temp.attempt($$SELECT billing.renew_subscription(8101, pg_temp.id('A'))$$);
SELECT pg_temp.attempt($$SELECT billing.extend_subscription(8101, pg_temp.id('A'), '2027-01-01', (SELECT v FROM shown WHERE name = 'A'))$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('A'), '{"auto_renew": true}')$$);

-- Now, in the middle of a period: what was used is billed, arrears in part, and the advance stays.  The bill run had not
-- come to the period before.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_month', metadata => '{"name": "B"}');
SET LOCAL billing.test_clock TO '2026-03-11T12:00:00Z';
SELECT status, period_start, cancel_at, canceled_at, ended_at, due_at, version FROM billing.cancel_subscription(8101, pg_temp.id('B'), 'now', 'moved away');
SELECT * FROM lines WHERE name = 'B';

-- Now, at the very end of a period: no other begins.  Now, when it began: nothing is in arrears.
SET LOCAL billing.test_clock TO '2026-03-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_month', at => '2026-02-01', metadata => '{"name": "C"}');
SELECT status, period_start, period_end, ended_at FROM billing.cancel_subscription(8101, pg_temp.id('C'), 'now');
SELECT status FROM billing.subscribe(8101, 'change_month', metadata => '{"name": "D"}');
SELECT status, period_start, period_end, ended_at FROM billing.cancel_subscription(8101, pg_temp.id('D'), 'now');
SELECT * FROM lines WHERE name IN ('C', 'D');

-- One that has not begun, a trial, a lifetime, one that waits for its first payment.
SELECT status FROM billing.subscribe(8101, 'change_month', at => '2026-05-01', metadata => '{"name": "E"}');
SELECT status, canceled_at, ended_at, due_at FROM billing.cancel_subscription(8101, pg_temp.id('E'));
SELECT status FROM billing.subscribe(8101, 'change_month', trial_days => 10, metadata => '{"name": "F"}');
SELECT status, cancel_at FROM billing.cancel_subscription(8101, pg_temp.id('F'));
SELECT status FROM billing.subscribe(8101, 'change_once', metadata => '{"name": "G"}');
SELECT pg_temp.attempt($$SELECT billing.cancel_subscription(8101, pg_temp.id('G'))$$);
SELECT status, ended_at FROM billing.cancel_subscription(8101, pg_temp.id('G'), 'now');
SELECT status FROM billing.subscribe(8101, 'change_month', activate => 'on_payment', metadata => '{"name": "H"}');
SELECT status, ended_at FROM billing.cancel_subscription(8101, pg_temp.id('H'));
SET LOCAL billing.test_clock TO '2026-03-20T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM shown WHERE name IN ('E', 'F', 'G', 'H') ORDER BY name;
SELECT * FROM lines WHERE name IN ('E', 'F', 'G', 'H');

-- Without renewal: expired at the end, also where the bill run is late.  Within the days of grace it goes on from there.
SET LOCAL billing.test_clock TO '2026-04-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_month', auto_renew => false, metadata => '{"name": "I"}');
SELECT status FROM billing.subscribe(8101, 'change_month', auto_renew => false, metadata => '{"name": "J"}');
SELECT status FROM billing.subscribe(8101, 'change_month', auto_renew => false, metadata => '{"name": "K"}');
SELECT status, auto_renew FROM billing.renew_subscription(8101, pg_temp.id('K'));
SET LOCAL billing.test_clock TO '2026-05-08T00:00:00Z';
SELECT status, billing.is_expired(8101, pg_temp.id('I')), billing.is_expired(8101, pg_temp.id('K')) FROM shown WHERE name = 'I';
SELECT pg_temp.attempt($$SELECT billing.extend_subscription(8101, pg_temp.id('I'), '2026-06-01', (SELECT v FROM shown WHERE name = 'I'))$$);
SELECT status, period_start, period_end, ended_at, lapses, auto_renew FROM billing.renew_subscription(8101, pg_temp.id('I'), 'r1');
SELECT status, period_end FROM billing.renew_subscription(8101, pg_temp.id('I'), 'r1');
CALL billing.bill_due();
SELECT * FROM shown WHERE name IN ('I', 'J', 'K');
-- Later it begins anew; the time between is nobody's.
SET LOCAL billing.test_clock TO '2026-05-08T00:00:01Z';
SELECT status, started_at, period_start, period_end, ended_at, lapses FROM billing.renew_subscription(8101, pg_temp.id('J'));
SET LOCAL billing.test_clock TO '2026-06-10T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM shown WHERE name IN ('I', 'J');
SELECT * FROM lines WHERE name IN ('I', 'J');
SELECT * FROM history WHERE name IN ('I', 'J');

-- By the calendar, a renewal that begins anew has a part of a month first, in arrears too.
SET LOCAL billing.test_clock TO '2026-07-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_month', billing => 'calendar', auto_renew => false, metadata => '{"name": "L"}');
SET LOCAL billing.test_clock TO '2026-08-21T00:00:00Z';
SELECT status, anchor, period_start, period_end, lapses FROM billing.renew_subscription(8101, pg_temp.id('L'));
SET LOCAL billing.test_clock TO '2026-09-02T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE name = 'L';

-- Extended: free time; what follows is counted from the new end.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_month', metadata => '{"name": "M"}');
SELECT period_end, due_at, anchor FROM billing.extend_subscription(8101, pg_temp.id('M'), '2026-02-10', (SELECT v FROM shown WHERE name = 'M'), 'x1');
SELECT period_end FROM billing.extend_subscription(8101, pg_temp.id('M'), '2026-02-10', 2, 'x1');
SELECT pg_temp.attempt($$SELECT billing.extend_subscription(8101, pg_temp.id('M'), '2026-03-10', 2)$$);
SELECT pg_temp.attempt($$SELECT billing.extend_subscription(8101, pg_temp.id('M'), '2026-02-10', (SELECT v FROM shown WHERE name = 'M'))$$);
SELECT cancel_at FROM billing.cancel_subscription(8101, pg_temp.id('M'));
SELECT period_end, cancel_at, due_at FROM billing.extend_subscription(8101, pg_temp.id('M'), '2026-02-20', (SELECT v FROM shown WHERE name = 'M'));
SELECT status FROM billing.reactivate_subscription(8101, pg_temp.id('M'));
SET LOCAL billing.test_clock TO '2026-03-21T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE name = 'M';
-- A trial, too.
SELECT tenant_id FROM billing.create_tenant(8103, 'Trial');
SELECT trial_end FROM billing.subscribe(8103, 'change_month', trial_days => 7);
SELECT status, trial_end, period_end, anchor, due_at
FROM billing.extend_subscription(8103, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 8103), '2026-04-04', 2);
SET LOCAL billing.test_clock TO '2026-04-05T00:00:00Z';
CALL billing.bill_due();
SELECT status, trial_end, period_start, period_end FROM billing.subscription WHERE tenant_id = 8103;
-- A year with months: the last month grows with it; an earlier one does not.
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT status FROM billing.subscribe(8101, 'change_year', metadata => '{"name": "N"}');
SELECT period_end, due_at FROM billing.extend_subscription(8101, pg_temp.id('N'), '2027-01-16', 2);
SELECT status FROM billing.subscribe(8101, 'change_year', at => '2025-01-01', metadata => '{"name": "O"}');
SET LOCAL billing.test_clock TO '2025-12-20T00:00:00Z';
CALL billing.bill_due();
SELECT period_end, due_at FROM billing.extend_subscription(8101, pg_temp.id('O'), '2026-01-16', (SELECT v FROM shown WHERE name = 'O'));
SET LOCAL billing.test_clock TO '2026-02-20T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM lines WHERE name IN ('N', 'O') AND boundary NOT BETWEEN '2025-02-02' AND '2025-12-30';

-- The tenant moves: its months go on where they ended, from then on by the new clock; those of a year that is paid for, with the next one.
SET LOCAL billing.test_clock TO '2025-11-20T00:00:00Z';
SELECT tenant_id FROM billing.create_tenant(8104, 'Moves', timezone => 'Asia/Tokyo');
SELECT status FROM billing.subscribe(8104, 'change_month', billing => 'calendar');
SELECT status FROM billing.subscribe(8104, 'change_year', billing => 'calendar');
SET LOCAL billing.test_clock TO '2025-12-10T00:00:00Z';
CALL billing.bill_due();
SELECT timezone FROM billing.update_tenant(8104, '{"timezone": "America/New_York"}');
SET LOCAL billing.test_clock TO '2026-03-10T00:00:00Z';
CALL billing.bill_due();
SELECT code AS plan, n.price_code AS price, n.amount, n.period_start, n.period_end
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id) JOIN billing.plan p ON p.plan_id = i.plan_id
WHERE tenant_id = 8104 ORDER BY code, n.price_code, n.period_start;
SELECT code AS plan, s.timezone, s.anchor, due_at FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id = 8104 ORDER BY code;

-- Updated: those keys and no other.
SET LOCAL billing.test_clock TO '2026-03-21T00:00:00Z';
SELECT auto_renew, payment_method_id, metadata FROM billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": false, "payment_method_id": 7, "metadata": {"name": "M", "po": "17"}}');
SELECT auto_renew, payment_method_id, metadata FROM billing.update_subscription(8101, pg_temp.id('M'), '{"payment_method_id": null}', (SELECT v FROM shown WHERE name = 'M'));
SELECT version = (SELECT v FROM shown WHERE name = 'M') AS same FROM billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": true}', request_id => 'u1');
SELECT auto_renew FROM billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": true}', request_id => 'u1');
-- What is so already is no change: no version, no event.
SELECT version - (SELECT v FROM shown WHERE name = 'M') AS more, auto_renew FROM billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": true, "payment_method_id": null}');
SELECT count(*) FROM billing.event WHERE tenant_id = 8101 AND type = 'subscription.updated' AND payload #>> '{data,object,id}' = pg_temp.id('M')::text;
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": true}', 1)$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"quantity": 3}')$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": null}')$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"auto_renew": "yes"}')$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"metadata": [1]}')$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '{"payment_method_id": 1.5}')$$);
SELECT pg_temp.attempt($$SELECT billing.update_subscription(8101, pg_temp.id('M'), '[]')$$);
SELECT kind, count(*) FROM history WHERE name = 'M' GROUP BY kind ORDER BY kind;

-- Each change is one version, one segment, one line of the audit log with the row before and after.
SELECT action, count(*), bool_and((after ->> 'version')::int > (before ->> 'version')::int) AS moves_on
FROM billing.audit_log WHERE tenant_id = 8101 AND object = 'subscription' AND before IS NOT NULL GROUP BY action ORDER BY action;

-- The rows themselves refuse what no flow does.
SELECT pg_temp.attempt($$UPDATE billing.subscription SET status = 'pending' WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('M')$$);
SELECT pg_temp.attempt($$UPDATE billing.subscription SET billed_to = billed_to - interval '1 day' WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('M')$$);
SELECT pg_temp.attempt($$UPDATE billing.subscription SET billed_to = NULL WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('M')$$);
SELECT pg_temp.attempt($$UPDATE billing.subscription SET started_at = started_at + interval '1 day' WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('M')$$);
SELECT pg_temp.attempt($$UPDATE billing.subscription SET currency = 'EUR' WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('M')$$);
SELECT pg_temp.attempt($$UPDATE billing.subscription SET status = 'active', ended_at = NULL WHERE tenant_id = 8101 AND subscription_id = pg_temp.id('A')$$);
ROLLBACK;
