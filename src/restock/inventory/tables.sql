-- The tables of inventory as they are today. A test proves them equal to what migrations/ make.
--
-- Tables whose primary key does not begin with the caller's workspace, and why:
--   outbox, inbox     are the service's own post, read by the relay across all workspaces

-- What a workspace keeps in stock. Rows are never deleted: an archived item keeps its ledger.
CREATE TABLE items (
    workspace_id  uuid           NOT NULL,
    id            uuid           NOT NULL,
    -- the account that made the item, which its alerts go to
    user_id       uuid           NOT NULL,
    name          text           NOT NULL,
    unit          text           NOT NULL,
    category      text           NOT NULL,
    sku           text,
    barcode       text,
    -- 'NaN' is greater than every number, so the upper bound keeps it out too
    quantity      numeric(15, 6) NOT NULL CHECK (quantity >= 0 AND quantity < 1000000000),
    -- NULL: never low
    min_threshold numeric(15, 6) CHECK (min_threshold >= 0 AND min_threshold < 1000000000),
    -- rises by one with every change of the item; a batch changes it once a movement
    version       bigint         NOT NULL DEFAULT 1,
    -- how many rows its ledger has: the last one's seq
    moves         bigint         NOT NULL DEFAULT 1,
    created_at    timestamptz    NOT NULL,
    updated_at    timestamptz    NOT NULL,
    archived_at   timestamptz,
    -- What lists are found by follows from the columns above, so it can't drift from them. It is
    -- bigint and text because behind a wall (see below) an index serves only comparisons that
    -- surely tell nothing of hidden rows: casefold and those of numeric might.
    --
    -- the stock in millionths while it is low, NULL while it isn't
    low_quantity  bigint         GENERATED ALWAYS AS (
                      CASE WHEN quantity <= min_threshold
                      THEN (quantity * 1000000)::bigint END) STORED,
    category_key  text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
                      casefold(category COLLATE pg_unicode_fast)) STORED,
    PRIMARY KEY (workspace_id, id)
) WITH (fillfactor = 80);

-- A change of stock that isn't low, before or after, touches no indexed column, so PostgreSQL
-- writes the new row into the same page and no index at all. That is why low stock is indexed by
-- low_quantity: only what is low pays for its order.
--
-- Ids are UUIDv7: their order is the order of creation, so these serve "newest first".
CREATE INDEX items_live ON items (workspace_id, id) WHERE archived_at IS NULL;
CREATE INDEX items_low ON items (workspace_id, id)
    WHERE low_quantity IS NOT NULL AND archived_at IS NULL;
CREATE INDEX items_lowest ON items (workspace_id, low_quantity, id)
    WHERE low_quantity IS NOT NULL AND archived_at IS NULL;
CREATE INDEX items_category ON items (workspace_id, category_key, id) WHERE archived_at IS NULL;
-- as written, letter case included; free again once its item is archived
CREATE UNIQUE INDEX items_sku ON items (workspace_id, sku)
    WHERE sku IS NOT NULL AND archived_at IS NULL;

