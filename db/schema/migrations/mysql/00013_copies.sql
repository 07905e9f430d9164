CREATE TABLE copies (
  id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  book_id    BIGINT NOT NULL,
  barcode    VARCHAR(64) COLLATE utf8mb4_bin NULL COMMENT 'the label; NULL once it was taken off',
  status     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'available' COMMENT 'available, lost, damaged or withdrawn: what is on loan or on hold is told by loans and holds',
  note       VARCHAR(1000) NOT NULL DEFAULT '',
  added_on   DATE NULL,
  deleted_at DATETIME NULL,
  UNIQUE KEY copies_barcode (barcode),
  KEY copies_by_book (book_id),
  CONSTRAINT copies_of_book FOREIGN KEY (book_id) REFERENCES books (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE loans ADD COLUMN copy_id BIGINT NULL COMMENT 'the copy, where one was named';
ALTER TABLE loans ADD COLUMN open_copy_id BIGINT AS (CASE WHEN returned_on IS NULL THEN copy_id END) VIRTUAL;
CREATE UNIQUE INDEX loans_open_copy ON loans (open_copy_id);
