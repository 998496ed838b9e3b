-- Credit is granted, used in its order, and ends at its instants, whoever looks.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
SET timezone TO 'UTC';
SET billing.test_clock = '2026-01-01T00:00:00Z';
SELECT status FROM billing.create_tenant(1, 'Acme', 'USD');
SELECT status FROM billing.create_tenant(2, 'Other', 'EUR');

-- Money that came: once for each pay_no.
SELECT amount, balance, source, is_paid, scope, priority FROM billing.top_up(1, '100 USD', 'wire-1', reference => 'January');
SELECT amount, balance, source, is_paid, scope, priority FROM billing.top_up(1, '100 USD', 'wire-1', reference => 'January');
SELECT count(*) AS grants FROM billing.credit_grant;
SELECT billing.top_up(1, '101 USD', 'wire-1', reference => 'January');
SELECT billing.top_up(1, '0 USD', 'wire-2');
SELECT billing.top_up(1, '1 USD', '');
SELECT billing.top_up(1, '1 USD', 'wire-2', at => '2026-01-03Z');
SELECT billing.top_up(1, '1 USD', 'wire-2', expires_at => '2026-01-01Z');
SELECT billing.top_up(9, '1 USD', 'wire-2');
SELECT kind, account, amount FROM billing.ledger_entry ORDER BY transaction_id, line;

-- Credit by decision.
SELECT amount, is_paid, expires_at FROM billing.grant_credit(1, '20 USD', expires_at => '2026-02-01Z', reason => 'welcome', request_id => 'r1');
SELECT amount, is_paid, expires_at FROM billing.grant_credit(1, '20 USD', expires_at => '2026-02-01Z', reason => 'welcome', request_id => 'r1');
SELECT billing.grant_credit(1, '21 USD', request_id => 'r1');
SELECT billing.grant_credit(1, '1 USD', scope => 'some');
SELECT billing.wallet_balance(1, scope => 'some');
SELECT billing.grant_credit(1, '1 USD', priority => 0);
SELECT billing.grant_credit(1, '1 USD', effective_at => '2025-12-31Z');
SELECT billing.grant_credit(1, '1 USD', effective_at => '2026-02-01Z', expires_at => '2026-02-01Z');
SELECT billing.grant_credit(1, '1 USD', is_paid => true, recurrence => '1 month');
SELECT billing.grant_credit(1, '1 USD', rollover_max => '1 USD');
SELECT billing.grant_credit(1, '1 USD', recurrence => '1 month', rollover_max => '1 EUR');
SELECT billing.grant_credit(1, '1 USD', recurrence => '1 month', rollover_min => '2 USD', rollover_max => '1 USD');
SELECT billing.grant_credit(1, '1 USD', recurrence => '1 month', rollover_max => '92233720368547758.07 USD');
SELECT billing.grant_credit(1, '1 USD', recurrence => '59 minutes 59.999999 seconds');
SELECT billing.wallet_balance(1, at => 'infinity');
SELECT billing.grant_credit(1, '1 USD', recurrence => '-1 month');
SELECT amount FROM billing.grant_credit(1, '5 USD', scope => 'invoice');
SELECT amount FROM billing.grant_credit(1, '7 USD', scope => 'consume', priority => 1, effective_at => '2026-01-10Z');
SELECT billing.wallet_balance(1) AS all, billing.wallet_balance(1, scope => 'consume') AS consume, billing.wallet_balance(1, scope => 'invoice') AS invoice,
	billing.wallet_balance(1, 'EUR') AS euro, billing.wallet_balance(2) AS other, billing.wallet_balance(1, at => '2026-01-10Z') AS then;
SELECT billing.wallet_balance(9);

-- The order of use: priority, soonest expiry, promotional before paid, oldest; one that several give has parts.
SELECT billing.consume(1, '3 USD', 'a call', 'c1');
SET billing.test_clock = '2026-01-10T00:00:00Z';
SELECT billing.consume(1, '30 USD', NULL, 'c2');
SELECT e.consume_no, e.part, g.source, g.priority, e.amount, e.requested, e.balance
FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE e.kind = 'consume' ORDER BY e.entry_id;

-- A retry returns what the first call did; the same key for something else is refused.
SELECT billing.consume(1, '3 USD', 'a call', 'c1');
SELECT billing.consume(1, '4 USD', 'a call', 'c1');
SELECT billing.consume(1, '3 USD', 'another call', 'c1');
SELECT billing.consume(1, '3 USD', NULL, 'c1');
SELECT billing.consume(1, '3 EUR', 'a call', 'c1');

-- All or nothing.
SELECT billing.consume(1, '1000 USD', NULL, 'c3');
SELECT billing.consume(1, '1 EUR', NULL, 'c3');
SELECT billing.consume(1, '-1 USD', NULL, 'c3');
SELECT billing.consume(1, '1 USD', NULL, NULL);
SELECT billing.consume(1, '1 USD', NULL, '');
SELECT billing.consume(9, '1 USD', NULL, 'c3');
SELECT billing.wallet_balance(1);

-- The gate: credit, else the first time, else what is missing.
SELECT billing.use_service(1, '2 USD', 'scan', 's1');
SELECT billing.use_service(2, '2 EUR', 'scan', 's1');
SELECT billing.use_service(2, '2 EUR', 'scan', 's1');
SELECT billing.use_service(2, '3 EUR', 'scan', 's1');
SELECT billing.consume(2, '2 EUR', 'scan', 's1');
SELECT billing.use_service(2, '2 EUR', 'scan', 's2');
SELECT billing.use_first_free(2);
SELECT billing.use_first_free(1, 'trial', 'f1');
SELECT billing.use_first_free(1, 'trial', 'f1');
SELECT billing.use_first_free(1);

