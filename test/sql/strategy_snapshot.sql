-- One statement is priced by one registration: a change that comes in between is
-- seen by the next statement.
CREATE SCHEMA pricing;
CREATE FUNCTION pricing.one(numeric, jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$ SELECT 1.0 $$;
CREATE FUNCTION pricing.hundred(numeric, jsonb) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$ SELECT 100.0 $$;
CREATE FUNCTION pricing.raise_price() RETURNS text LANGUAGE sql AS $$
	UPDATE billing.strategy SET function = 'pricing.hundred' WHERE code = 'changing' RETURNING 'raised'
$$;
INSERT INTO billing.strategy (code, function) VALUES ('changing', 'pricing.one');
SELECT billing.charge_strategy('changing', 1, '{}', 'USD') AS before, pricing.raise_price(),
	billing.charge_strategy('changing', 1, '{}', 'USD') AS after;
SELECT billing.charge_strategy('changing', 1, '{}', 'USD');
DELETE FROM billing.strategy;
DROP SCHEMA pricing CASCADE;
