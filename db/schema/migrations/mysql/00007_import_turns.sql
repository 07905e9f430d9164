CREATE TABLE import_turns (
  kind    VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY COMMENT 'of the records: books, users or loans',
  batches BIGINT NOT NULL COMMENT 'how many have been imported: each batch writes here first, so that imports of one kind take turns'
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci;
