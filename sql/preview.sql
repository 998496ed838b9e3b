
-- preview: what would be billed -------------------------------------------------------

-- The lines of the next invoice as the bill run calculates them, with usage
-- that no rollup holds yet, and what they add up to.
CREATE FUNCTION billing.preview_lines(tenant_id bigint, subscription_id bigint, plan_id bigint, due_at timestamptz,
	ends boolean)
RETURNS TABLE (line integer, kind text, price_code text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	WITH due AS (
		SELECT s.tenant_id, s.subscription_id, p.plan_id, p.code AS plan, p.cycle, s.currency, x.quantity, p.proration, t.timezone, w.changes,
			s.plan_id AS plan_before, s.quantity AS quantity_before,
			billing.usage_streams(s.tenant_id, s.subscription_id) AS streams,
			billing.next_boundary(x.anchor, p.cycle, billing.step_cycle(p.plan_id, p.cycle), s.billing,
				greatest(s.started_at, upper(s.lapses), s.anew_at), s.trial_end, s.period_start, s.period_end, s.billed_to,
				preview_lines.due_at, CASE WHEN preview_lines.ends THEN preview_lines.due_at ELSE s.cancel_at END, s.auto_renew,
				s.timezone, t.timezone, x.changed_at) AS next
		FROM billing.subscription s
		JOIN billing.tenant t ON t.tenant_id = s.tenant_id
		-- A change that waits for this boundary is made before it is billed.
		CROSS JOIN LATERAL (
			SELECT NOT preview_lines.ends AND preview_lines.plan_id = s.plan_id AND preview_lines.due_at = s.due_at
				AND billing.changes_at_boundary(s) AS changes
			OFFSET 0
		) w
		CROSS JOIN LATERAL (
			SELECT CASE WHEN w.changes THEN coalesce(s.next_plan_id, s.plan_id) ELSE preview_lines.plan_id END AS plan_id,
				CASE WHEN w.changes THEN coalesce(s.next_quantity, s.quantity) ELSE s.quantity END AS quantity,
				CASE WHEN w.changes THEN billing.boundary_anchor(s, coalesce(s.next_plan_id, s.plan_id)) ELSE s.anchor END AS anchor,
				CASE WHEN w.changes THEN s.due_at ELSE s.changed_at END AS changed_at
			OFFSET 0
		) x
		JOIN billing.plan p ON p.plan_id = x.plan_id
		WHERE s.tenant_id = preview_lines.tenant_id AND s.subscription_id = preview_lines.subscription_id
		OFFSET 0
	), part AS (
		-- What was owed beside, cut short where it ends, and what the plan before a change owes.
		SELECT q.part_no, q.plan_id, q.quantity, q.timezone, q.arrears, q.arrears_whole, q.step_arrears, q.step_arrears_whole,
			nullif(q.advance * u.until, 'empty') AS advance,
			CASE WHEN NOT u.until @> q.advance THEN coalesce(q.advance_whole, q.advance) ELSE q.advance_whole END AS advance_whole,
			nullif(q.step_advance * u.until, 'empty') AS step_advance,
			CASE WHEN NOT u.until @> q.step_advance THEN coalesce(q.step_advance_whole, q.step_advance) ELSE q.step_advance_whole END
				AS step_advance_whole
		FROM due d
		JOIN billing.due_part q ON q.tenant_id = d.tenant_id AND q.subscription_id = d.subscription_id AND q.is_pending
		CROSS JOIN LATERAL (SELECT tstzrange(NULL, CASE WHEN preview_lines.ends THEN preview_lines.due_at END) AS until OFFSET 0) u
		UNION ALL
		SELECT 2147483647, d.plan_before, d.quantity_before, d.timezone, c.arrears, c.arrears_whole, c.step_arrears, c.step_arrears_whole,
			NULL, NULL, NULL, NULL
		FROM due d
		CROSS JOIN LATERAL billing.change_cut(d.tenant_id, d.subscription_id, preview_lines.due_at, d.plan_before) c
		WHERE d.changes
	), lines AS (
		SELECT row_number() OVER ()::integer AS line, l.*
		FROM (
			(SELECT m.kind, m.price_code, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
				m.tax_category
			FROM part q
			CROSS JOIN due d
			JOIN billing.plan o ON o.plan_id = q.plan_id
			CROSS JOIN LATERAL billing.invoice_lines(d.tenant_id, d.subscription_id, o.plan_id, o.cycle, d.currency, q.quantity,
				o.proration, q.timezone, d.streams, q.arrears, q.arrears_whole, q.advance, q.advance_whole, q.step_arrears,
				q.step_arrears_whole, q.step_advance, q.step_advance_whole, true) WITH ORDINALITY m
			ORDER BY q.part_no, m.ordinality)
			UNION ALL
			SELECT m.kind, m.price_code, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
				m.tax_category
			FROM due d
			CROSS JOIN LATERAL billing.invoice_lines(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, d.currency, d.quantity,
				d.proration, d.timezone, d.streams, (d.next).arrears, (d.next).arrears_whole, (d.next).advance,
				(d.next).advance_whole, (d.next).step_arrears, (d.next).step_arrears_whole, (d.next).step_advance,
				(d.next).step_advance_whole, true) m
			UNION ALL
			SELECT c.kind, c.price_code, c.description, c.quantity, c.unit_amount, c.amount, c.period_start, c.period_end,
				c.tax_category
			FROM due d
			CROSS JOIN LATERAL billing.interim_credits(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, (d.next).arrears,
				(d.next).step_arrears, NULL) c
			UNION ALL
			SELECT a.kind, a.price_code, a.description, a.quantity, a.unit_amount, a.amount, a.period_start, a.period_end,
				a.tax_category
			FROM due d
			CROSS JOIN LATERAL billing.invoice_adjustments(d.tenant_id, d.subscription_id, d.streams, true) a
			UNION ALL
			SELECT 'true_up', c.price_code, c.description, 1, NULL, c.amount, c.period_start, c.period_end, c.tax_category
			FROM due d
			CROSS JOIN LATERAL billing.invoice_true_ups(d.tenant_id, d.subscription_id, d.plan_id, d.cycle, d.currency, d.quantity,
				d.proration, d.timezone, d.streams, (d.next).arrears, (d.next).arrears_whole, (d.next).advance,
				(d.next).advance_whole, (d.next).step_arrears, (d.next).step_arrears_whole, (d.next).step_advance,
				(d.next).step_advance_whole, true) WITH ORDINALITY c
			WHERE billing.has_commitment(d.plan_id) OR EXISTS (SELECT FROM billing.usage_late t
				WHERE t.tenant_id = d.tenant_id AND t.subscription_id = d.subscription_id AND t.invoice_id IS NULL)
		) l
	), totals AS (
		SELECT x.taxes, billing.compose(d.currency, s.amounts, coalesce((c.made).line_discounts, s.nothing), x.taxes) AS composed,
			k.terms, (c.made).coupon_discounts AS discounts
		FROM due d
		CROSS JOIN LATERAL (
			SELECT coalesce(array_agg(l.amount ORDER BY l.line), '{}') AS amounts,
				coalesce(array_agg(billing.from_minor_units(0, d.currency) ORDER BY l.line), '{}') AS nothing,
				array_agg(l.tax_category ORDER BY l.line) AS categories, array_agg(l.price_code ORDER BY l.line) AS prices,
				array_agg(d.plan ORDER BY l.line) AS plans
			FROM lines l
		) s
		CROSS JOIN LATERAL (
			SELECT array_agg(l.terms ORDER BY l.step) AS terms FROM billing.live_coupons(d.tenant_id, d.subscription_id, NULL) l
		) k
		CROSS JOIN LATERAL (SELECT billing.discount(d.currency, s.amounts, k.terms, s.prices, s.plans) AS made OFFSET 0) c
		CROSS JOIN LATERAL (SELECT billing.choose_taxes(d.tenant_id, s.categories) AS taxes OFFSET 0) x
		OFFSET 0
	)
	SELECT l.line, l.kind, l.price_code, l.description, l.quantity, l.unit_amount, l.amount, l.period_start, l.period_end
	FROM lines l
	UNION ALL
	SELECT NULL, 'discount', NULL, (SELECT coalesce(c.name, c.code) FROM billing.coupon c WHERE c.code = (t.terms[x.n]).coupon),
		(t.terms[x.n]).percent, NULL, -x.discount, NULL, NULL
	FROM totals t
	CROSS JOIN LATERAL unnest(t.discounts) WITH ORDINALITY x (discount, n)
	WHERE billing.minor_units(x.discount) > 0
	UNION ALL
	SELECT NULL, CASE WHEN x.is_inclusive THEN 'tax_included' ELSE 'tax' END, NULL, coalesce(x.note, r.name), x.percent, NULL,
		(t.composed).tax_amounts[x.n], NULL, NULL
	FROM totals t
	CROSS JOIN LATERAL unnest(t.taxes) WITH ORDINALITY x (tax_rate, percent, is_inclusive, lines, note, n)
	LEFT JOIN billing.tax_rate r ON r.code = x.tax_rate
	UNION ALL
	SELECT NULL, 'tax', NULL, NULL, 0, NULL, (t.composed).tax, NULL, NULL FROM totals t
	WHERE cardinality(t.taxes) = 0
	UNION ALL
	SELECT NULL, 'excess', NULL, NULL, NULL, NULL, (t.composed).excess, NULL, NULL FROM totals t
	WHERE billing.minor_units((t.composed).excess) > 0
	UNION ALL
	SELECT NULL, 'total', NULL, NULL, NULL, NULL, (t.composed).total, NULL, NULL FROM totals t;
END;
COMMENT ON FUNCTION billing.preview_lines(bigint, bigint, bigint, timestamptz, boolean)
	IS 'the lines that an invoice of a subscription at the boundary due_at would have if its plan were plan_id, and it were canceled there if it ends, with what is owed beside it and a change that waits for it; then a row of kind discount for each coupon that takes something off, its quantity the percentage and its amount negative, one of kind tax for each tax, its quantity the percentage (tax_included: the lines contain it), one of kind excess if a credit is left over, and one of kind total: the sum of the others but tax_included; reads as the caller may';

CREATE FUNCTION billing.preview_invoice(tenant_id bigint, subscription_id bigint, effective text DEFAULT 'period_end',
	plan text DEFAULT NULL)
RETURNS TABLE (line integer, kind text, price_code text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz)
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_preview_invoice';
COMMENT ON FUNCTION billing.preview_invoice(bigint, bigint, text, text)
	IS 'the next invoice of a subscription before it is built, as rows: its lines, then a row of kind discount for each coupon that takes something off (its quantity is the percentage, its amount negative), one of kind tax for each tax (its quantity is the percentage; tax_included: the lines contain it), one of kind excess if it leaves a credit over, and one of kind total; if that would draw credit (as the wallet will be then, if nothing else is drawn of it), rows of kind credited (of credit notes) and wallet_applied, negative, and amount_due; effective period_end: at the boundary that is due next, with usage as known by now; now: if it were canceled at once; plan: as if it were on that plan of the same cycle and currency; writes nothing; raises 22004, 22023, YB001, YB004 for a subscription that has ended';
