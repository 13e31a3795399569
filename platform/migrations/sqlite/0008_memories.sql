-- What agents remember. A deleted one stays for a day without its text, so that the feed can tell of its end.
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY,            -- what the index of words calls it
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    text TEXT NOT NULL,
    tags TEXT NOT NULL,                 -- JSON
    type TEXT NOT NULL,
    priority INTEGER NOT NULL,
    pinned INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    times_applied INTEGER NOT NULL DEFAULT 0,
    last_applied_at INTEGER,
    source TEXT NOT NULL,
    source_session_id TEXT,
    words TEXT NOT NULL,                -- of text and tags, in lower case
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE INDEX memories_by_created_at ON memories (agent_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX memories_deleted ON memories (deleted_at) WHERE deleted_at IS NOT NULL;

-- The agent is a word of its own, so that one agent's memories are found without looking at the others'.
CREATE VIRTUAL TABLE memory_words USING fts5 (agent, words, content = '', contentless_delete = 1);

CREATE TRIGGER memories_inserted AFTER INSERT ON memories BEGIN
    INSERT INTO memory_words (rowid, agent, words) VALUES (new.seq, replace(new.agent_id, '-', ''), new.words);
END;
CREATE TRIGGER memories_updated AFTER UPDATE OF words ON memories BEGIN
    DELETE FROM memory_words WHERE rowid = old.seq;
    INSERT INTO memory_words (rowid, agent, words) VALUES (new.seq, replace(new.agent_id, '-', ''), new.words);
END;
CREATE TRIGGER memories_deleted AFTER DELETE ON memories BEGIN
    DELETE FROM memory_words WHERE rowid = old.seq;
END;
