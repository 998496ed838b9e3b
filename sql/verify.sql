
-- verify: does an invoice still follow from what it was calculated from? -------------

CREATE FUNCTION billing.calculation_fields(inputs text, OUT line integer, OUT key text, OUT value text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 50
AS 'MODULE_PATHNAME', 'billing_calculation_fields';
COMMENT ON FUNCTION billing.calculation_fields(text)
	IS 'the fields of a text that billing.calculation_inputs made: the line of the item (NULL: of the invoice), key and value; a malformed text gives what comes before that';

-- Three versions of one calculation: the one the log states, the one that the stored
-- rows make, and the one that the sources give.  The one that is alone was changed.
-- No row but the log keeps a formula.
--
-- A change of what all else follows from hides what does: the plan, quantity, time
-- zone or periods every line, the tariff or the usage of a line its amount, a line
-- the totals.
CREATE FUNCTION billing.calculation_problems(logged text, stored text, again text)
RETURNS TABLE (problem text, detail text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH field AS (
		SELECT v.line, v.key,
			max(v.value) FILTER (WHERE v.version = 1) AS logged,
			max(v.value) FILTER (WHERE v.version = CASE v.key WHEN 'formula' THEN 1 ELSE 2 END) AS stored,
			max(v.value) FILTER (WHERE v.version = 3) AS again
		FROM (
			SELECT 1 AS version, f.line, f.key, f.value FROM billing.calculation_fields(calculation_problems.logged) f
			UNION ALL
			SELECT 2, f.line, f.key, f.value FROM billing.calculation_fields(calculation_problems.stored) f
			UNION ALL
			SELECT 3, f.line, f.key, f.value FROM billing.calculation_fields(calculation_problems.again) f
		) v
		WHERE v.key <> 'engine'
		GROUP BY v.line, v.key
	), difference AS (
		SELECT f.*, CASE
			WHEN f.key = 'formula' THEN 'tariff'
			WHEN f.key = 'party' THEN 'party'
			WHEN f.stored IS NOT DISTINCT FROM f.again THEN 'log'
			WHEN f.logged IS DISTINCT FROM f.stored AND f.logged IS NOT DISTINCT FROM f.again
				THEN CASE WHEN f.line IS NULL THEN 'invoice' ELSE 'item' END
			WHEN f.line IS NULL OR f.key IN ('discount', 'tax', 'tax_included') THEN 'totals'
			WHEN f.key IN ('quantity', 'events', 'digest') THEN 'usage'
			WHEN f.key = 'amount' THEN 'amount'
			ELSE 'line' END AS problem
		FROM field f
		WHERE f.logged IS DISTINCT FROM f.stored OR f.logged IS DISTINCT FROM f.again
	), root AS (
		SELECT d.*, bool_or(d.line IS NULL AND d.problem IN ('log', 'invoice') AND d.key NOT IN ('subtotal', 'discount', 'tax', 'tax_included', 'taxes', 'coupons', 'total'))
				OVER () AS terms_differ,
			bool_or(d.line IS NOT NULL AND d.problem NOT IN ('item', 'totals')) OVER () AS lines_differ,
			bool_or(d.problem IN ('tariff', 'usage', 'line')) OVER (PARTITION BY d.line) AS source_differs,
			bool_or(d.problem = 'line') OVER (PARTITION BY d.line) AS is_other_line,
			bool_or(d.key = 'line') OVER (PARTITION BY d.line) AS is_missing
		FROM difference d
	)
	SELECT r.problem, concat('line=' || r.line || ' ', string_agg(format('%s: logged=%s stored=%s recalculated=%s', r.key,
		coalesce(r.logged, 'none'), coalesce(r.stored, 'none'), coalesce(r.again, 'none')), ', ' ORDER BY r.key))
	FROM root r
	WHERE CASE r.problem
		WHEN 'totals' THEN NOT r.lines_differ AND NOT r.terms_differ
		WHEN 'amount' THEN NOT r.source_differs AND NOT r.terms_differ
		WHEN 'usage' THEN NOT r.is_other_line AND NOT r.terms_differ
		WHEN 'tariff' THEN NOT r.is_other_line AND NOT r.terms_differ
		WHEN 'line' THEN NOT r.terms_differ
		ELSE true END
	  AND (r.line IS NULL OR NOT r.is_missing OR r.key = 'line')
	GROUP BY r.problem, r.line
	ORDER BY r.line NULLS FIRST, r.problem;
END;
COMMENT ON FUNCTION billing.calculation_problems(text, text, text)
	IS 'where three texts of one calculation differ: the one its log states, the one that the stored rows make, the one that the sources give; problem log, invoice, party, item (stored otherwise), tariff, usage, line, amount, totals (calculated otherwise at present); detail: line, and of each field its three values';

-- The lines that an invoice has, with the digest of the formula that each is charged by.
CREATE FUNCTION billing.stored_lines(tenant_id bigint, invoice_id bigint, plan_id bigint)
RETURNS TABLE (line integer, kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, adjusts_invoice_id bigint, adjusts_line integer, tax_category text, plan_id bigint, discount billing.amount,
	tax billing.amount, tax_included billing.amount)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.line, i.kind, i.price_code, i.meter, i.description, i.quantity, i.unit_amount, i.amount, i.period_start, i.period_end,
		i.usage_events, i.usage_digest, coalesce(
			CASE WHEN i.kind = 'adjustment' THEN (SELECT c.digest
				FROM billing.line_correction(i.tenant_id, i.adjusts_invoice_id, i.adjusts_line, i.invoice_id) c) END,
			CASE WHEN p.strategy IS NOT NULL THEN billing.strategy_digest(p.strategy) ELSE p.digest END),
		i.adjusts_invoice_id, i.adjusts_line, i.tax_category, i.plan_id, i.discount, i.tax, i.tax_included
	FROM billing.invoice_item i
	LEFT JOIN billing.invoice a ON a.tenant_id = i.tenant_id AND a.invoice_id = i.adjusts_invoice_id
	LEFT JOIN billing.price p ON p.plan_id = coalesce(i.plan_id, a.plan_id, stored_lines.plan_id) AND p.code = i.price_code
	WHERE i.tenant_id = stored_lines.tenant_id AND i.invoice_id = stored_lines.invoice_id;
END;
COMMENT ON FUNCTION billing.stored_lines(bigint, bigint, bigint)
	IS 'the lines of an invoice of a plan, with the digest of the tariff or strategy that their prices have at present, or of the tariff by which they were corrected; inlined';

-- What is wrong with invoices; NULL: of all tenants, all invoices.  The calculation is
-- that of the bill run (billing.invoice_lines, billing.invoice_adjustments), given
-- what the log keeps, with the usage that was known.  A void invoice and a one-off one
-- have no lines but the stored.  OFFSET 0: reach rows by key, compute once.  By ranges, which an index
-- serves whatever the arguments are: so one plan does for every invoice, and planning takes longer than it.
CREATE FUNCTION billing.invoice_problems(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (tenant_id bigint, invoice_id bigint, problem text, detail text)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT c.tenant_id, c.invoice_id, p.problem, p.detail
	FROM (
		SELECT v.tenant_id, v.invoice_id, v.status, v.number, v.item_count, l.inputs, l.hash, l.chain_no, l.chain_hash,
			b.chain_hash AS link_before, i.lines, i.parts,
			billing.calculation_inputs(v.kind, v.subscription_id, v.plan_id, l.quantity, l.timezone, l.arrears, l.arrears_whole,
				l.advance, l.advance_whole, l.step_arrears, l.step_arrears_whole, l.step_advance, l.step_advance_whole,
				i.stored, v.subtotal, v.discount, v.tax_percent, v.tax, v.tax_included, w.stored, v.total, q.stored, x.party) AS stored,
			billing.calculation_inputs(v.kind, v.subscription_id, v.plan_id, l.quantity, l.timezone, l.arrears, l.arrears_whole,
				l.advance, l.advance_whole, l.step_arrears, l.step_arrears_whole, l.step_advance, l.step_advance_whole,
				i.again, (i.composed).subtotal, (i.composed).discount, v.tax_percent, (i.composed).tax, (i.composed).tax_included, i.taxes,
				(i.composed).total, i.coupons, x.party) AS again
		FROM billing.invoice v
		CROSS JOIN LATERAL (SELECT billing.from_minor_units(0, v.currency) AS nothing OFFSET 0) z
		LEFT JOIN LATERAL (SELECT g.* FROM billing.calculation_log g
			WHERE g.tenant_id = v.tenant_id AND g.invoice_id = v.invoice_id OFFSET 0) l ON true
		LEFT JOIN LATERAL (SELECT g.chain_hash FROM billing.calculation_log g
			WHERE g.tenant_id = v.tenant_id AND g.chain_no = l.chain_no - 1 OFFSET 0) b ON true
		CROSS JOIN LATERAL (
			-- Who was erased left the digest in the log, and that alone.
			SELECT CASE WHEN l.party_salt IS NULL AND num_nonnulls(v.billing_name, v.billing_email, v.billing_address, v.tax_id) = 0
				THEN decode(substring(l.inputs FROM '"party":"([0-9a-f]{64})"'), 'hex')
				ELSE billing.party_digest(l.party_salt, v.billing_name, v.billing_email, v.billing_address, v.tax_id) END AS party
			OFFSET 0
		) x
		CROSS JOIN LATERAL (
			SELECT array_agg(ROW(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.note)::billing.applied_tax ORDER BY t.line_no) AS taxes,
				billing.calculation_taxes(array_agg(billing.calculation_tax(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.base,
					t.amount, t.note) ORDER BY t.line_no)) AS stored
			FROM billing.invoice_tax t
			WHERE t.tenant_id = v.tenant_id AND t.invoice_id = v.invoice_id
			OFFSET 0
		) w
		CROSS JOIN LATERAL (
			SELECT array_agg(billing.terms_of_coupon(c, r.amount) ORDER BY r.step) AS terms,
				billing.calculation_coupons(array_agg(billing.calculation_coupon(billing.terms_of_coupon(c, r.amount), r.discount)
					ORDER BY r.step)) AS stored
			FROM billing.coupon_redemption r
			JOIN billing.coupon c ON c.code = r.coupon
			WHERE r.tenant_id = v.tenant_id AND r.invoice_id = v.invoice_id
			OFFSET 0
		) q
		CROSS JOIN LATERAL (
			WITH known AS MATERIALIZED (
				SELECT row_number() OVER ()::integer AS line, n.kind, n.price_code, n.meter, n.description, n.quantity, n.unit_amount,
					n.amount, n.period_start, n.period_end, n.usage_events, n.usage_digest, n.formula, n.adjusts_invoice_id, n.adjusts_line,
					n.tax_category, n.priced_by AS plan_id
				FROM billing.known_lines(v.tenant_id, v.invoice_id, v.subscription_id, v.plan_id, v.currency, l.quantity,
					l.timezone, l.arrears, l.arrears_whole, l.advance, l.advance_whole, l.step_arrears, l.step_arrears_whole,
					l.step_advance, l.step_advance_whole) n
				WHERE v.subscription_id IS NOT NULL AND v.status <> 'void'
				UNION ALL
				SELECT m.line, m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start,
					m.period_end, m.usage_events, m.usage_digest, m.formula, m.adjusts_invoice_id, m.adjusts_line, m.tax_category, m.plan_id
				FROM billing.stored_lines(v.tenant_id, v.invoice_id, v.plan_id) m
				WHERE m.kind = 'manual' OR v.subscription_id IS NULL OR v.status = 'void'
			), cut AS MATERIALIZED (
				SELECT CASE WHEN q.terms IS NOT NULL THEN (
					SELECT billing.discount(v.currency,
						array_agg(CASE WHEN billing.currency(k.amount) = v.currency THEN k.amount ELSE z.nothing END ORDER BY k.line),
						q.terms, array_agg(k.price_code ORDER BY k.line), array_agg(p.code ORDER BY k.line))
					FROM known k
					LEFT JOIN billing.plan p ON p.plan_id = coalesce(k.plan_id, v.plan_id)) END AS made
			), total AS MATERIALIZED (
				SELECT billing.compose(v.currency,
					coalesce(array_agg(CASE WHEN billing.currency(k.amount) = v.currency THEN k.amount ELSE z.nothing END ORDER BY k.line), '{}'),
					coalesce((SELECT (t.made).line_discounts FROM cut t), array_agg(z.nothing ORDER BY k.line), '{}'),
					coalesce(w.taxes, '{}')) AS composed
				FROM known k
			)
			SELECT count(s.line)::integer AS lines,
				string_agg(format('line=%s', coalesce(s.line, r.line)), ' ' ORDER BY coalesce(s.line, r.line))
					FILTER (WHERE s.line = r.line AND (s.meter, s.description, s.unit_amount, s.tax_category)
						IS DISTINCT FROM (r.meter, r.description, r.unit_amount, r.tax_category)) AS parts,
				billing.calculation_items(s.line, s.kind, s.price_code, s.formula, s.quantity, s.amount, s.period_start, s.period_end,
					s.usage_events, s.usage_digest, s.adjusts_invoice_id, s.adjusts_line, s.plan_id, s.discount, s.tax, s.tax_included)
					FILTER (WHERE s.line IS NOT NULL) AS stored,
				billing.calculation_items(r.line, r.kind, r.price_code, r.formula, r.quantity, r.amount, r.period_start, r.period_end,
					r.usage_events, r.usage_digest, r.adjusts_invoice_id, r.adjusts_line, r.plan_id, coalesce((SELECT (t.made).line_discounts FROM cut t)[r.line], z.nothing),
					(SELECT (t.composed).line_taxes FROM total t)[r.line], (SELECT (t.composed).line_included FROM total t)[r.line]) FILTER (WHERE r.line IS NOT NULL) AS again,
				(SELECT t.composed FROM total t) AS composed,
				billing.calculation_taxes(ARRAY(
					SELECT billing.calculation_tax(a.tax_rate, a.percent, a.is_inclusive, a.lines, (t.composed).tax_bases[a.n],
						(t.composed).tax_amounts[a.n], a.note)
					FROM total t
					CROSS JOIN LATERAL unnest(w.taxes) WITH ORDINALITY a (tax_rate, percent, is_inclusive, lines, note, n)
					ORDER BY a.n)) AS taxes,
				billing.calculation_coupons(ARRAY(
					SELECT billing.calculation_coupon(q.terms[g.n], (t.made).coupon_discounts[g.n])
					FROM cut t
					CROSS JOIN LATERAL generate_subscripts(q.terms, 1) g (n)
					ORDER BY g.n)) AS coupons
			FROM billing.stored_lines(v.tenant_id, v.invoice_id, v.plan_id) s
			FULL JOIN known r ON r.line = s.line
			OFFSET 0
		) i
		WHERE v.tenant_id BETWEEN coalesce(invoice_problems.tenant_id, '-9223372036854775808')
			AND coalesce(invoice_problems.tenant_id, '9223372036854775807')
		  AND v.invoice_id BETWEEN coalesce(invoice_problems.invoice_id, '-9223372036854775808')
			AND coalesce(invoice_problems.invoice_id, '9223372036854775807')
		OFFSET 0
	) c
	-- Behind the version of the engine, which is the one thing that may differ.
	CROSS JOIN LATERAL (SELECT substr(c.inputs, strpos(c.inputs, ',"kind":')) AS logged,
		substr(c.stored, strpos(c.stored, ',"kind":')) AS stored, substr(c.again, strpos(c.again, ',"kind":')) AS again
		OFFSET 0
	) v
	CROSS JOIN LATERAL (
		SELECT 'log' AS problem, 'no row in calculation_log' AS detail WHERE c.inputs IS NULL
		UNION ALL
		SELECT 'log', format('the text does not have its hash: hash=%s sha256=%s', encode(c.hash, 'hex'),
			encode(sha256(convert_to(c.inputs, 'UTF8')), 'hex'))
		WHERE c.hash <> sha256(convert_to(c.inputs, 'UTF8'))
		UNION ALL
		SELECT d.problem, d.detail
		FROM billing.calculation_problems(c.inputs, c.stored, c.again) d
		WHERE v.logged <> v.stored OR v.logged <> v.again
		UNION ALL
		SELECT 'item', format('meter, description, unit_amount or tax_category of %s', c.parts) WHERE c.parts IS NOT NULL AND v.logged = v.again
		UNION ALL
		SELECT 'item', format('lines=%s item_count=%s', c.lines, c.item_count) WHERE c.lines <> c.item_count
		UNION ALL
		SELECT 'chain', format('status=%s chain_no=%s', c.status, coalesce(c.chain_no::text, 'none'))
		WHERE (c.status = 'draft') <> (c.chain_no IS NULL) AND c.inputs IS NOT NULL
		UNION ALL
		SELECT 'chain', format('chain_no=%s: the link before is missing', c.chain_no) WHERE c.chain_no > 1 AND c.link_before IS NULL
		UNION ALL
		SELECT 'chain', format('chain_no=%s: chain_hash=%s recalculated=%s', c.chain_no, encode(c.chain_hash, 'hex'),
			encode(billing.chain_link(NULL, coalesce(c.link_before, ''), c.hash), 'hex'))
		WHERE (c.chain_no = 1 OR c.link_before IS NOT NULL)
		  AND c.chain_hash <> billing.chain_link(NULL, coalesce(c.link_before, ''), c.hash)
		UNION ALL
		SELECT 'number', format('number=%s chain_no=%s', c.number, c.chain_no)
		FROM (SELECT billing.invoice_number('', c.tenant_id, c.chain_no) AS ending) n
		WHERE right(c.number, length(n.ending)) <> n.ending
	) p;
END;
COMMENT ON FUNCTION billing.invoice_problems(bigint, bigint)
	IS 'where invoices of a tenant (NULL: of all), or one of them (NULL: all), do not follow from what they were calculated from; what billing.verify_invoice and billing.verify_all show';

-- The items of a note follow from the line they take back a part of.
CREATE FUNCTION billing.credit_note_problems(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (tenant_id bigint, invoice_id bigint, problem text, detail text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH noted AS MATERIALIZED (
		SELECT DISTINCT n.tenant_id, n.invoice_id
		FROM billing.credit_note n
		WHERE n.tenant_id BETWEEN coalesce(credit_note_problems.tenant_id, '-9223372036854775808')
			AND coalesce(credit_note_problems.tenant_id, '9223372036854775807')
		  AND n.invoice_id BETWEEN coalesce(credit_note_problems.invoice_id, '-9223372036854775808')
			AND coalesce(credit_note_problems.invoice_id, '9223372036854775807')
	), share AS MATERIALIZED (
		SELECT v.tenant_id, v.invoice_id, s.line, s.line_no, s.share, t.is_inclusive
		FROM noted v
		CROSS JOIN LATERAL billing.invoice_tax_shares(v.tenant_id, v.invoice_id) s
		JOIN billing.invoice_tax t ON t.tenant_id = v.tenant_id AND t.invoice_id = v.invoice_id AND t.line_no = s.line_no
	), part AS MATERIALIZED (
		SELECT c.*, l.amount AS line_amount, l.discount AS line_discount, coalesce(billing.currency(l.amount) = billing.currency(c.amount)
			AND abs(billing.minor_units(c.before + c.amount)) <= abs(billing.minor_units(l.amount))
			AND sign(billing.minor_units(c.amount)) = sign(billing.minor_units(l.amount)), false) AS is_part
		FROM (
			SELECT i.*, coalesce(sum(i.amount) OVER (PARTITION BY i.tenant_id, i.invoice_id, i.invoice_line
				ORDER BY i.credit_note_id, i.line ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), i.amount - i.amount) AS before
			FROM billing.credit_note_item i
			JOIN noted v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
		) c
		LEFT JOIN billing.invoice_item l ON l.tenant_id = c.tenant_id AND l.invoice_id = c.invoice_id AND l.line = c.invoice_line
	), taken AS MATERIALIZED (
		SELECT c.tenant_id, c.credit_note_id, c.line, s.line_no, s.is_inclusive,
			billing.credit_share(s.share, c.line_amount, c.before, c.amount) AS tax
		FROM part c
		JOIN share s ON s.tenant_id = c.tenant_id AND s.invoice_id = c.invoice_id AND s.line = c.invoice_line
		WHERE c.is_part
	)
	SELECT c.tenant_id, c.invoice_id, 'credit_note', format('number=%s line=%s of line %s: amount=%s credited_before=%s/%s discount=%s/%s tax=%s/%s'
		' tax_included=%s/%s', n.number, c.line, c.invoice_line, c.amount, c.credited_before, c.before, c.discount, s.discount, c.tax, s.tax,
		c.tax_included, s.tax_included)
	FROM part c
	JOIN billing.credit_note n ON n.tenant_id = c.tenant_id AND n.credit_note_id = c.credit_note_id
	LEFT JOIN (
		SELECT t.tenant_id, t.credit_note_id, t.line, sum(t.tax) AS tax, sum(t.tax) FILTER (WHERE t.is_inclusive) AS tax_included
		FROM taken t
		GROUP BY t.tenant_id, t.credit_note_id, t.line
	) t ON t.tenant_id = c.tenant_id AND t.credit_note_id = c.credit_note_id AND t.line = c.line
	CROSS JOIN LATERAL (SELECT
		CASE WHEN c.is_part THEN billing.credit_share(c.line_discount, c.line_amount, c.before, c.amount) END AS discount,
		CASE WHEN c.is_part THEN coalesce(t.tax, c.amount - c.amount) END AS tax,
		CASE WHEN c.is_part THEN coalesce(t.tax_included, c.amount - c.amount) END AS tax_included
		OFFSET 0) s
	WHERE (c.credited_before, c.discount, c.tax, c.tax_included) IS DISTINCT FROM (c.before, s.discount, s.tax, s.tax_included)
	UNION ALL
	SELECT n.tenant_id, n.invoice_id, 'credit_note', format('number=%s tax %s: amount=%s/%s base=%s/%s', n.number,
		coalesce(x.invoice_line_no, t.line_no), x.amount, t.tax, x.base, t.base)
	FROM (
		SELECT x.*
		FROM billing.credit_note_tax x
		JOIN noted v ON v.tenant_id = x.tenant_id AND v.invoice_id = x.invoice_id
	) x
	FULL JOIN (
		SELECT t.tenant_id, t.credit_note_id, t.line_no, sum(t.tax) AS tax, sum(c.amount - c.discount - c.tax_included) AS base
		FROM taken t
		JOIN part c ON c.tenant_id = t.tenant_id AND c.credit_note_id = t.credit_note_id AND c.line = t.line
		GROUP BY t.tenant_id, t.credit_note_id, t.line_no
	) t ON t.tenant_id = x.tenant_id AND t.credit_note_id = x.credit_note_id AND t.line_no = x.invoice_line_no
	JOIN billing.credit_note n ON n.tenant_id = coalesce(x.tenant_id, t.tenant_id) AND n.credit_note_id = coalesce(x.credit_note_id, t.credit_note_id)
	WHERE (x.amount, x.base) IS DISTINCT FROM (t.tax, t.base);
END;
COMMENT ON FUNCTION billing.credit_note_problems(bigint, bigint)
	IS 'where items of credit notes of a tenant (NULL: of all), or of one of its invoices (NULL: all), do not follow from the lines they take back parts of: credited_before, discount, tax and tax_included as stored and as calculated again (none of what is no part of its line); and where their taxes do not';

CREATE FUNCTION billing.verify_invoice(tenant_id bigint, invoice_id bigint, OUT problem text, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'billing_verify_invoice';
COMMENT ON FUNCTION billing.verify_invoice(bigint, bigint)
	IS 'calculates an invoice again from its sources and compares: no row if it agrees to the byte, else a row for each problem: tariff, usage, line, amount, totals (the source, which gives something else), item, invoice, party (what is stored, against its log), log (the text of the calculation or its hash), chain, number, credit_note (an item of a credit note of it, against its line); with the rights of the caller; after a restore, call compact_usage() first; raises YB001, 22004';

CREATE FUNCTION billing.verify_all(tenant_id bigint DEFAULT NULL, OUT tenant_id bigint, OUT invoice_id bigint,
	OUT problem text, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'billing_verify_all';
COMMENT ON FUNCTION billing.verify_all(bigint)
	IS 'billing.verify_invoice of every invoice of a tenant (NULL: of all the caller may see), in one statement; no row: all agree; YB001 no such tenant';
