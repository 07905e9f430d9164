ALTER TABLE books ADD COLUMN first_due_user_id INTEGER NULL;
ALTER TABLE books ADD COLUMN first_due_on TEXT NULL;
ALTER TABLE books ADD COLUMN first_due_stale_since TEXT NULL;
