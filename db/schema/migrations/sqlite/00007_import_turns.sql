-- +goose Up
CREATE TABLE import_turns (
  kind    TEXT NOT NULL PRIMARY KEY,
  batches INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
