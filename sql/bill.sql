
-- bill: one path from what is due to invoices -----------------------------------------

-- Keys and numbers as text, once and fast: the bill run makes one of each per invoice.
CREATE FUNCTION billing.invoice_number(prefix text, tenant_id bigint, number bigint)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_invoice_number';
COMMENT ON FUNCTION billing.invoice_number(text, bigint, bigint)
	IS 'the number of an invoice as text: prefix, tenant, a hyphen and at least six digits';

-- The first subscription of a tenant also takes the usage that names none.
CREATE FUNCTION billing.usage_streams(tenant_id bigint, subscription_id bigint)
RETURNS bigint[]
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN EXISTS (SELECT FROM billing.subscription o
			WHERE o.tenant_id = usage_streams.tenant_id AND o.subscription_id < usage_streams.subscription_id)
		THEN ARRAY[usage_streams.subscription_id] ELSE ARRAY[0, usage_streams.subscription_id] END;
END;
COMMENT ON FUNCTION billing.usage_streams(bigint, bigint)
	IS 'the streams of usage that may be a subscription''s: its own, and, of the tenant''s first one, 0, which names no subscription';

-- Ids are of one sequence, so that the void in the ledger tells when it was.
CREATE FUNCTION billing.was_valid(tenant_id bigint, invoice_id bigint, known_to bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT was_valid.known_to IS NOT NULL AND EXISTS (SELECT FROM billing.transaction x
		WHERE x.tenant_id = was_valid.tenant_id AND x.transaction_id > was_valid.known_to
		  AND x.invoice_id = was_valid.invoice_id AND x.kind = 'void');
END;
COMMENT ON FUNCTION billing.was_valid(bigint, bigint, bigint)
	IS 'whether an invoice that is void by now was not yet when the invoice known_to was made; known_to NULL: no';

-- When usage that names no subscription belongs to this one: the period without the
-- time of every subscription of the tenant with a lower id that prices the meter.
CREATE FUNCTION billing.usage_windows(tenant_id bigint, meter text, subscription_id bigint, period tstzrange)
RETURNS TABLE (during tstzrange)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	-- Mostly the first one has all of it, and the others need not be looked at; and what never changed
	-- needs no look at its history.
	SELECT unnest(CASE WHEN EXISTS (
			SELECT FROM billing.subscription o
			WHERE o.tenant_id = usage_windows.tenant_id AND o.subscription_id < usage_windows.subscription_id
			  AND CASE WHEN o.changed_at IS NULL THEN billing.in_force(o) @> usage_windows.period
				AND EXISTS (SELECT FROM billing.price p WHERE p.plan_id = o.plan_id AND p.meter = usage_windows.meter)
				ELSE billing.pricing_time(o, usage_windows.meter) @> usage_windows.period END)
		THEN '{}'
		ELSE tstzmultirange(usage_windows.period) - coalesce((
			SELECT range_agg(CASE WHEN o.changed_at IS NULL THEN billing.in_force(o)
				ELSE billing.pricing_time(o, usage_windows.meter) END)
			FROM billing.subscription o
			WHERE o.tenant_id = usage_windows.tenant_id AND o.subscription_id < usage_windows.subscription_id
			  AND (o.changed_at IS NOT NULL
				OR EXISTS (SELECT FROM billing.price p WHERE p.plan_id = o.plan_id AND p.meter = usage_windows.meter))), '{}') END);
END;
COMMENT ON FUNCTION billing.usage_windows(bigint, text, bigint, tstzrange)
	IS 'the parts of a period in which usage of meter that names no subscription belongs to this one: no subscription of the tenant with a lower id prices the meter there';

-- The events behind what no rollup holds: those of the subscription that are in the
-- rollup too, so that nothing is billed that is not yet known to be.
CREATE FUNCTION billing.usage_owned(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, with_tail boolean DEFAULT false, known_to bigint DEFAULT NULL)
RETURNS TABLE (event_id text, at timestamptz, quantity numeric, properties jsonb, digest bigint, recorded_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.event_id, e.at, e.quantity, e.properties,
		billing.usage_digest(e.event_id, e.meter, e.subscription_id, e.quantity, e.at), e.recorded_at
	FROM billing.usage_event e
	LEFT JOIN billing.usage_horizon h ON h.tenant_id = e.tenant_id
	WHERE e.tenant_id = usage_owned.tenant_id AND e.meter = usage_owned.meter
	  AND e.at >= usage_owned.period_start AND e.at < usage_owned.period_end
	  AND (usage_owned.with_tail OR billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid))
	  AND (usage_owned.known_to IS NULL OR NOT EXISTS (
		SELECT FROM billing.usage_late l
		WHERE l.tenant_id = e.tenant_id AND l.event_id = e.event_id AND NOT l.is_correction
		  AND coalesce(least(l.invoice_id, l.voided_invoice_id) > usage_owned.known_to, true)))
	  AND ((SELECT NOT EXISTS (SELECT FROM billing.usage_correction)) OR NOT EXISTS (
		SELECT FROM billing.usage_correction c
		WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id
		  AND (usage_owned.known_to IS NULL OR NOT EXISTS (
			SELECT FROM billing.usage_late l
			WHERE l.tenant_id = c.tenant_id AND l.event_id = c.event_id AND l.is_correction
			  AND coalesce(least(l.invoice_id, l.voided_invoice_id) > usage_owned.known_to, true)))))
	  AND (e.subscription_id = usage_owned.subscription_id
		OR e.subscription_id IS NULL AND EXISTS (
			SELECT FROM billing.usage_windows(usage_owned.tenant_id, usage_owned.meter, usage_owned.subscription_id,
				tstzrange(usage_owned.period_start, usage_owned.period_end)) w
			WHERE w.during @> e.at));
END;
COMMENT ON FUNCTION billing.usage_owned(bigint, text, bigint, timestamptz, timestamptz, boolean, bigint)
	IS 'the events of a meter in a half-open period that belong to a subscription: those that name it, and those that name none where it has them; with_tail: also those in no rollup; known_to: as that invoice knew them, without those that came late and were not yet booked by it or one before it, with those that were corrected late likewise';

CREATE FUNCTION billing.usage_quantity(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, aggregation text, property text, with_tail boolean DEFAULT false, known_to bigint DEFAULT NULL)
RETURNS TABLE (quantity numeric, events bigint, digest bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE usage_quantity.aggregation
		WHEN 'sum' THEN sum(e.quantity)
		WHEN 'count' THEN count(*)::numeric
		WHEN 'max' THEN max(e.quantity)
		WHEN 'latest' THEN (array_agg(e.quantity ORDER BY e.at DESC, e.event_id DESC))[1]
		WHEN 'unique_count' THEN count(DISTINCT e.properties ->> coalesce(usage_quantity.property, 'value'))::numeric
		WHEN 'weighted_sum' THEN sum(e.quantity * extract(epoch FROM usage_quantity.period_end - e.at))
			/ extract(epoch FROM usage_quantity.period_end - usage_quantity.period_start) END,
		count(*), billing.digest_sum(e.digest)
	FROM billing.usage_owned(usage_quantity.tenant_id, usage_quantity.meter, usage_quantity.subscription_id,
		usage_quantity.period_start, usage_quantity.period_end, usage_quantity.with_tail, usage_quantity.known_to) e;
END;
COMMENT ON FUNCTION billing.usage_quantity(bigint, text, bigint, timestamptz, timestamptz, text, text, boolean, bigint)
	IS 'the quantity of a meter as its events give it, by the aggregation of the meter (NULL of no event, but 0 of a count), their number and digest; unique_count: distinct values of a property; weighted_sum: the mean level over the period of which each quantity is a change; with_tail and known_to as in billing.usage_owned';

CREATE FUNCTION billing.usage_charge(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, tariff billing.tariff, with_tail boolean DEFAULT false, known_to bigint DEFAULT NULL)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(billing.charge_events(usage_charge.tariff, e.quantity ORDER BY e.at, e.event_id),
		billing.from_minor_units(0, billing.tariff_currency(usage_charge.tariff)))
	FROM billing.usage_owned(usage_charge.tenant_id, usage_charge.meter, usage_charge.subscription_id,
		usage_charge.period_start, usage_charge.period_end, usage_charge.with_tail, usage_charge.known_to) e;
END;
COMMENT ON FUNCTION billing.usage_charge(bigint, text, bigint, timestamptz, timestamptz, billing.tariff, boolean, bigint)
	IS 'what the events of a subscription cost by a tariff that is judged event by event, in time order; with_tail and known_to as in billing.usage_owned';

CREATE FUNCTION billing.corrected_amount(subscription_id bigint, item billing.invoice_item, correction billing.price_correction,
	quantity numeric, events bigint, with_tail boolean, known_to bigint, used_to timestamptz DEFAULT NULL)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE
		WHEN corrected_amount.used_to <= (item).period_start THEN (item).amount - (item).amount
		WHEN (item).meter IS NOT NULL AND (correction).is_per_event
			THEN billing.usage_charge((item).tenant_id, (item).meter, corrected_amount.subscription_id, (item).period_start,
				(item).period_end, (correction).tariff, corrected_amount.with_tail, corrected_amount.known_to)
		ELSE coalesce((
			SELECT billing.prorate(billing.charge((correction).tariff, corrected_amount.quantity),
				coalesce(w.whole, tstzrange((item).period_start, (item).period_end)),
				tstzrange((item).period_start, coalesce(corrected_amount.used_to, (item).period_end)), f.proration, coalesce(w.timezone, 'UTC'))
			FROM billing.invoice v
			JOIN billing.plan f ON f.plan_id = (correction).plan_id
			JOIN billing.price p ON p.plan_id = f.plan_id AND p.code = (correction).price_code AND p.is_prorated IS NOT FALSE
			LEFT JOIN LATERAL billing.line_whole(v.tenant_id, v.invoice_id, v.plan_id, (item).plan_id,
				tstzrange((item).period_start, (item).period_end)) w ON true
			WHERE (item).meter IS NULL AND num_nonnulls(w.whole, corrected_amount.used_to) > 0
			  AND v.tenant_id = (item).tenant_id AND v.invoice_id = (item).invoice_id),
			billing.charge((correction).tariff, corrected_amount.quantity, coalesce(corrected_amount.events, 0))) END;
END;
COMMENT ON FUNCTION billing.corrected_amount(bigint, billing.invoice_item, billing.price_correction, numeric, bigint, boolean, bigint, timestamptz)
	IS 'what a billed line of a subscription costs by the correction of its price, with the quantity and events given; of a fixed price up to used_to (NULL: its whole period); with_tail and known_to as in billing.usage_owned';

CREATE FUNCTION billing.line_used_to(tenant_id bigint, invoice_id bigint, line integer)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT min(c.period_start) FROM billing.credit_note_item c
	WHERE c.tenant_id = line_used_to.tenant_id AND c.invoice_id = line_used_to.invoice_id AND c.invoice_line = line_used_to.line
	  AND c.is_unused);
COMMENT ON FUNCTION billing.line_used_to(bigint, bigint, integer)
	IS 'where the service of a billed line ended, if that was before its period does and what is for the time after was credited; NULL: it did not';

-- What credit notes took back of a line, and of what corrected it, for time from used_to on:
-- what was credited as unused, and of what had been credited before, the part for that time.
CREATE FUNCTION billing.line_unused(tenant_id bigint, invoice_id bigint, line integer, used_to timestamptz)
RETURNS billing.amount
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT sum(CASE WHEN c.is_unused OR line_unused.used_to <= c.period_start THEN c.amount
		WHEN line_unused.used_to < c.period_end THEN c.amount - billing.prorate(c.amount, tstzrange(c.period_start, c.period_end),
			tstzrange(c.period_start, line_unused.used_to), p.proration, coalesce(w.timezone, 'UTC')) END)
	FROM billing.invoice v
	JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.line = line_unused.line
	JOIN billing.plan p ON p.plan_id = coalesce(i.plan_id, v.plan_id)
	LEFT JOIN LATERAL billing.line_whole(v.tenant_id, v.invoice_id, v.plan_id, i.plan_id, tstzrange(i.period_start, i.period_end)) w ON true
	CROSS JOIN LATERAL (
		SELECT min(c.credit_note_id) AS note
		FROM billing.credit_note_item c
		WHERE c.tenant_id = i.tenant_id AND c.invoice_id = i.invoice_id AND c.invoice_line = i.line AND c.is_unused
	) e
	JOIN billing.credit_note_item c ON c.tenant_id = i.tenant_id
		AND CASE WHEN c.is_unused THEN c.period_start >= line_unused.used_to ELSE c.credit_note_id < e.note END
		AND (c.invoice_id = i.invoice_id AND c.invoice_line = i.line
			OR EXISTS (SELECT FROM billing.invoice_item a
			WHERE a.tenant_id = c.tenant_id AND a.invoice_id = c.invoice_id AND a.line = c.invoice_line AND a.kind = 'adjustment'
			  AND a.adjusts_invoice_id = i.invoice_id AND a.adjusts_line = i.line))
	WHERE line_unused.used_to IS NOT NULL AND v.tenant_id = line_unused.tenant_id AND v.invoice_id = line_unused.invoice_id);
