
-- policy: timetables of collection, which the setting dunning_policy names ---------------------

CREATE FUNCTION billing.are_dunning_days(days integer[])
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(array_ndims(days), 1) = 1 AND coalesce(array_lower(days, 1), 1) = 1 AND cardinality(days) <= 100
		AND NOT EXISTS (SELECT FROM unnest(days) WITH ORDINALITY AS d (day, n)
			WHERE coalesce(d.day NOT BETWEEN 1 AND 3650, true) OR d.day <= days[d.n::integer - 1]);
END;
COMMENT ON FUNCTION billing.are_dunning_days(integer[])
	IS 'true of at most 100 whole numbers from 1 to 3650, each greater than the one before, as an array that is counted from 1';

-- The policy standard is made of settings, so no row has its name.
CREATE TABLE billing.dunning_policy (
	code		text COLLATE "C" PRIMARY KEY
				CONSTRAINT dunning_policy_code_is_name CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}$')
				CONSTRAINT dunning_policy_is_not_standard CHECK (code <> 'standard'),
	name		text NOT NULL,
	days		integer[] NOT NULL
				CONSTRAINT dunning_policy_days_ascend CHECK (billing.are_dunning_days(days)),
	retries		integer NOT NULL DEFAULT 3
				CONSTRAINT dunning_policy_retries_are_few CHECK (retries BETWEEN 0 AND 20),
	uncollectible_days integer
				CONSTRAINT dunning_policy_uncollectible_days_is_in_range CHECK (uncollectible_days BETWEEN 0 AND 3650),
	created_at	timestamptz NOT NULL DEFAULT billing.now(),
	created_by	text COLLATE "C" NOT NULL DEFAULT session_user
);
COMMENT ON TABLE billing.dunning_policy
	IS 'timetables of collection, which the setting dunning_policy of a tenant, a plan or the installation names; it holds from then on for what is overdue already, too; the policy standard is what the settings dunning_attempts, dunning_interval_days and uncollectible_days say';
COMMENT ON COLUMN billing.dunning_policy.code IS 'what the setting dunning_policy calls it';
COMMENT ON COLUMN billing.dunning_policy.name IS 'for people';
COMMENT ON COLUMN billing.dunning_policy.days IS 'days from the due date to each attempt after attempt 0, ascending; empty: there is none after that';
COMMENT ON COLUMN billing.dunning_policy.retries IS 'how often an attempt that failed is tried again before the next one, where its decline code says so';
COMMENT ON COLUMN billing.dunning_policy.uncollectible_days IS 'days from the due date until it is given up, not before who owes it was suspended; NULL: as the setting uncollectible_days says';
SELECT pg_catalog.pg_extension_config_dump('billing.dunning_policy', '');
