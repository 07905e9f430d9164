ALTER TABLE loans ADD COLUMN open_due_on DATE AS (CASE WHEN returned_on IS NULL THEN due_on END) VIRTUAL COMMENT 'of open loans alone, so that they are found and counted without a look at those that were returned';
CREATE INDEX loans_open_due_on ON loans (open_due_on);
