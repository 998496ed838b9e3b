
-- strategy -----------------------------------------------------------------

-- The function is text, schema.function: a reg* column would block pg_upgrade.
CREATE TABLE billing.strategy (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT strategy_code_is_name CHECK (code ~ '^[a-z0-9_.-]{1,63}$'),
	function	text COLLATE "C" NOT NULL,
	description	text
);
COMMENT ON TABLE billing.strategy
	IS 'custom pricing functions (quantity numeric, parameters jsonb) returns numeric, immutable, that a superuser registered';
COMMENT ON COLUMN billing.strategy.code IS 'what prices call it';
COMMENT ON COLUMN billing.strategy.function IS 'signature, as text: what prices run';
COMMENT ON COLUMN billing.strategy.description IS 'for people';
SELECT pg_catalog.pg_extension_config_dump('billing.strategy', '');

CREATE FUNCTION billing.strategy_guard()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_strategy_guard';
COMMENT ON FUNCTION billing.strategy_guard()
	IS 'trigger of billing.strategy: only a superuser may write it, and only names of the form schema.function; raises 42501, 22023';

CREATE TRIGGER strategy_guard
BEFORE INSERT OR UPDATE OR DELETE ON billing.strategy
FOR EACH ROW EXECUTE FUNCTION billing.strategy_guard();

CREATE TRIGGER strategy_guard_truncate
BEFORE TRUNCATE ON billing.strategy
FOR EACH STATEMENT EXECUTE FUNCTION billing.strategy_guard();

CREATE FUNCTION billing.charge_strategy(strategy text, quantity numeric, parameters jsonb, currency text)
RETURNS billing.amount
LANGUAGE C STABLE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_charge_strategy';
COMMENT ON FUNCTION billing.charge_strategy(text, numeric, jsonb, text)
	IS 'what quantity costs by a registered strategy, rounded once to the currency; its function runs as its own owner, restricted; raises YB001 for an unknown strategy, 42883 or 42P13 when the function is gone or not as it must be, 22023 for an unknown currency, 22003 when it returns NULL, NaN or infinity, YB003';

CREATE FUNCTION billing.strategy_digest(strategy text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT sha256(convert_to(pg_get_functiondef(to_regprocedure(s.function || '(numeric,jsonb)')), 'UTF8'))
	FROM billing.strategy s WHERE s.code = strategy_digest.strategy);
COMMENT ON FUNCTION billing.strategy_digest(text)
	IS 'SHA-256 of the definition of a strategy''s function: what a calculation log names it by; NULL if there is none';
