ALTER TABLE books ADD COLUMN times_lent INT NOT NULL DEFAULT 0 COMMENT 'how many loans of the book there have been; a repair counts those that an older release has made';
CREATE INDEX books_stats ON books (deleted_at, times_lent, copies);
CREATE INDEX users_stats ON users (deleted_at, total_fines);
CREATE INDEX loans_by_day ON loans (borrowed_on);
