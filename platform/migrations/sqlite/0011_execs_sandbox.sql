-- The sandbox in which a command was begun: in another one, after a restart, it is not run a second time.
ALTER TABLE execs ADD COLUMN sandbox TEXT;
