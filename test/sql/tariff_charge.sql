-- Each model charges what its definition says, at every edge: tiers end
-- inclusively, flat amounts are due once a unit reaches the tier, free units come
-- first, bounds hold at zero units.
\pset null -
PREPARE charge(billing.tariff, numeric[]) AS
	SELECT q AS quantity, billing.charge_exact($1, q) AS exact, billing.charge($1, q) AS charge FROM unnest($2) q;

EXECUTE charge('{"model":"flat","currency":"USD","amount":"29"}', '{0,1,1000,-5}');
EXECUTE charge('{"model":"per_unit","currency":"USD","unit_amount":"0.001"}', '{0,4,5,1234567,0.5,-5}');
EXECUTE charge('{"model":"per_unit","currency":"JPY","unit_amount":"0.5"}', '{0,1,2,3}');
EXECUTE charge('{"model":"per_unit","currency":"KWD","unit_amount":"0.0005"}', '{0,1,2,3}');
EXECUTE charge('{"model":"package","currency":"USD","amount":"5","package_size":"100"}', '{0,0.000001,1,99,100,100.000001,101}');
EXECUTE charge('{"model":"package","currency":"USD","amount":"5","package_size":"0.5","free_units":1}', '{0,1,1.2,1.5,1.6}');
EXECUTE charge('{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"20","unit_amount":"0.50","flat_amount":"5"},{"up_to":null,"unit_amount":"0.25","flat_amount":"7"}]}',
	'{0,0.5,5,5.5,10,10.000001,20,20.5,21,1000}');
EXECUTE charge('{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1","flat_amount":"2"},{"up_to":null,"unit_amount":"0.50"}]}', '{-1,0,1,11}');
EXECUTE charge('{"model":"volume","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"20","unit_amount":"0.50","flat_amount":"5"},{"up_to":null,"unit_amount":"0.25","flat_amount":"7"}]}',
	'{0,0.5,10,10.000001,20,20.5,21,1000}');
EXECUTE charge('{"model":"graduated_percentage","currency":"USD","tiers":[{"up_to":"1000","rate":"1.5","flat_amount":"2"},{"up_to":null,"rate":"1"}]}', '{0,100,1000,1000.01,5000}');
EXECUTE charge('{"model":"per_unit","currency":"USD","unit_amount":"2","free_units":"3","minimum":"5","maximum":"9"}', '{0,3,5,6,7.5,100}');
EXECUTE charge('{"model":"flat","currency":"USD","amount":"29","maximum":"0"}', '{0,1}');

-- Percentages, with a fixed part per event.
SELECT q AS quantity, n AS events, billing.charge_exact(t, q, n) AS exact, billing.charge(t, q, n) AS charge
FROM (VALUES ('{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30"}'::billing.tariff)) v(t),
	(VALUES (0, 0), (100, 1), (100, 3), (-100, 1)) w(q, n);

-- Rounded once, half away from zero.
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"0.005"}', 1),
	billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"0.004999999999999999"}', 1);

-- Large: past 128 bits the charge is still exact; past the type it is refused.
SELECT billing.charge_exact('{"model":"per_unit","currency":"USD","unit_amount":"999999999999.999999999999"}', 999999999999999999.999999999999);
SELECT billing.charge_exact('{"model":"per_unit","currency":"USD","unit_amount":"0.000000000001"}', 1e40);
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"0.000000000001"}', 9.2233720368547758e28);
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 9223372036854775807);
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"0.01"}', 9223372036854775807.5);
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"1"}', 1e400);
SELECT billing.charge('{"model":"per_unit","currency":"USD","unit_amount":"1","maximum":"7"}', 1e400);

-- Why it costs that.
SELECT * FROM billing.explain_charge('{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":"20","unit_amount":"0.50","flat_amount":"5"},{"up_to":null,"unit_amount":"0.25","flat_amount":"7"}],"free_units":"3","maximum":"20"}', 100);
SELECT * FROM billing.explain_charge('{"model":"volume","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.25","flat_amount":"7"}],"minimum":"50"}', 11);
SELECT * FROM billing.explain_charge('{"model":"package","currency":"USD","amount":"5","package_size":"100"}', 101);
SELECT * FROM billing.explain_charge('{"model":"percentage","currency":"USD","rate":"2.9","event_amount":"0.30"}', 100, 3);
SELECT * FROM billing.explain_charge('{"model":"flat","currency":"USD","amount":"29"}', 7);

-- Event by event.
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"1.3","event_amount":"2","free_events":3}', q ORDER BY at)
FROM (VALUES (1, 50), (2, 100), (3, 250), (4, 400)) v(at, q);
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"1.3","event_amount":"2","free_events":3}', q ORDER BY at)
FROM (VALUES (4, 50), (3, 100), (2, 250), (1, 400)) v(at, q);
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"2.99","event_minimum":"1.75","event_maximum":"12"}', q ORDER BY at)
FROM (VALUES (1, 10), (2, 80), (3, 10000)) v(at, q);
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"1.3","event_amount":"2","free_events":3,"free_units":250}', q ORDER BY at)
FROM (VALUES (1, 50), (2, 100), (3, 250), (4, 400)) v(at, q);
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"10","event_amount":"1","event_minimum":"2","minimum":"5"}', q) FROM (VALUES (-100), (0), (NULL)) v(q);
SELECT billing.charge_events('{"model":"percentage","currency":"USD","rate":"10","free_events":1,"minimum":"5"}', q) FROM (VALUES (NULL::numeric)) v(q);
SELECT billing.charge_events('{"model":"graduated","currency":"USD","tiers":[{"up_to":"10","unit_amount":"1"},{"up_to":null,"unit_amount":"0.5"}]}', q) FROM generate_series(1, 5) q;
SELECT billing.charge_events(t, 1) FROM (SELECT NULL::billing.tariff WHERE false) v(t);
SELECT billing.charge_events(t, 1) FROM (VALUES ('{"model":"flat","currency":"USD","amount":"1"}'::billing.tariff), ('{"model":"flat","currency":"USD","amount":"2"}')) v(t);
SELECT billing.charge_events('{"model":"flat","currency":"USD","amount":"1"}', 'NaN');

-- Refused.
SELECT billing.charge('{"model":"percentage","currency":"USD","rate":"1","free_events":1}', 5);
SELECT billing.charge_exact('{"model":"percentage","currency":"USD","rate":"1","event_minimum":1}', 5);
SELECT * FROM billing.explain_charge('{"model":"percentage","currency":"USD","rate":"1","event_maximum":1}', 5);
SELECT billing.charge('{"model":"flat","currency":"USD","amount":"1"}', 'NaN');
SELECT billing.charge('{"model":"flat","currency":"USD","amount":"1"}', 'Infinity');
SELECT * FROM billing.explain_charge('{"model":"flat","currency":"USD","amount":"1"}', '-Infinity');
SELECT billing.charge('{"model":"flat","currency":"USD","amount":"1"}', 1, -1);
SELECT billing.charge(NULL, 1), billing.charge('{"model":"flat","currency":"USD","amount":"1"}', NULL);
