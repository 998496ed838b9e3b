-- Promise: what billing.amount reads is exactly what it prints, and nothing
-- that is not a plain decimal number and an ISO 4217 code gets in.
SET client_encoding = 'UTF8';

-- hostile literals, one error each
SELECT ''::billing.amount;
SELECT '   '::billing.amount;
SELECT 'USD'::billing.amount;
SELECT '49.00'::billing.amount;
SELECT '.'::billing.amount;
SELECT '. USD'::billing.amount;
SELECT '- USD'::billing.amount;
SELECT '-. USD'::billing.amount;
SELECT '+-1 USD'::billing.amount;
SELECT '--1 USD'::billing.amount;
SELECT '- 1 USD'::billing.amount;
SELECT '-USD 1'::billing.amount;
SELECT 'USD 1 USD'::billing.amount;
SELECT 'USD USD'::billing.amount;
SELECT '1 1 USD'::billing.amount;
SELECT '1.2.3 USD'::billing.amount;
SELECT '1,000.00 USD'::billing.amount;
SELECT '1_000 USD'::billing.amount;
SELECT '1e3 USD'::billing.amount;
SELECT '0x10 USD'::billing.amount;
SELECT 'NaN USD'::billing.amount;
SELECT 'Infinity USD'::billing.amount;
SELECT '-inf USD'::billing.amount;
SELECT '$49.00'::billing.amount;
SELECT '49.00 US'::billing.amount;
SELECT '49.00 USDT'::billing.amount;
SELECT '49.00 US1'::billing.amount;
SELECT '49.00 U$D'::billing.amount;
SELECT '49.00 USD;'::billing.amount;
SELECT '49.00 USD -- x'::billing.amount;
SELECT '(49.00,USD)'::billing.amount;
SELECT '{"units":4900,"currency":"USD"}'::billing.amount;
SELECT U&'\0664\0669 USD'::billing.amount;
SELECT U&'\FF14\FF19 USD'::billing.amount;
SELECT U&'49.00\00A0USD'::billing.amount;
SELECT U&'\221249.00 USD'::billing.amount;
SELECT U&'49.00 \FF35\FF33\FF24'::billing.amount;
SELECT U&'49 \0130DR'::billing.amount;

-- codes that no amount can be in: unknown, or without a minor unit
SELECT '49.00 ZZZ'::billing.amount;
SELECT '1 XAU'::billing.amount;
SELECT '1 XXX'::billing.amount;
SELECT '1 XTS'::billing.amount;

-- more decimals than the currency has, zeros too
SELECT '49.001 USD'::billing.amount;
SELECT '49.000 USD'::billing.amount;
SELECT '1000.0 JPY'::billing.amount;
SELECT '1.2345 KWD'::billing.amount;
SELECT '1.23456 CLF'::billing.amount;

-- out of range
SELECT '92233720368547758.08 USD'::billing.amount;
SELECT '-92233720368547758.09 USD'::billing.amount;
SELECT '9223372036854775808 JPY'::billing.amount;
SELECT '92233720368547759 USD'::billing.amount;
SELECT '99999999999999999999999999999999999999999999 USD'::billing.amount;

-- a huge text is a short error
\set VERBOSITY terse
SELECT repeat('9', 50000000)::billing.amount;
SELECT (repeat('9', 50000000) || ' USD')::billing.amount;
SELECT ('1 ' || repeat(U&'\00E9', 1000000))::billing.amount;
SELECT billing.amount(1, repeat(U&'\00E9', 1000000));
\set VERBOSITY default

-- SQLSTATEs that clients branch on
CREATE FUNCTION pg_temp.state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate;
END $$;
SELECT literal, pg_temp.state_of(format('SELECT %L::billing.amount', literal))
FROM unnest(ARRAY['x', '1 ZZZ', '1.001 USD', '9223372036854775808 JPY', '1 USD']) AS literal;

