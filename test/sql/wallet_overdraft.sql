-- Promise: money pays what was consumed on credit where it begins to count, not before, the earliest first, whether or not anybody
-- looks then; every reader says so at every instant.
LOAD 'billing';
BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-01T00:00:00Z';
SELECT status FROM billing.create_tenant(9885, 'Acme', 'USD', details => '{"settings": {"credit_limit": "10 USD"}}');
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE VIEW pg_temp.balances AS
SELECT at, billing.wallet_balance(9885, at => at) AS all, billing.wallet_balance(9885, at => at, scope => 'consume') AS consume,
	billing.wallet_balance(9885, at => at, scope => 'invoice') AS invoice
FROM unnest('{2026-01-09 23:59:59Z,2026-01-10Z,2026-01-12Z,2026-01-15Z,2026-01-20Z}'::timestamptz[]) at;

-- Money that is to come does not count yet.
SELECT billing.consume(9885, '8 USD', NULL, 'c1');
SELECT amount, balance, renews_at FROM billing.grant_credit(9885, '3 USD', is_paid => true, effective_at => '2026-01-10Z', expires_at => '2026-01-12Z');
SELECT amount, balance, renews_at FROM billing.grant_credit(9885, '30 USD', is_paid => true, effective_at => '2026-01-15Z', expires_at => '2026-01-20Z', scope => 'invoice');
SELECT amount, balance, renews_at FROM billing.grant_credit(9885, '1 USD', effective_at => '2026-01-10Z', expires_at => '2026-01-20Z');
SELECT billing.wallet_balance(9885) AS present, billing.wallet_balance(9885, at => billing.now()) AS of_history;
SELECT pg_temp.attempt($$SELECT billing.consume(9885, '3 USD', NULL, 'c2')$$);
SELECT source, amount, balance FROM billing.credit_grant WHERE tenant_id = 9885 ORDER BY grant_id;
SELECT * FROM pg_temp.balances;

-- It does at its instant, and what is left of it expires at its own, also while nobody books it.
SET LOCAL billing.test_clock TO '2026-01-21T00:00:00Z';
SELECT * FROM pg_temp.balances;
SELECT billing.wallet_balance(9885) AS present, billing.wallet_balance(9885, scope => 'consume') AS consume;
SELECT at, kind, amount, balance, source, entry_id IS NULL AS pending FROM billing.wallet_history WHERE tenant_id = 9885
ORDER BY at, entry_id, source DESC, amount DESC;
SELECT billing.expire_credit() > 0 AS booked, billing.expire_credit() AS again;
SELECT at, kind, amount, balance, source, entry_id IS NULL AS pending FROM billing.wallet_history WHERE tenant_id = 9885
ORDER BY at, entry_id, source DESC, amount DESC;
SELECT * FROM pg_temp.balances;
SELECT source, amount, balance, renews_at, is_open FROM billing.credit_grant WHERE tenant_id = 9885 ORDER BY grant_id;

