CREATE TABLE holds (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  book_id        INTEGER NOT NULL REFERENCES books (id),
  user_id        INTEGER NOT NULL REFERENCES users (id),
  placed_on      TEXT NOT NULL,
  ready_on       TEXT NULL,
  ready_until    TEXT NULL,
  closed_on      TEXT NULL,
  outcome        TEXT NULL,
  opened_by      TEXT NULL,
  opened_who     TEXT NULL,
  closed_by      TEXT NULL,
  closed_who     TEXT NULL,
  active_book_id INTEGER GENERATED ALWAYS AS (CASE WHEN closed_on IS NULL THEN book_id END) VIRTUAL,
  shelf_until    TEXT GENERATED ALWAYS AS (CASE WHEN closed_on IS NULL THEN ready_until END) VIRTUAL,
  UNIQUE (user_id, active_book_id)
) STRICT;
CREATE INDEX holds_queue ON holds (active_book_id);
CREATE INDEX holds_ready ON holds (active_book_id, ready_until);
CREATE INDEX holds_shelf ON holds (shelf_until);
CREATE INDEX holds_by_book ON holds (book_id);
ALTER TABLE books ADD COLUMN set_aside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE books ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE books ADD COLUMN holds_change_on TEXT NULL;
ALTER TABLE books ADD COLUMN free_from TEXT NULL;
ALTER TABLE books ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
