
-- commitment: what is owed at least, and at most ------------------------------------------

CREATE FUNCTION billing.true_up(charged billing.amount, minimum billing.amount, maximum billing.amount)
RETURNS billing.amount
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_true_up';
COMMENT ON FUNCTION billing.true_up(billing.amount, billing.amount, billing.amount)
	IS 'what lifts charged to minimum or, negative, lowers it to maximum; 0 between them; a NULL bound is none; raises YB002, YB003';

-- What of a bound a part of a period owes: all of it for the whole (NULL).
CREATE FUNCTION billing.prorated_bound(bound billing.amount, whole tstzrange, part tstzrange, basis text, timezone text)
RETURNS billing.amount
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN whole IS NULL THEN bound ELSE billing.prorate(bound, whole, part, basis, timezone) END;
COMMENT ON FUNCTION billing.prorated_bound(billing.amount, tstzrange, tstzrange, text, text)
	IS 'billing.prorate, of a whole that is NULL the bound as it is';

CREATE FUNCTION billing.has_commitment(plan_id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT p.minimum IS NOT NULL OR p.maximum IS NOT NULL OR EXISTS (
		SELECT FROM billing.price c WHERE c.plan_id = p.plan_id AND (c.minimum IS NOT NULL OR c.maximum IS NOT NULL))
	FROM billing.plan p
	WHERE p.plan_id = has_commitment.plan_id;
END;
COMMENT ON FUNCTION billing.has_commitment(bigint)
	IS 'whether a plan or one of its prices has a minimum or maximum';

-- A bound of a price is for each period of it, whatever its timing; one of a plan for the
-- period that ends at the boundary, to which all lines of the plan count by the time that
-- they share with it: also those billed in advance where it began, less what was credited of them as
-- unused.  A change within a period cuts it: each part owes its own.  Late usage changes what a
-- period costs, and so what is missing or too much.
CREATE FUNCTION billing.invoice_true_ups(tenant_id bigint, subscription_id bigint, plan_id bigint, plan_cycle interval,
	currency text, quantity integer, proration text, timezone text, streams bigint[],
	arrears tstzrange, arrears_whole tstzrange, advance tstzrange, advance_whole tstzrange,
	step_arrears tstzrange, step_arrears_whole tstzrange, step_advance tstzrange, step_advance_whole tstzrange,
	with_tail boolean, booked_by bigint DEFAULT NULL)
RETURNS TABLE (price_code text, description text, amount billing.amount, period_start timestamptz, period_end timestamptz,
	formula bytea, is_advance boolean, tax_category text, priced_by bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	-- What the invoice bills: the boundary itself, and the parts that it takes with it.
	WITH part AS MATERIALIZED (
		SELECT invoice_true_ups.plan_id AS plan_id, invoice_true_ups.quantity AS quantity, invoice_true_ups.timezone AS timezone,
			invoice_true_ups.arrears AS arrears, invoice_true_ups.arrears_whole AS arrears_whole,
			invoice_true_ups.advance AS advance, invoice_true_ups.advance_whole AS advance_whole,
			invoice_true_ups.step_arrears AS step_arrears, invoice_true_ups.step_arrears_whole AS step_arrears_whole,
			invoice_true_ups.step_advance AS step_advance, invoice_true_ups.step_advance_whole AS step_advance_whole
		UNION ALL
		SELECT d.plan_id, d.quantity, d.timezone, d.arrears, d.arrears_whole, d.advance, d.advance_whole, d.step_arrears,
			d.step_arrears_whole, d.step_advance, d.step_advance_whole
		FROM billing.due_part d
		WHERE d.tenant_id = invoice_true_ups.tenant_id AND d.subscription_id = invoice_true_ups.subscription_id
		  AND CASE WHEN invoice_true_ups.booked_by IS NULL THEN d.is_pending ELSE d.invoice_id = invoice_true_ups.booked_by END
	), line AS MATERIALIZED (
		SELECT d.plan_id, m.price_code, m.amount, tstzrange(m.period_start, m.period_end) AS period, m.is_advance, false AS is_adjustment,
			d.timezone, CASE WHEN p.is_prorated IS FALSE THEN NULL WHEN p.cycle IS NOT NULL AND p.cycle IS DISTINCT FROM f.cycle
				THEN CASE WHEN m.is_advance THEN d.step_advance_whole ELSE d.step_arrears_whole END
				ELSE CASE WHEN m.is_advance THEN d.advance_whole ELSE d.arrears_whole END END AS whole
		FROM part d
		JOIN billing.plan f ON f.plan_id = d.plan_id
		CROSS JOIN LATERAL billing.invoice_lines(invoice_true_ups.tenant_id, invoice_true_ups.subscription_id, d.plan_id, f.cycle,
			invoice_true_ups.currency, d.quantity, f.proration, d.timezone, invoice_true_ups.streams, d.arrears, d.arrears_whole,
			d.advance, d.advance_whole, d.step_arrears, d.step_arrears_whole, d.step_advance, d.step_advance_whole,
			invoice_true_ups.with_tail, invoice_true_ups.booked_by) m
		JOIN billing.price p ON p.plan_id = d.plan_id AND p.code = m.price_code
		UNION ALL
		SELECT p.plan_id, a.price_code, a.amount, tstzrange(a.period_start, a.period_end), false, true, g.timezone,
			CASE WHEN p.is_prorated IS NOT FALSE THEN w.whole END
		FROM billing.invoice_adjustments(invoice_true_ups.tenant_id, invoice_true_ups.subscription_id, invoice_true_ups.streams,
			invoice_true_ups.with_tail, invoice_true_ups.booked_by) a
		JOIN billing.invoice v ON v.tenant_id = invoice_true_ups.tenant_id AND v.invoice_id = a.adjusts_invoice_id
		JOIN billing.price p ON p.plan_id = a.plan_id AND p.code = a.price_code
		LEFT JOIN billing.calculation_log g ON g.tenant_id = v.tenant_id AND g.invoice_id = v.invoice_id
		LEFT JOIN LATERAL billing.line_whole(v.tenant_id, v.invoice_id, v.plan_id, a.plan_id, tstzrange(a.period_start, a.period_end)) w
			ON true
	), final AS MATERIALIZED (
		SELECT v.invoice_id, v.plan_id, v.period_end
		FROM billing.invoice v
		WHERE v.tenant_id = invoice_true_ups.tenant_id AND v.subscription_id = invoice_true_ups.subscription_id
		  AND v.period_end >= (SELECT min(lower(l.period)) FROM line l WHERE l.is_adjustment)
		  AND (invoice_true_ups.booked_by IS NULL OR v.invoice_id < invoice_true_ups.booked_by)
		  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, invoice_true_ups.booked_by))
	), target AS MATERIALIZED (
		SELECT d.plan_id, d.arrears AS period, d.arrears_whole AS whole, d.timezone
		FROM part d
		WHERE NOT isempty(d.arrears)
		UNION
		SELECT l.plan_id, g.arrears, g.arrears_whole, g.timezone
		FROM line l
		JOIN final v ON v.plan_id = l.plan_id AND v.period_end >= upper(l.period)
		JOIN billing.calculation_log g ON g.tenant_id = invoice_true_ups.tenant_id AND g.invoice_id = v.invoice_id AND g.arrears @> l.period
		WHERE l.is_adjustment
		UNION
		SELECT l.plan_id, d.arrears, d.arrears_whole, d.timezone
		FROM line l
		JOIN billing.due_part d ON d.tenant_id = invoice_true_ups.tenant_id AND d.subscription_id = invoice_true_ups.subscription_id
			AND d.plan_id = l.plan_id AND d.arrears @> l.period
		JOIN final v ON v.invoice_id = d.invoice_id
		WHERE l.is_adjustment
	), booked AS MATERIALIZED (
		SELECT coalesce(i.plan_id, v.plan_id) AS plan_id, i.kind, i.price_code, e.amount, e.period
		FROM billing.invoice v
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
			AND i.kind IN ('fixed', 'usage', 'adjustment', 'true_up')
		CROSS JOIN LATERAL (
			SELECT i.amount, tstzrange(i.period_start, i.period_end) AS period
			UNION ALL
			SELECT -c.amount, tstzrange(c.period_start, c.period_end)
			FROM billing.credit_note_item c
			WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.invoice_line = i.line AND i.kind IN ('fixed', 'adjustment')
			  AND c.is_unused AND c.period_end > c.period_start
			  AND (invoice_true_ups.booked_by IS NULL OR c.credit_note_id < invoice_true_ups.booked_by)
		) e
		WHERE v.tenant_id = invoice_true_ups.tenant_id AND v.subscription_id = invoice_true_ups.subscription_id
		  -- A fixed price was billed in advance where the whole period began, also for a part that begins later.
		  AND v.period_end >= (SELECT min(lower(e.whole)) FROM (SELECT coalesce(l.whole, l.period) AS whole FROM line l
			UNION ALL SELECT coalesce(t.whole, t.period) FROM target t) e)
		  AND i.period_end > i.period_start AND billing.currency(i.amount) = invoice_true_ups.currency
		  AND (invoice_true_ups.booked_by IS NULL OR v.invoice_id < invoice_true_ups.booked_by)
		  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, invoice_true_ups.booked_by))
	), of_price AS MATERIALIZED (
		SELECT l.plan_id, l.price_code, l.period, l.is_advance, p.name, p.sort_order, p.tax_category,
			CASE WHEN p.strategy IS NOT NULL THEN billing.strategy_digest(p.strategy) ELSE p.digest END AS formula,
			billing.true_up(l.amount + coalesce(b.charged, b.nothing),
				billing.prorated_bound(p.minimum, l.whole, l.period, f.proration, l.timezone),
				billing.prorated_bound(p.maximum, l.whole, l.period, f.proration, l.timezone)) - coalesce(b.trued_up, b.nothing) AS amount
		FROM (
			SELECT l.plan_id, l.price_code, l.period, l.is_advance, l.timezone, l.whole, sum(l.amount) AS amount
			FROM line l
			GROUP BY l.plan_id, l.price_code, l.period, l.is_advance, l.timezone, l.whole
		) l
		JOIN billing.plan f ON f.plan_id = l.plan_id
		JOIN billing.price p ON p.plan_id = l.plan_id AND p.code = l.price_code AND num_nonnulls(p.minimum, p.maximum) > 0
		CROSS JOIN LATERAL (
			SELECT billing.from_minor_units(0, invoice_true_ups.currency) AS nothing,
				sum(b.amount) FILTER (WHERE b.kind <> 'true_up') AS charged, sum(b.amount) FILTER (WHERE b.kind = 'true_up') AS trued_up
			FROM booked b
			WHERE b.plan_id = l.plan_id AND b.price_code = l.price_code AND b.period = l.period
		) b
	), of_plan AS (
		SELECT t.plan_id, t.period, f.name,
			billing.true_up(coalesce(c.charged, c.nothing),
				billing.prorated_bound(f.minimum, t.whole, t.period, f.proration, t.timezone),
				billing.prorated_bound(f.maximum, t.whole, t.period, f.proration, t.timezone)) - coalesce(b.trued_up, c.nothing) AS amount
		FROM target t
		JOIN billing.plan f ON f.plan_id = t.plan_id AND num_nonnulls(f.minimum, f.maximum) > 0
		CROSS JOIN LATERAL (
			SELECT billing.from_minor_units(0, invoice_true_ups.currency) AS nothing,
				sum(CASE WHEN t.period @> c.period THEN c.amount
					ELSE billing.prorate(c.amount, c.period, t.period * c.period, f.proration, t.timezone) END) AS charged
			FROM (
				SELECT l.plan_id, l.amount, l.period FROM line l
				UNION ALL
				SELECT p.plan_id, p.amount, p.period FROM of_price p
				UNION ALL
				SELECT b.plan_id, b.amount, b.period FROM booked b WHERE b.price_code IS NOT NULL
			) c
			WHERE c.plan_id = t.plan_id AND c.period && t.period
		) c
		CROSS JOIN LATERAL (
			SELECT sum(b.amount) AS trued_up
			FROM booked b
			WHERE b.plan_id = t.plan_id AND b.kind = 'true_up' AND b.price_code IS NULL AND b.period = t.period
		) b
	)
	SELECT r.price_code, r.description, r.amount, lower(r.period), upper(r.period), r.formula, r.is_advance, r.tax_category,
		nullif(r.plan_id, invoice_true_ups.plan_id)
	FROM (
		SELECT 1 AS part, p.plan_id, p.sort_order, p.price_code, coalesce(p.name, p.price_code) AS description, p.amount, p.period,
			p.formula, p.is_advance, p.tax_category
		FROM of_price p
		UNION ALL
		SELECT 2, p.plan_id, 0, NULL, p.name, p.amount, p.period, NULL, false, (
			SELECT min(c.tax_category) FROM billing.price c WHERE c.plan_id = p.plan_id HAVING count(DISTINCT coalesce(c.tax_category, '')) = 1)
		FROM of_plan p
	) r
	WHERE billing.minor_units(r.amount) <> 0
	ORDER BY r.part, lower(r.period), r.sort_order, r.price_code, r.plan_id;
END;
COMMENT ON FUNCTION billing.invoice_true_ups(bigint, bigint, bigint, interval, text, integer, text, text, bigint[], tstzrange,
	tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, boolean, bigint)
	IS 'lines of kind true_up of a subscription''s invoice: what lifts the lines of a price, or of the plan (price_code NULL), in a period to its minimum or lowers them to its maximum, prorated on stubs, less what was booked for that before; also of the parts that it bills; arguments as of billing.invoice_lines and billing.invoice_adjustments; priced_by: the plan version, where that is not plan_id';
