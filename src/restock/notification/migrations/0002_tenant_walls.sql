-- A second wall between tenants: a statement that forgot its WHERE meets nobody else's rows.

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
