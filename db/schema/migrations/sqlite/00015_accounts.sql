CREATE TABLE account_lines (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id  INTEGER NOT NULL REFERENCES users (id),
  kind     TEXT NOT NULL,
  amount   INTEGER NOT NULL,
  loan_id  INTEGER NULL UNIQUE,
  reason   TEXT NOT NULL DEFAULT '',
  added_on TEXT NOT NULL,
  done_by  TEXT NULL,
  done_who TEXT NULL
) STRICT;
CREATE INDEX account_lines_by_user ON account_lines (user_id);
CREATE INDEX account_lines_sums ON account_lines (user_id, kind, amount);
ALTER TABLE users ADD COLUMN balance INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
ALTER TABLE users ADD COLUMN status_reason TEXT NULL;
CREATE INDEX users_by_status ON users (status);
