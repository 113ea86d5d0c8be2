-- serves 0001
-- Keys are replaced while the service runs: their states change, and what no longer signs loses
-- its private half at once. An operator may take away keys that somebody else knows.
ALTER TABLE signing_keys ALTER COLUMN private_pem DROP NOT NULL;
UPDATE signing_keys SET private_pem = NULL WHERE state = 'retired';
ALTER TABLE signing_keys
    ADD CONSTRAINT signing_keys_wiped CHECK ((state = 'retired') = (private_pem IS NULL));
GRANT UPDATE (state, private_pem, activated_at, retired_at), DELETE ON signing_keys
    TO restock_auth;
