-- Conversations: what agents are asked by the API, and what they answer.

-- How a session's program that speaks ACP stands with us, as sealed JSON. It is stored together with what came of it, so
-- that whoever goes on after a crash reads nothing twice and writes nothing twice.
CREATE TABLE conversations (
    session_id TEXT COLLATE "C" PRIMARY KEY REFERENCES sessions (id) ON DELETE CASCADE,
    state BYTEA NOT NULL
);

CREATE TABLE turns (
    id TEXT COLLATE "C" PRIMARY KEY,
    reply_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,               -- 1, 2, 3 in its session
    status TEXT COLLATE "C" NOT NULL,
    delivery TEXT COLLATE "C" NOT NULL,
    prompt TEXT COLLATE "C" NOT NULL,               -- JSON: parts
    request BIGINT,                    -- our request's id
    cancel BOOLEAN NOT NULL,            -- somebody wants it ended
    model TEXT COLLATE "C",
    tokens TEXT COLLATE "C" NOT NULL,               -- JSON
    cost BIGINT,                       -- in millionths of a US dollar
    stop_reason TEXT COLLATE "C",
    error TEXT COLLATE "C",
    revision BIGINT NOT NULL,          -- rises with every change of it or its parts
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    UNIQUE (session_id, seq)
);

CREATE INDEX turns_open ON turns (session_id, seq) WHERE status IN ('queued', 'running');

CREATE TABLE turn_parts (
    turn_id TEXT COLLATE "C" NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    part TEXT COLLATE "C" NOT NULL,                 -- JSON
    revision BIGINT NOT NULL,          -- the turn's, when it last changed
    PRIMARY KEY (turn_id, place)
);

CREATE TABLE permissions (
    id TEXT COLLATE "C" PRIMARY KEY,
    session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    turn_id TEXT COLLATE "C" NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    request TEXT COLLATE "C" NOT NULL,              -- JSON: the id of the agent's request
    title TEXT COLLATE "C" NOT NULL,
    part_id TEXT COLLATE "C",
    options TEXT COLLATE "C" NOT NULL,              -- JSON
    answer TEXT COLLATE "C",                        -- the option, or cancelled; NULL: it waits
    answered BOOLEAN NOT NULL,          -- whether the agent was told
    revision BIGINT NOT NULL,          -- the turn's, when it last changed
    created_at BIGINT NOT NULL
);

CREATE INDEX permissions_of_turn ON permissions (turn_id);
