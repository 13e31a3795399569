-- Why a session ended is a code beside the sentence, with its program's exit code; that it is being ended is a truth of its own.
ALTER TABLE sessions ADD COLUMN death TEXT;
ALTER TABLE sessions ADD COLUMN exit_code INTEGER; -- of its program: 128 and the signal's number where one ended it
UPDATE sessions SET failure_reason = ending WHERE ending IS NOT NULL AND failure_reason IS NULL;
UPDATE sessions SET death = CASE
    WHEN failure_reason = 'stopped' THEN 'stopped'
    WHEN failure_reason = 'restarted' THEN 'restarted'
    WHEN failure_reason = 'its agent was deleted' THEN 'agent_deleted'
    WHEN failure_reason LIKE 'nobody used it for %' THEN 'idle'
    WHEN failure_reason LIKE 'exited with status %' THEN 'exited'
    WHEN failure_reason LIKE 'ended by %' THEN 'killed'
    WHEN failure_reason LIKE 'its sandbox is gone%' THEN 'sandbox_lost'
    ELSE 'unknown' END
WHERE failure_reason IS NOT NULL;
ALTER TABLE sessions ADD COLUMN being_ended INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET being_ended = 1 WHERE ending IS NOT NULL;
ALTER TABLE sessions DROP COLUMN ending;
ALTER TABLE sessions RENAME COLUMN being_ended TO ending;
