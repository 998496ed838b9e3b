-- What cannot go on when it is paid takes nothing from the payment, keeps no other waiting, and goes on when it can.
SET client_min_messages = warning;
DROP EXTENSION billing CASCADE;
CREATE EXTENSION billing;
RESET client_min_messages;
BEGIN;
\pset format unaligned
SET LOCAL client_min_messages = error;
SET LOCAL timezone = 'UTC';
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
CREATE FUNCTION doubled(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$SELECT 31::numeric$$;
INSERT INTO billing.strategy (code, function) VALUES ('doubled', 'public.doubled');
INSERT INTO billing.plan (plan_id, code, name) VALUES (9961, 'resume_odd', 'Odd'), (9962, 'resume_even', 'Even');
INSERT INTO billing.price (plan_id, code, strategy, parameters) VALUES (9961, 'base', 'doubled', '{}');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9962, 'base', '{"model":"flat","currency":"USD","amount":"31"}');
SELECT count(billing.create_tenant(9960 + n, 'Tenant ' || n)) FROM generate_series(1, 3) n;
SELECT billing.subscribe(9961, 'resume_odd') IS NULL AS is_none, billing.subscribe(9962, 'resume_even') IS NULL AS is_none;
CREATE FUNCTION pg_temp.pay(tenant bigint) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(billing.record_payment(tenant, i.invoice_id, i.amount_due, 'p' || i.number)::text IS NOT NULL || ' ' || i.number, ', ')
	FROM billing.invoice i WHERE i.tenant_id = tenant AND i.status = 'open' AND i.amount_due > '0 USD' $$;
CREATE VIEW pg_temp.shown AS SELECT t.tenant_id, t.status, t.is_unpaid, s.status AS subscription,
	(SELECT count(*) FROM billing.payment p WHERE p.tenant_id = t.tenant_id AND p.status = 'succeeded') AS payments
	FROM billing.tenant t JOIN billing.subscription s USING (tenant_id) WHERE t.tenant_id BETWEEN 9961 AND 9963;
SET LOCAL billing.test_clock = '2026-01-12T00:00:00Z';
SELECT billing.enforce_expirations();
SELECT * FROM pg_temp.shown ORDER BY 1;

-- The price fails, of which the rest of a period is to be billed.
SET LOCAL billing.test_clock = '2026-02-10T00:00:00Z';
CREATE OR REPLACE FUNCTION doubled(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$SELECT 1 / (quantity - quantity)$$;
SELECT pg_temp.pay(9961), pg_temp.pay(9962);
SELECT * FROM pg_temp.shown ORDER BY 1;
SELECT billing.enforce_expirations();
SELECT * FROM pg_temp.shown ORDER BY 1;

-- It is right again.
CREATE OR REPLACE FUNCTION doubled(quantity numeric, parameters jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$SELECT 31::numeric$$;
SELECT billing.enforce_expirations();
SELECT * FROM pg_temp.shown ORDER BY 1;
SELECT billing.enforce_expirations();

-- The one that is due longest cannot be suspended: the next is, whatever the batch.
SELECT billing.subscribe(9963, 'resume_even') IS NULL AS is_none;
SET LOCAL billing.test_clock = '2026-03-20T00:00:00Z';
CALL billing.bill_due();
SET LOCAL billing.test_clock = '2026-04-20T00:00:00Z';
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'stays as it is';
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON billing.subscription FOR EACH ROW WHEN (NEW.tenant_id IN (9961, 9963) AND NEW.status = 'suspended') EXECUTE FUNCTION pg_temp.refuse();
SELECT tenant_id, status, next_status FROM billing.overdue_subscription WHERE tenant_id BETWEEN 9961 AND 9963 ORDER BY due_at, tenant_id;
SELECT billing.enforce_expirations(1) FROM generate_series(1, 3);
SELECT * FROM pg_temp.shown ORDER BY 1;
DROP TRIGGER refuse ON billing.subscription;
SELECT billing.enforce_expirations(1) FROM generate_series(1, 3);
SELECT * FROM pg_temp.shown ORDER BY 1;
SELECT * FROM billing.audit();
ROLLBACK;
