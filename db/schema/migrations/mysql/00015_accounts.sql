CREATE TABLE account_lines (
  id       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  user_id  BIGINT NOT NULL,
  kind     VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'opening, fine, charge, payment or waiver',
  amount   BIGINT NOT NULL COMMENT 'in whole units of money; more than 0, payments and waivers too, which lessen the balance',
  loan_id  BIGINT NULL COMMENT 'of a fine: the loan that it was charged for, once',
  reason   VARCHAR(500) NOT NULL DEFAULT '' COMMENT 'or the note of a payment',
  added_on DATE NOT NULL,
  done_by  VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'as opened_by in loans',
  done_who VARCHAR(32) NULL,
  UNIQUE KEY account_lines_loan (loan_id),
  KEY account_lines_by_user (user_id),
  KEY account_lines_sums (user_id, kind, amount),
  CONSTRAINT account_lines_of_user FOREIGN KEY (user_id) REFERENCES users (id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE users ADD COLUMN balance BIGINT NOT NULL DEFAULT 0 COMMENT 'the sum of account_lines; total_fines is the same, but where an older release has charged a fine without a line';
ALTER TABLE users ADD COLUMN status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'active' COMMENT 'active or blocked';
ALTER TABLE users ADD COLUMN status_reason VARCHAR(500) NULL;
CREATE INDEX users_by_status ON users (status);
