-- Promise: the table of currencies is ISO 4217's, and an exponent, once released,
-- never changes.  A changed line here means that stored money means something else.
SELECT code, exponent, is_active FROM billing.currencies() ORDER BY code;

-- sorted, unique, three capital letters
SELECT bool_and(code ~ '^[A-Z]{3}$') AS letters, count(*) = count(DISTINCT code) AS distinct_codes,
	array_agg(code) = array_agg(code ORDER BY code COLLATE "C") AS sorted
FROM billing.currencies();

-- every one is found, in any case
SELECT count(*) FROM billing.currencies() WHERE billing.currency(billing.from_minor_units(1, lower(code))) = code
	AND scale(billing.to_numeric(billing.from_minor_units(1, code))) = exponent;
SELECT exponent, is_active, count(*) FROM billing.currencies() GROUP BY 1, 2 ORDER BY 1, 2;