-- accepted forms
SELECT literal, literal::billing.amount
FROM unnest(ARRAY['49.00 USD', 'USD 49.00', 'usd49', '49usd', E' \t\n49 \n Usd \t', 'EUR	7.5',
	'+1 USD', '-0.05 USD', '-.05 USD', '.5 USD', '5. USD', '1000. JPY', '1000 JPY', '1.234 KWD', '0.0001 CLF',
	'-0 USD', '-0.00 USD', '0 JPY', '000000000000000000000000000000049.00 USD',
	'1 ITL', '1.00 DEM', '1.00 BGN']) AS literal;

-- the whole range, in and out
SELECT literal, literal::billing.amount::text = literal AS same
FROM unnest(ARRAY['92233720368547758.07 USD', '-92233720368547758.08 USD',
	'9223372036854775807 JPY', '-9223372036854775808 JPY',
	'9223372036854775.807 KWD', '-9223372036854775.808 KWD',
	'922337203685477.5807 CLF', '-922337203685477.5808 CLF',
	'-0.01 USD', '0.01 USD', '0.10 USD', '-0.0001 CLF']) AS literal;

-- DECIMAL(18,2) fits
SELECT '9999999999999999.99 USD'::billing.amount;

-- casts: to and from text by I/O, to numeric with the currency's decimals
SELECT ('12.30 EUR'::text)::billing.amount, '12.30 EUR'::billing.amount::text;
SELECT '49 USD'::billing.amount::numeric, '49 JPY'::billing.amount::numeric,
	'-92233720368547758.08 USD'::billing.amount::numeric, '0.0001 CLF'::billing.amount::numeric, '0 KWD'::billing.amount::numeric;

-- from a number: rounded half away from zero, once
SELECT n, billing.amount(n, 'usd') AS usd, billing.amount(n, 'JPY') AS jpy, billing.amount(n, 'CLF') AS clf
FROM unnest(ARRAY[1.005, -1.005, 1.0049999999999999999999, 0.5, -0.5, 0.4999999999, 0.00005, 0.00004999, -0.00005,
	1234.567, 0, 99.995]::numeric[]) AS n;
SELECT billing.amount(92233720368547758.074, 'USD'), billing.amount(-92233720368547758.084, 'USD');
SELECT billing.amount(92233720368547758.075, 'USD');
SELECT billing.amount(-92233720368547758.085, 'USD');
SELECT billing.amount(1e40, 'USD');
SELECT billing.amount(-1e130000, 'USD');
SELECT billing.amount(1e-16383, 'USD');
SELECT billing.amount('NaN', 'USD');
SELECT billing.amount('-Infinity', 'USD');
SELECT billing.amount(1, 'ZZZ');
SELECT billing.amount(1, '');
SELECT billing.amount(1, 'USD ');
SELECT billing.amount(NULL, 'USD') IS NULL, billing.amount(1, NULL) IS NULL;

-- minor units and currency
SELECT billing.minor_units('49.00 USD'), billing.minor_units('49 JPY'), billing.currency('49 eur');
SELECT billing.from_minor_units(4900, 'usd'), billing.from_minor_units(-9223372036854775808, 'JPY');
SELECT billing.from_minor_units(1, 'XAU');

-- binary form: 8 bytes of units, 3 of code; COPY moves it there and back
SELECT billing.amount_send('49.00 USD'), billing.amount_send('-92233720368547758.08 USD');
CREATE TEMP TABLE money (a billing.amount);
INSERT INTO money VALUES ('49.00 USD'), ('-9223372036854775808 JPY'), ('0.001 KWD'), (NULL);
\copy money TO 'results/amount_io.bin' (FORMAT binary)
TRUNCATE money;
\copy money FROM 'results/amount_io.bin' (FORMAT binary)
TABLE money;

-- a hostile binary form: an unknown code, a code cut short; a code in lower case is one
\copy money FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\13\0\0\0\0\0\0\0\1ZZZ\377\377"' (FORMAT binary)
\copy money FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\12\0\0\0\0\0\0\0\1US\377\377"' (FORMAT binary)
\copy money FROM PROGRAM 'printf "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\1\0\0\0\13\0\0\0\0\0\0\0\7eur\377\377"' (FORMAT binary)
SELECT a FROM money WHERE billing.currency(a) = 'EUR';
