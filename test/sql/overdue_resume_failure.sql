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

-- The job: who cannot be asked, suspended or given up keeps what the steps before did, is set aside and looked at again, ever later; the others are done.
SET LOCAL billing.test_clock = '2026-06-01T00:00:00Z';
SELECT count(billing.create_tenant(t, 'Tenant ' || t, details => '{"settings": {"uncollectible_days": 12}}')) FROM generate_series(9971, 9974) t;
SELECT count(billing.subscribe(t, 'resume_even')) FROM generate_series(9971, 9974) t;
CREATE VIEW pg_temp.looked AS SELECT i.tenant_id, s.status AS subscription, i.status, d.next_at, (SELECT string_agg(a.attempt_no || ' ' || a.status, ', ' ORDER BY a.attempt_no)
	FROM billing.collection_attempt a WHERE a.tenant_id = i.tenant_id AND a.invoice_id = i.invoice_id) AS attempts
	FROM billing.invoice i JOIN billing.subscription s USING (tenant_id, subscription_id) LEFT JOIN billing.invoice_dunning d USING (tenant_id, invoice_id)
	WHERE i.tenant_id BETWEEN 9971 AND 9974 AND i.kind = 'cycle' AND i.period_end = '2026-06-01Z' ORDER BY 1;
CREATE TRIGGER refuse_attempt BEFORE INSERT ON billing.collection_attempt FOR EACH ROW WHEN (NEW.tenant_id = 9971) EXECUTE FUNCTION pg_temp.refuse();
CREATE TRIGGER refuse_suspend BEFORE UPDATE ON billing.subscription FOR EACH ROW WHEN (NEW.tenant_id = 9972 AND NEW.status = 'suspended') EXECUTE FUNCTION pg_temp.refuse();
CREATE TRIGGER refuse_give_up BEFORE UPDATE ON billing.invoice FOR EACH ROW WHEN (NEW.tenant_id = 9973 AND NEW.status = 'uncollectible') EXECUTE FUNCTION pg_temp.refuse();
SET LOCAL billing.test_clock = '2026-06-02T00:00:00Z';
SELECT billing.dunning() > 0 AS looked, billing.dunning() AS again;
SELECT * FROM pg_temp.looked;
SET LOCAL billing.test_clock = '2026-06-11T00:00:00Z';
SELECT billing.dunning() > 0 AS looked, billing.dunning() AS again;
SELECT * FROM pg_temp.looked;
SET LOCAL billing.test_clock = '2026-06-13T00:00:00Z';
SELECT billing.dunning() > 0 AS looked, billing.dunning() AS again;
SELECT * FROM pg_temp.looked;
SELECT tenant_id, job, object, sqlstate, error, failures FROM billing.set_aside WHERE tenant_id BETWEEN 9971 AND 9974 ORDER BY 1, 2, 3;
DROP TRIGGER refuse_attempt ON billing.collection_attempt;
DROP TRIGGER refuse_suspend ON billing.subscription;
DROP TRIGGER refuse_give_up ON billing.invoice;
SELECT billing.dunning() AS not_yet;
SET LOCAL billing.test_clock = '2026-06-13T01:00:00Z';
SELECT billing.dunning() > 0 AS looked, billing.dunning() AS again;
SELECT * FROM pg_temp.looked;
SELECT count(*) FROM billing.set_aside WHERE tenant_id BETWEEN 9971 AND 9974;
-- A retry that fails so is tried again, too.
SELECT count(billing.create_tenant(t, 'Tenant ' || t)), count(billing.subscribe(t, 'resume_even')) FROM generate_series(9975, 9976) t;
SELECT billing.dunning() > 0 AS looked;
SELECT count(billing.fail_attempt(tenant_id, invoice_id, 'processing_error', 'stripe')) FROM billing.invoice WHERE tenant_id IN (9975, 9976);
CREATE TRIGGER refuse_attempt BEFORE INSERT ON billing.collection_attempt FOR EACH ROW WHEN (NEW.tenant_id = 9975) EXECUTE FUNCTION pg_temp.refuse();
SET LOCAL billing.test_clock = '2026-06-13T02:00:00Z';
SELECT billing.retry_payments(), billing.retry_payments() AS again;
SELECT tenant_id, retry_no, code, retry_at FROM billing.collection_attempt WHERE tenant_id IN (9975, 9976) ORDER BY 1, 2;
SELECT tenant_id, job, object, failures FROM billing.set_aside WHERE tenant_id IN (9975, 9976);
DROP TRIGGER refuse_attempt ON billing.collection_attempt;
SET LOCAL billing.test_clock = '2026-06-13T03:00:00Z';
SELECT billing.retry_payments(), billing.retry_payments() AS again;
SELECT tenant_id, retry_no, code, retry_at FROM billing.collection_attempt WHERE tenant_id IN (9975, 9976) ORDER BY 1, 2;
SELECT count(*) FROM billing.set_aside WHERE tenant_id IN (9975, 9976);
SELECT * FROM billing.audit();
ROLLBACK;
