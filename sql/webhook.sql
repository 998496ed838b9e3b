
-- webhook: where events go ------------------------------------------------------------

CREATE FUNCTION billing.is_public_address(address inet)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_is_public_address';
COMMENT ON FUNCTION billing.is_public_address(inet)
	IS 'whether a webhook may go to an address while setting billing.webhook_allow_private is off: false for loopback, private and link-local networks, the metadata of clouds and all that RFC 6890 sets aside; of IPv6 true for global unicast only; an IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is as that one; the mask does not count';
