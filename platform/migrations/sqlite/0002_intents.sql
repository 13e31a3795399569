-- What somebody asked to be done with a session, until it has been: a server that is killed in the middle leaves it to
-- the next one.
ALTER TABLE sessions ADD COLUMN intent TEXT CHECK (intent IN ('stop', 'restart'));
