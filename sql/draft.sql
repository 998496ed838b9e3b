
-- draft: invoices that are calculated again, and made final, a set at a time ---------------

-- What a stored invoice was calculated from, in canonical form.  Whoever wrote it
-- (the bill run, create_invoice) and whoever verifies it has the same text here.
CREATE FUNCTION billing.invoice_inputs(tenant_id bigint, invoice_id bigint, party_salt uuid)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT billing.calculation_inputs(i.kind, i.subscription_id, i.plan_id, l.quantity, l.timezone,
		l.arrears, l.arrears_whole, l.advance, l.advance_whole,
		l.step_arrears, l.step_arrears_whole, l.step_advance, l.step_advance_whole,
		coalesce((SELECT billing.calculation_items(n.line, n.kind, n.price_code, coalesce(
				(SELECT c.digest FROM billing.line_correction(n.tenant_id, n.adjusts_invoice_id, n.adjusts_line, n.invoice_id) c),
				CASE WHEN p.strategy IS NOT NULL THEN billing.strategy_digest(p.strategy) ELSE p.digest END),
				n.quantity, n.amount, n.period_start, n.period_end, n.usage_events, n.usage_digest,
				n.adjusts_invoice_id, n.adjusts_line, n.plan_id, n.discount, n.tax, n.tax_included)
			FROM billing.invoice_item n
			LEFT JOIN billing.invoice a ON a.tenant_id = n.tenant_id AND a.invoice_id = n.adjusts_invoice_id
			LEFT JOIN billing.price p ON p.plan_id = coalesce(n.plan_id, a.plan_id, i.plan_id) AND p.code = n.price_code
			WHERE n.tenant_id = i.tenant_id AND n.invoice_id = i.invoice_id), '[]'),
		i.subtotal, i.discount, i.tax_percent, i.tax, i.tax_included,
		billing.calculation_taxes(ARRAY(
			SELECT billing.calculation_tax(t.tax_rate, t.percent, t.is_inclusive, t.lines, t.base, t.amount, t.note)
			FROM billing.invoice_tax t
			WHERE t.tenant_id = i.tenant_id AND t.invoice_id = i.invoice_id
			ORDER BY t.line_no)), i.total,
		billing.calculation_coupons(ARRAY(
			SELECT billing.calculation_coupon(billing.terms_of_coupon(c, r.amount), r.discount)
			FROM billing.coupon_redemption r
			JOIN billing.coupon c ON c.code = r.coupon
			WHERE r.tenant_id = i.tenant_id AND r.invoice_id = i.invoice_id
			ORDER BY r.step)),
		billing.party_digest(invoice_inputs.party_salt, i.billing_name, i.billing_email, i.billing_address, i.tax_id))
	FROM billing.invoice i
	LEFT JOIN billing.calculation_log l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
	WHERE i.tenant_id = invoice_inputs.tenant_id AND i.invoice_id = invoice_inputs.invoice_id;
END;
COMMENT ON FUNCTION billing.invoice_inputs(bigint, bigint, uuid)
	IS 'what a stored invoice was calculated from, as calculation_log.inputs states it, made again from its rows and the prices they name';

