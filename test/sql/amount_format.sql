-- Promise: billing.format writes every unit of an amount as people of the locale
-- write it, and refuses a locale it has no data for instead of falling back.
SET client_encoding = 'UTF8';
SET search_path = public, billing;

-- always written with its schema: pg_catalog has a format() of its own


SELECT billing.format('1234.50 USD'), billing.format('-0.05 USD'), billing.format('0 USD'), billing.format('1000 JPY'), billing.format('1234.567 KWD', 'en-US') ~ '1,234\.567$';
SELECT locale, billing.format('1234567.89 EUR', locale) FROM unnest(ARRAY['en-US', 'en', 'de-DE', 'de_DE', 'DE-de', 'fr-FR', 'zh-Hans-CN', 'zh-CN', 'zh_CN', 'ja-JP', 'en-IN', 'hi-IN', 'pt-BR']) AS locale;
SELECT billing.format('1234 JPY', 'ja-JP'), billing.format('1234.5 CNY', 'zh-CN'), billing.format('-1234.5 USD', 'zh-Hans-CN');

-- the currency's decimals, not those a locale thinks customary
SELECT currency(a), billing.format(a) FROM unnest(ARRAY['1.50 HUF', '1.50 CHF', '1.05 CHF', '1.5 AFN', '1.25 ALL', '1.234 IQD', '1.2345 CLF', '100 UYI', '1.2345 UYW', '1.50 DEM', '7 ITL', '1.50 XAD']::amount[]) AS a;

-- exact to the last unit at both ends
SELECT billing.format('92233720368547758.07 USD'), billing.format('-92233720368547758.08 USD');
SELECT billing.format('9223372036854775807 JPY', 'en'), billing.format('-922337203685477.5808 CLF', 'en');
SELECT bool_and(regexp_replace(billing.format(a), '[^-0-9.]', '', 'g')::numeric = a::numeric) AS exact
FROM (SELECT from_minor_units(((i * 7046029254386353131::numeric) % 9223372036854775807)::bigint * (1 - 2 * (i % 2)), 'USD') AS a FROM generate_series(1, 10000) i) s;

-- one formatter serves locale after locale and currency after currency
SELECT billing.format(a, locale) FROM unnest(ARRAY['1.50 USD', '15 JPY', '1.500 KWD', '1.50 USD']::amount[], ARRAY['en', 'de', 'en', 'de']) AS t(a, locale);

-- hostile locales
\set VERBOSITY terse
SELECT billing.format('1 USD', '');
SELECT billing.format('1 USD', 'xx');
SELECT billing.format('1 USD', 'xx-YY');
SELECT billing.format('1 USD', 'root');
SELECT billing.format('1 USD', 'und');
SELECT billing.format('1 USD', 'C');
SELECT billing.format('1 USD', 'POSIX');
SELECT billing.format('1 USD', 'english');
SELECT billing.format('1 USD', 'de_DE.UTF-8');
SELECT billing.format('1 USD', 'de_DE@currency=EUR');
SELECT billing.format('1 USD', 'en US');
SELECT billing.format('1 USD', ' en');
SELECT billing.format('1 USD', 'en-US-');
SELECT billing.format('1 USD', '-');
SELECT billing.format('1 USD', '____');
SELECT billing.format('1 USD', 'x-private');
SELECT billing.format('1 USD', 'i-klingon');
SELECT billing.format('1 USD', '../../etc/passwd');
SELECT billing.format('1 USD', '%s%s%n');
SELECT billing.format('1 USD', U&'d\00E9');
SELECT billing.format('1 USD', U&'\4E2D\6587');
SELECT billing.format('1 USD', repeat('a', 156));
SELECT billing.format('1 USD', repeat('a', 157));
SELECT billing.format('1 USD', repeat('en-', 50) || 'US');
SELECT billing.format('1 USD', repeat('x', 50000000));
\set VERBOSITY sqlstate
SELECT billing.format('1 USD', 'xx');
\set VERBOSITY default
SELECT billing.format('1 USD', 'xx');

-- extensions of a tag stay with the locale: digits may change, the money may not
SELECT billing.format('12.50 USD', 'en-US-u-nu-fullwide') <> billing.format('12.50 USD', 'en-US') AS other_digits,
	billing.format('12.50 USD', 'en-US-u-cu-eur') = billing.format('12.50 USD', 'en-US') AS same_currency;

SELECT billing.format(NULL, 'en') IS NULL, billing.format('1 USD', NULL) IS NULL;

-- every currency formats with its own decimals
SELECT count(*) FILTER (WHERE substring(billing.format(from_minor_units(123456789, code)) FROM '[0-9][0-9.,]*') <> to_char(billing.to_numeric(from_minor_units(123456789, code)), 'FM999,999,999' || CASE WHEN exponent > 0 THEN '.' || repeat('0', exponent) ELSE '' END)) AS wrong
FROM currencies();
