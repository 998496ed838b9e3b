-- Promise: a change of plan or quantity cuts the period where it happens: what was charged for the time after it is credited,
-- the rest of the new plan is charged, usage is priced by the plan that was in force, and every invoice verifies.

SET timezone = 'UTC';
SET datestyle = 'ISO';
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, name, unit) VALUES ('change_calls', 'Calls', 'calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9101, 'small', 'Small', '1 month'), (9102, 'large', 'Large', '1 month'),
	(9103, 'large', 'Large', '1 year'), (9104, 'free', 'Free', '1 month');
INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (9105, 'euro', 'Euro', '1 month', 'EUR');
INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days) VALUES (9106, 'tried', 'Tried', '1 month', 14);
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order) VALUES
	(9101, 'base', 'Small', '{"model":"flat","currency":"USD","amount":"31"}', NULL, 1),
	(9101, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.10"}', 'change_calls', 2),
	(9102, 'base', 'Large', '{"model":"per_unit","currency":"USD","unit_amount":"62"}', NULL, 1),
	(9102, 'calls', 'Calls', '{"model":"per_unit","currency":"USD","unit_amount":"0.05"}', 'change_calls', 2),
	(9103, 'base', 'Large', '{"model":"flat","currency":"USD","amount":"365"}', NULL, 1),
	(9104, 'base', 'Free', '{"model":"flat","currency":"USD","amount":"0"}', NULL, 1),
	(9105, 'base', 'Euro', '{"model":"flat","currency":"EUR","amount":"31"}', NULL, 1),
	(9106, 'base', 'Tried', '{"model":"flat","currency":"USD","amount":"31"}', NULL, 1);

CREATE FUNCTION pg_temp.who() RETURNS bigint LANGUAGE sql AS $$SELECT max(tenant_id) FROM billing.tenant WHERE tenant_id BETWEEN 9201 AND 9299$$;
CREATE FUNCTION pg_temp.sub() RETURNS bigint LANGUAGE sql AS $$SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = pg_temp.who()$$;
CREATE TEMP VIEW bill AS
SELECT v.kind, v.status, v.period_start, v.period_end, v.total, v.amount_due FROM billing.invoice v WHERE v.tenant_id = pg_temp.who() ORDER BY v.invoice_id;
CREATE TEMP VIEW line AS
SELECT dense_rank() OVER (ORDER BY i.invoice_id) AS invoice, i.line, i.kind, p.code AS plan,
	i.price_code, i.quantity, i.amount, i.period_start, i.period_end
FROM billing.invoice_item i JOIN billing.invoice v USING (tenant_id, invoice_id) JOIN billing.plan p ON p.plan_id = coalesce(i.plan_id, v.plan_id)
WHERE i.tenant_id = pg_temp.who() ORDER BY i.invoice_id, i.line;
CREATE TEMP VIEW credit AS
SELECT c.reason, i.amount, i.period_start, i.period_end, c.credited, c.granted
FROM billing.credit_note c JOIN billing.credit_note_item i USING (tenant_id, credit_note_id) WHERE c.tenant_id = pg_temp.who() ORDER BY c.credit_note_id, i.line;
CREATE TEMP VIEW wrong AS
SELECT f.invariant AS what, f.detail FROM billing.audit(pg_temp.who()) f UNION ALL SELECT p.problem, p.detail FROM billing.verify_all(pg_temp.who()) p;

-- Up on 11 January, down again on the 21st: 10, 10 and 11 of 31 days.
SELECT status FROM billing.create_tenant(9201, 'Up and down', 'USD');
SELECT status FROM billing.subscribe(9201, 'small');
SET LOCAL billing.test_clock = '2026-01-11T00:00:00Z';
SELECT billing.record_usage(9201, 'change_calls', 100, 'before', '2026-01-10T23:59:59.999999Z');
SELECT billing.record_usage(9201, 'change_calls', 100, 'at', '2026-01-11T00:00:00Z');
-- What it would cost, in each way; nothing of that stays.
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'large');
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'large', 2, 'invoice_now');
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'large', cycle => '1 year');
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'large', proration => 'none');
SELECT count(*) AS parts FROM billing.due_part WHERE tenant_id = 9201;
SELECT p.code, s.changed_at, s.due_at FROM billing.change_plan(9201, pg_temp.sub(), 'large') s JOIN billing.plan p USING (plan_id);
TABLE credit;
SET LOCAL billing.test_clock = '2026-01-21T00:00:00Z';
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'small');
-- What waited is billed at once up to here; only what is behind is credited, so that net is what the change adds.
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'small', proration => 'invoice_now');
SELECT * FROM billing.preview_change(9201, pg_temp.sub(), 'large', cycle => '1 year');
SELECT p.code, s.changed_at, s.due_at FROM billing.change_plan(9201, pg_temp.sub(), 'small') s JOIN billing.plan p USING (plan_id);
SELECT part_no, kind, changed_at, arrears, advance, advance_whole, is_pending FROM billing.due_part WHERE tenant_id = 9201 ORDER BY part_no;
-- What the next invoice will be, and what it is.
SELECT line, kind, description, quantity, amount, period_start, period_end FROM billing.preview_invoice(9201, pg_temp.sub());
SET LOCAL billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
TABLE bill;
TABLE line;
TABLE wrong;
-- Late usage is priced by the plan of its time.
SELECT billing.record_usage(9201, 'change_calls', 50, 'late-1', '2026-01-05T00:00Z');
SELECT billing.record_usage(9201, 'change_calls', 60, 'late-2', '2026-01-15T00:00Z');
SET LOCAL billing.test_clock = '2026-03-01T00:00:00Z';
CALL billing.bill_due();
SELECT * FROM line WHERE kind = 'adjustment';
TABLE wrong;
SELECT regexp_replace(explanation, 'subscription [0-9]+', 'subscription N') FROM billing.explain_invoice(9201, (SELECT min(invoice_id) FROM billing.due_part WHERE tenant_id = 9201));

