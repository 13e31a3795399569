-- Texts that tell agents how something is done, and what they were before each edit.
CREATE TABLE skills (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    version INTEGER NOT NULL,
    in_library INTEGER NOT NULL,
    search_text TEXT NOT NULL,          -- name and description, in lower case
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX skills_name ON skills (name) WHERE in_library = TRUE;
CREATE INDEX skills_by_created_at ON skills (created_at, id) WHERE in_library = TRUE;

CREATE TABLE skill_versions (
    skill_id TEXT NOT NULL REFERENCES skills (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    description TEXT NOT NULL,
    content TEXT NOT NULL,
    content_bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (skill_id, version)
) STRICT;

-- The same as agents.skill_ids, which has their order, to be asked from the other side.
CREATE TABLE agent_skills (
    skill_id TEXT NOT NULL REFERENCES skills (id) ON DELETE CASCADE,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    PRIMARY KEY (skill_id, agent_id)
) STRICT;

CREATE INDEX agent_skills_by_agent ON agent_skills (agent_id);
