CREATE TABLE loans (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  book_id      INTEGER NOT NULL REFERENCES books (id),
  user_id      INTEGER NOT NULL REFERENCES users (id),
  borrowed_on  TEXT NOT NULL,
  due_on       TEXT NOT NULL,
  returned_on  TEXT NULL,
  fine         INTEGER NOT NULL DEFAULT 0,
  opened_op    INTEGER NULL,
  closed_op    INTEGER NULL,
  open_book_id INTEGER GENERATED ALWAYS AS (CASE WHEN returned_on IS NULL THEN book_id END) VIRTUAL,
  UNIQUE (user_id, open_book_id)
) STRICT;
CREATE INDEX loans_book ON loans (book_id, returned_on, due_on);
