-- A session can be erased: what it was is gone at once, and its row some time after whoever follows the feed was told.
ALTER TABLE sessions ADD COLUMN erased_at BIGINT;
ALTER TABLE sessions ADD COLUMN wanted TEXT COLLATE "C" CHECK (wanted IN ('stop', 'restart', 'erase'));
UPDATE sessions SET wanted = intent;
ALTER TABLE sessions DROP COLUMN intent;
ALTER TABLE sessions RENAME COLUMN wanted TO intent;
