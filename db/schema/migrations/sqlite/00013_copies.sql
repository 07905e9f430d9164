CREATE TABLE copies (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  book_id    INTEGER NOT NULL REFERENCES books (id),
  barcode    TEXT NULL UNIQUE,
  status     TEXT NOT NULL DEFAULT 'available',
  note       TEXT NOT NULL DEFAULT '',
  added_on   TEXT NULL,
  deleted_at TEXT NULL
) STRICT;
CREATE INDEX copies_by_book ON copies (book_id);
ALTER TABLE loans ADD COLUMN copy_id INTEGER NULL;
ALTER TABLE loans ADD COLUMN open_copy_id INTEGER GENERATED ALWAYS AS (CASE WHEN returned_on IS NULL THEN copy_id END) VIRTUAL;
CREATE UNIQUE INDEX loans_open_copy ON loans (open_copy_id);
