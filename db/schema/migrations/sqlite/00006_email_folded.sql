ALTER TABLE users ADD COLUMN email_folded TEXT NULL;
CREATE UNIQUE INDEX users_email_folded ON users (email_folded);