-- A quantity, billed at once; the same instant once more.
SELECT status FROM billing.create_tenant(9202, 'Seats', 'USD');
SELECT status FROM billing.subscribe(9202, 'large', 2, cycle => '1 month');
SET LOCAL billing.test_clock = '2026-03-16T12:00:00Z';
SELECT quantity FROM billing.change_plan(9202, pg_temp.sub(), quantity => 5, proration => 'invoice_now', request_id => 'five');
SELECT quantity FROM billing.change_plan(9202, pg_temp.sub(), quantity => 5, proration => 'invoice_now', request_id => 'five');
SELECT quantity FROM billing.change_plan(9202, pg_temp.sub(), quantity => 3, proration => 'invoice_now');
SELECT quantity, version FROM billing.change_plan(9202, pg_temp.sub(), quantity => 3);
TABLE bill;
TABLE line;
TABLE credit;
TABLE wrong;

-- Neither credit nor charge; then at the end of the period, which can be taken back.
SELECT status FROM billing.create_tenant(9203, 'Later', 'USD');
SELECT status FROM billing.subscribe(9203, 'small');
SELECT p.code FROM billing.change_plan(9203, pg_temp.sub(), 'large', proration => 'none') s JOIN billing.plan p USING (plan_id);
SELECT next_plan_id, next_quantity FROM billing.change_plan(9203, pg_temp.sub(), 'small', 2, effective => 'period_end');
SELECT next_plan_id, next_quantity FROM billing.cancel_scheduled_change(9203, pg_temp.sub());
SELECT next_plan_id, next_quantity FROM billing.change_plan(9203, pg_temp.sub(), 'small', 2, effective => 'period_end');
SELECT line, kind, description, quantity, amount, period_start, period_end FROM billing.preview_invoice(9203, pg_temp.sub());
SET LOCAL billing.test_clock = '2026-04-16T12:00:00Z';
CALL billing.bill_due();
SELECT p.code, quantity, next_plan_id, next_quantity, changed_at, due_at FROM billing.subscription s JOIN billing.plan p USING (plan_id) WHERE tenant_id = 9203;
TABLE line;
SELECT kind, effective_at, plan_id, quantity FROM billing.subscription_change WHERE tenant_id = 9203 ORDER BY change_no;
TABLE wrong;

