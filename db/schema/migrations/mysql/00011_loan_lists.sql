ALTER TABLE loans ADD COLUMN renewals INT NOT NULL DEFAULT 0 COMMENT 'how often the due date was moved on';
ALTER TABLE loans ADD COLUMN is_open TINYINT AS (CASE WHEN returned_on IS NULL THEN 1 ELSE 0 END) VIRTUAL COMMENT 'so that open and returned loans are both found in the order of their ids';
CREATE INDEX loans_by_state ON loans (is_open);
CREATE INDEX loans_by_state_due ON loans (is_open, due_on);
CREATE INDEX loans_by_user ON loans (user_id);
CREATE INDEX loans_by_book ON loans (book_id);
CREATE INDEX loans_by_book_due ON loans (book_id, due_on);
