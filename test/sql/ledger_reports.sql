-- Promise: the accounts balance, a tenant's statement adds up to what it owes, and what was earned of a line is what of its
-- period has passed.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
\set SHOW_CONTEXT never
SET timezone TO 'UTC';
SET datestyle TO 'ISO';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('vat', 'VAT', 20);
SET billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT tenant_id FROM billing.create_tenant(1, 'Acme', 'USD', 'America/New_York');
SELECT tenant_id FROM billing.create_tenant(2, 'Berlin', 'EUR', 'Europe/Berlin', details => '{"tax_rate": "vat"}');
SELECT tenant_id FROM billing.create_tenant(3, 'Idle', 'USD');
INSERT INTO billing.plan (plan_id, code, name, currency, cycle) VALUES (1, 'month', 'Month', 'USD', '1 month'), (2, 'ever', 'Ever', 'USD', NULL);
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"31"}'),
	(2, 'base', '{"model":"flat","currency":"USD","amount":"500"}');
SELECT status, period_end FROM billing.subscribe(1, 'month');
SET billing.test_clock TO '2026-01-11T00:00:00Z';
SELECT pay_no FROM billing.record_payment(1, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1), '20 USD', 'p1', reference => 'RF18');
SELECT status FROM billing.create_invoice(2, 'work', '[{"description": "Work", "amount": 100}, {"description": "Year", "amount": 365, "period_start": "2026-01-11Z", "period_end": "2027-01-11Z"}]');
SELECT status FROM billing.create_invoice(1, 'mistake', '[{"description": "Mistake", "amount": 7}]');
SET billing.test_clock TO '2026-01-12T00:00:00Z';
SELECT status FROM billing.void_invoice(1, (billing.find_invoice(1, 'mistake')).invoice_id, 'a mistake');
SELECT status FROM billing.create_invoice(1, 'euro', '[{"description": "In euros", "amount": 50}]', currency => 'EUR');
SELECT status FROM billing.create_invoice(1, 'lost', '[{"description": "Lost", "amount": 40}]');
SET billing.test_clock TO '2026-01-13T00:00:00Z';
SELECT status FROM billing.mark_uncollectible(1, (billing.find_invoice(1, 'lost')).invoice_id, 'bankrupt');
SELECT pay_no FROM billing.record_payment(1, (billing.find_invoice(1, 'lost')).invoice_id, '15 USD', 'late');
SET billing.test_clock TO '2026-01-21T00:00:00Z';
SELECT number, credited, granted FROM billing.issue_credit_note(1, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1 AND subscription_id IS NOT NULL),
	'[{"line": 1, "period_start": "2026-01-21Z", "period_end": "2026-02-01Z", "amount": 11}]', reason => 'an outage');
SELECT number, credited, granted, refunded FROM billing.issue_credit_note(1, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 1 AND subscription_id IS NOT NULL),
	'[{"line": 1, "amount": 5}]', 'refund');
SELECT status FROM billing.record_refund(1, 'CN-1-000002/1');
SELECT status FROM billing.subscribe(1, 'ever');

-- The accounts.
SELECT * FROM billing.trial_balance ORDER BY tenant_id, currency, account;
SELECT tenant_id, currency, sum(balance) FROM billing.trial_balance GROUP BY 1, 2 ORDER BY 1, 2;

-- A tenant's statement: ever, of a period, of a currency; its last balance is what is owed.
SELECT * FROM billing.tenant_statement(1);
SELECT * FROM billing.tenant_statement(1, '[2026-01-12,2026-01-21)', 'usd');
SELECT * FROM billing.tenant_statement(1, '[2025-01-01,2026-01-01 00:00:01)');
SELECT * FROM billing.tenant_statement(1, '[2030-01-01,)');
SELECT * FROM billing.tenant_statement(2, '(,2026-01-12)');
SELECT * FROM billing.tenant_statement(2, 'empty');
SELECT * FROM billing.tenant_statement(3);
SELECT * FROM billing.tenant_statement(9);
SELECT * FROM billing.tenant_statement(NULL);
SELECT s.tenant, s.currency, s.balance, o.owed
FROM (SELECT DISTINCT ON (t.tenant_id, billing.currency(s.balance)) t.tenant_id AS tenant, billing.currency(s.balance) AS currency, s.balance
	FROM billing.tenant t CROSS JOIN LATERAL billing.tenant_statement(t.tenant_id) WITH ORDINALITY AS s (at, kind, document, description, amount, balance, n)
	ORDER BY t.tenant_id, billing.currency(s.balance), s.n DESC) s
JOIN (SELECT tenant_id, currency, sum(amount_due) FILTER (WHERE status <> 'void') AS owed FROM billing.invoice GROUP BY 1, 2) o ON o.tenant_id = s.tenant AND o.currency = s.currency
ORDER BY 1, 2;

-- What was earned: days of the month that passed, the rest is to come; parts of time sum.
SELECT * FROM billing.recognised_revenue('[2026-01-01,2026-01-11)', 1);
SELECT * FROM billing.recognised_revenue('[2026-01-11,2026-01-21)');
SELECT * FROM billing.recognised_revenue('[2026-01-21,2026-02-01)');
SELECT * FROM billing.recognised_revenue('[2026-02-01,)');
SELECT * FROM billing.recognised_revenue('(,)');
SELECT * FROM billing.recognised_revenue('empty');
SELECT r.tenant_id, r.currency, r.revenue, l.revenue AS ledger FROM billing.recognised_revenue('(,)') r
JOIN (SELECT tenant_id, currency, -sum(balance) AS revenue FROM billing.trial_balance WHERE account IN ('revenue', 'deferred_revenue') GROUP BY 1, 2) l USING (tenant_id, currency)
ORDER BY 1, 2;
SELECT billing.earned_until('100 USD', '2026-01-01', '2026-01-11', '2026-01-01', '2026-01-04'), billing.earned_until('100 USD', '2026-01-01', '2026-01-11', '2026-01-01', '2025-01-04'),
	billing.earned_until('100 USD', '2026-01-01', '2026-01-11', '2026-01-01', NULL), billing.earned_until('100 USD', NULL, NULL, '2026-01-05', '2026-01-05'),
	billing.earned_until('100 USD', NULL, NULL, '2026-01-05', '2026-01-06'), billing.earned_until('100 USD', '2026-01-01', 'infinity', '2026-01-05', '2026-01-02');
SELECT * FROM billing.audit();

-- A reader sees its own tenant's.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_billing_reader;
RESET client_min_messages;
CREATE ROLE regress_billing_reader;
SELECT billing.grant_access('regress_billing_reader', 'reader');
SET billing.tenant_id TO '2';
SET ROLE regress_billing_reader;
SELECT DISTINCT tenant_id FROM billing.trial_balance;
SELECT count(*) FROM billing.tenant_statement(1);
SELECT count(*) FROM billing.tenant_statement(2);
SELECT tenant_id FROM billing.recognised_revenue('(,)');
RESET ROLE;
RESET billing.tenant_id;
DROP OWNED BY regress_billing_reader;
DROP ROLE regress_billing_reader;

-- Leave nothing to other tests.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
