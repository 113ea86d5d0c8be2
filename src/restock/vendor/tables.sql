-- The tables of vendor as they are today. A test proves them equal to what migrations/ make.
--
-- Tables whose primary key does not begin with the caller's workspace, and why:
--   vendors           a directory: every workspace reads every vendor, by its id alone
--   contact_requests  lie between two workspaces; they are led by the vendor's, which works on
--                     them. The buyer finds his by contact_requests_by_buyer, and every statement
--                     on his behalf names buyer_workspace_id, so he meets nobody else's
--   request_steps     follow their request
--   outbox, inbox     are the service's own post, read by its relay across all workspaces
--
-- Text is compared without case by casefold under pg_unicode_fast, which PostgreSQL itself
-- provides: the same on every machine, whatever locale its cluster was made with.

-- A vendor of the directory, owned by the workspace that registered it.
CREATE TABLE vendors (
    id            uuid          NOT NULL DEFAULT uuidv7() PRIMARY KEY,
    workspace_id  uuid          NOT NULL,
    name          text          NOT NULL,
    email         text          NOT NULL,
    phone         text          NOT NULL,
    category      text          NOT NULL,
    address       text          NOT NULL,
    city          text          NOT NULL,
    -- 'NaN' is greater than every number, so the upper bound keeps it out too
    rating        numeric(3, 2) NOT NULL DEFAULT 0 CHECK (rating >= 0 AND rating <= 5),
    is_active     boolean       NOT NULL DEFAULT true,
    registered_at timestamptz   NOT NULL DEFAULT now(),
    seq           integer       NOT NULL DEFAULT 1,
    -- What the directory is listed by. Behind a wall (see below) an index serves only comparisons
    -- that surely tell nothing of hidden rows: those of text do, casefold might tell.
    category_key  text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
                      casefold(category COLLATE pg_unicode_fast)) STORED,
    city_key      text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
                      casefold(city COLLATE pg_unicode_fast)) STORED,
    -- what a request refers to, so that its leading workspace is surely its vendor's
    UNIQUE (workspace_id, id)
);

CREATE UNIQUE INDEX vendors_email_key ON vendors (casefold(email COLLATE pg_unicode_fast));
CREATE INDEX vendors_best_first ON vendors (rating DESC, id DESC) WHERE is_active;
CREATE INDEX vendors_of_category ON vendors (category_key, rating DESC, id DESC) WHERE is_active;
CREATE INDEX vendors_of_city ON vendors (city_key, rating DESC, id DESC) WHERE is_active;

-- Who hears of a vendor's requests. Today a workspace has one member, the account it was made
-- for, so the account that registers a vendor is all of its people. When workspaces get more
-- members, auth's events about them add and remove rows here and nothing else changes: rights
-- are judged by the workspace in the caller's token, never by this table.
CREATE TABLE vendor_people (
    workspace_id uuid        NOT NULL,
    user_id      uuid        NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);

-- A buyer's request to a vendor to refill one item, with the item as it was then.
CREATE TABLE contact_requests (
    vendor_workspace_id uuid           NOT NULL,
    id                  uuid           NOT NULL DEFAULT uuidv7(),
    vendor_id           uuid           NOT NULL,
    buyer_workspace_id  uuid           NOT NULL,
    buyer_user_id       uuid           NOT NULL,
    client_name         text           NOT NULL,
    item_id             uuid           NOT NULL,
    item_name           text           NOT NULL,
    item_unit           text           NOT NULL,
    item_sku            text,
    quantity            numeric(15, 6) NOT NULL CHECK (quantity > 0 AND quantity <> 'NaN'),
    message             text           NOT NULL,
    status              text           NOT NULL DEFAULT 'pending'
                        CHECK (status IN ('pending', 'responded', 'fulfilled')),
    -- how many steps it has taken, the first included
    seq                 integer        NOT NULL DEFAULT 1,
    created_at          timestamptz    NOT NULL DEFAULT now(),
    PRIMARY KEY (vendor_workspace_id, id),
    FOREIGN KEY (vendor_workspace_id, vendor_id) REFERENCES vendors (workspace_id, id)
);

-- One open request a workspace, vendor and item. The vendor's workspace follows from the vendor;
-- it stands first so that the index can live where its rows live when they are distributed.
CREATE UNIQUE INDEX contact_requests_one_open
    ON contact_requests (vendor_workspace_id, vendor_id, buyer_workspace_id, item_id)
    WHERE status IN ('pending', 'responded');
