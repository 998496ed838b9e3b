
-- sealed: a secret that is stored, dumped and shown as ciphertext -----------

CREATE TYPE billing.sealed;

CREATE FUNCTION billing.sealed_in(cstring)
RETURNS billing.sealed
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_sealed_in';
COMMENT ON FUNCTION billing.sealed_in(cstring)
	IS 'I/O of billing.sealed: takes only what billing.seal() returned and never repeats anything else; 22P02';

CREATE FUNCTION billing.sealed_out(billing.sealed)
RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_sealed_out';
COMMENT ON FUNCTION billing.sealed_out(billing.sealed)
	IS 'I/O of billing.sealed: the ciphertext, as sealed:1:<key id>:<base64url>';

CREATE FUNCTION billing.sealed_recv(internal)
RETURNS billing.sealed
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_sealed_recv';
COMMENT ON FUNCTION billing.sealed_recv(internal)
	IS 'I/O of billing.sealed: takes only what billing.sealed_send() returned; 22P03';

CREATE FUNCTION billing.sealed_send(billing.sealed)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_sealed_send';
COMMENT ON FUNCTION billing.sealed_send(billing.sealed)
	IS 'I/O of billing.sealed: the ciphertext, as bytes';

-- Ciphertext does not compress: a long one is moved out of line as it is.
CREATE TYPE billing.sealed (
	INPUT = billing.sealed_in,
	OUTPUT = billing.sealed_out,
	RECEIVE = billing.sealed_recv,
	SEND = billing.sealed_send,
	STORAGE = external
);
COMMENT ON TYPE billing.sealed
	IS 'a secret as AES-256-GCM ciphertext with the id of its key, bound to one tenant and one purpose; it has no equality, because two seals of one secret differ';

CREATE FUNCTION billing.seal(tenant_id bigint, purpose text, secret text)
RETURNS billing.sealed
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_seal';
COMMENT ON FUNCTION billing.seal(bigint, text, text)
	IS 'secret, at most 65536 bytes, sealed for tenant_id and purpose, a name of 1 to 63 bytes such as token, last4 or endpoint_secret, with the first key of the key file; pass secret as a bind parameter, since a literal is in the server log; 22023 purpose, 54000 too long, 55000 no key file or no key in it, F0000 malformed or unsafe key file, class 58 and 42501 unreadable key file';

CREATE FUNCTION billing.reseal(tenant_id bigint, purpose text, value billing.sealed)
RETURNS billing.sealed
LANGUAGE C VOLATILE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_reseal';
COMMENT ON FUNCTION billing.reseal(bigint, text, billing.sealed)
	IS 'value, which was sealed for tenant_id and purpose, sealed again with the first key of the key file; YB011 another tenant, purpose or key, or a damaged value, 55000 its key is not in the key file, and the errors of billing.seal()';

CREATE FUNCTION billing.last4(tenant_id bigint, value billing.sealed)
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_last4';
COMMENT ON FUNCTION billing.last4(bigint, billing.sealed)
	IS 'the last four digits of a card as **** 4242, from a value sealed for tenant_id with purpose last4; 22023 not four digits, YB011 another tenant, purpose or key, or a damaged value, 55000 its key is not in the key file, and the errors of the key file that billing.seal() has';

CREATE FUNCTION billing.sealed_key_id(value billing.sealed)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_sealed_key_id';
COMMENT ON FUNCTION billing.sealed_key_id(billing.sealed)
	IS 'the id of the key that value was sealed with; needs no key';

CREATE FUNCTION billing.seal_keys(OUT key_id text, OUT is_current boolean)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_seal_keys';
COMMENT ON FUNCTION billing.seal_keys()
	IS 'the ids of the keys in the key file, in its order; is_current is the one that seals; the errors of the key file that billing.seal() has';
