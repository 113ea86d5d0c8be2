-- The tables of auth as they are today; migrations/ is how they came. A test proves them equal.
--
-- Tenant tables are led by workspace_id. Those that are not, and why:
--   workspaces    is the list of tenants itself
--   accounts      an account is a person, who may come to belong to several workspaces
--   sessions      are found by their own id in a token, before any workspace is known
--   signing_keys, secrets   belong to the whole system
--   sign_in_failures, known_places   are counted and looked up before anybody is known
--   outbox, inbox           belong to the service

-- A tenant. Registration makes an account's first one.
CREATE TABLE workspaces (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A person who signs in. workspace_id is the workspace that a sign-in enters.
CREATE TABLE accounts (
    id             uuid PRIMARY KEY DEFAULT uuidv7(),
    workspace_id   uuid NOT NULL REFERENCES workspaces (id),
    email          text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 200),
    email_verified boolean NOT NULL DEFAULT false,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    role           text NOT NULL CHECK (role IN ('admin', 'user', 'vendor')),
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
-- E-mails compare without case. They are ASCII, so the C collation says all there is to say, and
-- says the same on every machine.
CREATE UNIQUE INDEX accounts_email ON accounts (lower(email COLLATE "C"));

-- Who belongs to a workspace, and as what.
CREATE TABLE members (
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    account_id   uuid NOT NULL REFERENCES accounts (id),
    role         text NOT NULL CHECK (role IN ('owner', 'member')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, account_id)
);

-- A sign-in on one device. `counter` numbers its refresh tokens, of which only the newest is good
-- (and for a moment the one before it); `rotated_at` is when the newest was made. No access token
-- of the session lives beyond `access_until`. `over_at` is when it is over unless it is used again,
-- by the limits that held when it was used last; what is long over is deleted.
CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts (id),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    counter      bigint NOT NULL DEFAULT 0 CHECK (counter >= 0),
    user_agent   text NOT NULL,
    address      text NOT NULL,
    created_at   timestamptz NOT NULL,
    rotated_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    access_until timestamptz NOT NULL,
    over_at      timestamptz NOT NULL,
    ended_at     timestamptz,
    ended_by     text CHECK (ended_by IN ('logout', 'logout_all', 'owner', 'theft')),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX sessions_live ON sessions (account_id, id) WHERE ended_at IS NULL;

-- The keys that sign access tokens (decision 0022). The active one signs; the next one is public
-- already, and signs after it; a retired one has no private half any more. At most one is next and
-- one active at a time: that is what lets several workers make and replace them at once.
CREATE TABLE signing_keys (
    kid          text PRIMARY KEY,
    state        text NOT NULL CHECK (state IN ('next', 'active', 'retired')),
    private_pem  text,
    public_jwk   jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    retired_at   timestamptz,
    CHECK ((state = 'retired') = (retired_at IS NOT NULL)),
    CONSTRAINT signing_keys_wiped CHECK ((state = 'retired') = (private_pem IS NULL))
);
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (state) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (state) WHERE state = 'next';

-- Random values made once, at the first start: what refresh tokens are authenticated with.
CREATE TABLE secrets (
    name       text PRIMARY KEY,
    value      bytea NOT NULL CHECK (octet_length(value) >= 32),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Failed sign-ins since the last day without one: from an address, for an e-mail address whether or
-- not it is an account's, or for an account at a place it is known at (decision 0021). The keys are
-- keyed hashes: what strangers type isn't kept.
CREATE TABLE sign_in_failures (
    key           bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    failures      int NOT NULL CHECK (failures > 0),
    failed_at     timestamptz NOT NULL,
    refused_until timestamptz
);
CREATE INDEX sign_in_failures_failed ON sign_in_failures (failed_at);

-- Where an account has been signed in: keyed hashes of its e-mail address and a network.
CREATE TABLE known_places (
    key     bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    seen_at timestamptz NOT NULL
);
CREATE INDEX known_places_seen ON known_places (seen_at);

-- What every service with events keeps beside its own tables.

-- Events on their way out: written in the transaction of their cause, published by the relay
-- after the commit, kept a week so that they can be published again.
CREATE TABLE outbox (
    id           uuid PRIMARY KEY DEFAULT uuidv7(),
    subject      text NOT NULL,
    workspace_id uuid,
    data         jsonb NOT NULL,
    traceparent  text,
    occurred_at  timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- Events already handled: a consumer writes the id in the transaction of its effect.
CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX inbox_seen ON inbox (seen_at);

-- For whom the service says a statement runs, just before it (decision 0020). The policies below
-- compare every row with it; the owner of the tables is not held by them. What wasn't said is NULL
-- or nothing, which equals no row. In parentheses with SELECT they are evaluated once a statement
-- and not once a row. Bare is cheaper where statements name the same column themselves: PostgreSQL
-- then compares the two values before it starts.
CREATE FUNCTION its_workspace() RETURNS uuid LANGUAGE sql STABLE
    RETURN nullif(current_setting('restock.workspace', true), '')::uuid;
CREATE FUNCTION its_accounts() RETURNS uuid[] LANGUAGE sql STABLE
    RETURN string_to_array(nullif(current_setting('restock.accounts', true), ''), ',')::uuid[];
CREATE FUNCTION for_everybody() RETURNS boolean LANGUAGE sql STABLE
    RETURN current_setting('restock.everybody', true) = 'yes';

-- Nobody is known yet while somebody registers, signs in or refreshes: until the account is found
-- those run for everybody, as does the forgetting of old sessions.
ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;
CREATE POLICY workspaces_wall ON workspaces
    USING (id = (SELECT its_workspace()) OR (SELECT for_everybody()));
ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY accounts_wall ON accounts
    USING (id = ANY (coalesce((SELECT its_accounts()), '{}'))
        OR (SELECT for_everybody()));
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
CREATE POLICY members_wall ON members
    USING (account_id = ANY (coalesce((SELECT its_accounts()), '{}'))
        OR (SELECT for_everybody()));
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY sessions_wall ON sessions
    USING (account_id = ANY (coalesce((SELECT its_accounts()), '{}'))
        OR (SELECT for_everybody()));

-- The account that signs in, read with the owner's rights: behind a wall PostgreSQL would not use
-- the index, since lower() might tell of rows that the wall hides.
CREATE FUNCTION account_signing_in(wanted text) RETURNS SETOF accounts
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public
BEGIN ATOMIC
    SELECT * FROM accounts WHERE lower(email COLLATE "C") = lower(wanted COLLATE "C");
END;
REVOKE ALL ON FUNCTION account_signing_in(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_signing_in(text) TO restock_auth;

-- What the service may do; everything else only the owner may.
GRANT SELECT, INSERT ON workspaces, members, secrets TO restock_auth;
GRANT SELECT, INSERT, DELETE ON signing_keys TO restock_auth;
GRANT UPDATE (state, private_pem, activated_at, retired_at) ON signing_keys TO restock_auth;
GRANT SELECT, INSERT ON accounts TO restock_auth;
GRANT UPDATE (password_hash) ON accounts TO restock_auth;
GRANT SELECT, INSERT, DELETE ON sessions TO restock_auth;
GRANT UPDATE (counter, user_agent, address, rotated_at, last_used_at, access_until, over_at,
              ended_at, ended_by) ON sessions TO restock_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON sign_in_failures, known_places TO restock_auth;
GRANT SELECT, INSERT, UPDATE (published_at), DELETE ON outbox TO restock_auth;
GRANT SELECT, INSERT, DELETE ON inbox TO restock_auth;
