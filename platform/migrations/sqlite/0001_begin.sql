-- Times are microseconds since 1970, UTC. Ids are UUIDs in words. Columns that hold JSON say so; sealed ones are
-- encrypted and bound to their row (see lap_platform::secret::SecretBox).

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT,
    harness_id TEXT NOT NULL,
    harness_image TEXT,
    repo_url TEXT,
    branch TEXT NOT NULL,
    requirements TEXT,
    mcp_servers BLOB NOT NULL,          -- sealed JSON: their headers carry credentials
    env_vars BLOB NOT NULL,             -- sealed JSON
    env_var_hosts TEXT NOT NULL,        -- JSON
    allow_out TEXT NOT NULL,            -- JSON
    deny_out TEXT NOT NULL,             -- JSON
    skill_ids TEXT NOT NULL,            -- JSON
    preload_memory_limit INTEGER NOT NULL,
    resources TEXT NOT NULL,            -- JSON
    idle_timeout_seconds INTEGER NOT NULL,
    max_sessions INTEGER,
    supports_tui INTEGER NOT NULL,
    config_generation INTEGER NOT NULL,
    session_count INTEGER NOT NULL DEFAULT 0,
    search_text TEXT NOT NULL,          -- name, id and harness id, in lower case
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX agents_name ON agents (name) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_created_at ON agents (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_name ON agents (name, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_harness_id ON agents (harness_id, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_sessions ON agents (session_count, id) WHERE deleted_at IS NULL;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    title TEXT,
    title_preview TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('creating', 'ready', 'dead', 'failed')),
    phase TEXT NOT NULL,
    phase_detail TEXT,
    phase_started_at INTEGER,
    failure_reason TEXT,
    ending TEXT,                        -- why it is being ended, until it has ended
    sandbox TEXT,
    sandbox_url TEXT,
    program TEXT,                       -- its terminal's program, by the name it has in its keeper
    unconfined INTEGER NOT NULL,
    harness_session_id TEXT,
    supports_tui INTEGER NOT NULL,
    response TEXT,
    origin TEXT NOT NULL,
    idle_timeout_ms INTEGER NOT NULL,
    timings TEXT NOT NULL,              -- JSON
    steps TEXT NOT NULL,                -- JSON: results of bring-up steps
    config_generation INTEGER NOT NULL,
    request BLOB NOT NULL,              -- sealed JSON: what it was asked for with
    search_text TEXT NOT NULL,          -- id and title, in lower case
    lease_owner TEXT,
    lease_expires_at INTEGER,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    ready_at INTEGER,
    stopped_at INTEGER
) STRICT;

CREATE INDEX sessions_by_created_at ON sessions (created_at, id);
CREATE INDEX sessions_by_agent ON sessions (agent_id, created_at, id);
CREATE INDEX sessions_by_status ON sessions (status, created_at, id);
CREATE INDEX sessions_live ON sessions (agent_id) WHERE status IN ('creating', 'ready');

-- One row. Its lock orders the feed: a change becomes visible only after all with smaller ids.
CREATE TABLE feed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last_id INTEGER NOT NULL
) STRICT;
INSERT INTO feed (one, last_id) VALUES (1, 0);

CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    resource TEXT NOT NULL,
    resource_id TEXT NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,            -- keyed hash of the request's body
    status INTEGER,                     -- NULL while the request is being worked on
    answer BLOB,                        -- sealed
    created_at INTEGER NOT NULL,
    PRIMARY KEY (route, key)
) STRICT;

CREATE INDEX idempotency_keys_by_created_at ON idempotency_keys (created_at);
