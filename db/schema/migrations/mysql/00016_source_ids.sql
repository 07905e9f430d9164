CREATE TABLE installation (
  id   BIGINT NOT NULL PRIMARY KEY COMMENT '1: there is one row',
  code VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'tells the ids of this library from those of others in its exports'
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
ALTER TABLE books ADD COLUMN source_id VARCHAR(64) COLLATE utf8mb4_bin NULL COMMENT 'the id in the system that the record was imported from';
ALTER TABLE books ADD COLUMN live_source_id VARCHAR(64) COLLATE utf8mb4_bin AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL COMMENT 'so that those of deleted records are free again, whichever release deletes';
CREATE UNIQUE INDEX books_source ON books (live_source_id);
ALTER TABLE users ADD COLUMN source_id VARCHAR(64) COLLATE utf8mb4_bin NULL;
ALTER TABLE users ADD COLUMN live_source_id VARCHAR(64) COLLATE utf8mb4_bin AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL;
CREATE UNIQUE INDEX users_source ON users (live_source_id);
ALTER TABLE copies ADD COLUMN source_id VARCHAR(64) COLLATE utf8mb4_bin NULL;
ALTER TABLE copies ADD COLUMN live_source_id VARCHAR(64) COLLATE utf8mb4_bin AS (CASE WHEN deleted_at IS NULL THEN source_id END) VIRTUAL;
CREATE UNIQUE INDEX copies_source ON copies (live_source_id);
ALTER TABLE loans ADD COLUMN source_id VARCHAR(64) COLLATE utf8mb4_bin NULL;
CREATE UNIQUE INDEX loans_source ON loans (source_id);
ALTER TABLE holds ADD COLUMN source_id VARCHAR(64) COLLATE utf8mb4_bin NULL;
CREATE UNIQUE INDEX holds_source ON holds (source_id);
