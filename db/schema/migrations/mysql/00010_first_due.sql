ALTER TABLE books ADD COLUMN first_due_user_id BIGINT NULL COMMENT 'who has the loan that is due first, of the open ones; NULL while there is none';
ALTER TABLE books ADD COLUMN first_due_on DATE NULL COMMENT 'when that loan is due';
ALTER TABLE books ADD COLUMN first_due_stale_since DATETIME NULL ON UPDATE CURRENT_TIMESTAMP COMMENT 'set by the server in each UPDATE that does not name it, as in those of older releases, which leave the two above as they were';
