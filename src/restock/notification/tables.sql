-- The tables of notification as they are today. A test proves them equal to what migrations/ make.
--
-- An inbox belongs to an account, not to a workspace: every table of ours is led by user_id.
-- Tables whose primary key does not begin with it, and why:
--   outbox, inbox     are the service's own post, read by its relay across all workspaces

-- One row for each account that was ever told something: the end of its feed. Whoever adds to a
-- feed holds this row's lock, so a feed's `seq` has no gap and no double; a restore has every
-- account's leap ahead. `revision` rises with
-- every change of `unread`, so that of two counts on their way to a screen the later is known.
CREATE TABLE feeds (
    user_id  uuid    PRIMARY KEY,
    head     bigint  NOT NULL CHECK (head >= 0),
    unread   integer NOT NULL CHECK (unread >= 0),
    revision bigint  NOT NULL
);

-- The inbox. A deleted row leaves a gap in `seq`; readers go by feeds.head, not by counting.
CREATE TABLE notifications (
    user_id    uuid        NOT NULL,
    seq        bigint      NOT NULL,
    id         uuid        NOT NULL,
    type       text        NOT NULL,
    message    text        NOT NULL,
    item_id    uuid,
    data       jsonb       NOT NULL,
    read       boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    event_id   uuid        NOT NULL,
    PRIMARY KEY (user_id, seq)
);
CREATE UNIQUE INDEX notifications_id ON notifications (user_id, id);
CREATE INDEX notifications_unread ON notifications (user_id, seq) WHERE NOT read;

-- What a feed holds besides notifications: socket events with a `seq` of their own, replayed to
-- whoever missed them, in no list.
CREATE TABLE announcements (
    user_id    uuid        NOT NULL,
    seq        bigint      NOT NULL,
    name       text        NOT NULL,
    data       jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    event_id   uuid        NOT NULL,
    PRIMARY KEY (user_id, seq)
);

-- The vendors an account belongs to: the rooms its sockets are put into.
CREATE TABLE vendor_people (
    user_id   uuid NOT NULL,
    vendor_id uuid NOT NULL,
    PRIMARY KEY (user_id, vendor_id)
);

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

-- First answers, kept under their Idempotency-Key.
CREATE TABLE kept_answers (
    workspace_id uuid NOT NULL,
    user_id      uuid NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id, key)
);
CREATE INDEX kept_answers_created ON kept_answers (created_at);

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

-- An event may be for several accounts.
ALTER TABLE feeds ENABLE ROW LEVEL SECURITY;
CREATE POLICY feeds_wall ON feeds
    USING (user_id = ANY (coalesce((SELECT its_accounts()), '{}')));
ALTER TABLE notifications ENABLE ROW LEVEL SECURITY;
CREATE POLICY notifications_wall ON notifications
    USING (user_id = ANY (coalesce((SELECT its_accounts()), '{}')));
ALTER TABLE announcements ENABLE ROW LEVEL SECURITY;
CREATE POLICY announcements_wall ON announcements
    USING (user_id = ANY (coalesce((SELECT its_accounts()), '{}')));
ALTER TABLE vendor_people ENABLE ROW LEVEL SECURITY;
CREATE POLICY vendor_people_wall ON vendor_people
    USING (user_id = ANY (coalesce((SELECT its_accounts()), '{}')));

-- Old answers are forgotten for everybody at once.
ALTER TABLE kept_answers ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept_answers_wall ON kept_answers
    USING (workspace_id = (SELECT its_workspace()) OR (SELECT for_everybody()));

-- The least the service needs. What a notification says is written once; only `read` changes.
GRANT SELECT, INSERT, UPDATE (head, unread, revision) ON feeds TO restock_notification;
GRANT SELECT, INSERT, UPDATE (read), DELETE ON notifications TO restock_notification;
GRANT SELECT, INSERT ON announcements, vendor_people TO restock_notification;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, inbox, kept_answers TO restock_notification;
