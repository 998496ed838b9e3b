
-- clock --------------------------------------------------------------------

CREATE FUNCTION billing.now()
RETURNS timestamptz
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_now';
COMMENT ON FUNCTION billing.now()
	IS 'the instant billing takes as the present: the start of the transaction, or the superuser setting billing.test_clock';
