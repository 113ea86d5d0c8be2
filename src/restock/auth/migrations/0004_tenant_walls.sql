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
