CREATE TABLE book_texts (
  book_id    INTEGER PRIMARY KEY,
  text       TEXT NOT NULL,
  main_key   TEXT NOT NULL,
  author_key TEXT NOT NULL,
  year_key   INTEGER NOT NULL
) STRICT;
CREATE INDEX book_texts_main ON book_texts (main_key);
CREATE INDEX book_texts_author ON book_texts (author_key);
CREATE INDEX book_texts_year ON book_texts (year_key);
CREATE TABLE book_words (
  word    TEXT NOT NULL,
  book_id INTEGER NOT NULL,
  places  INTEGER NOT NULL,
  PRIMARY KEY (word, book_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE user_texts (
  user_id  INTEGER PRIMARY KEY,
  text     TEXT NOT NULL,
  main_key TEXT NOT NULL
) STRICT;
CREATE INDEX user_texts_main ON user_texts (main_key);
CREATE TABLE user_words (
  word    TEXT NOT NULL,
  user_id INTEGER NOT NULL,
  places  INTEGER NOT NULL,
  PRIMARY KEY (word, user_id)
) STRICT, WITHOUT ROWID;
ALTER TABLE books ADD COLUMN none_free INTEGER GENERATED ALWAYS AS (CASE WHEN on_loan >= copies THEN 1 END) VIRTUAL;
CREATE INDEX books_none_free ON books (none_free);