-- Every change of stock, the first one included, for good. The service can't change or delete
-- a row: it has no such right. seq counts an item's rows without a gap.
--
-- No foreign key, which would look for the item once more for each row: a row is made of what the
-- same statement wrote to its item, and nobody who writes here may delete an item.
CREATE TABLE ledger (
    workspace_id      uuid           NOT NULL,
    item_id           uuid           NOT NULL,
    seq               bigint         NOT NULL CHECK (seq > 0),
    id                uuid           NOT NULL DEFAULT uuidv7(),
    user_id           uuid           NOT NULL,
    previous_quantity numeric(15, 6) NOT NULL
                      CHECK (previous_quantity >= 0 AND previous_quantity < 1000000000),
    new_quantity      numeric(15, 6) NOT NULL
                      CHECK (new_quantity >= 0 AND new_quantity < 1000000000),
    delta             numeric(15, 6) NOT NULL
                      GENERATED ALWAYS AS (new_quantity - previous_quantity) STORED,
    reason            text           NOT NULL,
    note              text,
    ref               text,
    occurred_at       timestamptz    NOT NULL,
    created_at        timestamptz    NOT NULL,
    -- The Idempotency-Key the row was written under, and a hash of its request. position counts
    -- the rows of one request from 0; a request that wrote anything wrote a row 0, so two
    -- requests of one key always meet in ledger_key.
    key               text,
    position          smallint,
    request_hash      bytea,
    -- what of the answer can't be read from the row itself (see store/ledger.py)
    answer            jsonb,
    PRIMARY KEY (workspace_id, item_id, seq),
    CHECK (num_nulls(key, position, request_hash) IN (0, 3))
);
CREATE UNIQUE INDEX ledger_key ON ledger (workspace_id, user_id, key, position)
    WHERE key IS NOT NULL;

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

-- Whether a key is free of the answers that are kept beside the ledger; nobody else asks so for the
-- same key until the transaction ends. That makes one effect of two requests at once, of which one
-- writes to the ledger and the other has its answer kept: whoever comes second waits here, and
-- then sees what the first one wrote. It does so inside a statement begun before that, because
-- each statement of a VOLATILE function takes a snapshot of its own.
CREATE FUNCTION hold_key(workspace uuid, account uuid, wanted text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtextextended(concat_ws(' ', workspace, account, wanted), 0));
    RETURN NOT EXISTS (
        SELECT FROM kept_answers
        WHERE workspace_id = workspace AND user_id = account AND key = wanted);
END $$;

-- The same for the requests of a round, which waits for nobody: the places, from 1, of those that
-- have no key, or one that nobody else holds and under which nothing was done yet.
CREATE FUNCTION hold_keys(workspace uuid, accounts uuid[], wanted text[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    held bigint[] := ARRAY(
        SELECT place FROM unnest(accounts, wanted) WITH ORDINALITY asked (account, key, place)
        WHERE key IS NULL OR pg_try_advisory_xact_lock(
            hashtextextended(concat_ws(' ', workspace, account, key), 0)));
BEGIN
    RETURN QUERY
        SELECT place FROM unnest(accounts, wanted) WITH ORDINALITY asked (account, key, place)
        WHERE place = ANY (held)
          AND NOT EXISTS (
              SELECT FROM kept_answers k
              WHERE k.workspace_id = workspace AND k.user_id = account AND k.key = asked.key)
          AND NOT EXISTS (
              SELECT FROM ledger l
              WHERE l.workspace_id = workspace AND l.user_id = account AND l.key = asked.key);
END $$;

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

ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY items_wall ON items USING (workspace_id = its_workspace());
ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
CREATE POLICY ledger_wall ON ledger USING (workspace_id = its_workspace());

-- Old answers are forgotten for everybody at once.
ALTER TABLE kept_answers ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept_answers_wall ON kept_answers
    USING (workspace_id = (SELECT its_workspace()) OR (SELECT for_everybody()));

-- The least the service needs. No DELETE on items; on the ledger nothing but reading and adding.
GRANT SELECT,
      INSERT (workspace_id, id, user_id, name, unit, category, sku, barcode, quantity,
              min_threshold, created_at, updated_at),
      UPDATE (name, unit, category, sku, barcode, quantity, min_threshold, version, moves,
              updated_at, archived_at)
    ON items TO restock_inventory;
GRANT SELECT, INSERT ON ledger TO restock_inventory;
GRANT SELECT, INSERT, UPDATE (published_at), DELETE ON outbox TO restock_inventory;
GRANT SELECT, INSERT, DELETE ON inbox TO restock_inventory;
GRANT SELECT, INSERT, UPDATE (status, headers, body), DELETE ON kept_answers
    TO restock_inventory;
