-- Credit: money paid ahead and a promotion that comes back every month, used call by call and by invoices.
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name) VALUES (1, 'pro', 'Pro');
INSERT INTO billing.price (plan_id, code, name, tariff) VALUES (1, 'base', 'Pro plan', '{"model":"flat","currency":"USD","amount":"29"}');
SELECT status FROM billing.create_tenant(1, 'Acme', 'USD');

-- The gate before a service: once for free, then only what is covered.
SELECT billing.use_service(1, '0.25 USD', 'a picture', 'job-1');
\set ON_ERROR_STOP off
SELECT billing.use_service(1, '0.25 USD', 'a picture', 'job-2');
\set ON_ERROR_STOP on
SELECT amount, balance FROM billing.top_up(1, '100 USD', 'wire-1');
SELECT amount FROM billing.grant_credit(1, '10 USD', scope => 'consume', recurrence => '1 month', rollover_max => '5 USD', reason => 'every month');
SELECT billing.use_service(1, '0.25 USD', 'a picture', 'job-2');
SELECT billing.use_service(1, '0.25 USD', 'a picture', 'job-2');     -- a retry uses nothing
SELECT billing.consume(1, '2.50 USD', 'ten pictures', 'job-3');      -- what is left to consume

-- An invoice draws what may be used for it, when it becomes final.
SELECT status FROM billing.subscribe(1, 'pro');
SELECT number, status, total, wallet_applied, amount_due FROM billing.invoice;

-- At any time: what there was, and what there will be if nothing is used.
SELECT at::date, billing.wallet_balance(1, at => at) AS all, billing.wallet_balance(1, at => at, scope => 'consume') AS to_consume,
	billing.wallet_balance(1, at => at, scope => 'invoice') AS for_invoices
FROM generate_series(timestamptz '2025-12-31Z', '2026-03-01Z', '1 day') at WHERE extract(day FROM at) IN (1, 31) ORDER BY at;
SET billing.test_clock = '2026-02-01T00:00:00Z';
SELECT billing.expire_credit();     -- books what time has brought; the balance counts it without
SELECT at::date, kind, amount, balance, source, reason FROM billing.wallet_history WHERE tenant_id = 1 ORDER BY at, entry_id;
SELECT * FROM billing.tenant_statement(1);
SELECT * FROM billing.audit();