CREATE INDEX contact_requests_by_vendor
    ON contact_requests (vendor_workspace_id, vendor_id, id DESC);
CREATE INDEX contact_requests_by_buyer ON contact_requests (buyer_workspace_id, id DESC);

-- Each status a request reached, when, and by whom. Only ever added to.
CREATE TABLE request_steps (
    vendor_workspace_id uuid        NOT NULL,
    request_id          uuid        NOT NULL,
    seq                 integer     NOT NULL,
    status              text        NOT NULL
                        CHECK (status IN ('pending', 'responded', 'fulfilled')),
    user_id             uuid        NOT NULL,
    -- the moment itself: a step that waited for the one before it began earlier than it took
    taken_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (vendor_workspace_id, request_id, seq),
    FOREIGN KEY (vendor_workspace_id, request_id)
        REFERENCES contact_requests (vendor_workspace_id, id)
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

-- The directory is everybody's to read. What an admin does to a vendor is done for its workspace.
ALTER TABLE vendors ENABLE ROW LEVEL SECURITY;
CREATE POLICY vendors_open ON vendors FOR SELECT USING (true);
CREATE POLICY vendors_added ON vendors FOR INSERT
    WITH CHECK (workspace_id = (SELECT its_workspace()));
CREATE POLICY vendors_changed ON vendors FOR UPDATE
    USING (workspace_id = (SELECT its_workspace()));

-- Whoever has sent a request reads whom to tell of it.
ALTER TABLE vendor_people ENABLE ROW LEVEL SECURITY;
CREATE POLICY vendor_people_told ON vendor_people FOR SELECT
    USING (workspace_id = (SELECT its_workspace())
        OR EXISTS (
            SELECT FROM contact_requests r
            WHERE r.vendor_workspace_id = vendor_people.workspace_id
              AND r.buyer_workspace_id = (SELECT its_workspace())));
CREATE POLICY vendor_people_added ON vendor_people FOR INSERT
    WITH CHECK (workspace_id = (SELECT its_workspace()));

-- Both sides read a request; the buyer's makes it, the vendor's changes it.
ALTER TABLE contact_requests ENABLE ROW LEVEL SECURITY;
CREATE POLICY contact_requests_sides ON contact_requests FOR SELECT
    USING (vendor_workspace_id = (SELECT its_workspace())
        OR buyer_workspace_id = (SELECT its_workspace()));
CREATE POLICY contact_requests_made ON contact_requests FOR INSERT
    WITH CHECK (buyer_workspace_id = (SELECT its_workspace()));
CREATE POLICY contact_requests_changed ON contact_requests FOR UPDATE
    USING (vendor_workspace_id = (SELECT its_workspace()));

-- A step is seen with its request. It is the account's that takes it: the buyer's is the first.
ALTER TABLE request_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY request_steps_seen ON request_steps FOR SELECT
    USING (EXISTS (
        SELECT FROM contact_requests r
        WHERE r.vendor_workspace_id = request_steps.vendor_workspace_id
          AND r.id = request_steps.request_id));
CREATE POLICY request_steps_taken ON request_steps FOR INSERT
    WITH CHECK ((seq = 1 OR vendor_workspace_id = (SELECT its_workspace()))
        AND user_id = ANY (coalesce((SELECT its_accounts()), '{}')));

-- Old answers are forgotten for everybody at once.
ALTER TABLE kept_answers ENABLE ROW LEVEL SECURITY;
CREATE POLICY kept_answers_wall ON kept_answers
    USING (workspace_id = (SELECT its_workspace()) OR (SELECT for_everybody()));

-- The least the service needs. The directory's rating and a request's facts are beyond its
-- reach, so no bug in it can write them.
GRANT SELECT,
      INSERT (workspace_id, name, email, phone, category, address, city),
      UPDATE (name, email, phone, category, address, city, is_active, seq)
    ON vendors TO restock_vendor;
GRANT SELECT, INSERT ON vendor_people TO restock_vendor;
GRANT SELECT, INSERT, UPDATE (status, seq) ON contact_requests TO restock_vendor;
GRANT SELECT, INSERT ON request_steps TO restock_vendor;
GRANT SELECT, INSERT, DELETE, UPDATE (published_at) ON outbox TO restock_vendor;
GRANT SELECT, INSERT, DELETE ON inbox TO restock_vendor;
GRANT SELECT, INSERT, DELETE, UPDATE (status, headers, body) ON kept_answers TO restock_vendor;