COMMENT ON FUNCTION billing.line_unused(bigint, bigint, integer, timestamptz)
	IS 'what credit notes took back of a billed line, and of the adjustments of it, for the time from used_to on, where its service ended; NULL: nothing';

CREATE TYPE billing.measured AS (
	quantity	numeric,
	events		bigint,
	digest		bigint
);
COMMENT ON TYPE billing.measured IS 'what was used of a meter: its quantity, and number and digest of the events behind it';

CREATE FUNCTION billing.measure_step(internal, aggregation text, streams integer, period_start timestamptz,
	period_end timestamptz, starts_at timestamptz, last_at timestamptz, events bigint, digest bigint, sum numeric, max numeric)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_measure_step';
COMMENT ON FUNCTION billing.measure_step(internal, text, integer, timestamptz, timestamptz, timestamptz, timestamptz,
	bigint, bigint, numeric, numeric)
	IS 'transition of aggregate billing.measure';

CREATE FUNCTION billing.measure_final(internal)
RETURNS billing.measured
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_measure_final';
COMMENT ON FUNCTION billing.measure_final(internal)
	IS 'result of aggregate billing.measure';

CREATE AGGREGATE billing.measure(aggregation text, streams integer, period_start timestamptz, period_end timestamptz,
	starts_at timestamptz, last_at timestamptz, events bigint, digest bigint, sum numeric, max numeric) (
	SFUNC = billing.measure_step,
	STYPE = internal,
	SSPACE = 128,
	FINALFUNC = billing.measure_final
);
COMMENT ON AGGREGATE billing.measure(text, integer, timestamptz, timestamptz, timestamptz, timestamptz, bigint, bigint,
	numeric, numeric)
	IS 'usage of a period from the rows of usage_period that start in it; NULL of no row, or if they do not give it exactly: none may go on behind its end, the aggregation must be sum, count or max, and a row of each of so many streams must start with the period; streams 0: instead the last row of each stream before it is given too, and may not reach into it';

