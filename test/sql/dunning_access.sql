-- Promise: an application sees and answers the attempts of the tenant that it acts for, and of no other; policies, decline codes and the
-- jobs are the admin's.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE dunning_app;
CREATE ROLE dunning_reader;
CREATE ROLE dunning_admin;
RESET client_min_messages;
SELECT billing.grant_access('dunning_app', 'app'), billing.grant_access('dunning_reader', 'reader'), billing.grant_access('dunning_admin', 'admin');
SET billing.test_clock = '2026-01-01T00:00:00Z';
BEGIN;
\set ON_ERROR_ROLLBACK on
\set VERBOSITY terse
SET ROLE dunning_admin;
INSERT INTO billing.plan (plan_id, code, name) VALUES (9681, 'dunning_access', 'Access');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9681, 'base', '{"model":"flat","currency":"USD","amount":"29"}');
INSERT INTO billing.dunning_policy (code, name, days) VALUES ('access', 'Access', '{2}');
INSERT INTO billing.decline_code (gateway, code, class) VALUES ('access', 'no', 'hard');
SELECT count(billing.create_tenant(t, 'Access ' || t)), count(billing.subscribe(t, 'dunning_access')) FROM generate_series(9681, 9682) t;
RESET ROLE;
SET billing.test_clock = '2026-01-01T00:00:01Z';
SET ROLE dunning_admin;
SELECT billing.dunning() > 0 AS looked, billing.retry_payments() AS none;
SELECT count(DISTINCT tenant_id) FROM billing.collection_attempt WHERE tenant_id BETWEEN 9681 AND 9682;
UPDATE billing.collection_attempt SET status = 'missed';
DELETE FROM billing.invoice_dunning;

SET ROLE dunning_app;
SET billing.tenant_id = '9681';
SELECT tenant_id, attempt_no, code FROM billing.collection_attempt;
SELECT tenant_id, policy, has_failed FROM billing.dunning_timeline;
SELECT tenant_id, overdue_at IS NOT NULL AS is_overdue FROM billing.invoice_dunning;
SELECT count(*) AS due FROM billing.due_attempt;
SELECT class FROM billing.fail_attempt(9681, (SELECT invoice_id FROM billing.invoice), 'no', 'access');
SELECT class FROM billing.fail_attempt(9682, 1, 'no', 'access');
SELECT billing.dunning();
SELECT billing.retry_payments();
INSERT INTO billing.dunning_policy (code, name, days) VALUES ('mine', 'Mine', '{2}');
INSERT INTO billing.decline_code (gateway, code, class) VALUES ('mine', 'no', 'hard');
SELECT status FROM billing.enforce_expiration(9681);

SET ROLE dunning_reader;
SELECT tenant_id, code, class FROM billing.collection_attempt;
SELECT code, days FROM billing.dunning_policy WHERE code = 'access';
SELECT class FROM billing.find_decline_code('access', 'no');
SELECT billing.fail_attempt(9681, 1, 'no', 'access');
RESET ROLE;
RESET billing.tenant_id;
ROLLBACK;
RESET billing.test_clock;
SELECT billing.revoke_access(r) FROM unnest('{dunning_app,dunning_reader,dunning_admin}'::text[]) r;
DROP ROLE dunning_app, dunning_reader, dunning_admin;
