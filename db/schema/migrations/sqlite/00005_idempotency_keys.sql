CREATE TABLE idempotency_keys (
  id          TEXT NOT NULL PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  answer      TEXT NULL,
  created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
