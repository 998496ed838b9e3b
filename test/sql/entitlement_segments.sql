-- Promise: a tenant has what its subscriptions and overrides give, from the instant and to the instant that they do, by the clock
-- alone; several add up; and what is kept of it is what a refresh would make.
LOAD 'billing';
BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
SET LOCAL billing.test_clock TO '2026-01-10T00:00:00Z';
\pset format unaligned
\pset null -

INSERT INTO billing.meter (code) VALUES ('ent_calls');
INSERT INTO billing.plan (plan_id, code, name, features, limits) VALUES
	(9851, 'ent_pro', 'Pro', '{"export": true, "sso": false, "projects": 5, "level": "gold", "none": null, "zero": 0, "free": -1}',
		'[{"meter": "ent_calls", "limit": 1000}, {"meter": "ent_calls", "limit": "99.5", "per": "1 day", "soft": true},
		{"meter": "seats", "limit": 2, "per_unit": true}, {"meter": "rooms", "limit": null}]'),
	(9852, 'ent_more', 'More', '{"sso": true, "projects": 2}',
		'[{"meter": "ent_calls", "limit": 500, "kind": "overage"}, {"meter": "seats", "limit": 1}, {"meter": "rooms", "limit": 3}]');
INSERT INTO billing.price (plan_id, code, tariff)
SELECT p, 'base', '{"model":"flat","currency":"USD","amount":"10"}' FROM generate_series(9851, 9852) p;
SELECT count(billing.create_tenant(t, 'Tenant', timezone => 'America/New_York')) FROM generate_series(9851, 9856) t;

CREATE FUNCTION pg_temp.id(tenant_id bigint, plan_id bigint) RETURNS bigint LANGUAGE sql
	AS $$ SELECT subscription_id FROM billing.subscription s WHERE s.tenant_id = $1 AND s.plan_id = $2 $$;
