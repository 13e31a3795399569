-- Times are microseconds since 1970, UTC. Ids are UUIDs in words, and words sort by their bytes, as in SQLite. Columns
-- that hold JSON say so; sealed ones are encrypted and bound to their row (see lap_platform::secret::SecretBox).

CREATE TABLE meta (
    key TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE agents (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    prompt TEXT COLLATE "C",
    harness_id TEXT COLLATE "C" NOT NULL,
    harness_image TEXT COLLATE "C",
    repo_url TEXT COLLATE "C",
    branch TEXT COLLATE "C" NOT NULL,
    requirements TEXT COLLATE "C",
    mcp_servers BYTEA NOT NULL,          -- sealed JSON: their headers carry credentials
    env_vars BYTEA NOT NULL,             -- sealed JSON
    env_var_hosts TEXT COLLATE "C" NOT NULL,        -- JSON
    allow_out TEXT COLLATE "C" NOT NULL,            -- JSON
    deny_out TEXT COLLATE "C" NOT NULL,             -- JSON
    skill_ids TEXT COLLATE "C" NOT NULL,            -- JSON
    preload_memory_limit BIGINT NOT NULL,
    resources TEXT COLLATE "C" NOT NULL,            -- JSON
    idle_timeout_seconds BIGINT NOT NULL,
    max_sessions BIGINT,
    supports_tui BOOLEAN NOT NULL,
    config_generation BIGINT NOT NULL,
    session_count BIGINT NOT NULL DEFAULT 0,
    search_text TEXT COLLATE "C" NOT NULL,          -- name, id and harness id, in lower case
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX agents_name ON agents (name) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_created_at ON agents (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_name ON agents (name, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_harness_id ON agents (harness_id, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_by_sessions ON agents (session_count, id) WHERE deleted_at IS NULL;

CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,
    agent_id TEXT COLLATE "C" NOT NULL REFERENCES agents (id),
    title TEXT COLLATE "C",
    title_preview TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('creating', 'ready', 'dead', 'failed')),
    phase TEXT COLLATE "C" NOT NULL,
    phase_detail TEXT COLLATE "C",
    phase_started_at BIGINT,
    failure_reason TEXT COLLATE "C",
    ending TEXT COLLATE "C",                        -- why it is being ended, until it has ended
    sandbox TEXT COLLATE "C",
    sandbox_url TEXT COLLATE "C",
    program TEXT COLLATE "C",                       -- its terminal's program, by the name it has in its keeper
    unconfined BOOLEAN NOT NULL,
    harness_session_id TEXT COLLATE "C",
    supports_tui BOOLEAN NOT NULL,
    response TEXT COLLATE "C",
    origin TEXT COLLATE "C" NOT NULL,
    idle_timeout_ms BIGINT NOT NULL,
    timings TEXT COLLATE "C" NOT NULL,              -- JSON
    steps TEXT COLLATE "C" NOT NULL,                -- JSON: results of bring-up steps
    config_generation BIGINT NOT NULL,
    request BYTEA NOT NULL,              -- sealed JSON: what it was asked for with
    search_text TEXT COLLATE "C" NOT NULL,          -- id and title, in lower case
    lease_owner TEXT COLLATE "C",
    lease_expires_at BIGINT,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    ready_at BIGINT,
    stopped_at BIGINT
);

CREATE INDEX sessions_by_created_at ON sessions (created_at, id);
CREATE INDEX sessions_by_agent ON sessions (agent_id, created_at, id);
CREATE INDEX sessions_by_status ON sessions (status, created_at, id);
CREATE INDEX sessions_live ON sessions (agent_id) WHERE status IN ('creating', 'ready');

-- One row. Its lock orders the feed: a change becomes visible only after all with smaller ids.
CREATE TABLE feed (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    last_id BIGINT NOT NULL
);
INSERT INTO feed (one, last_id) VALUES (1, 0);

CREATE TABLE changes (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    resource_id TEXT COLLATE "C" NOT NULL
);

CREATE TABLE idempotency_keys (
    route TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    body_hash BYTEA NOT NULL,            -- keyed hash of the request's body
    status BIGINT,                     -- NULL while the request is being worked on
    answer BYTEA,                        -- sealed
    created_at BIGINT NOT NULL,
    PRIMARY KEY (route, key)
);

CREATE INDEX idempotency_keys_by_created_at ON idempotency_keys (created_at);
