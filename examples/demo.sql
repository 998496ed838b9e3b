-- Two months of a small SaaS company: plans, customers, usage, invoices, and why each amount is what it is.
\set QUIET on
\set ON_ERROR_STOP on
\pset footer off
\pset null ''
\pset linestyle unicode
\pset border 1
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';

\qecho 'Two months of a small SaaS company, billed inside its own database.'
\qecho 'Time is played: the database is told what day it is, from 1 January to 2 March 2026.'
SET billing.test_clock = '2026-01-01T00:00:00Z';

\qecho
\qecho '1. What is sold: four plans, each with requests and storage, some of it included, in three currencies'
INSERT INTO billing.meter (code, name, aggregation, unit) VALUES
	('requests', 'API requests', 'sum', 'requests'),
	('storage', 'Storage, the peak of the month', 'max', 'GB');
INSERT INTO billing.tax_rate (code, name, percent, country) VALUES ('de-vat', 'Umsatzsteuer', 19, 'DE'), ('jp-ct', 'Consumption tax', 10, 'JP');

CREATE TEMP TABLE offer (code text, name text, tier text, usd numeric, included bigint, per_request numeric, gb int, per_gb numeric, trial int, n int);
INSERT INTO offer VALUES
	('free', 'Free', 'free', 0, 1000, 0.002, 1, 0.50, 0, 1),
	('starter', 'Starter', 'basic', 29, 20000, 0.001, 10, 0.25, 14, 2),
	('professional', 'Professional', 'premium', 99, 200000, 0.0005, 100, 0.20, 0, 3),
	('enterprise', 'Enterprise', 'enterprise', 299, 1000000, 0.00025, 1000, 0.10, 0, 4);
CREATE TEMP TABLE money (currency text, rate numeric, digits int);
INSERT INTO money VALUES ('USD', 1, 2), ('EUR', 0.9, 2), ('JPY', 150, 0);

INSERT INTO billing.plan (code, name, tier, currency, trial_days, sort_order)
SELECT o.code, o.name, o.tier, m.currency, o.trial, o.n FROM offer o, money m;
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order)
SELECT p.plan_id, x.code, x.name, x.tariff::billing.tariff, x.meter, x.n
FROM offer o JOIN billing.plan p ON p.code = o.code JOIN money m USING (currency)
CROSS JOIN LATERAL (VALUES
	(1, 'base', o.name || ' plan', NULL, jsonb_build_object('model', 'flat', 'currency', currency, 'amount', round(o.usd * m.rate, m.digits)::text)),
	(2, 'requests', 'API requests', 'requests', jsonb_build_object('model', 'graduated', 'currency', currency, 'free_units', o.included::text, 'tiers', jsonb_build_array(
		jsonb_build_object('up_to', (o.included * 2)::text, 'unit_amount', (o.per_request * m.rate)::text),
		jsonb_build_object('up_to', NULL, 'unit_amount', (o.per_request * m.rate / 2)::text)))),
	(3, 'storage', 'Storage', 'storage', jsonb_build_object('model', 'per_unit', 'currency', currency, 'unit_amount', (o.per_gb * m.rate)::text, 'free_units', o.gb::text))
) x (n, code, name, meter, tariff);
SELECT p.name AS plan, string_agg(billing.amount((p.tariff ->> 'amount')::numeric, p.tariff ->> 'currency')::text, ', ' ORDER BY p.tariff ->> 'currency' DESC) AS "a month", p.included AS "requests included", p.gb AS "GB included"
FROM (SELECT p.name, p.sort_order, r.tariff::jsonb AS tariff, o.included, o.gb FROM billing.plan p JOIN billing.price r USING (plan_id) JOIN offer o ON o.code = p.code WHERE r.code = 'base') p
GROUP BY p.name, p.sort_order, p.included, p.gb ORDER BY p.sort_order;

