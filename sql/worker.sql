
-- worker: the processes of a database ------------------------------------------------------

CREATE FUNCTION billing.start_worker()
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_start_worker';
COMMENT ON FUNCTION billing.start_worker()
	IS 'starts the worker and the sender of this database, where the library is preloaded through the launcher, else until the server restarts, and waits until they run; returns whether any was started; 55000 on a standby, 53000 if they did not start within 10 seconds, 53200 and 53400 if there is no memory or no place for them';

CREATE FUNCTION billing.stop_worker()
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_stop_worker';
COMMENT ON FUNCTION billing.stop_worker()
	IS 'stops the worker and the sender of this database and waits until they have ended, so that it can be dropped, renamed or copied; they do not start again before billing.start_worker() or a restart of the server; what was committed is kept; returns whether any ran; 55006 if they did not end within 10 seconds, 53400 if there is no place to keep that they are stopped';

CREATE FUNCTION billing.wake()
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'billing_wake';
COMMENT ON FUNCTION billing.wake()
	IS 'wakes the worker and the sender of this database when the transaction has committed; they look for themselves what is due';

-- Those that wait for the extension do so no longer.
SELECT billing.wake();
