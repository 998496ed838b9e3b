-- A draft that cannot be made final keeps no other from it, where what fails is shown rows of ours, too.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL timezone = 'UTC';
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';
INSERT INTO billing.plan (plan_id, code, name) VALUES (9951, 'draft_failure', 'Plan');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9951, 'base', '{"model":"flat","currency":"USD","amount":"31"}');
SELECT count(billing.create_tenant(9950 + n, 'Tenant ' || n, details => '{"settings": {"finalize_after": "1 hour"}}')) FROM generate_series(1, 4) n;
SELECT count(billing.top_up(9950 + n, '100 USD', 'w')) FROM generate_series(1, 4) n;
SELECT count(billing.subscribe(9950 + n, 'draft_failure')) FROM generate_series(1, 4) n;
CALL billing.bill_due();
SELECT tenant_id, status, wallet_applied FROM billing.invoice WHERE tenant_id BETWEEN 9951 AND 9954 ORDER BY 1;
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'not of %', NEW.tenant_id;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON billing.wallet_entry FOR EACH ROW WHEN (NEW.tenant_id = 9952 AND NEW.kind = 'draw') EXECUTE FUNCTION pg_temp.refuse();
SET LOCAL billing.test_clock = '2026-01-01T02:00:00Z';
-- The warning names the invoice, whose id differs from run to run.
SET LOCAL client_min_messages = error;
CALL billing.bill_due();
SET LOCAL client_min_messages = warning;
SELECT tenant_id, status, wallet_applied FROM billing.invoice WHERE tenant_id BETWEEN 9951 AND 9954 ORDER BY 1;
DROP TRIGGER refuse ON billing.wallet_entry;
CALL billing.bill_due();
SELECT tenant_id, status, wallet_applied FROM billing.invoice WHERE tenant_id BETWEEN 9951 AND 9954 ORDER BY 1;
SELECT * FROM billing.audit();
ROLLBACK;
