CREATE TABLE loans (
  id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  book_id      BIGINT NOT NULL,
  user_id      BIGINT NOT NULL,
  borrowed_on  DATE NOT NULL,
  due_on       DATE NOT NULL,
  returned_on  DATE NULL COMMENT 'NULL while the loan is open',
  fine         BIGINT NOT NULL DEFAULT 0 COMMENT 'charged once, when the loan closes',
  opened_op    BIGINT NULL COMMENT 'as created_op in books',
  closed_op    BIGINT NULL,
  open_book_id BIGINT AS (CASE WHEN returned_on IS NULL THEN book_id END) VIRTUAL,
  UNIQUE KEY loans_open (user_id, open_book_id),
  KEY loans_book (book_id, returned_on, due_on),
  CONSTRAINT loans_of_book FOREIGN KEY (book_id) REFERENCES books (id),
  CONSTRAINT loans_of_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
