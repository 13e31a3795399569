-- The servers at work on this database. What one of them does on a session, a request or a command carries its id; a
-- server whose heartbeat is too old by the database's own clock is taken off, and another goes on with what it did.
CREATE TABLE owners (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,                 -- for people
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL
) STRICT;

ALTER TABLE sessions ADD COLUMN owner TEXT;
ALTER TABLE sessions DROP COLUMN lease_owner;
ALTER TABLE sessions DROP COLUMN lease_expires_at;

-- A request under a key, made again after whoever did it was cut off, makes the same thing: `makes` is that thing's id.
DELETE FROM idempotency_keys WHERE status IS NULL;
ALTER TABLE idempotency_keys ADD COLUMN makes TEXT;
ALTER TABLE idempotency_keys ADD COLUMN owner TEXT;

-- Commands in sessions' sandboxes: from before they are started until they have ended, and those under a key until
-- nobody asks for their result any more.
CREATE TABLE execs (
    id TEXT PRIMARY KEY,                -- the program's, at its keeper
    session_id TEXT NOT NULL REFERENCES sessions (id),
    owner TEXT NOT NULL,
    request BLOB,                       -- sealed JSON: what is to be run, where it may be asked for again
    result BLOB,                        -- sealed JSON: what came of it
    ends_by INTEGER NOT NULL,           -- when its time is up
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX execs_by_session ON execs (session_id);
CREATE INDEX execs_by_created_at ON execs (created_at);
