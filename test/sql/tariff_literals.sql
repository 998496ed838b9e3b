-- Nothing but a whole, sound price formula becomes a tariff, and each refusal
-- says what is wrong.
\set VERBOSITY default
CREATE FUNCTION refusal(literal text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
	PERFORM literal::billing.tariff;
	RETURN 'ACCEPTED';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' ', sqlstate, detail, CASE WHEN hint = '' THEN '(no hint)' END);
END $$;

SELECT left(literal, 90) AS literal, refusal(literal) FROM (VALUES
	(1, ''),
	(2, 'NaN'),
	(3, '5'),
	(4, 'null'),
	(5, '[]'),
	(6, '{}'),
	(7, '{'),
	(8, '{"model":"flat","currency":"USD","amount":"1"} x'),
	(9, '{"model":"flat","currency":"USD","amount":"1",}'),
	(10, '{''model'':''flat''}'),
	(11, '{"model":"cheap","currency":"USD","amount":"1"}'),
	(12, '{"model":7,"currency":"USD","amount":"1"}'),
	(13, '{"model":{},"currency":"USD","amount":"1"}'),
	(14, '{"model":"flat","amount":"1"}'),
	(15, '{"model":"flat","currency":"US","amount":"1"}'),
	(16, '{"model":"flat","currency":"XXX","amount":"1"}'),
	(17, '{"model":"flat","currency":null,"amount":"1"}'),
	(18, '{"model":"flat","currency":"USD"}'),
	(19, '{"model":"flat","currency":"USD","amount":null}'),
	(20, '{"model":"flat","currency":"USD","amount":"1","amount":"2"}'),
	(21, '{"model":"flat","currency":"USD","amount":"1","price":"2"}'),
	(22, '{"model":"flat","currency":"USD","amount":"1","unit_amount":"2"}'),
	(23, '{"model":"flat","currency":"USD","amount":"1","tiers":[]}'),
	(24, '{"model":"flat","currency":"USD","amount":"-1"}'),
	(25, '{"model":"flat","currency":"USD","amount":"NaN"}'),
	(26, '{"model":"flat","currency":"USD","amount":"Infinity"}'),
	(27, '{"model":"flat","currency":"USD","amount":true}'),
	(28, '{"model":"flat","currency":"USD","amount":[1]}'),
	(29, '{"model":"flat","currency":"USD","amount":{"a":1}}'),
	(30, '{"model":"flat","currency":"USD","amount":"١٢"}'),
	(31, '{"model":"flat","currency":"USD","amount":"１２"}'),
	(32, '{"model":"flat","currency":"USD","amount":"1,000"}'),
	(33, '{"model":"flat","currency":"USD","amount":" 1"}'),
	(34, '{"model":"flat","currency":"USD","amount":""}'),
	(35, '{"model":"flat","currency":"USD","amount":"."}'),
	(36, '{"model":"flat","currency":"USD","amount":"1e"}'),
	(37, '{"model":"flat","currency":"USD","amount":"0x10"}'),
	(38, '{"model":"flat","currency":"USD","amount":1e400}'),
	(39, '{"model":"flat","currency":"USD","amount":"1e999999999999"}'),
	(40, '{"model":"flat","currency":"USD","amount":"1000000000000000000"}'),
	(41, '{"model":"flat","currency":"USD","amount":"0.0000000000000000001"}'),
	(42, '{"model":"flat","currency":"USD","amount":"1","minimum":"5","maximum":"4"}'),
	(43, '{"model":"flat","currency":"USD","amount":"1","event_amount":"5"}'),
	(44, '{"model":"package","currency":"USD","amount":"1"}'),
	(45, '{"model":"package","currency":"USD","amount":"1","package_size":0}'),
	(46, '{"model":"percentage","currency":"USD","rate":"1","free_events":"1.5"}'),
	(47, '{"model":"percentage","currency":"USD","rate":"1","event_minimum":"3","event_maximum":"2"}'),
	(48, '{"model":"graduated","currency":"USD"}'),
	(49, '{"model":"graduated","currency":"USD","tiers":[]}'),
	(50, '{"model":"graduated","currency":"USD","tiers":null}'),
	(51, '{"model":"graduated","currency":"USD","tiers":{"up_to":null}}'),
	(52, '{"model":"graduated","currency":"USD","tiers":[1]}'),
	(53, '{"model":"graduated","currency":"USD","tiers":[[]]}'),
	(54, '{"model":"graduated","currency":"USD","tiers":[{}]}'),
	(55, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"}]}'),
	(56, '{"model":"graduated","currency":"USD","tiers":[{"up_to":null,"unit_amount":"1"},{"up_to":null,"unit_amount":"1"}]}'),
	(57, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"5","unit_amount":"1"},{"up_to":null,"unit_amount":"1"}]}'),
	(58, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"10.0","unit_amount":"1"},{"up_to":null,"unit_amount":"1"}]}'),
	(59, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"0","unit_amount":"1"},{"up_to":null,"unit_amount":"1"}]}'),
	(60, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"-1","unit_amount":"1"},{"up_to":null,"unit_amount":"1"}]}'),
	(61, '{"model":"graduated","currency":"USD","tiers":[{"up_to":null,"unit_amount":"1","rate":"2"}]}'),
	(62, '{"model":"graduated","currency":"USD","tiers":[{"up_to":null,"up_to":null}]}'),
	(63, '{"model":"graduated","currency":"USD","tiers":[{"up_to":null,"to":1}]}'),
	(64, '{"model":"graduated","currency":"USD","tiers":[{"up_to":null,"unit_amount":{"a":[1]}}]}'),
	(65, '{"model":"graduated_percentage","currency":"USD","tiers":[{"up_to":null,"unit_amount":"1"}]}'),
	(66, '{"model":"flat","currency":"USD","amount":"1","' || repeat('k', 5000) || '":1}'),
	(67, '{"model":"flat","currency":"USD","amount":"1","clé":1}'),
	(68, repeat('[', 20000)),
	(69, repeat('{"a":', 20000)),
	(70, '{"model":"graduated","currency":"USD","tiers":[' || repeat('{"up_to":1},', 1001) || '{"up_to":null}]}'),
	(71, '{"model":"flat","currency":"USD","amount":"\u0000"}'),
	(72, '{"model":"flat","currency":"USD","amount":"\ud800"}'),
	(73, repeat('{"model":"flat","currency":"USD"}', 1600000))
) v(n, literal) ORDER BY n;

