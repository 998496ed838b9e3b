-- A month with two changes of plan: what each costs before it is made, what it credits and charges, by which plan usage counts.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.meter (code, name, unit) VALUES ('tokens', 'Tokens', 'tokens');
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'basic', 'Basic'), (2, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, name, tariff, meter, sort_order) VALUES
	(1, 'base', 'Basic plan', '{"model":"flat","currency":"USD","amount":"31"}', NULL, 1),
	(1, 'tokens', 'Tokens', '{"model":"per_unit","currency":"USD","unit_amount":"0.00002"}', 'tokens', 2),
	(2, 'base', 'Pro plan', '{"model":"flat","currency":"USD","amount":"93"}', NULL, 1),
	(2, 'tokens', 'Tokens', '{"model":"per_unit","currency":"USD","unit_amount":"0.00001"}', 'tokens', 2);
SELECT status FROM billing.create_tenant(1, 'Acme Inc.', 'USD') \gset
SELECT subscription_id AS s FROM billing.subscribe(1, 'basic') \gset

SET billing.test_clock = '2026-01-11T00:00:00Z';
SELECT billing.record_usage(1, 'tokens', 1000000, 'job-1', '2026-01-10T23:59:59Z') \gset
SELECT billing.record_usage(1, 'tokens', 1000000, 'job-2', '2026-01-11T00:00:00Z') \gset
\qecho 'Pro from the 11th on would cost:'
SELECT kind, description, amount, period_start::date AS from, period_end::date AS to FROM billing.preview_change(1, :s, 'pro');
SELECT plan_id AS plan FROM billing.change_plan(1, :s, 'pro') \gset

SET billing.test_clock = '2026-01-21T00:00:00Z';
\qecho 'Back on the 21st, which cuts short what waits to be billed:'
SELECT kind, description, amount, period_start::date AS from, period_end::date AS to FROM billing.preview_change(1, :s, 'basic');
SELECT plan_id AS plan FROM billing.change_plan(1, :s, 'basic') \gset

SET billing.test_clock = '2026-02-01T00:00:00Z';
CALL billing.bill_due();
\qecho 'What the month was billed, and credited:'
SELECT v.number, i.description, i.quantity, i.amount, i.period_start::date AS from, i.period_end::date AS to
FROM billing.invoice_item i JOIN billing.invoice v USING (tenant_id, invoice_id) ORDER BY i.invoice_id, i.line;
SELECT number, reason, subtotal, credited FROM billing.credit_note;
\qecho 'Every invoice follows from its sources:'
SELECT count(*) AS problems FROM billing.verify_all();
