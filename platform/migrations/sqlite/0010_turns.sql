-- Conversations: what agents are asked by the API, and what they answer.

-- How a session's program that speaks ACP stands with us, as sealed JSON. It is stored together with what came of it, so
-- that whoever goes on after a crash reads nothing twice and writes nothing twice.
CREATE TABLE conversations (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    state BLOB NOT NULL
) STRICT;

CREATE TABLE turns (
    id TEXT PRIMARY KEY,
    reply_id TEXT NOT NULL,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,               -- 1, 2, 3 in its session
    status TEXT NOT NULL,
    delivery TEXT NOT NULL,
    prompt TEXT NOT NULL,               -- JSON: parts
    request INTEGER,                    -- our request's id
    cancel INTEGER NOT NULL,            -- somebody wants it ended
    model TEXT,
    tokens TEXT NOT NULL,               -- JSON
    cost INTEGER,                       -- in millionths of a US dollar
    stop_reason TEXT,
    error TEXT,
    revision INTEGER NOT NULL,          -- rises with every change of it or its parts
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    UNIQUE (session_id, seq)
) STRICT;

CREATE INDEX turns_open ON turns (session_id, seq) WHERE status IN ('queued', 'running');

CREATE TABLE turn_parts (
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    part TEXT NOT NULL,                 -- JSON
    revision INTEGER NOT NULL,          -- the turn's, when it last changed
    PRIMARY KEY (turn_id, place)
) STRICT;

CREATE TABLE permissions (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    request TEXT NOT NULL,              -- JSON: the id of the agent's request
    title TEXT NOT NULL,
    part_id TEXT,
    options TEXT NOT NULL,              -- JSON
    answer TEXT,                        -- the option, or cancelled; NULL: it waits
    answered INTEGER NOT NULL,          -- whether the agent was told
    revision INTEGER NOT NULL,          -- the turn's, when it last changed
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX permissions_of_turn ON permissions (turn_id);
