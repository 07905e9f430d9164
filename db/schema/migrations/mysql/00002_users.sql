CREATE TABLE users (
  id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name        VARCHAR(255) NOT NULL,
  email       VARCHAR(254) NULL,
  email_key   VARCHAR(254) COLLATE utf8mb4_bin AS (LOWER(email)) VIRTUAL COMMENT 'unique without regard to case, but not to accents',
  card_number VARCHAR(64) COLLATE utf8mb4_bin NULL,
  total_fines BIGINT NOT NULL DEFAULT 0,
  open_loans  INT NOT NULL DEFAULT 0,
  created_op  BIGINT NULL COMMENT 'as in books',
  deleted_at  DATETIME NULL,
  UNIQUE KEY users_email (email_key),
  UNIQUE KEY users_card_number (card_number),
  CONSTRAINT users_open_loans CHECK (open_loans >= 0)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