-- From month to year: the unused rest is credited, periods are counted from here, and the year is billed; paid, so the rest is money.
SELECT status FROM billing.create_tenant(9204, 'Year', 'USD');
SELECT status FROM billing.subscribe(9204, 'large', cycle => '1 month');
SELECT status FROM billing.record_payment(9204, (SELECT max(invoice_id) FROM billing.invoice WHERE tenant_id = 9204), '62 USD', 'paid');
SET LOCAL billing.test_clock = '2026-05-01T12:00:00Z';
SELECT p.cycle, anchor, period_end FROM billing.change_plan(9204, pg_temp.sub(), cycle => '1 year') s JOIN billing.plan p USING (plan_id);
TABLE bill;
TABLE line;
TABLE credit;
TABLE wrong;
-- Canceled at once: the year was not paid, so nothing is owed to the tenant.
SELECT status FROM billing.cancel_subscription(9204, pg_temp.sub(), 'now');
TABLE bill;
TABLE credit;
TABLE wrong;

-- From free to paid: counted from here.
SELECT status FROM billing.create_tenant(9205, 'Free', 'USD');
SELECT status FROM billing.subscribe(9205, 'free');
SET LOCAL billing.test_clock = '2026-05-11T12:00:00Z';
SELECT anchor, period_start, period_end FROM billing.change_plan(9205, pg_temp.sub(), 'small');
TABLE line;
-- At the instant where the period ends, the next one is the other plan's.
SET LOCAL billing.test_clock = '2026-06-11T12:00:00Z';
SELECT anchor, period_start, period_end FROM billing.change_plan(9205, pg_temp.sub(), 'large');
SELECT * FROM line WHERE period_end > '2026-05-20' AND amount <> '0 USD';
TABLE credit;
TABLE wrong;

-- In a trial no money moves; what follows it is the other plan's.
SELECT status FROM billing.create_tenant(9206, 'Trial', 'USD');
SELECT status, trial_end FROM billing.subscribe(9206, 'tried');
SELECT status, trial_end FROM billing.change_plan(9206, pg_temp.sub(), 'large');
SET LOCAL billing.test_clock = '2026-06-25T12:00:00Z';
CALL billing.bill_due();
TABLE line;
TABLE wrong;

-- Paused and resumed: the time between is nobody's.
SET LOCAL billing.test_clock = '2026-06-26T12:00:00Z';
SELECT billing.record_usage(9206, 'change_calls', 10, 'p1');
SET LOCAL billing.test_clock = '2026-06-30T12:00:00Z';
SELECT status, paused_at, due_at FROM billing.pause_subscription(9206, pg_temp.sub(), 'holiday');
SET LOCAL billing.test_clock = '2026-07-05T12:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) VALUES (9206, 'p2', 'change_calls', 1000, billing.now());
SET LOCAL billing.test_clock = '2026-07-10T12:00:00Z';
SELECT status, paused_at, pauses, due_at FROM billing.resume_subscription(9206, pg_temp.sub());
SET LOCAL billing.test_clock = '2026-07-25T12:00:00Z';
CALL billing.bill_due();
TABLE line;
TABLE credit;
TABLE wrong;
ROLLBACK;

-- What is refused, and changes nothing.
BEGIN;
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9101, 'small', 'Small', '1 month'), (9102, 'large', 'Large', '1 month'),
	(9103, 'gone', 'Gone', '1 month');
