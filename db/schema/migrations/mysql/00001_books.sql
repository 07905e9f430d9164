CREATE TABLE books (
  id             BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  title          VARCHAR(500) NOT NULL,
  author         VARCHAR(1000) NOT NULL,
  isbn           VARCHAR(13) COLLATE utf8mb4_bin NULL,
  barcode        VARCHAR(64) COLLATE utf8mb4_bin NULL,
  published_year INT NULL,
  language       VARCHAR(35) NULL,
  category       VARCHAR(100) NULL,
  copies         INT NOT NULL DEFAULT 1,
  on_loan        INT NOT NULL DEFAULT 0 COMMENT 'open loans of this book',
  created_op     BIGINT NULL COMMENT 'the operation that made the row, to know it again when the answer to its COMMIT was lost',
  deleted_at     DATETIME NULL,
  UNIQUE KEY books_isbn (isbn),
  UNIQUE KEY books_barcode (barcode),
  KEY books_title (title(100)),
  CONSTRAINT books_on_loan CHECK (on_loan >= 0 AND on_loan <= copies)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
