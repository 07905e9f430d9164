CREATE TABLE access_keys (
  id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'the order in which they were made',
  key_id       CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'public, and in the token',
  token_hash   CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'SHA-256 of the token, in hexadecimal',
  role         VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name         VARCHAR(100) NOT NULL,
  created_at   DATETIME NOT NULL,
  created_by   VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'key_id, root or command; NULL where nobody was known',
  expires_on   DATE NULL COMMENT 'the last day on which it is taken; NULL: it never expires',
  revoked_at   DATETIME NULL,
  last_used_on DATE NULL,
  UNIQUE KEY access_keys_key_id (key_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE key_sessions (
  token_hash   CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY COMMENT 'SHA-256 of the token, in hexadecimal',
  key_id       CHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  who          VARCHAR(32) NULL COMMENT 'the initials of the person',
  created_at   DATETIME NOT NULL,
  last_used_at DATETIME NOT NULL COMMENT 'to within some minutes',
  KEY key_sessions_key_id (key_id),
  KEY key_sessions_created_at (created_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE loans ADD COLUMN opened_by VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'key_id, or import; NULL where nobody was known';
ALTER TABLE loans ADD COLUMN opened_who VARCHAR(32) NULL COMMENT 'the initials that the session of opened_by began with';
ALTER TABLE loans ADD COLUMN closed_by VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NULL;
ALTER TABLE loans ADD COLUMN closed_who VARCHAR(32) NULL;
