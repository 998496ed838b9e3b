-- Promise: billing.sealed takes only its own canonical text, no error repeats what it was given, and
-- nothing but four digits that were sealed as last4 comes out again.

-- Runs a statement with one text parameter and shows the error it ends in, all of it, by its fields.
CREATE FUNCTION pg_temp.attempt(statement text, input text DEFAULT NULL,
	OUT state text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement USING input;
	state := '00000';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;

-- Hostile literals.  38 A's are 28 zero bytes: a nonce, no ciphertext, a tag.
CREATE TEMP TABLE hostile (n int GENERATED ALWAYS AS IDENTITY, what text, input text);
INSERT INTO hostile (what, input) VALUES
	('empty', ''),
	('a plaintext', 'sk_live_4eC39HqLyjWDarjtT1zdp7dc'),
	('a card number', '4242424242424242'),
	('prefix alone', 'sealed'),
	('version alone', 'sealed:1:'),
	('no version', 'sealed:k:' || repeat('A', 38)),
	('version 0', 'sealed:0:k:' || repeat('A', 38)),
	('version 2', 'sealed:2:k:' || repeat('A', 38)),
	('version 01', 'sealed:01:k:' || repeat('A', 38)),
	('version 1 and a blank', 'sealed:1 :k:' || repeat('A', 38)),
	('upper case', 'SEALED:1:k:' || repeat('A', 38)),
	('blank in front', ' sealed:1:k:' || repeat('A', 38)),
	('blank behind', 'sealed:1:k:' || repeat('A', 38) || ' '),
	('newline behind', 'sealed:1:k:' || repeat('A', 38) || E'\n'),
	('no key id', 'sealed:1::' || repeat('A', 38)),
	('no second colon', 'sealed:1:k' || repeat('A', 38)),
	('key id of 33', 'sealed:1:' || repeat('k', 33) || ':' || repeat('A', 38)),
	('key id of 300', 'sealed:1:' || repeat('k', 300) || ':' || repeat('A', 38)),
	('key id with a blank', 'sealed:1:k k:' || repeat('A', 38)),
	('key id with a slash', 'sealed:1:../k:' || repeat('A', 38)),
	('key id not ASCII', 'sealed:1:é:' || repeat('A', 38)),
	('no value', 'sealed:1:k:'),
	('truncated', 'sealed:1:k:' || repeat('A', 36)),
	('length of no bytes', 'sealed:1:k:' || repeat('A', 41)),
	('bits of no byte', 'sealed:1:k:' || repeat('A', 37) || 'B'),
	('padding', 'sealed:1:k:' || repeat('A', 38) || '=='),
	('plus', 'sealed:1:k:' || repeat('A', 37) || '+'),
	('slash', 'sealed:1:k:' || repeat('A', 37) || '/'),
	('colon', 'sealed:1:k:' || repeat('A', 38) || ':'),
	('control character', 'sealed:1:k:' || repeat('A', 37) || E'\x01'),
	('not ASCII', 'sealed:1:k:' || repeat('A', 36) || 'é'),
	('hexadecimal bytea', '\x' || repeat('00', 28)),
	('one byte too long', 'sealed:1:k:' || repeat('A', 87420)),
	('huge', 'sealed:1:k:' || repeat('A', 10000000)),
	('huge plaintext', repeat('secret', 1000000));

SELECT n, what, state, detail FROM hostile, pg_temp.attempt('SELECT $1::billing.sealed', input) ORDER BY n;
SELECT DISTINCT message, hint FROM hostile, pg_temp.attempt('SELECT $1::billing.sealed', input);

-- No field of any error holds the input, nor a part of it that is long enough to tell.
SELECT count(*) AS repeated
FROM hostile, pg_temp.attempt('SELECT $1::billing.sealed', input)
WHERE length(input) BETWEEN 16 AND 100 AND strpos(concat(message, detail, hint), right(input, 12)) > 0;

-- What is canonical comes out as it went in, whether or not its key is here.
SELECT input, input::billing.sealed::text = input AS same
FROM (VALUES ('sealed:1:k:' || repeat('A', 38)),
			 ('sealed:1:2026-11_a.B:' || repeat('A', 38) || '-_'),
			 ('sealed:1:' || repeat('k', 32) || ':' || repeat('A', 38) || '8'))
	AS canonical (input);
SELECT length(('sealed:1:k:' || repeat('A', 87419))::billing.sealed::text);
SELECT billing.sealed_key_id(('sealed:1:2026-11_a.B:' || repeat('A', 38))::billing.sealed);

-- Sealing prints no plaintext, and the same secret never twice the same.
CREATE TEMP TABLE vault (id int PRIMARY KEY, tenant_id bigint, purpose text, value billing.sealed);
INSERT INTO vault VALUES
	(1, 1, 'token', billing.seal(1, 'token', 'tok_visa')),
	(2, 1, 'token', billing.seal(1, 'token', 'tok_visa')),
	(3, 1, 'last4', billing.seal(1, 'last4', '4242')),
	(4, 2, 'last4', billing.seal(2, 'last4', '0000')),
	(5, 1, 'empty', billing.seal(1, 'empty', '')),
	(6, -9223372036854775808, 'last4', billing.seal(-9223372036854775808, 'last4', '1234')),
	(7, 1, repeat('p', 63), billing.seal(1, repeat('p', 63), repeat('s', 65536))),
	(8, 1, 'last4', billing.seal(1, 'last4', '424')),
	(9, 1, 'last4', billing.seal(1, 'last4', '42424')),
	(10, 1, 'last4', billing.seal(1, 'last4', '42 2')),
	(11, 1, 'last4', billing.seal(1, 'last4', '٤٢٤٢')),
	(12, 1, 'last4', billing.seal(1, 'last4', ''));
SELECT id, value::text ~ '^sealed:1:test:[A-Za-z0-9_-]+$' AS canonical,
	value::text LIKE '%tok_visa%' AS readable, length(value::text)
FROM vault ORDER BY id;
SELECT a.value::text = b.value::text AS alike FROM vault a, vault b WHERE a.id = 1 AND b.id = 2;
SELECT count(DISTINCT billing.seal(1, 'token', 'x')::text) FROM generate_series(1, 1000);
SELECT bool_or(strpos(encode(billing.sealed_send(value), 'escape'), 'tok_visa') > 0) AS readable FROM vault;

-- NULL is no secret.
SELECT billing.seal(NULL, 'token', 'x') IS NULL AND billing.seal(1, NULL, 'x') IS NULL
	AND billing.seal(1, 'token', NULL) IS NULL AND billing.last4(1, NULL) IS NULL AS nothing;

-- last4 masks.
SELECT billing.last4(tenant_id, value) FROM vault WHERE id IN (3, 4, 6) ORDER BY id;

-- It shows nothing that is not four digits, nor anything sealed for something or someone else.
SELECT id, state, message, detail
FROM vault, pg_temp.attempt(format('SELECT billing.last4(1, %L)', value))
WHERE id IN (1, 4, 8, 9, 10, 11, 12) ORDER BY id;

-- Resealing wants the tenant and the purpose it was sealed with; an empty secret and the longest one reseal.
SELECT id, purpose = repeat('p', 63) AS long, billing.sealed_key_id(billing.reseal(tenant_id, purpose, value)),
	billing.reseal(tenant_id, purpose, value)::text = value::text AS alike
FROM vault WHERE id IN (1, 5, 7) ORDER BY id;
SELECT billing.last4(1, billing.reseal(1, 'last4', value)) FROM vault WHERE id = 3;
SELECT other.tenant, other.purpose, state, message
FROM vault,
	(VALUES (2::bigint, 'token'), (1, 'last4'), (1, 'toke'), (1, 'token '), (1, 'Token'), (257, 'token')) AS other (tenant, purpose),
	pg_temp.attempt(format('SELECT billing.reseal(%s, %L, %L)', other.tenant, other.purpose, value))
WHERE id = 1;

-- Every bit counts: flip any of nonce, ciphertext and tag, and the value does not open.
CREATE FUNCTION pg_temp.from_bytes(bytes bytea) RETURNS text
LANGUAGE sql AS $$
	SELECT 'sealed:1:test:' || translate(rtrim(replace(encode(bytes, 'base64'), E'\n', ''), '='), '+/', '-_')
$$;
WITH whole AS (
	SELECT substr(billing.sealed_send(value), 7) AS bytes FROM vault WHERE id = 1
)
SELECT state, count(*)
FROM whole, generate_series(0, length(bytes) * 8 - 1) AS bit,
	pg_temp.attempt('SELECT billing.reseal(1, ''token'', $1::billing.sealed)',
		pg_temp.from_bytes(set_bit(bytes, bit, 1 - get_bit(bytes, bit))))
GROUP BY state;

-- Cut short, it is refused: by its structure, or because its tag is gone.
WITH whole AS (
	SELECT substr(billing.sealed_send(value), 7) AS bytes FROM vault WHERE id = 1
)
SELECT state, min(n), max(n)
FROM whole, generate_series(0, length(bytes) - 1) AS n,
	pg_temp.attempt('SELECT billing.reseal(1, ''token'', $1::billing.sealed)', pg_temp.from_bytes(substr(bytes, 1, n)))
GROUP BY state ORDER BY state;

-- A key that is not there.
SELECT state, message, detail, hint
FROM vault, pg_temp.attempt('SELECT billing.reseal(1, ''token'', $1::billing.sealed)', replace(value::text, ':test:', ':other:'))
WHERE id = 1;

-- Limits, of which the messages repeat neither purpose nor secret.
SELECT state, message, detail, hint
FROM unnest(ARRAY[
	$$SELECT billing.seal(1, '', 'tok_visa')$$,
	$$SELECT billing.seal(1, repeat('p', 64), 'tok_visa')$$,
	$$SELECT billing.seal(1, 'token', repeat('s', 65537))$$,
	$$SELECT billing.reseal(1, '', value) FROM vault$$]) AS statement,
	pg_temp.attempt(statement);

-- No equality, no order, no cast.
SELECT state, message FROM pg_temp.attempt('SELECT value = value FROM vault');
SELECT state, message FROM pg_temp.attempt('SELECT DISTINCT value FROM vault');
SELECT count(*) FROM pg_cast WHERE 'billing.sealed'::regtype IN (castsource, casttarget);

-- The keys, without their bytes.
SELECT * FROM billing.seal_keys();

-- PUBLIC may do none of it.
SELECT has_type_privilege('public', 'billing.sealed', 'USAGE') AS usage,
	count(*) FILTER (WHERE has_function_privilege('public', p.oid, 'EXECUTE')) AS executable
FROM pg_proc p WHERE pronamespace = 'billing'::regnamespace AND proname ~ 'seal|last4';

-- Binary COPY carries it both ways.
\set file `mktemp -u /tmp/billing_sealed.XXXXXX`
CREATE TEMP TABLE vault_copy (LIKE vault);
COPY vault TO :'file' (FORMAT binary);
COPY vault_copy FROM :'file' (FORMAT binary);
SELECT count(*) FROM vault JOIN vault_copy USING (id) WHERE vault.value::text = vault_copy.value::text;

-- Hostile bytes: a bytea that was written so is read as a sealed value.
SELECT set_config('test.file', :'file', false) IS NOT NULL AS set;
CREATE TEMP TABLE raw (bytes bytea);
CREATE TEMP TABLE received (value billing.sealed);
CREATE FUNCTION pg_temp.receive(bytes bytea, OUT state text, OUT message text, OUT detail text)
LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM raw;
	INSERT INTO raw VALUES (bytes);
	EXECUTE format('COPY raw TO %L (FORMAT binary)', current_setting('test.file'));
	SELECT a.state, a.message, a.detail INTO state, message, detail
	FROM pg_temp.attempt(format('COPY received FROM %L (FORMAT binary)', current_setting('test.file'))) a;
END $$;
SELECT what, state, message, detail
FROM (VALUES
	('whole', '\x01016b'::bytea || decode(repeat('00', 28), 'hex')),
	('empty', ''),
	('version alone', '\x01'),
	('a plaintext', 'sk_live_4eC39HqLyjWDarjtT1zdp7dc'),
	('version 0', '\x00016b' || decode(repeat('00', 28), 'hex')),
	('version 2', '\x02016b' || decode(repeat('00', 28), 'hex')),
	('no key id', '\x0100' || decode(repeat('00', 29), 'hex')),
	('key id of 33', '\x0121' || decode(repeat('6b', 33) || repeat('00', 28), 'hex')),
	('key id of 255', '\x01ff' || decode(repeat('6b', 255) || repeat('00', 28), 'hex')),
	('key id longer than the value', '\x01206b' || decode(repeat('00', 28), 'hex')),
	('key id of zero bytes', '\x010100' || decode(repeat('00', 28), 'hex')),
	('key id with a colon', '\x01013a' || decode(repeat('00', 28), 'hex')),
	('truncated', '\x01016b' || decode(repeat('00', 27), 'hex')),
	('longest', '\x01016b' || decode(repeat('00', 65536 + 28), 'hex')),
	('one byte too long', '\x01016b' || decode(repeat('00', 65537 + 28), 'hex')),
	('huge', '\x01016b' || decode(repeat('00', 1000000), 'hex'))) AS hostile_bytes (what, bytes),
	pg_temp.receive(bytes);
SELECT count(*), max(length(value::text)) FROM received;
\setenv FILE :file
\! rm -f "$FILE"
