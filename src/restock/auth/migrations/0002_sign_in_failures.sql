-- serves 0001
-- Failed sign-ins are counted, by keyed hashes of what they came with; and it is remembered where
-- an account has been signed in, since its owner is counted apart there.
CREATE TABLE sign_in_failures (
    key           bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    failures      int NOT NULL CHECK (failures > 0),
    failed_at     timestamptz NOT NULL,
    refused_until timestamptz
);
CREATE INDEX sign_in_failures_failed ON sign_in_failures (failed_at);

CREATE TABLE known_places (
    key     bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    seen_at timestamptz NOT NULL
);
CREATE INDEX known_places_seen ON known_places (seen_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failures, known_places TO restock_auth;
