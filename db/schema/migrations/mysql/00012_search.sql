CREATE TABLE book_texts (
  book_id    BIGINT NOT NULL PRIMARY KEY,
  text       TEXT COLLATE utf8mb4_bin NOT NULL COMMENT 'what a search knows of the book, and what book_words holds the words of: see library.Book.SearchedText',
  main_key   VARCHAR(100) COLLATE utf8mb4_bin NOT NULL COMMENT 'the beginning of the title, folded',
  author_key VARCHAR(100) COLLATE utf8mb4_bin NOT NULL,
  year_key   SMALLINT NOT NULL COMMENT '10000 where the year is not known',
  KEY book_texts_main (main_key),
  KEY book_texts_author (author_key),
  KEY book_texts_year (year_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE book_words (
  word    VARCHAR(64) COLLATE utf8mb4_bin NOT NULL COMMENT 'folded; or the first one, two or three letters of words; or what stands for a whole category or language',
  book_id BIGINT NOT NULL,
  places  TINYINT NOT NULL COMMENT 'where the book has it: library.Places',
  PRIMARY KEY (word, book_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE user_texts (
  user_id  BIGINT NOT NULL PRIMARY KEY,
  text     TEXT COLLATE utf8mb4_bin NOT NULL,
  main_key VARCHAR(100) COLLATE utf8mb4_bin NOT NULL,
  KEY user_texts_main (main_key)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE user_words (
  word    VARCHAR(64) COLLATE utf8mb4_bin NOT NULL,
  user_id BIGINT NOT NULL,
  places  TINYINT NOT NULL,
  PRIMARY KEY (word, user_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE books ADD COLUMN none_free TINYINT AS (CASE WHEN on_loan >= copies THEN 1 END) VIRTUAL COMMENT 'NULL while a copy is free, so that the others are found without a look at these';
CREATE INDEX books_none_free ON books (none_free);
