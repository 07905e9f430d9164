CREATE TABLE imported_loans (
  run        BIGINT NOT NULL COMMENT 'one run of an import of loans',
  loan_id    BIGINT NOT NULL COMMENT 'the loan that a row of its file stands for',
  closed     BOOLEAN NOT NULL COMMENT 'that row says when the book came back',
  started_at DATETIME NOT NULL COMMENT 'of the run: what a broken run left behind is swept after a day',
  PRIMARY KEY (run, loan_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
