-- The log: append-only, gapless, chained. `data` and `actor` are stored exactly as they were hashed.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT CHECK (seq > 0),
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL CHECK (json_valid(actor)),
    command        TEXT NOT NULL,
    entity         TEXT NOT NULL,
    subject        TEXT NOT NULL,
    project        TEXT NOT NULL,
    kind           TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    data           TEXT NOT NULL CHECK (json_valid(data)),
    hash           BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX events_subject ON events (subject, seq);
CREATE INDEX events_project ON events (project, seq);
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- What each command came to, so that the same command again gets the same answer. `first_seq` is null without events.
CREATE TABLE commands (
    id        TEXT PRIMARY KEY NOT NULL,
    request   BLOB NOT NULL CHECK (length(request) = 32),
    first_seq INTEGER,
    last_seq  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT NOT NULL CHECK (json_valid(outcome))
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

-- The tables: a projection of the log, one layout for all. `seq` is the event that changed the row last.
CREATE TABLE projects (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX projects_open ON projects (project, number) WHERE open = 1;
CREATE INDEX projects_parent ON projects (parent);
CREATE TABLE visions (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX visions_open ON visions (project, number) WHERE open = 1;
CREATE INDEX visions_parent ON visions (parent);
CREATE TABLE requirements (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX requirements_open ON requirements (project, number) WHERE open = 1;
CREATE INDEX requirements_parent ON requirements (parent);
CREATE TABLE plans (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX plans_open ON plans (project, number) WHERE open = 1;
CREATE INDEX plans_parent ON plans (parent);
CREATE TABLE tasks (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX tasks_open ON tasks (project, number) WHERE open = 1;
CREATE INDEX tasks_parent ON tasks (parent);
CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX runs_open ON runs (project, number) WHERE open = 1;
CREATE INDEX runs_parent ON runs (parent);
CREATE TABLE approvals (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX approvals_open ON approvals (project, number) WHERE open = 1;
CREATE INDEX approvals_parent ON approvals (parent);
CREATE TABLE changes (
    id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT,
    open INTEGER NOT NULL CHECK (open IN (0, 1)), state TEXT NOT NULL, seq INTEGER NOT NULL,
    data TEXT NOT NULL CHECK (json_valid(data)), UNIQUE (project, number)
) STRICT;
CREATE INDEX changes_open ON changes (project, number) WHERE open = 1;
CREATE INDEX changes_parent ON changes (parent);
