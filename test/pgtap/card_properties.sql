-- Numbers of cards over generated data: each brand's are refused however they are written, and what misses one of the rules passes.
BEGIN;
SELECT plan(10);

CREATE FUNCTION pg_temp.is_refused(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN NOT billing.has_no_card(value);
EXCEPTION WHEN invalid_parameter_value THEN
	IF SQLERRM ~ '[0-9]' THEN
		RAISE 'repeated: %', SQLERRM USING ERRCODE = 'XX000';
	END IF;
	RETURN true;
END $$;
CREATE FUNCTION pg_temp.is_refused(value jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN NOT billing.has_no_card(value);
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN true;
END $$;

-- The check digit as ISO/IEC 7812-1 tells it: every other digit from the right, beginning with the one before it, counts double.
CREATE FUNCTION pg_temp.with_check(body text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT body || (10 - sum(CASE WHEN p % 2 = 1 THEN (2 * d) / 10 + (2 * d) % 10 ELSE d END) % 10) % 10
	FROM (SELECT n AS p, substr(reverse(body), n, 1)::int AS d FROM generate_series(1, length(body)) n) s $$;

-- Prefixes as brands publish them, and how many digits their numbers have.
CREATE TEMP TABLE brand (name text, least text, most text, digits int);
INSERT INTO brand VALUES ('visa', '4', '4', 13), ('visa', '4', '4', 16), ('visa', '4', '4', 19), ('mastercard', '51', '55', 16), ('mastercard', '2221', '2720', 16),
	('amex', '34', '34', 15), ('amex', '37', '37', 15), ('diners', '300', '305', 14), ('diners', '36', '36', 14), ('diners', '38', '39', 14), ('discover', '6011', '6011', 16),
	('discover', '644', '649', 16), ('discover', '65', '65', 16), ('jcb', '3528', '3589', 16), ('unionpay', '62', '62', 16), ('unionpay', '62', '62', 19),
	('maestro', '6759', '6759', 16), ('maestro', '5018', '5018', 13), ('mir', '2200', '2204', 16);
CREATE TEMP TABLE card AS
SELECT b.name, pg_temp.with_check(rpad(p.prefix, b.digits - 1, lpad((random() * 1e18)::bigint::text, 18, '0'))) AS number
FROM brand b CROSS JOIN generate_series(1, 200) n
CROSS JOIN LATERAL (SELECT (b.least::int + floor(random() * (b.most::int - b.least::int + 1)) + n * 0)::int::text AS prefix) p;

SELECT cmp_ok((SELECT count(DISTINCT number) FROM card), '>', 3700::bigint, 'thousands of numbers of cards');
SELECT is_empty('SELECT * FROM card WHERE NOT pg_temp.is_refused(number)', 'each is refused');
SELECT is_empty('SELECT * FROM card WHERE NOT pg_temp.is_refused(format(''paid (%s), thanks'', number))', 'and within a sentence');
SELECT is_empty($$SELECT * FROM card WHERE NOT pg_temp.is_refused(jsonb_build_object('a', jsonb_build_array(1, jsonb_build_object('b', number))))
	OR NOT pg_temp.is_refused(jsonb_build_object('a', number::numeric))$$, 'and within JSON, as a string or a number');
SELECT is_empty($$SELECT * FROM card, unnest(ARRAY[' ', '-']) s
	WHERE NOT pg_temp.is_refused(CASE WHEN length(number) IN (14, 15) THEN concat_ws(s, left(number, 4), substr(number, 5, 6), substr(number, 11))
		WHEN length(number) = 19 OR length(number) = 16 THEN regexp_replace(regexp_replace(number, '(....)', '\1' || s, 'g'), '[ -]$', '') ELSE number END)$$,
	'and in the groups of its brand');

SELECT is_empty($$SELECT * FROM card, unnest(ARRAY[1632, 1776, 2406, 3664, 6112, 65296]) zero
	WHERE NOT pg_temp.is_refused(translate(number, '0123456789', (SELECT string_agg(chr(zero + d), '' ORDER BY d) FROM generate_series(0, 9) d)))$$,
	'and in the digits of other scripts');

-- One digit of it changed is always another check digit; and so are most others.
SELECT is_empty($$SELECT number FROM card, generate_series(1, length(number)) n WHERE n > 6
	AND pg_temp.is_refused(overlay(number PLACING ((substr(number, n, 1)::int + 1 + length(number) % 8) % 10)::text FROM n FOR 1))$$, 'with one other digit it is none');
SELECT is_empty($$SELECT number FROM card WHERE pg_temp.is_refused('x' || number) OR pg_temp.is_refused(number || 'x') OR pg_temp.is_refused('id_' || number)
	OR pg_temp.is_refused('0.' || number) OR pg_temp.is_refused(number || '.00') OR pg_temp.is_refused('+' || number)
	OR pg_temp.is_refused(number || number)$$, 'nor is it where it is a part of something else');

-- Instants of a century in milliseconds, microseconds and nanoseconds, UUIDs, and what this extension makes: none is a card.
SELECT is_empty($$SELECT * FROM generate_series(1, 20000) n, LATERAL (SELECT (extract(epoch FROM timestamptz '2001-09-09 02:00Z' + random() * interval '30 years' + n * interval '0')
	* 1000)::bigint AS ms) t WHERE pg_temp.is_refused(ms::text) OR pg_temp.is_refused(ms || '123') OR pg_temp.is_refused(ms || '123456')
	OR pg_temp.is_refused(billing.next_id()::text)$$, 'instants are none');
SELECT is_empty($$SELECT * FROM generate_series(1, 5000) n, LATERAL (SELECT gen_random_uuid()::text || substr('', n) AS u) t WHERE pg_temp.is_refused(u)$$, 'nor are UUIDs');

SELECT * FROM finish();
ROLLBACK;