-- Money of now settles what money that began before has left of it; and who consumes, or an invoice, finds it settled.
SELECT billing.consume(9885, '9 USD', NULL, 'c3');
SELECT amount FROM billing.grant_credit(9885, '5 USD', is_paid => true, effective_at => '2026-02-01Z');
SET LOCAL billing.test_clock TO '2026-02-02T00:00:00Z';
SELECT amount, balance FROM billing.top_up(9885, '6 USD', 'p1');
SELECT billing.wallet_balance(9885);
SELECT billing.consume(9885, '6 USD', NULL, 'c4');
SELECT amount FROM billing.grant_credit(9885, '7 USD', is_paid => true, effective_at => '2026-02-03Z');
SET LOCAL billing.test_clock TO '2026-02-03T00:00:00Z';
SELECT billing.wallet_balance(9885, scope => 'invoice');
SELECT wallet_applied, amount_due FROM billing.create_invoice(9885, 'i1', '[{"description": "A", "amount": 9}]');
SELECT billing.consume(9885, '1 USD', NULL, 'c5');
SELECT g.grant_id AS grant FROM billing.grant_credit(9885, '2 USD', is_paid => true, effective_at => '2026-02-05Z') g \gset
SELECT balance, renews_at FROM billing.void_grant(9885, :grant);
SET LOCAL billing.test_clock TO '2026-02-06T00:00:00Z';
SELECT billing.wallet_balance(9885);
SELECT e.at, e.kind, e.amount, g.source FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id)
WHERE e.tenant_id = 9885 AND e.at > '2026-01-21Z' ORDER BY e.at, e.entry_id;
-- So does what an invoice below zero leaves, and what a void one gives back.
SELECT status FROM billing.create_tenant(9886, 'Below', 'USD', details => '{"settings": {"credit_limit": "50 USD"}}');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9886, 'below', 'Below', '1 month');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9886, 'base', '{"model":"flat","currency":"USD","amount":"30"}');
SELECT status FROM billing.update_tenant(9886, '{"settings": {"finalize_after": "1 hour"}}');
SELECT status FROM billing.subscribe(9886, 'below');
SELECT balance FROM billing.top_up(9886, '12 USD', 'p1');
SELECT wallet_applied FROM billing.create_invoice(9886, 'drawn', '[{"description": "A", "amount": 12}]');
SELECT billing.consume(9886, '20 USD', NULL, 'c1');
SELECT status FROM billing.void_invoice(9886, (SELECT invoice_id FROM billing.find_invoice(9886, 'drawn')));
SELECT billing.wallet_balance(9886), billing.wallet_balance(9886, scope => 'consume') AS consume;
SELECT line FROM billing.add_item(9886, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9886 AND status = 'draft'), 'Rebate', amount => '-35 USD');
SELECT (billing.finalize_invoice(9886, invoice_id)).excess FROM billing.invoice WHERE tenant_id = 9886 AND status = 'draft';
SELECT billing.wallet_balance(9886), billing.wallet_balance(9886, scope => 'consume') AS consume;
SELECT wallet_applied, amount_due FROM billing.create_invoice(9886, 'next', '[{"description": "A", "amount": 9}]');
SELECT e.kind, e.amount, g.source FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE e.tenant_id = 9886 ORDER BY e.at, e.entry_id;
-- And where the bill run makes it.
SELECT status FROM billing.create_tenant(9887, 'Metered', 'USD', details => '{"settings": {"credit_limit": "50 USD"}}');
INSERT INTO billing.meter (code) VALUES ('below_calls');
INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9887, 'below_calls', 'Calls', '1 month');
INSERT INTO billing.price (plan_id, code, tariff, meter) VALUES (9887, 'calls', '{"model":"per_unit","currency":"USD","unit_amount":"1"}', 'below_calls');
SELECT status FROM billing.subscribe(9887, 'below_calls');
SELECT billing.record_usage(9887, 'below_calls', 20, 'e1'), billing.consume(9887, '15 USD', NULL, 'c1');
SET LOCAL billing.test_clock TO '2026-03-06T00:00:00Z';
CALL billing.bill_due();
SELECT count(billing.cancel_usage(9887, 'e1'));
SET LOCAL billing.test_clock TO '2026-04-06T00:00:00Z';
CALL billing.bill_due();
SELECT total, excess FROM billing.invoice WHERE tenant_id = 9887 ORDER BY invoice_id;
SELECT billing.wallet_balance(9887), billing.wallet_balance(9887, at => '2026-04-07Z') AS later, billing.wallet_balance(9887, scope => 'invoice') AS invoice;
SELECT billing.consume(9887, '1 USD', NULL, 'c2');
SELECT e.kind, e.amount, g.source FROM billing.wallet_entry e JOIN billing.credit_grant g USING (tenant_id, grant_id) WHERE e.tenant_id = 9887 ORDER BY e.at, e.entry_id;
SELECT a.* FROM generate_series(9885, 9887) t, billing.audit(t) a;
ROLLBACK;