INSERT INTO billing.plan (plan_id, code, name, cycle, currency) VALUES (9105, 'euro', 'Euro', '1 month', 'EUR');
UPDATE billing.plan SET is_active = false WHERE plan_id = 9103;
INSERT INTO billing.price (plan_id, code, tariff) SELECT plan_id, 'base', format('{"model":"flat","currency":"%s","amount":"10"}', currency)::billing.tariff
FROM billing.plan WHERE plan_id BETWEEN 9101 AND 9105;
SELECT status FROM billing.create_tenant(9201, 'Refused', 'USD');
SELECT status FROM billing.subscribe(9201, 'small');
CREATE FUNCTION pg_temp.sub() RETURNS bigint LANGUAGE sql AS $$SELECT max(subscription_id) FROM billing.subscription WHERE tenant_id = 9201$$;
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text; h text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN format('%s %s | %s | %s', SQLSTATE, SQLERRM, d, h);
END $$;
SELECT regexp_replace(pg_temp.try(format('SELECT billing.%s', statement)), 'subscription(_id=| )[0-9]+', 'subscription\1N', 'g') AS refused
FROM (VALUES (1, 'change_plan(9201, pg_temp.sub())'), (2, $$change_plan(9201, pg_temp.sub(), 'nothing')$$), (3, $$change_plan(9201, pg_temp.sub(), 'euro')$$),
	(4, $$change_plan(9201, pg_temp.sub(), 'gone')$$), (5, $$change_plan(9201, pg_temp.sub(), 'large', cycle => '1 year')$$),
	(6, 'change_plan(9201, pg_temp.sub(), quantity => 0)'), (7, $$change_plan(9201, pg_temp.sub(), 'large', effective => 'soon')$$),
	(8, $$change_plan(9201, pg_temp.sub(), 'large', proration => 'half')$$), (9, $$change_plan(9201, NULL, 'large')$$),
	(10, $$change_plan(9201, pg_temp.sub(), 'large', effective => NULL)$$), (11, $$change_plan(9201, 1 << 40, 'large')$$),
	(12, $$change_plan(9999, 1, 'large')$$), (13, 'cancel_scheduled_change(9201, pg_temp.sub())'), (14, 'resume_subscription(9201, pg_temp.sub())'),
	(16, $$preview_change(9201, pg_temp.sub(), 'euro')$$),
	(15, $$cancel_subscription(9201, pg_temp.sub(), 'now', proration => 'invoice_now')$$)) v (n, statement) ORDER BY n;
SELECT status FROM billing.cancel_subscription(9201, pg_temp.sub());
SELECT regexp_replace(pg_temp.try(format('SELECT billing.%s', statement)), 'subscription(_id=| )[0-9]+', 'subscription\1N', 'g') AS refused
FROM (VALUES (1, $$change_plan(9201, pg_temp.sub(), 'large', effective => 'period_end')$$), (2, 'pause_subscription(9201, pg_temp.sub())')) v (n, statement) ORDER BY n;
SELECT status FROM billing.reactivate_subscription(9201, pg_temp.sub());
SELECT status FROM billing.pause_subscription(9201, pg_temp.sub());
SELECT regexp_replace(pg_temp.try(format('SELECT billing.%s', statement)), 'subscription(_id=| )[0-9]+', 'subscription\1N', 'g') AS refused
FROM (VALUES (1, $$change_plan(9201, pg_temp.sub(), 'large')$$), (2, 'pause_subscription(9201, pg_temp.sub())'),
	(3, $$extend_subscription(9201, pg_temp.sub(), '2027-01-01Z', (SELECT version FROM billing.subscription WHERE tenant_id = 9201))$$)) v (n, statement) ORDER BY n;
-- One that is paused ends at once.
SELECT status, ended_at, due_at FROM billing.cancel_subscription(9201, pg_temp.sub());
SELECT regexp_replace(pg_temp.try($$SELECT billing.change_plan(9201, pg_temp.sub(), 'large')$$), 'subscription(_id=| )[0-9]+', 'subscription\1N', 'g') AS refused;
SELECT count(*) AS changes FROM billing.subscription_change WHERE tenant_id = 9201;
SELECT * FROM billing.audit(9201);
-- What was owed stays.
SELECT regexp_replace(pg_temp.try('UPDATE billing.due_part SET quantity = 2 WHERE tenant_id = 9201'), 'subscription(_id=| )[0-9]+', 'subscription\1N', 'g') AS refused;
-- Where nothing is owed no invoice is made, whatever taxes it would bear.
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('change_tax', 'Tax', 20);
SELECT tax_rate FROM billing.create_tenant(9299, 'Taxed', 'USD', details => '{"tax_rate": "change_tax"}');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9199, 'change_free', 'Free', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9199, 'base', '{"model":"flat","currency":"USD","amount":"0"}');
SELECT status FROM billing.subscribe(9299, 'change_free');
SELECT status FROM billing.pause_subscription(9299, (SELECT subscription_id FROM billing.subscription WHERE tenant_id = 9299));
SELECT kind, status, item_count, total FROM billing.invoice WHERE tenant_id = 9299;
SELECT * FROM billing.audit(9299);
ROLLBACK;
