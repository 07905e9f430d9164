CREATE TABLE holds (
  id             BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'the order of the queue',
  book_id        BIGINT NOT NULL,
  user_id        BIGINT NOT NULL,
  placed_on      DATE NOT NULL,
  ready_on       DATE NULL COMMENT 'since when a copy is set aside, as the last write of the book has it; NULL while the hold waits',
  ready_until    DATE NULL COMMENT 'the last day on which it is set aside',
  closed_on      DATE NULL COMMENT 'NULL while the hold is active',
  outcome        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'fulfilled, expired or cancelled; NULL while the hold is active',
  opened_by      VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  opened_who     VARCHAR(32) NULL,
  closed_by      VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL,
  closed_who     VARCHAR(32) NULL,
  active_book_id BIGINT AS (CASE WHEN closed_on IS NULL THEN book_id END) VIRTUAL,
  shelf_until    DATE AS (CASE WHEN closed_on IS NULL THEN ready_until END) VIRTUAL,
  UNIQUE KEY holds_active (user_id, active_book_id),
  KEY holds_queue (active_book_id),
  KEY holds_ready (active_book_id, ready_until),
  KEY holds_shelf (shelf_until),
  KEY holds_by_book (book_id),
  CONSTRAINT holds_of_book FOREIGN KEY (book_id) REFERENCES books (id),
  CONSTRAINT holds_of_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE books ADD COLUMN set_aside INT NOT NULL DEFAULT 0 COMMENT 'copies for holds that are ready; they count in on_loan, too, so that no older release lends them';
ALTER TABLE books ADD COLUMN holds INT NOT NULL DEFAULT 0 COMMENT 'active holds, ready and waiting';
ALTER TABLE books ADD COLUMN holds_change_on DATE NULL COMMENT 'the first day on which set_aside and holds are no longer right, because a hold has expired; NULL: none will';
ALTER TABLE books ADD COLUMN free_from DATE NULL COMMENT 'the first day on which a copy that is set aside is for anyone, if nothing else happens; NULL: none will be';
ALTER TABLE books ADD COLUMN revision BIGINT NOT NULL DEFAULT 0 COMMENT 'counted up by what decides by the row, so that on a group of servers two such writes meet';
ALTER TABLE users ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
