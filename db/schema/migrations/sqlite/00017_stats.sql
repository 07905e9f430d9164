ALTER TABLE books ADD COLUMN times_lent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX books_stats ON books (deleted_at, times_lent, copies);
CREATE INDEX users_stats ON users (deleted_at, total_fines);
CREATE INDEX loans_by_day ON loans (borrowed_on);