-- The calculated lines of an invoice, in their order: what the bill run makes of what the
-- log keeps, with the usage that was known.  Of what came late that is what it booked
-- itself, or one before it: the rest a later invoice bills, or will.  Where there is no horizon, as after
-- a restore, nothing is in a rollup and all usage is read raw.  What it bills beside its boundary is kept by
-- billing.due_part, which is not asked where nobody ever changed.
CREATE FUNCTION billing.known_lines(tenant_id bigint, invoice_id bigint, subscription_id bigint, plan_id bigint, currency text,
	quantity integer, timezone text, arrears tstzrange, arrears_whole tstzrange, advance tstzrange, advance_whole tstzrange,
	step_arrears tstzrange, step_arrears_whole tstzrange, step_advance tstzrange, step_advance_whole tstzrange)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, adjusts_invoice_id bigint, adjusts_line integer, tax_category text, priced_by bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT n.*
	FROM billing.plan p
	CROSS JOIN LATERAL (
		SELECT NOT EXISTS (SELECT FROM billing.usage_horizon h WHERE h.tenant_id = known_lines.tenant_id) AS with_tail,
			billing.usage_streams(known_lines.tenant_id, known_lines.subscription_id) AS streams,
			EXISTS (SELECT FROM billing.subscription_threshold c WHERE c.tenant_id = known_lines.tenant_id
				AND c.subscription_id = known_lines.subscription_id AND c.cut_at IS NOT NULL) AS has_cut,
			EXISTS (SELECT FROM billing.invoice v WHERE v.tenant_id = known_lines.tenant_id
				AND v.invoice_id = known_lines.invoice_id AND v.kind = 'threshold') AS is_interim
		OFFSET 0
	) u
	CROSS JOIN LATERAL (
		SELECT m.*
		FROM (
			SELECT d.*, o.cycle, o.proration
			FROM billing.due_part d
			JOIN billing.plan o ON o.plan_id = d.plan_id
			WHERE (SELECT EXISTS (SELECT FROM billing.due_part))
			  AND d.tenant_id = known_lines.tenant_id AND d.invoice_id = known_lines.invoice_id
			ORDER BY d.part_no
		) d
		CROSS JOIN LATERAL (
			SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
				m.usage_events, m.usage_digest, m.formula, NULL::bigint AS adjusts_invoice_id, NULL::integer AS adjusts_line,
				m.tax_category, nullif(d.plan_id, known_lines.plan_id) AS priced_by
			FROM billing.invoice_lines(known_lines.tenant_id, known_lines.subscription_id, d.plan_id, d.cycle,
				known_lines.currency, d.quantity, d.proration, d.timezone, u.streams, d.arrears, d.arrears_whole, d.advance,
				d.advance_whole, d.step_arrears, d.step_arrears_whole, d.step_advance, d.step_advance_whole, u.with_tail,
				known_lines.invoice_id) m
			UNION ALL
			SELECT c.kind, c.price_code, c.meter, c.description, c.quantity, c.unit_amount, c.amount, c.period_start, c.period_end,
				c.usage_events, c.usage_digest, c.formula, c.adjusts_invoice_id, c.adjusts_line, c.tax_category,
				nullif(d.plan_id, known_lines.plan_id)
			FROM billing.interim_credits(known_lines.tenant_id, known_lines.subscription_id, d.plan_id, d.cycle, d.arrears,
				d.step_arrears, known_lines.invoice_id) c
			WHERE u.has_cut
		) m
		UNION ALL
		SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
			m.usage_events, m.usage_digest, m.formula, NULL, NULL, m.tax_category, NULL
		FROM billing.invoice_lines(known_lines.tenant_id, known_lines.subscription_id, known_lines.plan_id, p.cycle,
			known_lines.currency, known_lines.quantity, p.proration, known_lines.timezone, u.streams, known_lines.arrears,
			known_lines.arrears_whole, known_lines.advance, known_lines.advance_whole, known_lines.step_arrears,
			known_lines.step_arrears_whole, known_lines.step_advance, known_lines.step_advance_whole, u.with_tail,
			known_lines.invoice_id) m
		WHERE NOT u.is_interim
		UNION ALL
		SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
			m.usage_events, m.usage_digest, m.formula, NULL, NULL, m.tax_category, NULL
		FROM billing.interim_lines(known_lines.tenant_id, known_lines.subscription_id, known_lines.plan_id, p.cycle,
			known_lines.currency, u.streams, known_lines.arrears, known_lines.step_arrears, u.with_tail, known_lines.invoice_id) m
		WHERE u.is_interim
		UNION ALL
		SELECT c.kind, c.price_code, c.meter, c.description, c.quantity, c.unit_amount, c.amount, c.period_start, c.period_end,
			c.usage_events, c.usage_digest, c.formula, c.adjusts_invoice_id, c.adjusts_line, c.tax_category, NULL
		FROM billing.interim_credits(known_lines.tenant_id, known_lines.subscription_id, known_lines.plan_id, p.cycle,
			known_lines.arrears, known_lines.step_arrears, known_lines.invoice_id) c
		WHERE u.has_cut AND NOT u.is_interim
		UNION ALL
		SELECT a.kind, a.price_code, a.meter, a.description, a.quantity, a.unit_amount, a.amount, a.period_start, a.period_end,
			a.usage_events, a.usage_digest, a.formula, a.adjusts_invoice_id, a.adjusts_line, a.tax_category, a.plan_id
		FROM billing.invoice_adjustments(known_lines.tenant_id, known_lines.subscription_id, u.streams, u.with_tail,
			known_lines.invoice_id) a
		WHERE EXISTS (SELECT FROM billing.usage_late t
			WHERE t.tenant_id = known_lines.tenant_id AND t.invoice_id = known_lines.invoice_id)
		   OR EXISTS (SELECT FROM billing.rerated_line t
			WHERE t.tenant_id = known_lines.tenant_id AND t.invoice_id = known_lines.invoice_id)
		UNION ALL
		-- WITH ORDINALITY: it is planned only where it is asked.  An interim invoice has those of adjustments alone.
		SELECT 'true_up', c.price_code, NULL, c.description, 1, NULL, c.amount, c.period_start, c.period_end, NULL, NULL, c.formula,
			NULL, NULL, c.tax_category, c.priced_by
		FROM billing.invoice_true_ups(known_lines.tenant_id, known_lines.subscription_id, known_lines.plan_id, p.cycle,
			known_lines.currency, known_lines.quantity, p.proration, known_lines.timezone, u.streams,
			CASE WHEN NOT u.is_interim THEN known_lines.arrears END, known_lines.arrears_whole, known_lines.advance,
			known_lines.advance_whole, CASE WHEN NOT u.is_interim THEN known_lines.step_arrears END, known_lines.step_arrears_whole,
			known_lines.step_advance, known_lines.step_advance_whole, u.with_tail, known_lines.invoice_id) WITH ORDINALITY c
		WHERE billing.has_commitment(known_lines.plan_id)
		   OR EXISTS (SELECT FROM billing.due_part t
			WHERE t.tenant_id = known_lines.tenant_id AND t.invoice_id = known_lines.invoice_id)
		   OR EXISTS (SELECT FROM billing.usage_late t
			WHERE t.tenant_id = known_lines.tenant_id AND t.invoice_id = known_lines.invoice_id)
		   OR EXISTS (SELECT FROM billing.rerated_line t
			WHERE t.tenant_id = known_lines.tenant_id AND t.invoice_id = known_lines.invoice_id)
	) n
	WHERE p.plan_id = known_lines.plan_id;
