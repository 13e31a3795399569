-- What agents remember. A deleted one stays for a day without its text, so that the feed can tell of its end.
CREATE TABLE memories (
    id TEXT COLLATE "C" PRIMARY KEY,
    agent_id TEXT COLLATE "C" NOT NULL REFERENCES agents (id),
    text TEXT COLLATE "C" NOT NULL,
    tags TEXT COLLATE "C" NOT NULL,     -- JSON
    type TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    pinned BOOLEAN NOT NULL,
    disabled BOOLEAN NOT NULL,
    times_applied BIGINT NOT NULL DEFAULT 0,
    last_applied_at BIGINT,
    source TEXT COLLATE "C" NOT NULL,
    source_session_id TEXT COLLATE "C",
    words TEXT COLLATE "C" NOT NULL,    -- of text and tags, in lower case
    found_by TSVECTOR NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', words)) STORED,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE INDEX memories_by_created_at ON memories (agent_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX memories_deleted ON memories (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX memories_by_word ON memories USING GIN (found_by);
