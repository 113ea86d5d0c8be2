-- A second wall between tenants: a statement that forgot its WHERE meets nobody else's rows.

-- Behind a wall an index serves only comparisons that surely tell nothing of hidden rows: those of
-- text and bigint do, casefold and those of numeric might. So what lists are found by is kept in
-- columns of such types.
DROP INDEX items_category;
ALTER TABLE items
    DROP COLUMN low_quantity,
    ADD COLUMN low_quantity bigint GENERATED ALWAYS AS (
        CASE WHEN quantity <= min_threshold THEN (quantity * 1000000)::bigint END) STORED,
    ADD COLUMN category_key text COLLATE pg_unicode_fast NOT NULL GENERATED ALWAYS AS (
        casefold(category COLLATE pg_unicode_fast)) STORED;
CREATE INDEX items_low ON items (workspace_id, id)
    WHERE low_quantity IS NOT NULL AND archived_at IS NULL;
CREATE INDEX items_lowest ON items (workspace_id, low_quantity, id)
    WHERE low_quantity IS NOT NULL AND archived_at IS NULL;
CREATE INDEX items_category ON items (workspace_id, category_key, id) WHERE archived_at IS NULL;

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
