-- A second wall between tenants: a statement that forgot its WHERE meets nobody else's rows.

-- Behind a wall an index serves only comparisons that surely tell nothing of hidden rows: those of
-- text do, casefold might tell. So what the directory is listed by is kept in columns of text.
DROP INDEX vendors_of_category, vendors_of_city;
ALTER TABLE vendors
    ADD COLUMN category_key text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
        casefold(category COLLATE pg_unicode_fast)) STORED,
    ADD COLUMN city_key text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
        casefold(city COLLATE pg_unicode_fast)) STORED;
CREATE INDEX vendors_of_category ON vendors (category_key, rating DESC, id DESC) WHERE is_active;
CREATE INDEX vendors_of_city ON vendors (city_key, rating DESC, id DESC) WHERE is_active;

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
