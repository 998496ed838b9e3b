
-- rerate: prices that are corrected after they were billed ---------------------------

CREATE FUNCTION billing.rerate(plan text, price_code text, tariff billing.tariff, period tstzrange, tenant_id bigint DEFAULT NULL,
	version integer DEFAULT NULL, cycle interval DEFAULT NULL, reason text DEFAULT NULL)
RETURNS TABLE (tenant_id bigint, subscription_id bigint, invoice_id bigint, line integer, quantity numeric,
	difference billing.amount, period_start timestamptz, period_end timestamptz)
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_rerate';
COMMENT ON FUNCTION billing.rerate(text, text, billing.tariff, tstzrange, bigint, integer, interval, text)
	IS 'corrects a price of a plan version in the past: of each line of a final invoice that was billed by it for a period of service that starts in period, the next invoice books what it costs by tariff less what was billed for it in all; tenant_id NULL: of all tenants; version and cycle (0: lifetime) where the plan has several in the tariff''s currency; the plan keeps its price, and what is billed from here on costs what it did; the same call again books nothing more; returns the lines whose difference is still to be booked, and how much; 22004, 22023 an empty period, a plan that is not named well enough or a tariff per event of a price without a meter, YB001 no such plan, price or tenant, YB002 a tariff in no currency of the plan, YB003, YB015';
