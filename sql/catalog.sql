
-- catalog: who changed the global tables -----------------------------------------

CREATE FUNCTION billing.catalog_audit()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_catalog_audit';
COMMENT ON FUNCTION billing.catalog_audit()
	IS 'trigger AFTER UPDATE OR DELETE of a global table, whose key its arguments are: writes the row before and after to audit_log, for tenant 0';

CREATE TRIGGER strategy_audit
AFTER UPDATE OR DELETE ON billing.strategy
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');

CREATE TRIGGER setting_audit
AFTER UPDATE OR DELETE ON billing.setting
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('name');

CREATE TRIGGER meter_audit
AFTER UPDATE OR DELETE ON billing.meter
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');

CREATE TRIGGER feature_audit
AFTER UPDATE OR DELETE ON billing.feature
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');

CREATE TRIGGER plan_audit
AFTER UPDATE OR DELETE ON billing.plan
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('plan_id');

CREATE TRIGGER price_audit
AFTER UPDATE OR DELETE ON billing.price
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('plan_id', 'code');

CREATE TRIGGER tax_rate_audit
AFTER UPDATE OR DELETE ON billing.tax_rate
FOR EACH ROW EXECUTE FUNCTION billing.catalog_audit('code');
