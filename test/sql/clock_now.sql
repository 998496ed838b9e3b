-- billing.now() is the start of the transaction, or the test clock, which only a superuser sets.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

-- Without a test clock: the start of the transaction, all through it.
BEGIN;
SELECT billing.now() = transaction_timestamp() AS is_transaction_start;
SELECT pg_sleep(0.01);
SELECT billing.now() = transaction_timestamp() AND billing.now() < clock_timestamp() AS stands_still;
COMMIT;

-- Accepted: ISO with an explicit offset.
SET billing.test_clock = '2026-01-31T00:00:00Z';
SELECT billing.now();
SET billing.test_clock = '2026-01-31 09:00:00+08:00';
SELECT billing.now();
SET billing.test_clock = '2026-01-31 09:00+0530';
SELECT billing.now();
SET billing.test_clock = '2024-02-29T23:59:59.123456-05';
SELECT billing.now();

-- The same instant whatever the session's zone and date style.
SET TimeZone = 'Asia/Shanghai';
SET DateStyle = 'SQL, DMY';
SELECT billing.now() = timestamptz '2024-03-01 04:59:59.123456+00' AS same_instant;
SET billing.test_clock = '2026-03-04T00:00:00Z';
SELECT extract(month FROM billing.now()) AS march;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';

-- Refused: no offset, another form, no such instant.
SET billing.test_clock = '2026-01-31T00:00:00';
SET billing.test_clock = '2026-01-31';
SET billing.test_clock = '2026-01-31T00:00:00 UTC';
SET billing.test_clock = '2026-01-31T00:00:00Z ';
SET billing.test_clock = '31.01.2026 00:00:00+00';
SET billing.test_clock = '2026-01-31T00:00:00.Z';
SET billing.test_clock = '2026-02-30T00:00:00Z';
SET billing.test_clock = '2026-01-31T25:00:00Z';
SET billing.test_clock = '2026-01-31T00:00:00+99';
SET billing.test_clock = 'now';
SET billing.test_clock = 'infinity';
SELECT billing.now() AS unchanged;

-- Empty: the real time again.
SET billing.test_clock = '';
SELECT billing.now() = transaction_timestamp() AS real;

-- SET LOCAL ends with the transaction, SET with its rollback.
BEGIN;
SET LOCAL billing.test_clock = '2026-05-01T00:00:00Z';
SELECT billing.now();
COMMIT;
SELECT billing.now() = transaction_timestamp() AS real;
BEGIN;
SET billing.test_clock = '2026-06-01T00:00:00Z';
SAVEPOINT s;
SET LOCAL billing.test_clock = '2026-07-01T00:00:00Z';
SELECT billing.now();
ROLLBACK TO s;
SELECT billing.now();
ROLLBACK;
SELECT billing.now() = transaction_timestamp() AS real;

-- An ordinary role may neither set it nor, before it is granted anything, ask the time.
CREATE ROLE clock_user;
SET ROLE clock_user;
SET billing.test_clock = '2026-01-31T00:00:00Z';
SELECT billing.now();
RESET ROLE;
GRANT USAGE ON SCHEMA billing TO clock_user;
GRANT EXECUTE ON FUNCTION billing.now() TO clock_user;
SET ROLE clock_user;
SELECT billing.now() = transaction_timestamp() AS real;
RESET ROLE;
DROP OWNED BY clock_user;
DROP ROLE clock_user;

-- The prefix is the extension's: a mistyped setting is an error.
SET billing.tset_clock = '2026-01-31T00:00:00Z';
