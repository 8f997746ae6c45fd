-- Lists that are answered newest first, of rows in some states: nothing is read that is not shown. Behind a column that is
-- equal, an index has the rows in the order in which they were made.
CREATE INDEX tasks_state ON tasks (state);
CREATE INDEX tasks_project_state ON tasks (project, state, number);
CREATE INDEX projects_state ON projects (state);
-- Tasks that a plan made, of which there are few beside those that somebody made by the million.
CREATE INDEX tasks_planned ON tasks (project, number) WHERE parent IS NOT NULL;

-- How many rows of the tables are in each state: a projection of the log as they are, filled when it is replayed.
CREATE TABLE counts (
    kind TEXT NOT NULL, project TEXT NOT NULL, state TEXT NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0), PRIMARY KEY (kind, project, state)
) STRICT, WITHOUT ROWID;

-- Records of commands are kept for some time only.
CREATE INDEX commands_at ON commands (at);
