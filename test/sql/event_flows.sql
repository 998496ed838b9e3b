-- Promise: whatever happens is told once, by what made it happen, in its transaction and in the order in which it happened; a
-- retry tells nothing, nor does what is rolled back.

BEGIN;
SET LOCAL timezone TO 'UTC';
SET LOCAL datestyle TO 'ISO';
\pset format unaligned
\pset null -
SET LOCAL billing.test_clock TO '2026-01-31T12:00:00Z';

INSERT INTO billing.plan (plan_id, code, name, cycle, trial_days, features, limits) VALUES
	(7101, 'told', 'Told', '1 month', 0, '{"export": true}', '[]'), (7102, 'told_more', 'More', '1 month', 0, '{"export": true, "sync": true}', '[]');
INSERT INTO billing.price (plan_id, code, tariff) VALUES
	(7101, 'base', '{"model":"flat","currency":"USD","amount":"31"}'), (7102, 'base', '{"model":"flat","currency":"USD","amount":"62"}');

-- What was told since this was last asked, with what the payload says of its object.
CREATE TEMPORARY TABLE asked (up_to bigint);
INSERT INTO asked VALUES (0);
CREATE FUNCTION pg_temp.told(tenant bigint) RETURNS TABLE (type text, object text) LANGUAGE sql AS $$
	WITH since AS (UPDATE asked SET up_to = (SELECT coalesce(max(event_id), 0) FROM billing.event) RETURNING (SELECT up_to FROM asked) AS id)
	SELECT e.type, concat_ws(' ', o ->> 'number', o ->> 'pay_no', o ->> 'status', o ->> 'amount_due', o ->> 'plan', o ->> 'period_start')
	FROM billing.event e CROSS JOIN LATERAL (SELECT e.payload #> '{data,object}') d (o), since s
	WHERE e.tenant_id = told.tenant AND e.event_id > s.id ORDER BY e.event_id
$$;

SELECT tenant_id FROM billing.create_tenant(7101, 'Told', request_id => 'r');
SELECT tenant_id FROM billing.create_tenant(7101, 'Told', request_id => 'r');
SELECT * FROM pg_temp.told(7101);
SELECT status FROM billing.subscribe(7101, 'told', request_id => 's');
SELECT status FROM billing.subscribe(7101, 'told', request_id => 's');
SELECT * FROM pg_temp.told(7101);
ROLLBACK;
