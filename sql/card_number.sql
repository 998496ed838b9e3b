
-- card_number: what is never stored --------------------------------------------------

CREATE FUNCTION billing.has_no_card(value text)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_has_no_card';
COMMENT ON FUNCTION billing.has_no_card(text)
	IS 'true of a text without the number of a card (a token of digits with a prefix and as many as some brand has, and the check digit; also in groups with blanks or dashes between, and in digits of any script) and without its code (three or four digits behind cvv, cvc, cvn, csc or security code); raises 22023 of any other, without repeating it: a CHECK constraint would show the row';

CREATE FUNCTION billing.has_no_card(value jsonb)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_has_no_card_json';
COMMENT ON FUNCTION billing.has_no_card(jsonb)
	IS 'true of JSON none of whose keys and values has the number or the code of a card in it, also where a member is called cvv, cvc, cvn, csc or security_code and has three or four digits; raises 22023 of any other, without repeating it';
