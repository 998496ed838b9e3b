-- What a customer may use: features, a limit that is asked for, one that a table keeps by itself, an override, a freeze.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET billing.test_clock = '2026-01-15T12:00:00Z';

INSERT INTO billing.meter (code, name) VALUES ('calls', 'API calls');
INSERT INTO billing.plan (plan_id, code, name, features, limits) VALUES (1, 'team', 'Team', '{"export": true, "sso": false}',
	'[{"meter": "calls", "limit": 1000}, {"meter": "calls", "limit": 100, "per": "day", "kind": "soft"}, {"meter": "seats", "limit": 2}]');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (1, 'base', '{"model":"flat","currency":"USD","amount":"29"}');
SELECT count(billing.create_tenant(1, 'Acme Inc.')) AS tenants;
SELECT status FROM billing.subscribe(1, 'team');

\qecho 'Features, and one more for a month:'
SELECT billing.has_feature(1, 'export') AS export, billing.has_feature(1, 'sso') AS sso;
SELECT feature, is_granted, expires_at FROM billing.override_entitlement(1, 'sso', 'true', expires_at => '2026-02-15', reason => 'pilot');
SELECT billing.has_feature(1, 'sso') AS sso;
SET billing.test_clock = '2026-02-15T00:00:00Z';
SELECT billing.has_feature(1, 'sso') AS "sso, a month later";
SET billing.test_clock = '2026-01-15T12:00:00Z';

\qecho 'Limits by live usage:'
SELECT billing.record_usage(1, 'calls', 120, 'batch 1') AS recorded;
SELECT meter, per, used, limit_quantity, remaining, kind, resets_at FROM billing.usage_status WHERE tenant_id = 1 ORDER BY per;
SELECT is_allowed, reason, per FROM billing.check_limit(1, 'calls', 10);
SELECT is_allowed, reason, per FROM billing.check_limit(1, 'calls', 900);

\qecho 'Seats, kept by one line on the application''s own table:'
CREATE TABLE member (tenant_id bigint, name text);
CREATE TRIGGER seats AFTER INSERT OR UPDATE ON member FOR EACH ROW EXECUTE FUNCTION billing.enforce_limit('seats');
INSERT INTO member VALUES (1, 'Ann'), (1, 'Bob');
\set ON_ERROR_STOP off
INSERT INTO member VALUES (1, 'Cid');
\set ON_ERROR_STOP on
SELECT quantity FROM billing.override_entitlement(1, 'seats', '3');
INSERT INTO member VALUES (1, 'Cid');
SELECT count(*) FROM member;

\qecho 'Frozen, and back:'
SELECT status, status_reason FROM billing.freeze_tenant(1, 'abuse');
SELECT billing.has_feature(1, 'export') AS export, billing.feature_limit(1, 'seats') AS seats;
SELECT status FROM billing.unfreeze_tenant(1);
SELECT billing.has_feature(1, 'export') AS export, billing.feature_limit(1, 'seats') AS seats;
