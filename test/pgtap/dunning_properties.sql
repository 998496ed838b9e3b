-- Promise: for every policy, time zone and moment at which somebody looks, attempts, past due, suspended, frozen and given up come on the
-- days that a second reckoning of the timetable, written down here by other means, says; and never before the last attempt was made.

BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS billing;
RESET client_min_messages;
SET LOCAL timezone = 'UTC';
SET LOCAL billing.test_clock = '2026-01-01T00:00:00Z';

SELECT plan(12);
SELECT setseed(0.17);

INSERT INTO billing.plan (plan_id, code, name, cycle) VALUES (9961, 'dun_prop', 'Property', '1 year');
INSERT INTO billing.price (plan_id, code, tariff) VALUES (9961, 'base', '{"model":"flat","currency":"USD","amount":"99"}');
-- Zones with clock changes of an hour, of half an hour, at midnight, of a day (Apia has skipped one), and without.
CREATE TEMPORARY TABLE zone AS SELECT row_number() OVER () - 1 AS n, z AS name FROM unnest('{UTC,America/New_York,Australia/Lord_Howe,Asia/Kathmandu,America/Santiago,Africa/Cairo,Pacific/Chatham,Europe/Lisbon}'::text[]) z;

-- 120 invoices, each with a policy of its own, in one of the two forms, due at any moment of a year.
CREATE TEMPORARY TABLE subject AS
SELECT 9961000 + i AS tenant_id, (SELECT name FROM zone WHERE n = i % 8) AS timezone, random() < 0.5 AS has_policy,
	(SELECT coalesce(array_agg(DISTINCT d ORDER BY d), '{}') FROM (SELECT 1 + floor(random() * random() * 40)::int AS d FROM generate_series(1, floor(random() * 6)::int + i * 0)) o) AS days,
	floor(random() * 5)::int AS attempts, floor(random() * 6)::int AS interval_days, floor(random() * 20)::int AS grace_days,
	CASE WHEN random() < 0.5 THEN floor(random() * 60)::int END AS uncollectible_days, CASE WHEN random() < 0.3 THEN 'send_invoice' ELSE 'automatic' END AS collection,
	random() < 0.15 AS ends_early, timestamptz '2026-01-01 00:00:00Z' + floor(random() * 365 * 24 * 60) * interval '1 minute' AS due_at
FROM generate_series(1, 120) i;
-- Some are due in the very hour that the clocks skip or repeat, or come to it by their days.
UPDATE subject SET timezone = 'America/New_York', due_at = '2026-03-05T07:30:00Z' WHERE tenant_id = 9961001;
UPDATE subject SET timezone = 'America/New_York', due_at = '2026-11-01T06:30:00Z' WHERE tenant_id = 9961002;
UPDATE subject SET timezone = 'Australia/Lord_Howe', due_at = '2026-10-03T15:15:00Z' WHERE tenant_id = 9961003;
UPDATE subject SET timezone = 'Africa/Cairo', due_at = '2026-04-20T22:15:00Z' WHERE tenant_id = 9961004;

INSERT INTO billing.dunning_policy (code, name, days, uncollectible_days) SELECT 'p' || tenant_id, 'Policy', days, uncollectible_days FROM subject WHERE has_policy;
SELECT count(billing.create_tenant(tenant_id, 'Property', 'USD', timezone, details => jsonb_build_object('settings', jsonb_strip_nulls(jsonb_build_object('grace_days', grace_days,
	'collection', collection, 'dunning_attempts', attempts, 'dunning_interval_days', interval_days, 'dunning_policy', CASE WHEN has_policy THEN 'p' || tenant_id END,
	'uncollectible_days', uncollectible_days))))) FROM subject;
DO $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT * FROM subject LOOP
		PERFORM set_config('billing.test_clock', to_char(s.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), true);
		PERFORM billing.subscribe(s.tenant_id, 'dun_prop');
	END LOOP;
END $$;

-- The second reckoning: a local date and a time of day, and the day added to the date. Where the clocks skip that time or show it twice, PostgreSQL's reading.
CREATE FUNCTION pg_temp.day_after(due timestamptz, days int, zone text) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	wall timestamp := timezone(zone, due);
BEGIN
	RETURN timezone(zone, (wall::date + days) + wall::time);
