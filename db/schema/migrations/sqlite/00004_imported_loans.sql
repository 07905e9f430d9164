CREATE TABLE imported_loans (
  run        INTEGER NOT NULL,
  loan_id    INTEGER NOT NULL,
  closed     INTEGER NOT NULL,
  started_at TEXT NOT NULL,
  PRIMARY KEY (run, loan_id)
) STRICT, WITHOUT ROWID;
