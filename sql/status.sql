
-- status: what runs, what waits, what is wrong ----------------------------------------------

CREATE FUNCTION billing.progress_rows(OUT pid integer, OUT work text, OUT phase text, OUT done bigint, OUT total bigint,
	OUT started_at timestamptz, OUT elapsed interval, OUT phase_done bigint, OUT phase_elapsed interval)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 2
AS 'MODULE_PATHNAME', 'billing_progress_rows';
COMMENT ON FUNCTION billing.progress_rows()
	IS 'long work that is under way in this database: see the view billing.progress';

CREATE VIEW billing.progress WITH (security_invoker) AS
	SELECT p.pid, p.work, nullif(p.phase, '') AS phase, p.done, CASE WHEN p.total > 0 THEN greatest(p.total, p.done) END AS total,
		p.started_at, p.elapsed, round(nullif(p.phase_done, 0) / nullif(extract(epoch FROM p.phase_elapsed), 0), 1) AS rate,
		CASE WHEN p.total > 0 AND p.phase_done > 0 THEN p.started_at + p.elapsed
			+ interval '1 second' * (extract(epoch FROM p.phase_elapsed) * greatest(p.total - p.done, 0) / p.phase_done)::bigint END AS estimated_end
	FROM billing.progress_rows() p;
COMMENT ON VIEW billing.progress
	IS 'jobs and bill runs that are under way in this database: the process (pid), what it does (work; of a bill run its phase), how much is done, in the unit of the job, of a bill run boundaries of subscriptions, of how much that is due so far (total; NULL: nobody knows; changed by what the run meets), by the real clock since started_at; of the phase: rate per second, and when it ends at that rate (NULL: nobody can tell yet)';

CREATE FUNCTION billing.process(name text, OUT pid integer, OUT status text)
RETURNS record
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'billing_process';
COMMENT ON FUNCTION billing.process(text)
	IS 'the worker or the sender of this database (name): its process id, NULL if it does not run, and running, stopped (by billing.stop_worker()) or not running; raises 22023 for another name';

CREATE FUNCTION billing.library_version()
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'billing_library_version';
COMMENT ON FUNCTION billing.library_version()
	IS 'version of the library that this session has loaded; the worker exits where it is another than the extension''s';

CREATE FUNCTION billing.job_due_at(name text)
RETURNS timestamptz
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_job_due_at_named';
COMMENT ON FUNCTION billing.job_due_at(text)
	IS 'when a job has something to do; NULL: nothing before somebody writes, or no such job; -infinity: only a run can tell';

CREATE FUNCTION billing.status()
RETURNS TABLE (kind text, name text, status text, last_at timestamptz, next_at timestamptz, duration interval, count bigint, detail text)
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	SELECT 'process', n.name, p.status, NULL::timestamptz, NULL::timestamptz, NULL::interval, NULL::bigint, 'pid=' || p.pid
	FROM (VALUES ('worker'), ('sender')) n (name) CROSS JOIN LATERAL billing.process(n.name) p
	UNION ALL
	SELECT 'library', billing.library_version(), CASE WHEN e.extversion = billing.library_version() THEN 'ok' ELSE 'restart the server' END,
		NULL, NULL, NULL, NULL, 'extension=' || e.extversion
	FROM pg_catalog.pg_extension e WHERE e.extname = 'billing'
	UNION ALL
	(SELECT 'job', j.name,
		CASE WHEN r.pid IS NOT NULL THEN 'running' WHEN NOT j.is_enabled THEN 'disabled' WHEN s.failures > 0 THEN 'failed' WHEN s.name IS NULL THEN 'did not run' ELSE 'succeeded' END,
		coalesce(r.started_at, s.started_at),
		least(CASE WHEN j.is_requested THEN billing.now()
			WHEN NOT j.is_enabled THEN NULL
			WHEN j.failures > 0 THEN j.retry_at
			WHEN d.due_at IS NOT NULL THEN greatest(j.started_at + j.every, d.due_at, billing.now()) END, j.requested_at),
		coalesce(r.elapsed, s.duration), coalesce(r.done, s.done), coalesce('pid=' || r.pid, s.sqlstate || ': ' || s.error)
	FROM billing.job_schedule j
	LEFT JOIN billing.job_state s ON s.name = j.name
	LEFT JOIN LATERAL (SELECT p.pid, p.started_at, p.elapsed, p.done FROM billing.progress p WHERE p.work = j.name
		ORDER BY p.started_at LIMIT 1) r ON true
	CROSS JOIN LATERAL (SELECT billing.job_due_at(j.name) AS due_at) d
	ORDER BY j.position)
	UNION ALL
	SELECT 'queue', 'webhooks', CASE WHEN count(*) = 0 THEN 'empty' ELSE 'waiting' END, min(e.created_at), min(d.next_attempt_at), NULL, count(*), NULL
	FROM billing.webhook_delivery d
	JOIN billing.event e ON e.tenant_id = d.tenant_id AND e.event_id = d.event_id
	WHERE d.next_attempt_at IS NOT NULL
	UNION ALL
	SELECT 'queue', 'notices', CASE WHEN count(*) = 0 THEN 'empty' ELSE 'waiting' END, min(n.created_at), min(n.next_attempt_at), NULL, count(*), NULL
	FROM billing.notification n WHERE n.status = 'waiting'
	UNION ALL
	SELECT 'queue', 'gateways', CASE WHEN count(*) = 0 THEN 'empty' ELSE 'waiting' END, min(r.created_at), min(r.next_attempt_at), NULL, count(*),
		(array_agg(r.gateway || ': ' || r.error ORDER BY r.created_at) FILTER (WHERE r.error IS NOT NULL))[1]
	FROM billing.gateway_request r WHERE r.next_attempt_at IS NOT NULL
	UNION ALL
	(SELECT 'set aside', a.job, a.sqlstate, a.last_at, a.retry_at, NULL, a.failures,
		format('tenant_id=%s %s=%s %s', a.tenant_id, a.object, a.object_id, a.error)
	FROM billing.set_aside a ORDER BY a.first_at, a.tenant_id LIMIT 100)
	UNION ALL
	SELECT 'reference', r.table_name::text, 'checked row by row', NULL, NULL, NULL, NULL, r.remedy
	FROM billing.reference_check r WHERE NOT r.is_setwise;
END;
COMMENT ON FUNCTION billing.status()
	IS 'what runs, what waits and what is wrong in this database: a row per process (status, pid), job (how it went, or running: by which process; when it started last, when it runs next, how long it took or takes, how much it did, the error), queue of deliveries (how many wait, last_at: since when the oldest one does, next_at: the next attempt; of gateways detail: the error of the oldest one that has one), per subscription, invoice or tenant that a job has set aside (the first 100), and per table whose foreign keys are checked row by row (detail: what restores the speed)';
