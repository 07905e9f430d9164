CREATE TABLE users (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  name        TEXT NOT NULL,
  email       TEXT NULL,
  email_key   TEXT GENERATED ALWAYS AS (LOWER(email)) VIRTUAL UNIQUE,
  card_number TEXT NULL UNIQUE,
  total_fines INTEGER NOT NULL DEFAULT 0,
  open_loans  INTEGER NOT NULL DEFAULT 0,
  created_op  INTEGER NULL,
  deleted_at  TEXT NULL,
  CONSTRAINT users_open_loans CHECK (open_loans >= 0)
) STRICT;
