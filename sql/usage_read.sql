
-- usage_read: usage recorded one by one, and how much there was ---------------------

CREATE FUNCTION billing.record_usage(tenant_id bigint, meter text, quantity numeric DEFAULT 1, event_id text DEFAULT NULL,
	at timestamptz DEFAULT NULL, properties jsonb DEFAULT NULL, subscription_id bigint DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_record_usage';
COMMENT ON FUNCTION billing.record_usage(bigint, text, numeric, text, timestamptz, jsonb, bigint)
	IS 'records one usage event: true if it is new, false if it was recorded before; event_id (1 to 255 bytes) is unique per tenant and must be given, at is billing.now() unless stated; subscription_id may be left out while one live subscription prices the meter; takes no lock that another event wants, but of a tenant with setting spend_limit, whose events come one after the other; 22003 for a quantity that is not finite, not less than 10^256 or of more than 63 decimals, 22004, 22023 for an instant that is infinite or more than 24 hours ahead or an id of bad length, YB001, YB004 for a closed tenant, YB006 for another event of this id, YB009 beyond the spend_limit, YB010 from when the tenant is frozen, YB015, YB016';

CREATE FUNCTION billing.cancel_usage(tenant_id bigint, event_id text, reason text DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.usage_correction
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_cancel_usage';
COMMENT ON FUNCTION billing.cancel_usage(bigint, text, text, text)
	IS 'takes a usage event that was recorded in error out of every total from here on; it stays recorded, and recording it again adds nothing; of a period that was billed, the difference is booked by the next invoice; canceling again changes nothing; returns the correction; 22004, YB001 no such event, YB004 another event supersedes it, YB006, YB015';

CREATE FUNCTION billing.correct_usage(tenant_id bigint, event_id text, quantity numeric, new_event_id text,
	reason text DEFAULT NULL, at timestamptz DEFAULT NULL, properties jsonb DEFAULT NULL, request_id text DEFAULT NULL)
RETURNS billing.usage_correction
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'billing_correct_usage';
COMMENT ON FUNCTION billing.correct_usage(bigint, text, numeric, text, text, timestamptz, jsonb, text)
	IS 'records the event new_event_id in the place of one that was recorded in error, which is taken out of every total as billing.cancel_usage does: of the same meter and subscription, at the same instant and with the same properties unless others are given; the same call again changes nothing; a correction may itself be corrected; returns the correction; 22003, 22004, 22023 for values that no event can have or new_event_id = event_id, YB001 no such event, YB004 it was canceled, superseded by another event, or new_event_id was itself corrected, YB006 new_event_id is that of an event with other values, YB004 and YB010 for another instant than it has at which the tenant is closed or frozen, YB015';

CREATE FUNCTION billing.usage_unstated(tenant_id bigint, meter text, subscription_id bigint, period tstzrange)
RETURNS TABLE (during tstzrange)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT unnest(billing.pricing_time(s, usage_unstated.meter) * tstzmultirange(w.during))
	FROM billing.subscription s
	CROSS JOIN LATERAL billing.usage_windows(usage_unstated.tenant_id, usage_unstated.meter, usage_unstated.subscription_id,
		usage_unstated.period) w
	WHERE s.tenant_id = usage_unstated.tenant_id AND s.subscription_id = usage_unstated.subscription_id;
END;
COMMENT ON FUNCTION billing.usage_unstated(bigint, text, bigint, tstzrange)
	IS 'the parts of any period in which usage of meter that names no subscription is this one''s: it is in force, prices the meter, and is the first that does';

CREATE FUNCTION billing.usage_of_total(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, aggregation text)
RETURNS TABLE (quantity numeric)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE aggregation WHEN 'sum' THEN coalesce(sum(u.sum), 0) WHEN 'count' THEN coalesce(sum(u.events), 0)
		WHEN 'max' THEN max(u.max) WHEN 'latest' THEN max(u.latest) END
	FROM (
		SELECT array_append(array_agg(s.subscription_id), 0) AS streams, usage_of_total.period_start AS low,
			usage_of_total.period_end AS high
		FROM billing.subscription s
		WHERE s.tenant_id = usage_of_total.tenant_id AND usage_of_total.subscription_id IS NULL
		HAVING usage_of_total.subscription_id IS NULL
		UNION ALL
		SELECT ARRAY[usage_of_total.subscription_id], period_start, period_end
		WHERE usage_of_total.subscription_id IS NOT NULL
		UNION ALL
		SELECT '{0}', lower(w.during), upper(w.during)
		FROM billing.usage_unstated(usage_of_total.tenant_id, usage_of_total.meter, usage_of_total.subscription_id,
			tstzrange(period_start, period_end)) w
		WHERE usage_of_total.subscription_id IS NOT NULL) p
	CROSS JOIN LATERAL billing.usage_total(usage_of_total.tenant_id, usage_of_total.meter, p.streams, p.low, p.high, true) u;
END;
COMMENT ON FUNCTION billing.usage_of_total(bigint, text, bigint, timestamptz, timestamptz, text)
	IS 'what billing.usage() returns of sum, count and max, and of latest if no subscription is given; inlined';

CREATE FUNCTION billing.usage_of_events(tenant_id bigint, meter text, subscription_id bigint, period_start timestamptz,
	period_end timestamptz, aggregation text, property text, known_at timestamptz)
RETURNS TABLE (quantity numeric)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE aggregation
		WHEN 'sum' THEN coalesce(sum(e.quantity), 0)
		WHEN 'count' THEN count(*)
		WHEN 'max' THEN max(e.quantity)
		WHEN 'latest' THEN billing.usage_latest(e.quantity, e.at, e.event_id)
		WHEN 'unique_count' THEN count(DISTINCT e.properties ->> coalesce(property, 'value')) FILTER (WHERE aggregation = 'unique_count')
		WHEN 'weighted_sum' THEN trim_scale(coalesce(sum(e.quantity * extract(epoch FROM period_end - e.at)), 0)
			/ extract(epoch FROM period_end - period_start)) END
	FROM billing.usage_event e
	WHERE e.tenant_id = usage_of_events.tenant_id AND e.meter = usage_of_events.meter
		AND e.at >= period_start AND e.at < period_end
		AND (known_at IS NULL OR e.recorded_at <= known_at)
		AND ((SELECT NOT EXISTS (SELECT FROM billing.usage_correction))
			OR NOT EXISTS (SELECT FROM billing.usage_correction c
				WHERE c.tenant_id = e.tenant_id AND c.event_id = e.event_id AND coalesce(c.corrected_at <= known_at, true)))
		AND (usage_of_events.subscription_id IS NULL OR e.subscription_id = usage_of_events.subscription_id
			OR e.subscription_id IS NULL AND EXISTS (
				SELECT FROM billing.usage_unstated(usage_of_events.tenant_id, usage_of_events.meter,
					usage_of_events.subscription_id, tstzrange(period_start, period_end)) w
				WHERE w.during @> e.at));
END;
COMMENT ON FUNCTION billing.usage_of_events(bigint, text, bigint, timestamptz, timestamptz, text, text, timestamptz)
	IS 'what billing.usage() returns where the rollup does not hold it; inlined';

CREATE FUNCTION billing.usage(tenant_id bigint, meter text, period tstzrange, known_at timestamptz DEFAULT NULL,
	subscription_id bigint DEFAULT NULL, aggregation text DEFAULT NULL)
RETURNS numeric
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage';
COMMENT ON FUNCTION billing.usage(bigint, text, tstzrange, timestamptz, bigint, text)
	IS 'how much of a meter a tenant used in a half-open, bounded period, exactly, by the meter''s aggregation or the one given (sum, count, max, latest, unique_count, weighted_sum: the mean level over the period of which each quantity is a change); 0 of no event, but max and latest NULL; known_at: only events recorded, and not corrected, by then; subscription_id: only what is that subscription''s; sees what the caller''s row security lets it; 22004, 22023 for a period that is empty, unbounded or not half-open or an unknown aggregation, YB001';

CREATE FUNCTION billing.usage_timezone(tenant_id bigint, meter text, period tstzrange)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_usage_timezone';
COMMENT ON FUNCTION billing.usage_timezone(bigint, text, tstzrange)
	IS 'checks its arguments as billing.usage() does and returns the tenant''s time zone; 22004, 22023, YB001';

CREATE FUNCTION billing.daily_usage(tenant_id bigint, meter text, period tstzrange, subscription_id bigint DEFAULT NULL)
RETURNS TABLE (day date, quantity numeric, events bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT g.day::date,
		billing.usage(daily_usage.tenant_id, daily_usage.meter, tstzrange(d.low, d.high), NULL, daily_usage.subscription_id),
		billing.usage(daily_usage.tenant_id, daily_usage.meter, tstzrange(d.low, d.high), NULL, daily_usage.subscription_id,
			'count')::bigint
	FROM (SELECT billing.usage_timezone(daily_usage.tenant_id, daily_usage.meter, daily_usage.period) AS timezone OFFSET 0) t
	CROSS JOIN LATERAL generate_series((lower(daily_usage.period) AT TIME ZONE t.timezone)::date::timestamp,
		upper(daily_usage.period) AT TIME ZONE t.timezone, '1 day') g(day)
	CROSS JOIN LATERAL (
		SELECT greatest(g.day AT TIME ZONE t.timezone, lower(daily_usage.period)) AS low,
			least((g.day + interval '1 day') AT TIME ZONE t.timezone, upper(daily_usage.period)) AS high) d
	WHERE d.low < d.high
	ORDER BY g.day;
END;
COMMENT ON FUNCTION billing.daily_usage(bigint, text, tstzrange, bigint)
	IS 'usage of a meter per calendar day of the tenant''s time zone, one row for each day that the period touches, days cut by it included; quantity as billing.usage() of that day; 22004, 22023, YB001';
