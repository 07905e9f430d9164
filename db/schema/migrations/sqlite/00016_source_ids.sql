CREATE TABLE installation (
  id   INTEGER PRIMARY KEY,
  code TEXT NOT NULL
) STRICT;
ALTER TABLE books ADD COLUMN source_id TEXT NULL;
ALTER TABLE books ADD COLUMN live_source_id TEXT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL;
CREATE UNIQUE INDEX books_source ON books (live_source_id);
ALTER TABLE users ADD COLUMN source_id TEXT NULL;
ALTER TABLE users ADD COLUMN live_source_id TEXT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL;
CREATE UNIQUE INDEX users_source ON users (live_source_id);
ALTER TABLE copies ADD COLUMN source_id TEXT NULL;
ALTER TABLE copies ADD COLUMN live_source_id TEXT GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL;
CREATE UNIQUE INDEX copies_source ON copies (live_source_id);
ALTER TABLE loans ADD COLUMN source_id TEXT NULL;
CREATE UNIQUE INDEX loans_source ON loans (source_id);
ALTER TABLE holds ADD COLUMN source_id TEXT NULL;
CREATE UNIQUE INDEX holds_source ON holds (source_id);
