-- Names are sorted in whatever case: the search text begins with the name in lower case, and the id follows it. One
-- harness's agents come newest first without a sort of all of them.
DROP INDEX agents_by_name;
CREATE INDEX agents_by_name ON agents (search_text, id) WHERE deleted_at IS NULL;
CREATE INDEX agents_of_harness ON agents (harness_id, created_at, id) WHERE deleted_at IS NULL;