END $$;
CREATE TEMPORARY TABLE reckoned AS
SELECT s.tenant_id, s.due_at, s.collection, s.ends_early, a.days,
	ARRAY(SELECT CASE n WHEN 0 THEN s.due_at ELSE pg_temp.day_after(s.due_at, a.days[n], s.timezone) END FROM generate_series(0, cardinality(a.days)) n ORDER BY n) AS attempts,
	(SELECT max(t) FROM unnest(ARRAY[pg_temp.day_after(s.due_at, s.grace_days, s.timezone),
		pg_temp.day_after(s.due_at, coalesce((SELECT max(d) FROM unnest(a.days) d), 0) + 1, s.timezone)]) t) AS suspend_at,
	(SELECT max(t) FROM unnest(ARRAY[pg_temp.day_after(s.due_at, s.grace_days, s.timezone),
		pg_temp.day_after(s.due_at, coalesce((SELECT max(d) FROM unnest(a.days) d), 0) + 1, s.timezone),
		pg_temp.day_after(s.due_at, s.uncollectible_days, s.timezone)]) t WHERE s.uncollectible_days IS NOT NULL) AS give_up_at
FROM subject s CROSS JOIN LATERAL (SELECT CASE WHEN s.has_policy THEN s.days ELSE ARRAY(SELECT n * s.interval_days FROM generate_series(1, s.attempts) n ORDER BY n) END AS days) a;

SELECT is_empty($$ SELECT tenant_id, n.days, r.days, n.suspend_at, r.suspend_at, n.give_up_at, r.give_up_at FROM billing.dunning_timeline n JOIN reckoned r USING (tenant_id)
	WHERE (n.due_at, n.days, n.suspend_at, n.give_up_at) IS DISTINCT FROM (r.due_at, r.days, r.suspend_at, r.give_up_at) $$, 'the view says what the second reckoning does');
SELECT is_empty($$ SELECT * FROM billing.dunning_timeline WHERE tenant_id > 9961000 AND (suspend_at <= last_attempt_at OR suspend_at < grace_ends_at OR give_up_at < suspend_at) $$,
	'nobody is suspended before the day after the last attempt, nor before the grace is over, nor given up before that');

-- When each thing was found, by somebody who looks at random moments, sometimes much too late, and once exactly in time for each.
CREATE TEMPORARY TABLE look (at timestamptz PRIMARY KEY);
INSERT INTO look SELECT DISTINCT date_trunc('second', timestamptz '2026-01-01Z' + random() * interval '480 days') FROM generate_series(1, 130)
	UNION SELECT suspend_at FROM reckoned WHERE random() < 0.2 UNION SELECT suspend_at - interval '1 microsecond' FROM reckoned WHERE random() < 0.3
	UNION SELECT give_up_at FROM reckoned WHERE give_up_at IS NOT NULL AND random() < 0.2 UNION SELECT unnest(attempts) FROM reckoned WHERE random() < 0.2;
