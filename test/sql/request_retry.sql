-- Promise: the same call is answered as the first time, whatever time has passed and whatever became of the object since.
LOAD 'billing';
BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-10T11:59:59Z';
INSERT INTO billing.tax_rate (code, name, percent) VALUES ('retry', 'Tax', 10);
SELECT tenant_id FROM billing.create_tenant(9881, 'Acme', 'USD', details => '{"tax_rate": "retry"}');
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE statement INTO answer;
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Each call now, and again when the instants that it states are past.
CREATE TEMPORARY TABLE call (n int GENERATED ALWAYS AS IDENTITY, statement text, first text);
INSERT INTO call (statement) VALUES
	('SELECT amount || '' '' || grant_id FROM billing.grant_credit(9881, ''5 USD'', effective_at => ''2026-01-10T12:00Z'', request_id => ''r1'')'),
	('SELECT amount || '' '' || grant_id FROM billing.grant_credit(9881, ''6 USD'', expires_at => ''2026-01-10T12:00Z'', request_id => ''r2'')'),
	('SELECT amount || '' '' || grant_id FROM billing.top_up(9881, ''7 USD'', ''p1'', expires_at => ''2026-01-10T12:00Z'')'),
	('SELECT amount || '' '' || grant_id FROM billing.top_up(9881, ''8 USD'', ''p2'', at => ''2026-01-11T11:00Z'', expires_at => ''2026-02-01Z'')'),
	('SELECT feature || '' '' || expires_at FROM billing.override_entitlement(9881, ''sso'', ''true'', ''2026-01-10T12:00Z'', request_id => ''o1'')'),
	('SELECT name || '' '' || tenant_id FROM billing.create_tenant(9881, ''Acme'', ''USD'', details => ''{"tax_rate": "retry"}'')');
UPDATE call SET first = pg_temp.attempt(statement);
SET LOCAL billing.test_clock TO '2026-01-10T12:00:01Z';
UPDATE billing.tax_rate SET is_active = false WHERE code = 'retry';
SELECT n, regexp_replace(first, ' \d+$', ' id') AS first, pg_temp.attempt(statement) = first AS same FROM call ORDER BY n;

-- What was never asked for is refused by the clock, as before.
SELECT pg_temp.attempt($$SELECT billing.grant_credit(9881, '5 USD', effective_at => '2026-01-10T12:00Z', request_id => 'r3')$$);
SELECT pg_temp.attempt($$SELECT billing.grant_credit(9881, '5 USD', expires_at => '2026-01-10T12:00Z', request_id => 'r3')$$);
SELECT pg_temp.attempt($$SELECT billing.top_up(9881, '5 USD', 'p3', expires_at => '2026-01-10T12:00Z')$$);
SELECT pg_temp.attempt($$SELECT billing.top_up(9881, '5 USD', 'p3', at => '2026-01-12T12:00Z')$$);
SELECT pg_temp.attempt($$SELECT billing.override_entitlement(9881, 'sso', 'true', '2026-01-10T12:00Z', request_id => 'o3')$$);
SELECT pg_temp.attempt($$SELECT billing.create_tenant(9882, 'Other', 'USD', details => '{"tax_rate": "retry"}')$$);

-- A grant that is void still is what was asked for; another end of it was not.
SELECT g.grant_id AS grant FROM billing.top_up(9881, '10 USD', 'p4', expires_at => '2030-01-01Z') g \gset
SELECT balance, expires_at, voided_at FROM billing.void_grant(9881, :grant);
SELECT grant_id = :grant AS same, balance, expires_at, voided_at FROM billing.top_up(9881, '10 USD', 'p4', expires_at => '2030-01-01Z');
SELECT pg_temp.attempt($$SELECT billing.top_up(9881, '10 USD', 'p4', expires_at => '2030-01-02Z')$$);
SELECT pg_temp.attempt($$SELECT billing.top_up(9881, '10 USD', 'p4')$$);
SELECT amount, expires_at FROM billing.top_up(9881, '11 USD', 'p5');
SELECT pg_temp.attempt($$SELECT billing.top_up(9881, '11 USD', 'p5', expires_at => '2030-01-01Z')$$);

-- What an invoice drew of a grant that is void since comes back to nobody.
SELECT g.grant_id AS grant FROM billing.top_up(9881, '12 USD', 'p6', expires_at => '2026-01-20Z') g \gset
SELECT billing.wallet_balance(9881) AS before;
SELECT wallet_applied, invoice_id AS invoice FROM billing.create_invoice(9881, 'i1', '[{"description": "A", "amount": 9}]') \gset
SELECT balance FROM billing.credit_grant WHERE grant_id = :grant;
SELECT balance, expires_at FROM billing.void_grant(9881, :grant);
SELECT status FROM billing.void_invoice(9881, :invoice);
SELECT e.kind, e.amount FROM billing.wallet_entry e WHERE e.grant_id = :grant ORDER BY e.entry_id;
SELECT balance FROM billing.credit_grant WHERE grant_id = :grant;
SELECT * FROM billing.audit(9881);
ROLLBACK;
