-- Promise: a card is good until the month ends that it shows, where its tenant is; then it has expired, whoever else is usable is the
-- default, and before that its tenant was told of it, once.
SET timezone TO 'UTC';
\pset format unaligned
INSERT INTO billing.gateway (code, driver, settings) VALUES ('expiry_gateway', 'manual', '{"is_test": "true"}');
SET billing.test_clock = '2026-01-10T00:00:00Z';
SELECT tenant_id FROM billing.create_tenant(42201, 'West', 'USD', 'America/Los_Angeles', 'west@example.com');
SELECT tenant_id FROM billing.create_tenant(42202, 'East', 'USD', 'Pacific/Auckland', 'east@example.com', '{"locale": "en-NZ"}');
SELECT tenant_id FROM billing.create_tenant(42203, 'Other', 'USD', 'UTC');
CREATE TEMP TABLE known (name text PRIMARY KEY, id bigint);
INSERT INTO known SELECT 'west card', payment_method_id FROM billing.add_payment_method(42201, 'expiry_gateway', 'card', 'tok_ok_1', brand => 'Visa', last4 => '4242', exp_month => 4, exp_year => 2026);
INSERT INTO known SELECT 'west second', payment_method_id FROM billing.add_payment_method(42201, 'expiry_gateway', 'card', 'tok_ok_2', brand => 'Visa', last4 => '0002', exp_month => 12, exp_year => 2030);
INSERT INTO known SELECT 'east card', payment_method_id FROM billing.add_payment_method(42202, 'expiry_gateway', 'card', 'tok_ok_1', last4 => '4444', exp_month => 4, exp_year => 2026);
INSERT INTO known SELECT 'other', payment_method_id FROM billing.add_payment_method(42203, 'expiry_gateway', 'card', 'tok_ok_1');
CREATE TEMP VIEW method AS SELECT k.name, m.status, m.is_default, m.ended_at FROM billing.payment_method m JOIN known k ON k.id = m.payment_method_id ORDER BY m.payment_method_id;
CREATE TEMP VIEW told AS SELECT k.name, n.status, n.occasion, n.expires_at FROM billing.notification n JOIN known k ON k.id = n.object_id
WHERE n.kind = 'payment_method_expiring' ORDER BY n.notification_id;

-- Nothing yet; and then each is reminded 30 days before, on its own calendar, once.
SELECT billing.month_ends_at(2026, 4, 'America/Los_Angeles'), billing.month_ends_at(2026, 4, 'Pacific/Auckland'), billing.month_ends_at(2026, 12, 'UTC');
SELECT billing.remind_payment_methods(), billing.expire_payment_methods();
SELECT billing.remind_payment_methods_due_at() IS NOT NULL AS reminds, billing.expire_payment_methods_due_at();
SET billing.test_clock = '2026-03-31T12:00:00Z';
SELECT billing.remind_payment_methods();
SELECT * FROM told;
SET billing.test_clock = '2026-04-01T07:00:00Z';
SELECT billing.remind_payment_methods();
SELECT billing.remind_payment_methods();
SELECT * FROM told;
SELECT s.language, s.is_current, s.subject, s.body FROM billing.notification n JOIN known k ON k.id = n.object_id, billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.kind = 'payment_method_expiring' ORDER BY n.notification_id;
SELECT e.tenant_id, e.payload #>> '{data,object,last4}' AS last4, e.created_at FROM billing.event e WHERE e.type = 'payment_method.expiring' AND e.tenant_id BETWEEN 42201 AND 42203 ORDER BY e.event_id;
-- One that is added so late is not reminded of.
INSERT INTO known SELECT 'late', payment_method_id FROM billing.add_payment_method(42203, 'expiry_gateway', 'card', 'tok_ok_2', exp_month => 4, exp_year => 2026);
SELECT billing.remind_payment_methods();

-- April ends in Auckland first, 19 hours before it does in Los Angeles; a default without another to take its place is none.
SET billing.test_clock = '2026-04-30T11:59:59.999999Z';
SELECT billing.expire_payment_methods();
SET billing.test_clock = '2026-04-30T12:00:00Z';
SELECT billing.expire_payment_methods();
SELECT * FROM method;
SELECT s.is_current FROM billing.notification n JOIN known k ON k.id = n.object_id, billing.show_notice(n.tenant_id, n.notification_id) s
WHERE n.kind = 'payment_method_expiring' ORDER BY n.notification_id;
SET billing.test_clock = '2026-05-01T07:00:00Z';
SELECT billing.expire_payment_methods(1) + billing.expire_payment_methods(1);
SELECT billing.expire_payment_methods();
SELECT * FROM method;
SELECT tenant_id, f.name AS "from", t.name AS "to", reason FROM billing.payment_method_change c LEFT JOIN known f ON f.id = c.from_id LEFT JOIN known t ON t.id = c.to_id
WHERE tenant_id BETWEEN 42201 AND 42203 ORDER BY change_id;
SELECT tenant_id, type, payload #>> '{data,object,status}' AS status FROM billing.event
WHERE tenant_id BETWEEN 42201 AND 42203 AND created_at >= '2026-04-30T00:00:00Z' AND type LIKE 'payment_method%' ORDER BY event_id;
SELECT name, billing.job_due_at(name) > billing.now() AS later FROM unnest('{expire_payment_methods,remind_payment_methods}'::text[]) name;
SELECT billing.expire_payment_methods(0);

-- One whose month is over takes nobody's place, also before the job has come to it.
SELECT tenant_id FROM billing.create_tenant(42204, 'Over', 'USD', 'UTC');
INSERT INTO known SELECT 'over', payment_method_id FROM billing.add_payment_method(42204, 'expiry_gateway', 'card', 'tok_ok_1', exp_month => 6, exp_year => 2026);
INSERT INTO known SELECT 'good', payment_method_id FROM billing.add_payment_method(42204, 'expiry_gateway', 'card', 'tok_ok_2', true, exp_month => 12, exp_year => 2030);
SET billing.test_clock = '2026-07-01T00:00:00Z';
\set VERBOSITY sqlstate
SELECT billing.remove_payment_method(42204, id) FROM known WHERE name = 'good';
SELECT billing.set_default_payment_method(42204, id) FROM known WHERE name = 'over';
\set VERBOSITY default
SELECT * FROM method WHERE name IN ('over', 'good');
INSERT INTO known SELECT 'better', payment_method_id FROM billing.add_payment_method(42204, 'expiry_gateway', 'card', 'tok_ok_3');
SELECT status FROM billing.remove_payment_method(42204, (SELECT id FROM known WHERE name = 'good'));
SELECT * FROM method WHERE name IN ('over', 'good', 'better');
SELECT * FROM billing.audit(42204) UNION ALL SELECT * FROM billing.audit(42201) UNION ALL SELECT * FROM billing.audit(42202) UNION ALL SELECT * FROM billing.audit(42203);