-- The quantity of a metered price: what is in the rollup, or in the events where only
-- they give it.
CREATE FUNCTION billing.usage_billed(tenant_id bigint, meter text, subscription_id bigint, streams bigint[],
	period_start timestamptz, period_end timestamptz, aggregation text, property text, with_tail boolean, known_to bigint)
RETURNS TABLE (quantity numeric, events bigint, digest bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT CASE WHEN k.events IS NOT NULL THEN coalesce(k.quantity, 0)
			ELSE CASE usage_billed.aggregation
				WHEN 'sum' THEN coalesce(u.sum, 0) + coalesce(w.sum, 0)
				WHEN 'count' THEN (u.events + coalesce(w.events, 0))::numeric
				WHEN 'max' THEN coalesce(greatest(u.max, w.max), 0)
				WHEN 'latest' THEN CASE WHEN cardinality(usage_billed.streams) = 2 THEN coalesce(u.latest, 0)
					ELSE (SELECT coalesce(r.quantity, 0) FROM billing.usage_quantity(usage_billed.tenant_id, usage_billed.meter,
						usage_billed.subscription_id, usage_billed.period_start, usage_billed.period_end, usage_billed.aggregation,
						usage_billed.property, usage_billed.with_tail) r) END
				ELSE (SELECT coalesce(r.quantity, 0) FROM billing.usage_quantity(usage_billed.tenant_id, usage_billed.meter,
					usage_billed.subscription_id, usage_billed.period_start, usage_billed.period_end, usage_billed.aggregation,
					usage_billed.property, usage_billed.with_tail) r) END
			END,
		coalesce(k.events, u.events + coalesce(w.events, 0)),
		coalesce(k.digest, billing.digest_add(u.digest, coalesce(w.digest, 0)))
	FROM billing.usage_total(usage_billed.tenant_id, usage_billed.meter, usage_billed.streams, usage_billed.period_start,
		usage_billed.period_end, usage_billed.with_tail) u
	LEFT JOIN LATERAL (
		SELECT sum(t.events)::bigint AS events, sum(t.sum) AS sum, max(t.max) AS max, billing.digest_sum(t.digest) AS digest
		FROM billing.usage_windows(usage_billed.tenant_id, usage_billed.meter, usage_billed.subscription_id,
			tstzrange(usage_billed.period_start, usage_billed.period_end)) r
		CROSS JOIN LATERAL billing.usage_total(usage_billed.tenant_id, usage_billed.meter, '{0}',
			lower(r.during), upper(r.during), usage_billed.with_tail) t
		WHERE cardinality(usage_billed.streams) = 1
	) w ON true
	LEFT JOIN LATERAL (
		SELECT r.events, r.digest, r.quantity
		FROM billing.usage_quantity(usage_billed.tenant_id, usage_billed.meter, usage_billed.subscription_id,
			usage_billed.period_start, usage_billed.period_end, usage_billed.aggregation, usage_billed.property,
			usage_billed.with_tail, usage_billed.known_to) r
		WHERE usage_billed.known_to IS NOT NULL AND EXISTS (SELECT FROM billing.usage_late l
			WHERE l.tenant_id = usage_billed.tenant_id AND l.subscription_id = usage_billed.subscription_id
			  AND l.meter = usage_billed.meter AND l.at >= usage_billed.period_start AND l.at < usage_billed.period_end
			  AND coalesce(least(l.invoice_id, l.voided_invoice_id) > usage_billed.known_to, true))
	) k ON true;
END;
COMMENT ON FUNCTION billing.usage_billed(bigint, text, bigint, bigint[], timestamptz, timestamptz, text, text, boolean, bigint)
	IS 'the quantity of a metered price in a half-open period, and number and digest of the events behind it; arguments as of billing.invoice_lines and billing.usage_quantity; one row';

-- What a subscription owes at one boundary.  The planner puts the body in the place
-- of the call, so that it runs as a part of whatever statement asks: the bill run, a
-- preview, a verification.  A subquery in CASE or coalesce costs nothing where it is
-- not asked; OFFSET 0 keeps an expression from being computed wherever it is used.
--
-- The first subscription of a tenant also takes the usage that names none: its streams
-- are {0, id}, those of any other {id}, which takes it where no lower one priced the meter.
CREATE FUNCTION billing.invoice_lines(tenant_id bigint, subscription_id bigint, plan_id bigint, plan_cycle interval,
	currency text, quantity integer, proration text, timezone text, streams bigint[],
	arrears tstzrange, arrears_whole tstzrange, advance tstzrange, advance_whole tstzrange,
	step_arrears tstzrange, step_arrears_whole tstzrange, step_advance tstzrange, step_advance_whole tstzrange,
	with_tail boolean, known_to bigint DEFAULT NULL, busy_streams bigint[] DEFAULT NULL)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, is_advance boolean, tax_category text)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT CASE WHEN q.meter IS NULL THEN 'fixed' ELSE 'usage' END, q.code, q.meter, q.name, q.quantity,
		CASE WHEN q.whole IS NULL THEN q.unit_amount END,
		CASE WHEN q.whole IS NULL THEN q.charge
			ELSE billing.prorate(q.charge, q.whole, q.period, invoice_lines.proration, invoice_lines.timezone) END,
		q.period_start, q.period_end, q.events, q.digest, q.formula, q.is_advance, q.tax_category
	FROM (
		SELECT m.*,
			CASE WHEN m.strategy IS NOT NULL
				THEN billing.charge_strategy(m.strategy, m.quantity, m.parameters, invoice_lines.currency)
				WHEN m.is_per_event
				THEN billing.usage_charge(invoice_lines.tenant_id, m.meter, invoice_lines.subscription_id, m.period_start,
					m.period_end, m.tariff, invoice_lines.with_tail, invoice_lines.known_to)
				ELSE billing.charge(m.tariff, m.quantity, coalesce(m.events, 0)) END AS charge,
			CASE WHEN m.strategy IS NOT NULL THEN billing.strategy_digest(m.strategy) ELSE m.digest_of_tariff END AS formula
		FROM (
			SELECT u.code, u.name, u.sort_order, u.tariff, u.strategy, u.parameters, u.meter, u.unit_amount, u.is_per_event,
				u.digest AS digest_of_tariff, u.period, u.period_start, u.period_end, u.is_advance, u.tax_category,
				CASE WHEN u.meter IS NULL AND u.is_prorated IS NOT FALSE THEN u.whole END AS whole,
				(u.used).events AS events, (u.used).digest AS digest,
				CASE WHEN u.meter IS NOT NULL THEN (u.used).quantity
					WHEN u.quantity_source = 'one' THEN 1::numeric
					ELSE invoice_lines.quantity::numeric END AS quantity
			FROM (
				SELECT b.*,
					CASE WHEN b.meter IS NULL THEN NULL
						WHEN cardinality(invoice_lines.busy_streams) = 0 THEN ROW(0, 0, 0)::billing.measured
						ELSE coalesce(
							CASE WHEN cardinality(invoice_lines.busy_streams) = 1 THEN (
								SELECT billing.measure(b.aggregation, 1, b.period_start, b.period_end, r.starts_at, r.last_at, r.events,
									r.digest, r.sum, r.max)
								FROM billing.usage_period r
								WHERE r.tenant_id = invoice_lines.tenant_id AND r.meter = b.meter
									AND r.subscription_id = invoice_lines.busy_streams[1]
									AND r.starts_at >= b.period_start AND r.starts_at < b.period_end) END,
							-- There are several, or none starts with the period: the one before may not reach into it.
							CASE WHEN invoice_lines.busy_streams IS NOT NULL THEN (
								SELECT billing.measure(b.aggregation, 0, b.period_start, b.period_end, r.starts_at, r.last_at, r.events,
									r.digest, r.sum, r.max)
								FROM unnest(invoice_lines.busy_streams) s (stream)
								CROSS JOIN LATERAL (
									(SELECT r.starts_at, r.last_at, r.events, r.digest, r.sum, r.max
									FROM billing.usage_period r
									WHERE r.tenant_id = invoice_lines.tenant_id AND r.meter = b.meter AND r.subscription_id = s.stream
										AND r.starts_at < b.period_start
									ORDER BY r.starts_at DESC
									LIMIT 1)
									UNION ALL
									SELECT r.starts_at, r.last_at, r.events, r.digest, r.sum, r.max
									FROM billing.usage_period r
									WHERE r.tenant_id = invoice_lines.tenant_id AND r.meter = b.meter AND r.subscription_id = s.stream
										AND r.starts_at >= b.period_start AND r.starts_at < b.period_end
								) r) END,
							(SELECT ROW(t.quantity, t.events, t.digest)::billing.measured
							FROM billing.usage_billed(invoice_lines.tenant_id, b.meter, invoice_lines.subscription_id,
								invoice_lines.streams, b.period_start, b.period_end, b.aggregation, b.property,
								invoice_lines.with_tail, invoice_lines.known_to) t)) END AS used
				FROM (
					SELECT p.code, p.name, p.sort_order, p.tariff, p.strategy, p.parameters, p.meter, p.unit_amount,
						p.is_per_event, p.digest, p.is_prorated, p.quantity_source, m.aggregation, m.property,
						p.is_advance, p.tax_category, c.period, c.whole, lower(c.period) AS period_start, upper(c.period) AS period_end
					FROM billing.price p
					LEFT JOIN billing.meter m ON m.code = p.meter
					CROSS JOIN LATERAL (
						SELECT
							CASE WHEN c.is_step
								THEN CASE WHEN p.is_advance THEN invoice_lines.step_advance ELSE invoice_lines.step_arrears END
								ELSE CASE WHEN p.is_advance THEN invoice_lines.advance ELSE invoice_lines.arrears END END AS period,
							CASE WHEN c.is_step
								THEN CASE WHEN p.is_advance THEN invoice_lines.step_advance_whole ELSE invoice_lines.step_arrears_whole END
								ELSE CASE WHEN p.is_advance THEN invoice_lines.advance_whole ELSE invoice_lines.arrears_whole END END AS whole
						FROM (SELECT p.cycle IS NOT NULL AND p.cycle IS DISTINCT FROM invoice_lines.plan_cycle AS is_step) c
					) c
					WHERE p.plan_id = invoice_lines.plan_id AND c.period IS NOT NULL
					ORDER BY p.sort_order, p.code
					OFFSET 0
				) b
				OFFSET 0
			) u
		) m
	) q;
