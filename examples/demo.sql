-- What the extension does, on an empty database.
CREATE EXTENSION billing;

-- The instant billing takes as the present, and an id.
SELECT billing.now(), billing.next_id();
