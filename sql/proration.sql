
-- proration: what a part of a period costs ---------------------------------

CREATE FUNCTION billing.prorate(amount billing.amount, whole tstzrange, part tstzrange, basis text DEFAULT 'second', timezone text DEFAULT 'UTC')
RETURNS billing.amount
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_prorate';
COMMENT ON FUNCTION billing.prorate(billing.amount, tstzrange, tstzrange, text, text)
	IS 'the share of amount, the price of the period whole, that falls to part: by elapsed time (basis second), by calendar days in timezone (day) or all of it for any part (none); both ranges bounded and half-open [); only what part shares with whole counts; parts that split whole sum to amount exactly, but for none; same currency, rounded half away from zero to its minor unit; 22023 bad range, basis or time zone';
