
-- period: where billing periods begin and end ------------------------------

CREATE FUNCTION billing.period_n(anchor timestamptz, cycle interval, n int, timezone text)
RETURNS tstzrange
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_period_n';
COMMENT ON FUNCTION billing.period_n(timestamptz, interval, int, text)
	IS 'period n of anchor and cycle: [anchor + n x cycle, anchor + (n + 1) x cycle), months and days on the wall clock of timezone (an IANA name), the rest of the cycle as elapsed time; period 0 starts at the anchor; empty where a clock change skips it; 22023 bad cycle, time zone or infinite anchor, 22008 beyond the range of timestamptz';

CREATE FUNCTION billing.period_at(anchor timestamptz, cycle interval, at timestamptz, timezone text)
RETURNS tstzrange
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_period_at';
COMMENT ON FUNCTION billing.period_at(timestamptz, interval, timestamptz, text)
	IS 'the period of anchor and cycle that holds at: half-open [), as period_n counts it, never empty; timezone is an IANA name; 22023 bad cycle, time zone or infinite instant, 22008 beyond the range of timestamptz';

CREATE FUNCTION billing.cycle_divides(divisor interval, cycle interval)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_cycle_divides';
COMMENT ON FUNCTION billing.cycle_divides(interval, interval)
	IS 'whether whole divisors fill cycle however long its months and days are: one whole number by which the months, the days and the time of divisor each give those of cycle; 22023 unless both are positive intervals';

CREATE FUNCTION billing.is_timezone(timezone text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_timezone';
COMMENT ON FUNCTION billing.is_timezone(text)
	IS 'true of a full name of the IANA time zone database; raises 22023 of anything else';