\qecho '2. Who buys it: 1,000 customers in New York, Berlin and Tokyo, who subscribe on any day of January'
SELECT count(billing.create_tenant(n, CASE n WHEN 1 THEN 'Acme Inc.' WHEN 2 THEN 'Beispiel GmbH' WHEN 3 THEN '例 KK' ELSE 'Customer ' || n END,
	(ARRAY['USD', 'EUR', 'JPY'])[1 + (n - 1) % 3], (ARRAY['America/New_York', 'Europe/Berlin', 'Asia/Tokyo'])[1 + (n - 1) % 3],
	details => CASE (n - 1) % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{"tax_rate": "de-vat"}' ELSE '{"tax_rate": "jp-ct"}' END::jsonb)) AS customers
FROM generate_series(1, 1000) n \gset

-- Each on the day it chooses; numbers 1 to 5 are the ones to look at below.
CREATE TEMP TABLE choice AS
SELECT n, CASE n WHEN 1 THEN 'professional' WHEN 2 THEN 'starter' WHEN 3 THEN 'enterprise' WHEN 4 THEN 'professional' WHEN 5 THEN 'free'
		ELSE (ARRAY['free', 'free', 'free', 'free', 'starter', 'starter', 'starter', 'professional', 'professional', 'enterprise'])[1 + (n * 7919) % 10] END AS plan,
	timestamptz '2026-01-01 00:00Z' + CASE WHEN n <= 5 THEN interval '9 hours' ELSE (n * 104729 % 31) * interval '1 day' + (n * 1299709 % 86400) * interval '1 second' END AS at,
	CASE WHEN n = 4 OR n % 5 = 0 THEN 'calendar' ELSE 'anniversary' END AS billing
FROM generate_series(1, 1000) n;
SET billing.test_clock = '2026-01-31T23:59:00Z';
SELECT count((billing.subscribe(n, plan, at => at, billing => billing)).subscription_id) AS subscriptions FROM (SELECT * FROM choice ORDER BY at, n OFFSET 0) c \gset
SELECT p.name AS plan, count(*) AS subscriptions, count(*) FILTER (WHERE s.status = 'trialing') AS "with a trial"
FROM billing.subscription s JOIN billing.plan p USING (plan_id) GROUP BY p.name, p.sort_order ORDER BY p.sort_order;

\qecho '3. What they use: two reports a day each, written straight into billing.usage_event, each of them once'
CREATE TEMP TABLE report AS
SELECT c.n AS tenant_id, m.meter || '-' || c.n || '-' || to_char(d, 'MMDD') AS event_id, m.meter,
	CASE m.meter WHEN 'requests' THEN (o.included / 25 * (50 + (c.n * 31 + extract(day FROM d)::int * 17) % 100) / 100)::numeric
		ELSE round(o.gb * (60 + (c.n * 13 + extract(day FROM d)::int * 3) % 90) / 100.0, 3) END AS quantity,
	d + interval '9 hours 30 minutes' AS at
FROM choice c JOIN offer o ON o.code = c.plan
CROSS JOIN generate_series(timestamptz '2026-01-01', '2026-02-27', '1 day') d
CROSS JOIN (VALUES ('requests'), ('storage')) m (meter)
WHERE d + interval '9 hours 30 minutes' >= c.at;
-- Two reports of number 1 come late, after its January has been billed.
SET billing.test_clock = '2026-02-01T00:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT * FROM report WHERE at < '2026-01-31 00:00Z' OR at < '2026-02-01 00:00Z' AND tenant_id <> 1;
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT * FROM report WHERE at < '2026-01-31 00:00Z' ON CONFLICT DO NOTHING;
SELECT to_char(count(*), 'FM999,999') AS events FROM billing.usage_event \gset
\qecho '   ' :events 'reports of January kept; sending those of 30 days again added none. February is reported likewise.'

\qecho
\qecho '4. The bill: CALL billing.bill_due(), at the start of February and again in March'
\qecho '    In production it runs every few minutes; here what falls due between the two waits for the second.'
SET billing.test_clock = '2026-02-01T12:00:00Z';
CALL billing.bill_due();
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at)
SELECT * FROM report WHERE at >= '2026-01-31 00:00Z' AND at < '2026-02-01 12:00Z' ON CONFLICT DO NOTHING;
SELECT (billing.cancel_subscription(4, subscription_id, 'period_end', 'too expensive')).status AS still FROM billing.subscription WHERE tenant_id = 4 \gset
-- What happens between two clean months: a coupon, credit paid ahead, a larger plan in the middle of a period.
INSERT INTO billing.coupon (code, name, kind, value, duration, periods) VALUES ('WELCOME', '20 % off for three months', 'percentage', 20, 'repeating', 3);
SELECT (billing.apply_coupon(3, 'WELCOME', subscription_id)).coupon AS coupon FROM billing.subscription WHERE tenant_id = 3 \gset
SELECT (billing.top_up(5, '10.00 EUR', 'card-5')).grant_id AS grant FROM billing.subscription WHERE tenant_id = 5 \gset
SET billing.test_clock = '2026-02-10T09:00:00Z';
SELECT (billing.change_plan(2, subscription_id, 'professional')).status AS still FROM billing.subscription WHERE tenant_id = 2 \gset
SET billing.test_clock = '2026-02-27T12:00:00Z';
INSERT INTO billing.usage_event (tenant_id, event_id, meter, quantity, at) SELECT * FROM report ON CONFLICT DO NOTHING;
SELECT count(billing.record_payment(tenant_id, invoice_id, amount_due, 'wire-' || number)) AS payments
FROM billing.invoice WHERE tenant_id % 4 <> 0 AND status = 'open' \gset
SET billing.test_clock = '2026-03-02T00:00:00Z';
CALL billing.bill_due();

\qecho
\qecho 'Five of the invoices, each line explained'
\pset tuples_only on
\pset format unaligned
\set tenant 1
\ir demo_invoice.psql
\set tenant 2
\ir demo_invoice.psql
\set tenant 3
\ir demo_invoice.psql
\set tenant 4
\ir demo_invoice.psql
\set tenant 5
\ir demo_invoice.psql
\pset tuples_only off
\pset format aligned

\qecho
\qecho 'Number 1 sent two reports late: January became dearer, and the difference is on its next invoice.'
\qecho 'Number 2 took a larger plan on 10 February: what it had used by then costs what the old plan says, and the time it had'
\qecho 'paid for on that plan was taken back by a credit note. Number 3 has a coupon. Number 5 had paid ahead.'
\qecho 'Number 4 canceled: its last invoice bills what it used in February, and no March.'
\qecho
\qecho 'Storage was down for a day: number 4 gets 2.00 USD of that line back. The two credit notes, explained:'
SELECT (billing.issue_credit_note(i.tenant_id, i.invoice_id, jsonb_build_array(jsonb_build_object('line', n.line, 'amount', '2.00')), reason => 'storage was down')).number
FROM billing.invoice i JOIN billing.invoice_item n USING (tenant_id, invoice_id)
WHERE i.tenant_id = 4 AND n.price_code = 'storage' ORDER BY i.invoice_id DESC LIMIT 1 \gset
\pset tuples_only on
\pset format unaligned
SELECT e.explanation FROM (SELECT tenant_id, credit_note_id FROM billing.credit_note ORDER BY tenant_id OFFSET 0) c
CROSS JOIN LATERAL billing.explain_credit_note(c.tenant_id, c.credit_note_id) e;
\pset tuples_only off
\pset format aligned
\qecho
\qecho '5. What the two months came to'
SELECT currency, count(*) AS invoices, sum(subtotal - discount) AS net, sum(tax) AS tax, sum(total) AS total,
	sum(credited) AS credited, sum(wallet_applied) AS "from wallet", sum(paid) AS paid, sum(amount_due) AS due
FROM billing.invoice GROUP BY currency ORDER BY currency DESC;
\qecho 'The same in the ledger, where every entry adds up to zero: receivable is what customers owe, deferred_revenue'
\qecho 'what was billed in advance. What is owed or owned is positive, where it came from negative. It also has what no invoice'
\qecho 'shows: the 10.00 EUR that number 5 paid ahead (cash, and what is left of it as customer_credit), and that the two credit'
\qecho 'notes lowered revenue and tax.'
SELECT account, billing.currency(amount) AS currency, sum(amount) AS balance
FROM billing.ledger_entry GROUP BY account, billing.currency(amount) ORDER BY currency DESC, account;

\qecho '6. Can it be trusted? Every invoice calculated again from its sources, and every invariant checked:'
SELECT (SELECT count(*) FROM billing.verify_all()) AS "invoices that differ", (SELECT count(*) FROM billing.audit()) AS "broken invariants",
	(SELECT count(*) FROM billing.invoice) AS "invoices in all";
\qecho 'CALL billing.bill_due() once more bills nothing, since nothing is due:'
SELECT count(*) AS before FROM billing.invoice \gset
CALL billing.bill_due();
SELECT count(*) - :before AS "new invoices" FROM billing.invoice;
