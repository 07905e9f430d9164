CREATE TABLE idempotency_keys (
  id          VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  fingerprint VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the request that the key came with',
  answer      MEDIUMTEXT NULL COMMENT 'JSON; NULL only inside the transaction that is carrying the request out',
  created_at  DATETIME NOT NULL,
  KEY idempotency_keys_created_at (created_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
