-- One price list of the demo: number :n.
SELECT name, unit FROM price_list WHERE n = :n \gset
\qecho
\qecho :name
SELECT CASE WHEN s.ordinality = 1 THEN trim_scale(q)::text END AS :"unit", s.tier,
	CASE WHEN s.tier IS NULL THEN s.note
		ELSE concat_ws(', ', CASE WHEN s.to_quantity IS NOT NULL THEN s.from_quantity || ' to ' || s.to_quantity
			WHEN s.from_quantity > 0 THEN 'above ' || s.from_quantity END, s.note) END AS range,
	s.units, s.unit_amount AS "at", s.flat_amount AS flat, s.subtotal AS exact,
	CASE WHEN s.ordinality = max(s.ordinality) OVER (PARTITION BY i)
		THEN billing.format(billing.charge(tariff, q, events)) END AS charge
FROM price_list, unnest(quantities) WITH ORDINALITY u(q, i),
	LATERAL billing.explain_charge(tariff, q, events) WITH ORDINALITY s
WHERE n = :n ORDER BY i, s.ordinality;
