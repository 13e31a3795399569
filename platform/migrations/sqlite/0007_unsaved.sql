-- What of a session's work was nowhere else when it was last counted; both or neither.
ALTER TABLE sessions ADD COLUMN unsaved_files INTEGER;
ALTER TABLE sessions ADD COLUMN unsaved_commits INTEGER;