END;
COMMENT ON FUNCTION billing.invoice_lines(bigint, bigint, bigint, interval, text, integer, text, text, bigint[], tstzrange,
	tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, tstzrange, boolean, bigint, bigint[])
	IS 'the lines of a subscription''s invoice at one boundary: each price for the period that ends (arrears) or begins (advance) there; ranges as billing.boundary has them; with_tail: also usage that no rollup holds yet; known_to: as known to that invoice, what came or was corrected late counts as it was before until that one or one before it booked it; busy_streams: which of streams have usage in the rollup, where no other usage counts: few rows may then do; NULL: not known';

-- Where no horizon says what was known when a line was made, the line does: number and
-- digest of its events.  Those beyond it are what adds up to the difference.  Slow transactions
-- leave a run in the order of recording, before which there may be all that was recorded since:
-- so two sums over that order find them.  Where they do not, the last recorded are
-- taken: a later invoice books the difference of the whole, whichever they are.
CREATE FUNCTION billing.usage_surplus(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, known_to bigint, calculated_at timestamptz, stated_events bigint, stated_digest bigint)
RETURNS TABLE (event_id text, at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH known AS MATERIALIZED (
		SELECT o.event_id, o.at, o.digest, o.recorded_at >= usage_surplus.calculated_at AS is_since,
			row_number() OVER w AS n, billing.digest_sum(o.digest) OVER w AS digest_to
		FROM billing.usage_owned(usage_surplus.tenant_id, usage_surplus.meter, usage_surplus.subscription_id,
			usage_surplus.period_start, usage_surplus.period_end, false, usage_surplus.known_to) o
		WINDOW w AS (ORDER BY o.recorded_at DESC, o.event_id ROWS UNBOUNDED PRECEDING)
	), whole AS MATERIALIZED (
		SELECT count(*) - usage_surplus.stated_events AS surplus, billing.digest_sum(k.digest) AS digest,
			count(*) FILTER (WHERE k.is_since) AS since, billing.digest_sum(k.digest) FILTER (WHERE k.is_since) AS digest_since
		FROM known k
	), run AS (
		SELECT r.head, r.n - r.length AS low, r.n AS high
		FROM (
			SELECT h.head, h.digest AS digest_head, w.surplus - h.head AS length, w.digest AS digest_whole, k.n, k.digest_to,
				lag(k.digest_to, (w.surplus - h.head)::integer, 0::bigint) OVER (PARTITION BY h.head ORDER BY k.n) AS digest_before
			FROM whole w
			CROSS JOIN LATERAL (SELECT 0::bigint AS head, 0::bigint AS digest UNION SELECT w.since, w.digest_since) h
			CROSS JOIN known k
			WHERE h.head <= w.surplus
		) r
		WHERE r.n >= r.head + r.length
		  AND billing.digest_add(billing.digest_add(r.digest_head, r.digest_to), usage_surplus.stated_digest)
			= billing.digest_add(r.digest_before, r.digest_whole)
		ORDER BY r.head DESC, r.n
		LIMIT 1
	)
	SELECT k.event_id, k.at
	FROM known k
	CROSS JOIN whole w
	LEFT JOIN run r ON true
	WHERE CASE WHEN r.head IS NULL THEN k.n <= w.surplus ELSE k.n <= r.head OR k.n > r.low AND k.n <= r.high END;
END;
COMMENT ON FUNCTION billing.usage_surplus(bigint, text, bigint, timestamptz, timestamptz, bigint, timestamptz, bigint, bigint)
	IS 'the events behind a billed line that were not known when it was made, told by the number and digest it states: all recorded since calculated_at, or none of these, and a run of others in the order of recording; the last recorded where none of this adds up; known_to as in billing.usage_owned';

CREATE FUNCTION billing.usage_unbilled(tenant_ids bigint[])
RETURNS TABLE (tenant_id bigint, event_id text, meter text, subscription_id bigint, at timestamptz)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT l.tenant_id, s.event_id, l.meter, l.subscription_id, s.at
	FROM (
		SELECT v.tenant_id, v.subscription_id, v.invoice_id, i.meter, i.period_start, i.period_end, i.usage_events, i.usage_digest,
			c.calculated_at
		FROM unnest(usage_unbilled.tenant_ids) t (tenant_id)
		JOIN billing.invoice v ON v.tenant_id = t.tenant_id
		JOIN billing.calculation_log c ON c.tenant_id = v.tenant_id AND c.invoice_id = v.invoice_id
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
		CROSS JOIN LATERAL (SELECT billing.usage_streams(v.tenant_id, v.subscription_id) AS streams OFFSET 0) s
		CROSS JOIN LATERAL billing.usage_billed(v.tenant_id, i.meter, v.subscription_id, s.streams, i.period_start, i.period_end,
			'sum', NULL, false, v.invoice_id) u
		WHERE v.subscription_id IS NOT NULL AND v.status <> 'void' AND i.usage_events IS NOT NULL
		  AND u.events > i.usage_events
		OFFSET 0
	) l
	CROSS JOIN LATERAL billing.usage_surplus(l.tenant_id, l.meter, l.subscription_id, l.period_start, l.period_end, l.invoice_id,
		l.calculated_at, l.usage_events, l.usage_digest) s;
END;
COMMENT ON FUNCTION billing.usage_unbilled(bigint[])
	IS 'events of tenants that are in the rollup and in no billed line, nor noted as late: what compaction, where no horizon told, finds to have come late; one that several lines lack may come several times';

-- What the next compaction will find to be late.
CREATE FUNCTION billing.usage_unseen(tenant_id bigint, subscription_id bigint)
RETURNS TABLE (meter text, at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT e.meter, e.at
	FROM billing.usage_horizon h
	JOIN billing.usage_event e ON e.tenant_id = h.tenant_id
	CROSS JOIN LATERAL billing.usage_owner(e.tenant_id, e.meter, e.subscription_id, e.at) o
	WHERE h.tenant_id = usage_unseen.tenant_id
	  AND e.xid >= greatest(pg_snapshot_xmin(h.snapshot), (SELECT pg_snapshot_xmin(f.snapshot) FROM billing.usage_floor f))
	  AND NOT billing.usage_is_compacted(e.xid, e.cmin, h.snapshot, h.own_xid, h.own_cid)
	  AND o.owner_id = usage_unseen.subscription_id AND e.at < o.billed_to AND e.at >= coalesce(o.trial_end, e.at);
END;
COMMENT ON FUNCTION billing.usage_unseen(bigint, bigint)
	IS 'usage of a subscription that is in no rollup yet and of a period that was billed: it is late, which billing.usage_late does not say before the next compaction; none for a tenant that has no horizon';

-- What became known of periods that were billed: for each line billed with less (or more)
-- than is known now, or by a price that was corrected since, the rounded difference to all
-- that was booked for it.  Of a line whose service ended early, it is what the time before
-- costs, less what was left of it.
CREATE FUNCTION billing.invoice_adjustments(tenant_id bigint, subscription_id bigint, streams bigint[],
	with_tail boolean DEFAULT false, booked_by bigint DEFAULT NULL)
RETURNS TABLE (kind text, price_code text, meter text, description text, quantity numeric, unit_amount numeric,
	amount billing.amount, period_start timestamptz, period_end timestamptz, usage_events bigint, usage_digest bigint,
	formula bytea, adjusts_invoice_id bigint, adjusts_line integer, tax_category text, plan_id bigint)
LANGUAGE sql STABLE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT 'adjustment', o.price_code, o.meter, o.description, n.quantity - o.quantity - coalesce(a.quantity, 0), NULL::numeric,
		n.amount - o.amount - coalesce(a.amount, o.nothing) + o.unused,
		o.period_start, o.period_end, n.usage_events, n.usage_digest, n.formula, o.invoice_id, o.line, n.tax_category,
		o.plan_id
	FROM (
		-- The lines that late usage belongs to, or whose price was corrected: few, and of invoices that ended after it.
		-- Whether an invoice was void by then, the void in the ledger tells: its id is from the same sequence.
		SELECT p.plan_id, p.cycle, p.proration, v.currency, billing.from_minor_units(0, v.currency) AS nothing, i AS item, i.tenant_id,
			i.invoice_id, i.line, i.kind, i.price_code, i.meter, i.description, i.quantity, i.amount, i.period_start, i.period_end,
			i.tax_category, e.used_to,
			coalesce(billing.line_unused(i.tenant_id, i.invoice_id, i.line, e.used_to), billing.from_minor_units(0, v.currency)) AS unused
		FROM (
			SELECT least(min(l.at), CASE WHEN invoice_adjustments.with_tail AND invoice_adjustments.booked_by IS NULL
				THEN (SELECT min(u.at) FROM billing.usage_unseen(invoice_adjustments.tenant_id,
					invoice_adjustments.subscription_id) u) END,
				(SELECT min(i.period_start) FROM billing.rerated_line r
				JOIN billing.invoice_item i ON i.tenant_id = r.tenant_id AND i.invoice_id = r.adjusts_invoice_id AND i.line = r.adjusts_line
				WHERE r.tenant_id = invoice_adjustments.tenant_id AND r.subscription_id = invoice_adjustments.subscription_id
				  AND CASE WHEN invoice_adjustments.booked_by IS NULL THEN r.invoice_id IS NULL
					ELSE r.invoice_id = invoice_adjustments.booked_by END)) AS since
			FROM billing.usage_late l
			WHERE l.tenant_id = invoice_adjustments.tenant_id AND l.subscription_id = invoice_adjustments.subscription_id
			  AND CASE WHEN invoice_adjustments.booked_by IS NULL THEN l.invoice_id IS NULL
				ELSE l.invoice_id = invoice_adjustments.booked_by END
		) t
		JOIN billing.invoice v ON v.period_end >= t.since
		JOIN billing.invoice_item i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id AND i.kind IN ('fixed', 'usage')
		JOIN billing.plan p ON p.plan_id = coalesce(i.plan_id, v.plan_id)
		CROSS JOIN LATERAL (SELECT CASE WHEN i.kind <> 'fixed' THEN NULL
			WHEN invoice_adjustments.booked_by IS NULL THEN billing.line_used_to(i.tenant_id, i.invoice_id, i.line)
			ELSE (SELECT min(r.used_to) FROM billing.rerated_line r
			WHERE r.tenant_id = i.tenant_id AND r.adjusts_invoice_id = i.invoice_id AND r.adjusts_line = i.line
			  AND r.invoice_id = invoice_adjustments.booked_by) END AS used_to) e
		WHERE v.tenant_id = invoice_adjustments.tenant_id AND v.subscription_id = invoice_adjustments.subscription_id
		  AND (invoice_adjustments.booked_by IS NULL OR billing.currency(i.amount) = v.currency)
		  AND (v.status <> 'void' OR billing.was_valid(v.tenant_id, v.invoice_id, invoice_adjustments.booked_by))
		  AND (invoice_adjustments.booked_by IS NULL OR v.invoice_id < invoice_adjustments.booked_by)
		  AND (i.kind = 'usage' AND EXISTS (SELECT FROM billing.usage_late l
			WHERE l.tenant_id = v.tenant_id AND l.subscription_id = v.subscription_id
			  AND CASE WHEN invoice_adjustments.booked_by IS NULL THEN l.invoice_id IS NULL
				ELSE l.invoice_id = invoice_adjustments.booked_by END
			  AND l.meter = i.meter AND l.at >= i.period_start AND l.at < i.period_end)
			OR i.kind = 'usage' AND invoice_adjustments.with_tail AND invoice_adjustments.booked_by IS NULL
			  AND EXISTS (SELECT FROM billing.usage_unseen(v.tenant_id, v.subscription_id) u
				WHERE u.meter = i.meter AND u.at >= i.period_start AND u.at < i.period_end)
			OR EXISTS (SELECT FROM billing.rerated_line r
			WHERE r.tenant_id = i.tenant_id AND r.adjusts_invoice_id = i.invoice_id AND r.adjusts_line = i.line
			  AND CASE WHEN invoice_adjustments.booked_by IS NULL THEN r.invoice_id IS NULL
				ELSE r.invoice_id = invoice_adjustments.booked_by END))
		OFFSET 0
	) o
	LEFT JOIN LATERAL (
		SELECT sum(i.quantity) AS quantity, sum(i.amount) AS amount
		FROM billing.invoice b
		JOIN billing.invoice_item i ON i.tenant_id = b.tenant_id AND i.invoice_id = b.invoice_id
		JOIN billing.invoice c ON c.tenant_id = i.tenant_id AND c.invoice_id = i.adjusts_invoice_id
		WHERE b.tenant_id = o.tenant_id AND b.subscription_id = invoice_adjustments.subscription_id
		  AND (invoice_adjustments.booked_by IS NULL OR billing.currency(i.amount) = o.currency)
		  AND (b.status <> 'void' OR billing.was_valid(b.tenant_id, b.invoice_id, invoice_adjustments.booked_by))
		  AND (invoice_adjustments.booked_by IS NULL OR b.invoice_id < invoice_adjustments.booked_by)
		  AND i.kind = 'adjustment' AND i.price_code = o.price_code AND i.period_start = o.period_start AND i.period_end = o.period_end
		  AND i.plan_id = o.plan_id
		  -- Of a fixed price there may be several lines; what adjusted one that was voided and billed again counts for that.
		  AND (o.kind = 'usage' OR c.status = 'void' OR i.adjusts_invoice_id = o.invoice_id AND i.adjusts_line = o.line)
	) a ON true
	-- What is known now, at the price as it was or was corrected.
	CROSS JOIN LATERAL (
		SELECT m.quantity, m.usage_events, m.usage_digest, m.tax_category, coalesce(c.digest, m.formula) AS formula,
			CASE WHEN c.correction_id IS NULL THEN m.amount
				ELSE billing.corrected_amount(invoice_adjustments.subscription_id, o.item, c, m.quantity, m.usage_events,
					invoice_adjustments.with_tail, invoice_adjustments.booked_by, o.used_to) END AS amount
		FROM (
			SELECT l.quantity, l.amount, l.usage_events, l.usage_digest, l.formula, l.tax_category
			FROM billing.invoice_lines(o.tenant_id, invoice_adjustments.subscription_id, o.plan_id, o.cycle, o.currency, 1,
				o.proration, 'UTC', invoice_adjustments.streams, tstzrange(o.period_start, o.period_end), NULL, NULL, NULL,
				tstzrange(o.period_start, o.period_end), NULL, NULL, NULL, invoice_adjustments.with_tail,
				invoice_adjustments.booked_by) l
			WHERE o.kind = 'usage' AND l.price_code = o.price_code
			UNION ALL
			SELECT o.quantity, o.amount, NULL, NULL, NULL, o.tax_category
			WHERE o.kind = 'fixed'
		) m
		LEFT JOIN LATERAL billing.line_correction(o.tenant_id, o.invoice_id, o.line, invoice_adjustments.booked_by) c ON true
		OFFSET 0
	) n
	WHERE n.amount <> o.amount + coalesce(a.amount, o.nothing) - o.unused
	ORDER BY o.period_start, o.price_code;
END;
COMMENT ON FUNCTION billing.invoice_adjustments(bigint, bigint, bigint[], boolean, bigint)
	IS 'signed lines for usage of periods billed already that became known, and prices that were corrected, since: what it costs as known now, of a fixed price up to where it was used, less all that was booked for it and not credited as unused; no line where the rounded amounts agree; booked_by: as that invoice booked them, NULL: what none has; with_tail as in billing.invoice_lines';

CREATE FUNCTION billing.bill_batch(at timestamptz, batch integer, wait boolean, after_due_at timestamptz,
	after_tenant_id bigint, after_subscription_id bigint, is_sparing boolean,
	OUT claimed bigint, OUT billed bigint, OUT due_at timestamptz, OUT tenant_id bigint, OUT subscription_id bigint)
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_bill_batch';
COMMENT ON FUNCTION billing.bill_batch(timestamptz, integer, boolean, timestamptz, bigint, bigint, boolean)
	IS 'bills up to batch subscriptions due at or before at that come after the given position in the order of due_at, tenant and subscription; wait: for tenants that somebody else has locked, else passes them over; is_sparing: passes over those of billing.set_aside whose retry_at lies ahead; returns how many were claimed and billed, and the position behind them; what billing.bill_due calls';

CREATE PROCEDURE billing.bill_due(at timestamptz DEFAULT billing.now(), batch integer DEFAULT 10000)
LANGUAGE C
AS 'MODULE_PATHNAME', 'billing_bill_due';
COMMENT ON PROCEDURE billing.bill_due(timestamptz, integer)
	IS 'bills every subscription that is due at or before at, each missed period on its own, and starts, renews, expires and cancels what reached that point; commits after every batch subscriptions, or not at all inside a transaction block; may be called by several at once and again after any failure; 22004, 22023 batch out of range or at not finite';

CREATE FUNCTION billing.build_invoice(tenant_id bigint, subscription_id bigint, period_start timestamptz, period_end timestamptz)
RETURNS billing.invoice
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_build_invoice';
COMMENT ON FUNCTION billing.build_invoice(bigint, bigint, timestamptz, timestamptz)
	IS 'the invoice of the boundary period_end of a subscription: [period_start, period_end) in arrears and the period that begins there in advance (at the first boundary both are the start); built now if that is the next one to bill and is reached, else the one that was built; NULL where there is nothing to bill; raises 22004, 22023 for a period that is reversed, unbounded or not the one that ends there, YB001, YB004 if it is not the next one or lies ahead, YB015';