-- What has expired counts nothing from its instant on, and is booked by whoever comes next.
SELECT billing.wallet_balance(1, at => '2026-01-31 23:59:59Z') AS before, billing.wallet_balance(1, at => '2026-02-01Z') AS at;
SELECT amount FROM billing.grant_credit(1, '50 USD', is_paid => true, expires_at => '2026-02-01Z');
SET billing.test_clock = '2026-02-01T00:00:00Z';
SELECT billing.wallet_balance(1);
SELECT kind, at, amount, entry_id IS NULL AS pending FROM billing.wallet_history WHERE kind = 'expire' ORDER BY at;
SELECT billing.expire_credit(), billing.expire_credit() AS again;
SELECT kind, at, amount, entry_id IS NULL AS pending FROM billing.wallet_history WHERE kind = 'expire' ORDER BY at;
SELECT billing.wallet_balance(1) = (SELECT h.balance FROM billing.wallet_history h WHERE h.tenant_id = 1 ORDER BY h.at DESC, h.entry_id DESC NULLS FIRST LIMIT 1) AS history_agrees;
SELECT billing.wallet_balance(1, at => '2026-01-05Z') AS then;

-- Credit that recurs: what is left rolls over within its bounds.
SELECT renews_at FROM billing.grant_credit(2, '10 EUR', recurrence => '1 month', rollover_min => '1 EUR', rollover_max => '4 EUR', expires_at => '2026-06-01Z');
SELECT billing.consume(2, '3 EUR', NULL, 'm1');
SELECT billing.wallet_balance(2, at => at) FROM unnest('{2026-02-28 23:59Z,2026-03-01Z,2026-04-01Z,2026-05-31Z,2026-06-01Z}'::timestamptz[]) at;
SET billing.test_clock = '2026-03-02T00:00:00Z';
SELECT billing.consume(2, '14 EUR', NULL, 'm2');
SELECT kind, at, amount, balance FROM billing.wallet_history WHERE tenant_id = 2 ORDER BY at, entry_id;
SET billing.test_clock = '2026-06-02T00:00:00Z';
SELECT billing.wallet_balance(2);
SELECT billing.consume(2, '1 EUR', NULL, 'm3');
SELECT billing.expire_credit();
SELECT renewals, renews_at, balance, is_open FROM billing.credit_grant WHERE tenant_id = 2;

-- Taken back; what a document left is not.
SELECT g.grant_id AS paid FROM billing.top_up(1, '9 USD', 'wire-9') g \gset
SELECT balance, expires_at, voided_at FROM billing.void_grant(1, :paid, 'a mistake');
SELECT balance FROM billing.void_grant(1, :paid);
SELECT description, amount FROM billing.tenant_statement(1) WHERE kind = 'adjustment';
SELECT billing.void_grant(1, 12345678);
SELECT kind, account, amount FROM billing.ledger_entry ORDER BY transaction_id DESC, line LIMIT 2;

-- On credit, as far as the setting says; money that comes in settles it.
SELECT billing.wallet_balance(2) AS before;
SELECT settings FROM billing.update_tenant(2, '{"settings": {"credit_limit": "20 EUR"}}');
SELECT billing.update_tenant(2, '{"settings": {"credit_limit": "-1 EUR"}}');
SELECT billing.consume(2, '15 EUR', NULL, 'd1');
SELECT billing.consume(2, '5.01 EUR', NULL, 'd2');
SELECT billing.use_service(2, '5 EUR', NULL, 'd2');
SELECT billing.wallet_balance(2);
SELECT amount FROM billing.grant_credit(2, '1 EUR');
SELECT amount, balance FROM billing.top_up(2, '12 EUR', 'e1');
SELECT source, amount, balance FROM billing.credit_grant WHERE tenant_id = 2 ORDER BY grant_id;
SELECT amount, balance FROM billing.top_up(2, '12 EUR', 'e2');
SELECT billing.wallet_balance(2);

-- A frozen tenant keeps its credit.
SELECT status FROM billing.freeze_tenant(2);
SELECT billing.consume(2, '1 EUR', NULL, 'z1');
SELECT billing.consume(2, '15 EUR', NULL, 'd1');
SELECT billing.use_service(2, '1 EUR', NULL, 'z1');
SELECT billing.use_first_free(2);
SELECT amount FROM billing.top_up(2, '1 EUR', 'e3');

-- The history only grows; the grant states what it stated.
UPDATE billing.wallet_entry SET amount = '1 USD';
DELETE FROM billing.credit_grant;
UPDATE billing.credit_grant SET priority = 1;
-- One whose first use is on credit is marked as having a wallet, too.
SELECT (billing.create_tenant(7, 'Overdrawn', 'EUR', details => '{"settings": {"credit_limit": "20 EUR"}}')).status;
SELECT billing.consume(7, '3 EUR', NULL, 'o1');
SELECT has_credit FROM billing.counter WHERE tenant_id = 7;
SELECT * FROM billing.audit();

-- What is in a wallet may be more than an amount holds; of each scope it may be read.
SELECT status FROM billing.create_tenant(77, 'Rich', 'USD');
SELECT amount, scope FROM unnest('{invoice,consume}'::text[]) s CROSS JOIN LATERAL billing.grant_credit(77, '92233720368547758.07 USD', scope => s);
\set VERBOSITY sqlstate
SELECT billing.wallet_balance(77);
SELECT billing.wallet_balance(77, at => billing.now());
\set VERBOSITY default
SELECT billing.wallet_balance(77, scope => 'invoice');
