-- Promise: a plan's name means its latest active version of the cycle and currency asked for, and what is not offered is said;
-- who subscribed stays on the version they have.
\set SHOW_CONTEXT never
SET billing.test_clock = '2026-03-01T00:00:00Z';
BEGIN;
\set ON_ERROR_ROLLBACK on
INSERT INTO billing.plan (plan_id, code, version, name, cycle, currency, is_active) VALUES
	(9501, 'versions', 1, 'V', '1 month', 'USD', true), (9502, 'versions', 2, 'V', '1 month', 'USD', true), (9503, 'versions', 3, 'V', '1 month', 'USD', false),
	(9504, 'versions', 1, 'V', '1 year', 'USD', true), (9505, 'versions', 1, 'V', NULL, 'USD', true),
	(9506, 'versions', 1, 'V', '1 month', 'EUR', true), (9507, 'versions', 4, 'V', '2 months', 'GBP', false),
	(9508, 'versions_one', 1, 'V', '1 year', 'USD', true);
INSERT INTO billing.price (plan_id, code, tariff)
SELECT plan_id, 'base', format('{"model":"flat","currency":"%s","amount":"9"}', currency)::billing.tariff FROM billing.plan WHERE plan_id BETWEEN 9501 AND 9508;
SELECT (billing.create_tenant(t, 'V' || t, c)).tenant_id FROM (VALUES (9501, 'USD'), (9502, 'EUR'), (9503, 'GBP')) AS v (t, c);

SELECT plan_id FROM billing.subscribe(9501, 'versions', cycle => '1 month');
SELECT plan_id FROM billing.subscribe(9501, 'versions', cycle => '12 months');
SELECT plan_id FROM billing.subscribe(9501, 'versions', cycle => '0');
SELECT plan_id FROM billing.subscribe(9501, 'versions_one');
SELECT plan_id FROM billing.subscribe(9502, 'versions');
SELECT plan_id FROM billing.subscribe(9502, 'versions', cycle => '1 month', currency => 'usd');
SELECT billing.subscribe(9501, 'versions');
SELECT billing.subscribe(9501, 'versions', cycle => '30 days');
SELECT billing.subscribe(9502, 'versions', cycle => '1 year');
SELECT billing.subscribe(9503, 'versions');
SELECT billing.subscribe(9501, 'versions', currency => 'XYZ');
SELECT billing.subscribe(9501, 'none');

-- Superseded: new ones get version 3, the old subscription keeps 2.
UPDATE billing.plan SET is_active = plan_id = 9503 WHERE plan_id IN (9502, 9503);
SELECT plan_id FROM billing.subscribe(9501, 'versions', cycle => '1 month');
SELECT plan_id, version, is_active, used_at, price_codes FROM billing.plan WHERE plan_id BETWEEN 9501 AND 9508 ORDER BY plan_id;
UPDATE billing.plan SET is_active = false WHERE code = 'versions';
SELECT billing.subscribe(9501, 'versions');
ROLLBACK;
