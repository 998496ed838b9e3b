-- Ids count up from one sequence; a rollback leaves a gap; a lost sequence is said so.
SELECT billing.next_id() AS first_id \gset
SELECT billing.next_id() - :first_id AS second, billing.next_id() - :first_id AS third;

-- Many in one statement: each is another, none is below the last.
SELECT count(DISTINCT id), min(id) > :first_id AS above, max(id) - min(id) AS span
FROM (SELECT billing.next_id() AS id FROM generate_series(1, 1000)) s;

-- A rollback gives no id back.
SELECT billing.next_id() AS kept \gset
BEGIN;
SELECT billing.next_id() - :kept AS in_transaction;
ROLLBACK;
SELECT billing.next_id() - :kept AS after_rollback;

-- 48 bits of sequence fit below the node's number; then it is full, and does not start again.
SELECT seqmax = 2::numeric ^ 48 - 1 AS is_48_bits, seqcycle FROM pg_sequence WHERE seqrelid = 'billing.id_seq'::regclass;
BEGIN;
SELECT setval('billing.id_seq', 281474976710654);
SELECT billing.next_id();
SELECT billing.next_id();
ROLLBACK;
SELECT setval('billing.id_seq', :kept) = :kept AS restored;

-- An id is written, so not in a read-only transaction.
BEGIN READ ONLY;
SELECT billing.next_id();
ROLLBACK;

-- It is an ordinary role's only by a grant; then the sequence's own rights count as well.
CREATE ROLE id_user;
SET ROLE id_user;
SELECT billing.next_id();
RESET ROLE;
GRANT USAGE ON SCHEMA billing TO id_user;
SET ROLE id_user;
SELECT billing.next_id();
SELECT nextval('billing.id_seq');
RESET ROLE;
DROP OWNED BY id_user;
DROP ROLE id_user;

-- Without its sequence it says what is wrong.
BEGIN;
ALTER SEQUENCE billing.id_seq RENAME TO lost_seq;
SELECT billing.next_id();
ROLLBACK;
