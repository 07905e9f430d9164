ALTER TABLE users ADD COLUMN email_folded VARCHAR(762) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
  COMMENT 'the key of email, alike on every database: library.EmailKey, at most three times as long; NULL until a repair has seen what an older release wrote';
CREATE UNIQUE INDEX users_email_folded ON users (email_folded);
