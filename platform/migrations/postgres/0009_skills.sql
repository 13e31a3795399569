-- Texts that tell agents how something is done, and what they were before each edit.
CREATE TABLE skills (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    in_library BOOLEAN NOT NULL,
    search_text TEXT COLLATE "C" NOT NULL,  -- name and description, in lower case
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX skills_name ON skills (name) WHERE in_library = TRUE;
CREATE INDEX skills_by_created_at ON skills (created_at, id) WHERE in_library = TRUE;

CREATE TABLE skill_versions (
    skill_id TEXT COLLATE "C" NOT NULL REFERENCES skills (id) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL,
    content_bytes BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (skill_id, version)
);

-- The same as agents.skill_ids, which has their order, to be asked from the other side.
CREATE TABLE agent_skills (
    skill_id TEXT COLLATE "C" NOT NULL REFERENCES skills (id) ON DELETE CASCADE,
    agent_id TEXT COLLATE "C" NOT NULL REFERENCES agents (id),
    PRIMARY KEY (skill_id, agent_id)
);

CREATE INDEX agent_skills_by_agent ON agent_skills (agent_id);
