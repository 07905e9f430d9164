CREATE TABLE books (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  title          TEXT NOT NULL,
  author         TEXT NOT NULL,
  isbn           TEXT NULL UNIQUE,
  barcode        TEXT NULL UNIQUE,
  published_year INTEGER NULL,
  language       TEXT NULL,
  category       TEXT NULL,
  copies         INTEGER NOT NULL DEFAULT 1,
  on_loan        INTEGER NOT NULL DEFAULT 0,
  created_op     INTEGER NULL,
  deleted_at     TEXT NULL,
  CONSTRAINT books_on_loan CHECK (on_loan >= 0 AND on_loan <= copies)
) STRICT;
CREATE INDEX books_title ON books (title);
