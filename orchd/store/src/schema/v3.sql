-- Questions of runs to people: a table like the others.
CREATE TABLE info_requests (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX info_requests_open ON info_requests (project, number) WHERE open = 1;
CREATE INDEX info_requests_parent ON info_requests (parent);