-- What a tenant has at an instant, and nothing that audit() finds.
CREATE FUNCTION pg_temp.has(tenant_id bigint, at text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE before text := current_setting('billing.test_clock');
	answer text;
BEGIN
	PERFORM set_config('billing.test_clock', at, true);
	SELECT string_agg(f || coalesce('=' || CASE WHEN billing.has_feature($1, f) THEN 'on' END, '')
		|| coalesce('<=' || billing.feature_limit($1, f), ''), ' ' ORDER BY n)
	INTO answer
	FROM unnest('{export,sso,projects,level,none,zero,free,ent_calls,seats,rooms,other}'::text[]) WITH ORDINALITY u (f, n)
	WHERE billing.has_feature($1, f) OR billing.feature_limit($1, f) > 0;
	answer := coalesce(answer, 'nothing') || coalesce((SELECT ' BROKEN ' || string_agg(detail, ', ') FROM billing.audit($1)), '');
	PERFORM set_config('billing.test_clock', before, true);
	RETURN answer;
END $$;
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE fact text; advice text;
BEGIN
	EXECUTE statement;
	RETURN 'DONE';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS fact = PG_EXCEPTION_DETAIL, advice = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || ' | ' || fact || ' | ' || advice;
END $$;

-- No subscription: nothing, and no limit but none at all.
SELECT pg_temp.has(9851, '2026-01-10T00:00:00Z'), billing.feature_limit(9851, 'seats'), billing.feature_limit(9851, 'other');
-- One: what its plan has, times its quantity where the plan says so.
SELECT status FROM billing.subscribe(9851, 'ent_pro', 3);
SELECT pg_temp.has(9851, '2026-01-10T00:00:00Z');
SELECT billing.feature_limit(9851, 'other') AS unlimited, billing.feature_limit(9851, 'ent_calls', 'day') AS day,
	billing.feature_limit(9851, 'ent_calls', 'period') AS period, billing.feature_limit(9851, 'ent_calls', 'week') AS week;
-- A second from next month on: any feature, the sum of the limits, none where one gives none; its last month is this one.
SELECT status FROM billing.subscribe(9851, 'ent_more', at => '2026-02-01', auto_renew => false);
SELECT meter, per, starts_at, ends_at, quantity, kind FROM billing.entitlement_limit WHERE tenant_id = 9851 ORDER BY 1, 2, 3;
SELECT pg_temp.has(9851, t) FROM unnest('{2026-01-31T23:59:59Z,2026-02-01T00:00:00Z}'::text[]) t;
-- Its end is known once it runs: a period and the grace, on the tenant's wall clock, over a change of daylight saving time.
SET LOCAL billing.test_clock TO '2026-02-10T00:00:00Z';
CALL billing.bill_due();
SELECT feature, ends_at FROM billing.entitlement WHERE tenant_id = 9851 AND feature = 'sso';
SELECT pg_temp.has(9851, t) FROM unnest('{2026-03-07T23:59:59Z,2026-03-08T00:00:00Z}'::text[]) t;
-- A longer grace: of the tenant, and of the installation, which a refresh has to be told.
SELECT version FROM billing.update_tenant(9851, '{"settings": {"grace_days": 10}}');
SELECT ends_at FROM billing.entitlement WHERE tenant_id = 9851 AND feature = 'sso';
SELECT version FROM billing.update_tenant(9851, '{"settings": {"grace_days": null}}');
INSERT INTO billing.setting (name, value) VALUES ('grace_days', '1');
SELECT invariant, object, detail FROM billing.audit(9851) ORDER BY 2, 3;
SELECT billing.refresh_entitlements(9851), billing.refresh_entitlements(9851) AS again;
SELECT count(*) AS broken FROM billing.audit(9851);
DELETE FROM billing.setting WHERE name = 'grace_days';
SELECT billing.refresh_entitlements(9851);
-- Expired: the grace goes on; renewed: it has what it had.
SET LOCAL billing.test_clock TO '2026-03-05T00:00:00Z';
CALL billing.bill_due();
SELECT status, pg_temp.has(9851, '2026-03-05T00:00:00Z'), pg_temp.has(9851, '2026-03-08T00:00:00Z')
FROM billing.subscription WHERE tenant_id = 9851 AND plan_id = 9852;
SELECT status, pg_temp.has(9851, '2026-03-08T00:00:00Z') FROM billing.renew_subscription(9851, pg_temp.id(9851, 9852));
SELECT auto_renew FROM billing.update_subscription(9851, pg_temp.id(9851, 9852), '{"auto_renew": true}');
SELECT pg_temp.has(9851, '2027-03-08T00:00:00Z');

-- Canceled for the end of the period: until then, whether or not a bill run has come to it; taken back: for good.
SELECT status, cancel_at FROM billing.cancel_subscription(9851, pg_temp.id(9851, 9851));
SELECT pg_temp.has(9851, t) FROM unnest('{2026-03-09T23:59:59Z,2026-03-10T00:00:00Z}'::text[]) t;
SELECT status, pg_temp.has(9851, '2026-03-10T00:00:00Z') FROM billing.reactivate_subscription(9851, pg_temp.id(9851, 9851));
SELECT status, pg_temp.has(9851, '2026-03-05T00:00:00Z') FROM billing.cancel_subscription(9851, pg_temp.id(9851, 9851), 'now');
-- What waits for its first payment gives nothing before.
SELECT status, pg_temp.has(9852, '2026-03-05T00:00:00Z') FROM billing.subscribe(9852, 'ent_pro', activate => 'on_payment');
SELECT status FROM billing.record_payment(9852, (SELECT invoice_id FROM billing.invoice WHERE tenant_id = 9852), '10 USD', 'p');
SELECT pg_temp.has(9852, '2026-03-05T00:00:00Z');
-- A trial gives all, and one that ends without renewal is known to end once it is paid for.
SELECT status, pg_temp.has(9853, '2026-03-05T00:00:00Z') FROM billing.subscribe(9853, 'ent_more', trial_days => 5, auto_renew => false);
SELECT ends_at FROM billing.entitlement WHERE tenant_id = 9853;
SET LOCAL billing.test_clock TO '2026-03-10T00:00:00Z';
CALL billing.bill_due();
SELECT ends_at FROM billing.entitlement WHERE tenant_id = 9853;
-- One that never began.
SELECT status, pg_temp.has(9854, '2026-05-01T00:00:00Z') FROM billing.subscribe(9854, 'ent_more', at => '2026-05-01');
SELECT status, pg_temp.has(9854, '2026-05-01T00:00:00Z') FROM billing.cancel_subscription(9854, pg_temp.id(9854, 9852));

-- Overrides: on, off, more, less, unlimited; until they expire, by the clock alone.
SELECT status FROM billing.subscribe(9855, 'ent_pro', 1);
SELECT feature, is_granted, expires_at FROM billing.override_entitlement(9855, 'sso', 'true', '2026-03-20', 'pilot');
SELECT feature, is_granted, expires_at FROM billing.override_entitlement(9855, 'export', 'false', '2026-03-25');
SELECT feature, per, quantity, kind FROM billing.override_entitlement(9855, 'seats', '50', '2026-03-20');
SELECT feature, per, quantity, kind FROM billing.override_entitlement(9855, 'projects', '1');
SELECT feature, per, quantity, kind FROM billing.override_entitlement(9855, 'ent_calls', '{"limit": null, "per": "day"}');
SELECT feature, per, quantity, kind FROM billing.override_entitlement(9855, 'ent_calls', '{"limit": 7, "per": "month", "kind": "overage"}');
SELECT feature, per, quantity, kind FROM billing.override_entitlement(9855, 'anything', '{"limit": 1.5}');
SELECT meter, per, starts_at, ends_at, quantity, kind FROM billing.entitlement_limit WHERE tenant_id = 9855 ORDER BY 1, 2, 3;
SELECT pg_temp.has(9855, t) FROM unnest('{2026-03-19T23:59:59Z,2026-03-20T00:00:00Z,2026-03-25T00:00:00Z}'::text[]) t;
SELECT quantity, expires_at FROM billing.override_entitlement(9855, 'seats', '60');
SELECT billing.remove_override(9855, 'ent_calls'), billing.remove_override(9855, 'ent_calls') AS again;
SELECT pg_temp.has(9855, '2026-04-01T00:00:00Z');
SELECT action, object, object_id, before ->> 'quantity' AS before, after ->> 'quantity' AS after FROM billing.audit_log
WHERE tenant_id = 9855 AND object = 'entitlement_override' ORDER BY audit_id;
SELECT quantity FROM billing.override_entitlement(9855, 'seats', '9', request_id => 'o');
SELECT quantity FROM billing.override_entitlement(9855, 'seats', '10');
SELECT quantity FROM billing.override_entitlement(9855, 'seats', '9', request_id => 'o');
SELECT pg_temp.attempt($$SELECT billing.override_entitlement(9855, 'seats', '8', request_id => 'o')$$);

-- Frozen: nothing at once; active again: what it had.
SELECT status, frozen_at, status_reason, version, pg_temp.has(9855, '2026-03-10T00:00:00Z') FROM billing.freeze_tenant(9855, 'abuse');
SELECT status, version FROM billing.freeze_tenant(9855, 'again');
SELECT billing.feature_limit(9855, 'seats') AS seats, billing.feature_limit(9855, 'other') AS other, billing.is_served(9855);
SELECT pg_temp.attempt($$SELECT billing.record_usage(9855, 'ent_calls', 1, 'at once')$$);
SELECT billing.record_usage(9855, 'ent_calls', 1, 'before', '2026-03-09 23:59:59Z');
SELECT pg_temp.attempt($$SELECT billing.subscribe(9855, 'ent_more')$$);
SET LOCAL billing.test_clock TO '2026-04-10T00:00:00Z';
CALL billing.bill_due();
SELECT count(*) AS invoices, max(period_end) FROM billing.invoice WHERE tenant_id = 9855;
SELECT status, frozen_at, status_reason, version, pg_temp.has(9855, '2026-04-10T00:00:00Z') FROM billing.unfreeze_tenant(9855, 'sorry');
SELECT billing.record_usage(9855, 'ent_calls', 1, 'at last');
SELECT status, status_reason, version FROM billing.unfreeze_tenant(9855);
SELECT action, before ->> 'status' AS before, after ->> 'status' AS after, after ->> 'status_reason' AS reason FROM billing.audit_log
WHERE tenant_id = 9855 AND object = 'tenant' AND action LIKE '%freeze%' ORDER BY audit_id;
SELECT status FROM billing.close_tenant(9856);
SELECT pg_temp.attempt($$SELECT billing.freeze_tenant(9856)$$);
SELECT pg_temp.attempt($$SELECT billing.unfreeze_tenant(9856)$$);
SELECT pg_temp.has(9856, '2026-04-10T00:00:00Z');

-- What cannot be said.
SELECT s AS statement, pg_temp.attempt('SELECT billing.' || s) FROM (VALUES
	('has_feature(NULL, ''x'')'), ('has_feature(9855, NULL)'), ('has_feature(9850, ''x'')'),
	('feature_limit(NULL, ''x'')'), ('feature_limit(9855, NULL)'), ('feature_limit(9850, ''x'')'), ('feature_limit(9855, ''x'', ''fortnight'')'),
	('override_entitlement(9855, NULL, ''true'')'), ('override_entitlement(9855, '''', ''true'')'), ('override_entitlement(9855, ''x'', NULL)'),
	('override_entitlement(9855, repeat(''x'', 64), ''true'')'), ('override_entitlement(9855, ''x'', ''null'')'),
	('override_entitlement(9855, ''x'', ''"yes"'')'), ('override_entitlement(9855, ''x'', ''[]'')'), ('override_entitlement(9855, ''x'', ''-1'')'),
	('override_entitlement(9855, ''x'', ''{"per": "day"}'')'), ('override_entitlement(9855, ''x'', ''{"limit": 1, "meter": "x"}'')'),
	('override_entitlement(9855, ''ent_calls'', ''5'')'), ('override_entitlement(9855, ''x'', ''true'', ''2026-04-10'')'),
	('override_entitlement(9850, ''x'', ''true'')'), ('remove_override(9850, ''x'')'), ('remove_override(9855, NULL)'),
	('freeze_tenant(NULL)'), ('freeze_tenant(9850)'), ('unfreeze_tenant(9850)'), ('refresh_entitlements(9850)'), ('refresh_entitlements(NULL)')) v (s);
SELECT l AS limits, split_part(pg_temp.attempt(format('INSERT INTO billing.plan (code, name, limits) VALUES (''ent_bad'', ''Bad'', %L)', l)), ' | ', 1) AS answer FROM (VALUES
	('{}'), ('1'), ('[1]'), ('[{}]'), ('[{"meter": "a"}]'), ('[{"limit": 1}]'), ('[{"meter": "", "limit": 1}]'), ('[{"meter": 1, "limit": 1}]'),
	('[{"meter": "a", "limit": -1}]'), ('[{"meter": "a", "limit": "NaN"}]'), ('[{"meter": "a", "limit": "1e400"}]'), ('[{"meter": "a", "limit": true}]'),
	('[{"meter": "a", "limit": 1, "per": "2 days"}]'), ('[{"meter": "a", "limit": 1, "kind": "rigid"}]'), ('[{"meter": "a", "limit": 1, "hard": 1}]'),
	('[{"meter": "a", "limit": 1, "hard": true, "soft": true}]'), ('[{"meter": "a", "limit": 1, "hrad": true}]'),
	('[{"meter": "a", "limit": 1, "per_unit": "yes"}]'), ('[{"meter": "a", "limit": 1}, {"meter": "a", "limit": 2, "per": "period"}]'), ('[]')) v (l);
SELECT * FROM billing.plan_limits('[{"meter": "a", "limit": "1.50", "per": "1 month", "overage": true, "soft": false}, {"meter": "a", "limit": null}]');

-- Who asks sees what row security lets it, and no operator of the caller's is taken for one of ours.
CREATE ROLE ent_reader;
SELECT billing.grant_access('ent_reader', 'reader');
SET LOCAL billing.tenant_id = '9855';
CREATE SCHEMA ent_evil;
CREATE FUNCTION ent_evil.never(bigint, bigint) RETURNS boolean LANGUAGE sql RETURN false;
CREATE OPERATOR ent_evil.= (FUNCTION = ent_evil.never, LEFTARG = bigint, RIGHTARG = bigint);
GRANT USAGE ON SCHEMA ent_evil TO ent_reader;
SET LOCAL ROLE ent_reader;
SET LOCAL search_path = ent_evil, pg_catalog;
SELECT 1::bigint = 1::bigint AS equal, billing.has_feature(9855, 'export'), billing.feature_limit(9855, 'seats');
RESET search_path;
SELECT pg_temp.attempt($$SELECT billing.has_feature(9852, 'export')$$);
SELECT pg_temp.attempt($$SELECT billing.override_entitlement(9855, 'sso', 'true')$$);
SELECT count(*) FROM billing.entitlement WHERE tenant_id <> 9855;
RESET ROLE;
SELECT * FROM billing.audit() WHERE tenant_id BETWEEN 9851 AND 9856;
ROLLBACK;
