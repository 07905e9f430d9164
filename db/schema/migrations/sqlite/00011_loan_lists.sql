ALTER TABLE loans ADD COLUMN renewals INTEGER NOT NULL DEFAULT 0;
ALTER TABLE loans ADD COLUMN is_open INTEGER GENERATED ALWAYS AS (CASE WHEN returned_on IS NULL THEN 1 ELSE 0 END) VIRTUAL;
CREATE INDEX loans_by_state ON loans (is_open);
CREATE INDEX loans_by_state_due ON loans (is_open, due_on);
CREATE INDEX loans_by_user ON loans (user_id);
CREATE INDEX loans_by_book ON loans (book_id);
CREATE INDEX loans_by_book_due ON loans (book_id, due_on);