DELETE FROM look WHERE at > '2027-04-20' OR at BETWEEN '2026-06-01' AND '2026-06-25';
CREATE TEMPORARY TABLE wrong (at timestamptz, what text);
CREATE FUNCTION pg_temp.write(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT set_config('billing.test_clock', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true) $$;
DO $$
DECLARE
	l record;
	looked bigint;
BEGIN
	FOR l IN SELECT at FROM look ORDER BY at LOOP
		PERFORM pg_temp.write(l.at);
		-- Some cancel before they would be suspended.
		PERFORM billing.cancel_subscription(s.tenant_id, s.subscription_id, 'now', proration => 'none') FROM billing.subscription s JOIN reckoned r USING (tenant_id)
			WHERE r.ends_early AND s.ended_at IS NULL AND l.at > r.due_at AND l.at < r.suspend_at;
		PERFORM billing.dunning(1 + floor(random() * 40)::int);
		LOOP
			looked := billing.dunning();
			EXIT WHEN looked = 0;
		END LOOP;
		-- What should be by now and is not, and what is and should not be.
		INSERT INTO wrong SELECT l.at, format('%s: subscription %s, suspend_at %s', r.tenant_id, s.status, r.suspend_at) FROM reckoned r JOIN billing.subscription s USING (tenant_id)
			WHERE s.created_at <= l.at AND s.status <> CASE WHEN s.ended_at IS NOT NULL THEN 'canceled' WHEN r.suspend_at <= l.at THEN 'suspended' WHEN r.due_at < l.at THEN 'past_due' ELSE 'active' END;
		INSERT INTO wrong SELECT l.at, format('%s: tenant %s', r.tenant_id, t.status) FROM reckoned r JOIN billing.tenant t USING (tenant_id)
			WHERE r.due_at < l.at AND t.status <> CASE WHEN r.suspend_at <= l.at THEN 'frozen' ELSE 'active' END;
		INSERT INTO wrong SELECT l.at, format('%s: invoice %s', r.tenant_id, v.status) FROM reckoned r JOIN billing.invoice v USING (tenant_id)
			WHERE v.status <> CASE WHEN r.give_up_at <= l.at THEN 'uncollectible' ELSE 'open' END AND r.due_at < l.at AND v.kind = 'cycle' AND v.due_at = r.due_at;
		INSERT INTO wrong SELECT l.at, format('%s: attempts %s', r.tenant_id, o.made) FROM reckoned r
			CROSS JOIN LATERAL (SELECT count(*) AS made FROM billing.collection_attempt a WHERE a.tenant_id = r.tenant_id) o
			WHERE r.due_at <= l.at AND r.give_up_at IS NULL AND o.made <> CASE WHEN r.collection = 'automatic' THEN (SELECT count(*) FROM unnest(r.attempts) t WHERE t <= l.at) ELSE 0 END;
	END LOOP;
END $$;

SELECT is_empty('SELECT at, what FROM wrong ORDER BY 1, 2 LIMIT 20', 'after each look all is as the second reckoning says');
SELECT cmp_ok((SELECT count(*) FROM billing.subscription WHERE tenant_id > 9961000 AND status = 'suspended'), '>', 60::bigint, 'many were suspended');
SELECT cmp_ok((SELECT count(*) FROM billing.subscription JOIN billing.tenant t USING (tenant_id) WHERE tenant_id > 9961000 AND ended_at IS NOT NULL AND t.is_unpaid), '>', 5::bigint,
	'some canceled before, and are frozen all the same');
SELECT cmp_ok((SELECT count(*) FROM billing.invoice WHERE tenant_id > 9961000 AND status = 'uncollectible'), '>', 30::bigint, 'many were given up');
SELECT is_empty($$ SELECT a.* FROM billing.collection_attempt a JOIN reckoned r USING (tenant_id) WHERE a.due_at <> r.attempts[a.attempt_no + 1] OR a.created_at < a.due_at $$,
	'each attempt was due on its day, and made then or later');
SELECT is_empty($$ SELECT a.* FROM billing.collection_attempt a WHERE a.tenant_id > 9961000 AND (a.status = 'missed') <> EXISTS (SELECT FROM billing.collection_attempt b
	WHERE b.tenant_id = a.tenant_id AND b.invoice_id = a.invoice_id AND b.attempt_no > a.attempt_no AND b.due_at <= a.created_at) $$, 'one was missed where a later one was due when somebody came');
SELECT cmp_ok((SELECT count(*) FROM billing.collection_attempt WHERE tenant_id > 9961000 AND status = 'missed'), '>', 10::bigint, 'which happened');
SELECT is_empty($$ SELECT c.* FROM billing.subscription_change c JOIN reckoned r USING (tenant_id) WHERE c.kind = 'suspended' AND (c.effective_at < r.suspend_at
	OR EXISTS (SELECT FROM billing.collection_attempt a WHERE a.tenant_id = c.tenant_id AND a.created_at > c.effective_at)) $$, 'nobody was suspended before the last attempt was made');
SELECT is_empty($$ SELECT d.* FROM billing.invoice_dunning d JOIN billing.invoice v USING (tenant_id, invoice_id) WHERE d.tenant_id > 9961000
	AND (d.next_at IS NOT NULL AND d.next_at <= billing.now() OR v.status = 'uncollectible' AND d.next_at IS NOT NULL) $$, 'what was given up is not looked at any more, nor anything again at once');
SELECT is_empty($$ SELECT invariant, tenant_id, object, detail FROM billing.audit() WHERE tenant_id BETWEEN 9961001 AND 9961120 $$, 'the audit finds nothing');

SELECT * FROM finish();
ROLLBACK;