END;
COMMENT ON FUNCTION billing.known_lines(bigint, bigint, bigint, bigint, text, integer, text, tstzrange, tstzrange, tstzrange,
	tstzrange, tstzrange, tstzrange, tstzrange, tstzrange)
	IS 'the calculated lines of a subscription''s invoice, made again from the plan, the usage that was known, what its log keeps and the parts it bills; priced_by: the plan version, where that is not plan_id; inlined';

-- The lines of an invoice as its sources give them at present, with all usage: what a
-- final invoice is compared with by who wants to know what has come since.
CREATE FUNCTION billing.recalculated_lines(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	adjusts_invoice_id bigint, adjusts_line integer, priced_by bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	WITH stated AS (
		SELECT i.tenant_id, i.invoice_id, i.subscription_id, i.plan_id, p.cycle, i.currency, l.quantity, p.proration, l.timezone,
			billing.usage_streams(i.tenant_id, i.subscription_id) AS streams,
			l.arrears, l.arrears_whole, l.advance, l.advance_whole,
			l.step_arrears, l.step_arrears_whole, l.step_advance, l.step_advance_whole
		FROM billing.invoice i
		JOIN billing.calculation_log l ON l.tenant_id = i.tenant_id AND l.invoice_id = i.invoice_id
		JOIN billing.plan p ON p.plan_id = i.plan_id
		WHERE i.tenant_id = recalculated_lines.tenant_id AND i.invoice_id = recalculated_lines.invoice_id
		  AND i.subscription_id IS NOT NULL AND i.kind <> 'threshold'
		OFFSET 0
	)
	SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
		m.usage_events, m.usage_digest, NULL::bigint, NULL::integer, nullif(d.plan_id, s.plan_id)
	FROM stated s
	JOIN billing.due_part d ON d.tenant_id = s.tenant_id AND d.invoice_id = s.invoice_id
	JOIN billing.plan p ON p.plan_id = d.plan_id
	CROSS JOIN LATERAL billing.invoice_lines(s.tenant_id, s.subscription_id, d.plan_id, p.cycle, s.currency, d.quantity,
		p.proration, d.timezone, s.streams, d.arrears, d.arrears_whole, d.advance, d.advance_whole, d.step_arrears,
		d.step_arrears_whole, d.step_advance, d.step_advance_whole, false) m
	UNION ALL
	SELECT m.kind, m.price_code, m.meter, m.description, m.quantity, m.unit_amount, m.amount, m.period_start, m.period_end,
		m.usage_events, m.usage_digest, NULL, NULL, NULL
	FROM stated s
	CROSS JOIN LATERAL billing.invoice_lines(s.tenant_id, s.subscription_id, s.plan_id, s.cycle, s.currency, s.quantity,
		s.proration, s.timezone, s.streams, s.arrears, s.arrears_whole, s.advance, s.advance_whole, s.step_arrears,
		s.step_arrears_whole, s.step_advance, s.step_advance_whole, false) m
	UNION ALL
	SELECT a.kind, a.price_code, a.meter, a.description, a.quantity, a.unit_amount, a.amount, a.period_start, a.period_end,
		a.usage_events, a.usage_digest, a.adjusts_invoice_id, a.adjusts_line, a.plan_id
	FROM stated s
	CROSS JOIN LATERAL billing.invoice_adjustments(s.tenant_id, s.subscription_id, s.streams) a;
END;
COMMENT ON FUNCTION billing.recalculated_lines(bigint, bigint)
	IS 'the lines of a subscription''s invoice calculated again from its sources as they are at present, and adjustments that no invoice has booked; no rows of a one-off invoice; usage must have been compacted';

CREATE FUNCTION billing.rebuild_invoice(tenant_id bigint, invoice_id bigint)
RETURNS TABLE (price_code text, kind text, period_start timestamptz, period_end timestamptz, stored_quantity numeric,
	quantity numeric, stored_amount billing.amount, amount billing.amount, difference billing.amount)
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_rebuild_invoice';
COMMENT ON FUNCTION billing.rebuild_invoice(bigint, bigint)
	IS 'calculates an invoice again from its sources: a draft is written anew in place (lines that a person added stay, at its end), a final one is left as it is; returns each line that differs from what was stored, adjustments booked since counted with the line they correct; raises YB001, YB004 for a one-off invoice, YB015, 22004';

CREATE FUNCTION billing.finalize_batch(at timestamptz, batch integer, wait boolean, after_tenant_id bigint, after_invoice_id bigint,
	OUT claimed bigint, OUT tenant_id bigint, OUT invoice_id bigint)
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_finalize_batch';
COMMENT ON FUNCTION billing.finalize_batch(timestamptz, integer, boolean, bigint, bigint)
	IS 'calculates again and makes final up to batch drafts of subscriptions that are as old as setting finalize_after at at, behind the given position in the order of tenant and invoice; wait: for tenants that somebody else has locked; returns how many there were and the position behind them; what billing.bill_due calls';

CREATE FUNCTION billing.due_drafts(at timestamptz, batch integer, after_tenant_id bigint, after_invoice_id bigint)
RETURNS TABLE (tenant_id bigint, invoice_id bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT i.tenant_id, i.invoice_id
	FROM billing.invoice i
	JOIN billing.tenant t ON t.tenant_id = i.tenant_id
	JOIN billing.plan p ON p.plan_id = i.plan_id
	CROSS JOIN LATERAL (SELECT billing.effective_setting('finalize_after', t.settings, p.settings) AS value OFFSET 0) f
	WHERE i.status = 'draft' AND i.subscription_id IS NOT NULL AND i.item_count > 0
	  AND (i.tenant_id, i.invoice_id) > (due_drafts.after_tenant_id, due_drafts.after_invoice_id)
	  AND CASE f.value WHEN 'never' THEN false
		ELSE greatest(i.created_at, i.period_end) + f.value::interval <= due_drafts.at END
	ORDER BY i.tenant_id, i.invoice_id
	LIMIT due_drafts.batch;
END;
COMMENT ON FUNCTION billing.due_drafts(timestamptz, integer, bigint, bigint)
	IS 'drafts of subscriptions that are as old as setting finalize_after at at: that long after they were made and their period ended; at most batch of them, behind the given position';
