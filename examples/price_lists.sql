-- What a quantity costs under real-world price lists, and why.
\set QUIET on
\pset footer off
\pset null ''
\pset linestyle unicode
\pset border 1
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS billing;

CREATE TEMP TABLE price_list (n int, name text, unit text, tariff billing.tariff, quantities numeric[], events bigint);
INSERT INTO price_list VALUES
	(1, 'SaaS plan: 49 USD with 5 seats, then 9 a seat, 7 from the 21st', 'seats',
		'{"model":"graduated","currency":"USD","tiers":[
			{"up_to":5,"unit_amount":0,"flat_amount":49},
			{"up_to":20,"unit_amount":9},
			{"up_to":null,"unit_amount":7}]}', '{3, 5, 12, 40}', 0),
	(2, 'AI tokens, input: 2.50 USD a million up to 10 million, 1.25 after', 'tokens',
		'{"model":"graduated","currency":"USD","tiers":[
			{"up_to":10000000,"unit_amount":"0.0000025"},
			{"up_to":null,"unit_amount":"0.00000125"}]}', '{1999, 2000, 9500000, 41237911}', 0),
	(3, 'E-mail: 5 USD for each 1,000 begun, the first 250 free', 'e-mails',
		'{"model":"package","currency":"USD","amount":5,"package_size":1000,"free_units":250}', '{250, 251, 1250, 1251, 30000}', 0),
	(4, 'Storage by volume: 0.10 EUR a GB up to 100, 0.08 up to 1,000, 0.05 above, and the tier that holds the whole prices all of it', 'GB',
		'{"model":"volume","currency":"EUR","tiers":[
			{"up_to":100,"unit_amount":"0.10"},
			{"up_to":1000,"unit_amount":"0.08"},
			{"up_to":null,"unit_amount":"0.05"}]}', '{100, 100.5, 1000, 1000.01}', 0),
	(5, 'Card processing: 2.9 % and 0.30 USD a payment, here 40 payments', 'USD of turnover',
		'{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30"}', '{1234.56}', 40),
	(6, 'SMS in Japan: 3.3 yen each, at least 500 (yen have no decimals)', 'messages',
		'{"model":"per_unit","currency":"JPY","unit_amount":"3.3","minimum":500}', '{0, 151, 152, 1005}', 0),
	(7, 'Transfers in Kuwait: 0.250 dinar and 1.5 % up to 1,000, 0.9 % above (three decimals)', 'KWD moved',
		'{"model":"graduated_percentage","currency":"KWD","tiers":[
			{"up_to":1000,"rate":"1.5","flat_amount":"0.250"},
			{"up_to":null,"rate":"0.9"}]}', '{0.1, 1000, 2345.678}', 0);

\qecho 'Seven price lists; for each, what some quantities cost, step by step.'
\qecho 'A line is computed exactly and rounded once, half away from zero, to its currency.'
\qecho 'Rates show as fractions, 2.9 % as 0.029; the units of a package tariff are packages.'

\set n 1
\ir price_list.psql
\set n 2
\ir price_list.psql
\set n 3
\ir price_list.psql
\set n 4
\ir price_list.psql
\set n 5
\ir price_list.psql
\set n 6
\ir price_list.psql
\set n 7
\ir price_list.psql

\qecho
\qecho 'The same amounts, as their readers write them:'
SELECT locale, billing.format('1234567.89 EUR', locale) AS euro, billing.format('1234568 JPY', locale) AS yen,
	billing.format('1234567.891 KWD', locale) AS dinar
FROM unnest(ARRAY['en-US', 'de-DE', 'ja-JP', 'en-IN']) locale;

\qecho
\qecho 'Months from 31 January, as New York counts them, and what the first ten days of each and the rest cost of 49.00 USD:'
SELECT n, lower(p) AT TIME ZONE 'America/New_York' AS starts, upper(p) AT TIME ZONE 'America/New_York' AS ends,
	billing.prorate('49.00 USD', p, tstzrange(lower(p), tenth), 'day', 'America/New_York') AS ten_days,
	billing.prorate('49.00 USD', p, tstzrange(tenth, upper(p)), 'day', 'America/New_York') AS the_rest
FROM generate_series(0, 3) n, billing.period_n('2026-01-31 00:00 America/New_York', '1 month', n, 'America/New_York') p,
	LATERAL (SELECT (lower(p) AT TIME ZONE 'America/New_York' + interval '10 days') AT TIME ZONE 'America/New_York') t(tenth);
