CREATE TABLE access_keys (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  key_id       TEXT NOT NULL UNIQUE,
  token_hash   TEXT NOT NULL,
  role         TEXT NOT NULL,
  name         TEXT NOT NULL,
  created_at   TEXT NOT NULL,
  created_by   TEXT NULL,
  expires_on   TEXT NULL,
  revoked_at   TEXT NULL,
  last_used_on TEXT NULL
) STRICT;
CREATE TABLE key_sessions (
  token_hash   TEXT NOT NULL PRIMARY KEY,
  key_id       TEXT NOT NULL,
  who          TEXT NULL,
  created_at   TEXT NOT NULL,
  last_used_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_sessions_key_id ON key_sessions (key_id);
CREATE INDEX key_sessions_created_at ON key_sessions (created_at);
ALTER TABLE loans ADD COLUMN opened_by TEXT NULL;
ALTER TABLE loans ADD COLUMN opened_who TEXT NULL;
ALTER TABLE loans ADD COLUMN closed_by TEXT NULL;
ALTER TABLE loans ADD COLUMN closed_who TEXT NULL;