-- As an error, whole.
SELECT '{"model":"graduated","currency":"USD","tiers":[{"up_to":"500","unit_amount":"1"}]}'::billing.tariff;

-- What is sound prints canonically: order, zeros, defaults and the form of numbers fall away.
SELECT literal::billing.tariff FROM (VALUES
	(1, '{"model":"flat","currency":"USD","amount":"29"}'),
	(2, '{"amount":29.00,"currency":"usd","model":"flat","free_units":0,"minimum":"0","maximum":null}'),
	(3, '{"model":"per_unit","currency":"USD","unit_amount":"0.001"}'),
	(4, '{"model":"per_unit","currency":"USD","unit_amount":1e-3}'),
	(5, '{"model":"per_unit","currency":"USD","unit_amount":"0.000000000000000001"}'),
	(6, '{"model":"flat","currency":"USD","amount":"999999999999999999.999999999999999999"}'),
	(7, '{"model":"package","currency":"USD","amount":"5","package_size":"100"}'),
	(8, '{"model":"graduated","currency":"USD","tiers":[{"up_to":"1000","unit_amount":"0.01","flat_amount":"0"},{"up_to":null,"unit_amount":"0.005"}]}'),
	(9, '{"model":"volume","currency":"JPY","tiers":[{"up_to":10,"flat_amount":100},{"unit_amount":null,"up_to":null}]}'),
	(10, '{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30"}'),
	(11, '{"model":"percentage","currency":"USD","rate":"0.000000000000000001","free_events":3,"free_units":"2.50","event_minimum":"0.10","event_maximum":"0.10","minimum":1,"maximum":1}'),
	(12, '{"model":"graduated_percentage","currency":"KWD","tiers":[{"up_to":"1000","rate":"1.5","flat_amount":"2"},{"up_to":null,"rate":"1"}]}'),
	(13, '{"mod\u0065l":"flat","currency":"USD","amount":"-0.0"}')
) v(n, literal) ORDER BY n;

-- Equality, hash, jsonb and the binary form go by the formula.
SELECT a::billing.tariff = b::billing.tariff AS equal, a::billing.tariff <> b::billing.tariff AS differ,
	billing.tariff_hash(a::billing.tariff) = billing.tariff_hash(b::billing.tariff) AS same_hash
FROM (VALUES
	('{"model":"flat","currency":"USD","amount":"29"}', '{"amount":29.0,"currency":"usd","model":"flat"}'),
	('{"model":"flat","currency":"USD","amount":"29"}', '{"model":"flat","currency":"USD","amount":"29.000000000000000001"}'),
	('{"model":"flat","currency":"USD","amount":"29"}', '{"model":"flat","currency":"EUR","amount":"29"}')) v(a, b);
SELECT '{"model":"flat","currency":"USD","amount":29.50}'::jsonb::billing.tariff;
SELECT '{"model":"flat","currency":"USD","amount":29.50}'::billing.tariff::jsonb;
SELECT '{"model":"flat","currency":"USD"}'::jsonb::billing.tariff;
SELECT to_jsonb(t), row_to_json(v) FROM (VALUES ('{"model":"flat","currency":"USD","amount":29.50}'::billing.tariff)) v(t);
SELECT billing.tariff_currency('{"model":"flat","currency":"usd","amount":29.50}');
CREATE TABLE tariff_copy (t billing.tariff);
INSERT INTO tariff_copy VALUES ('{"model":"flat","currency":"USD","amount":"29"}'), (NULL),
	('{"model":"volume","currency":"JPY","tiers":[{"up_to":10,"flat_amount":100},{"unit_amount":null,"up_to":null}]}');
\copy tariff_copy TO 'results/tariff.bin' (FORMAT binary)
\copy tariff_copy FROM 'results/tariff.bin' (FORMAT binary)
SELECT t, count(*) FROM tariff_copy GROUP BY t ORDER BY t::text;
SELECT count(*) FROM (SELECT DISTINCT t FROM tariff_copy ORDER BY t) d;
SELECT billing.charge_events(t, 5 ORDER BY t) FROM tariff_copy GROUP BY t HAVING t IS NOT NULL;
SELECT billing.tariff_send(t) FROM tariff_copy LIMIT 1;

DROP TABLE tariff_copy;
DROP FUNCTION refusal;
