ALTER TABLE loans ADD COLUMN open_due_on TEXT GENERATED ALWAYS AS (CASE WHEN returned_on IS NULL THEN due_on END) VIRTUAL;
CREATE INDEX loans_open_due_on ON loans (open_due_on);
