package schema

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"library-management/db/connect"
)

// statement is one statement of a migration, with what tells whether it has been carried out.
type statement struct {
	text string
	kind kind
	// table is the one that it makes or changes, and name that of the column, index or constraint that it adds.
	table, name string
	// columns are those of the table that it makes.
	columns []string
}

// kind is what a statement makes.
type kind int

const (
	makesTable kind = iota
	makesColumn
	makesIndex
	makesConstraint
)

// forms are the statements that a migration may have: for each of them it can be looked up whether it was carried out.
var forms = []struct {
	kind kind
	*regexp.Regexp
}{
	{makesTable, regexp.MustCompile(`(?i)^CREATE TABLE (?P<table>\w+) \(`)},
	{makesColumn, regexp.MustCompile(`(?i)^ALTER TABLE (?P<table>\w+) ADD COLUMN (?P<name>\w+) `)},
	{makesIndex, regexp.MustCompile(`(?i)^CREATE (UNIQUE )?INDEX (?P<name>\w+) ON (?P<table>\w+) ?\(`)},
	{makesConstraint, regexp.MustCompile(`(?i)^ALTER TABLE (?P<table>\w+) ADD CONSTRAINT (?P<name>\w+) `)},
}

var errForm = errors.New("must be CREATE TABLE t (…), ALTER TABLE t ADD COLUMN c …, CREATE [UNIQUE] INDEX i ON t (…) or ALTER TABLE t ADD CONSTRAINT c …, " +
	"so that a run that follows one that was broken off sees whether it was carried out; rows are filled in by a repair")

// parse reads a migration's file. Its errors name the statement that could not be run again.
func parse(file string) ([]statement, error) {
	var lines []string
	for line := range strings.Lines(file) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			lines = append(lines, line)
		}
	}
	var statements []statement
	for _, text := range split(strings.Join(lines, ""), ';') {
		if strings.TrimSpace(text) == "" {
			continue
		}
		s, err := parseStatement(text)
		if err != nil {
			return nil, fmt.Errorf("the statement %.60q %w", strings.Join(strings.Fields(text), " "), err)
		}
		statements = append(statements, s)
	}
	if statements == nil {
		return nil, errors.New("it holds no statement")
	}
	return statements, nil
}

func parseStatement(text string) (statement, error) {
	line := strings.Join(strings.Fields(text), " ")
	for _, form := range forms {
		found := form.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		s := statement{text: strings.TrimSpace(text), kind: form.kind, table: found[form.SubexpIndex("table")]}
		if i := form.SubexpIndex("name"); i > 0 {
			s.name = found[i]
		}
		if s.kind != makesTable {
			if len(split(line, ',')) > 1 { // an ALTER TABLE that does several things
				return s, errForm
			}
			return s, nil
		}
		body := line[len(found[0]):]
		end := strings.LastIndex(body, ")")
		if end < 0 || strings.Contains(strings.ToUpper(body[end:]), "SELECT") {
			return s, errForm
		}
		for _, part := range split(body[:end], ',') {
			name, _, _ := strings.Cut(strings.TrimSpace(part), " ")
			if !slices.Contains([]string{"PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "FOREIGN", "CHECK"}, strings.ToUpper(name)) {
				s.columns = append(s.columns, strings.ToLower(name))
			}
		}
		return s, nil
	}
	return statement{}, errForm
}

// split cuts text at each separator that is outside quotes and parentheses.
func split(text string, separator rune) (parts []string) {
	var quote rune
	depth, start := 0, 0
	for i, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"' || r == '`':
			quote = r
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == separator && depth == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}

// done reports whether the statement has been carried out. A table of the same name with other columns is an error.
func (s statement) done(ctx context.Context, q querier, engine connect.Engine) (bool, error) {
	switch s.kind {
	case makesTable, makesColumn:
		tables, err := columnsOf(ctx, q, engine, s.table)
		if err != nil {
			return false, err
		}
		have := tables[s.table]
		if s.kind == makesColumn {
			return slices.Contains(have, strings.ToLower(s.name)), nil
		}
		for _, name := range s.columns {
			if have != nil && !slices.Contains(have, name) {
				return false, fmt.Errorf("there is a table %s already, which lacks the column %s: another program's", s.table, name)
			}
		}
		return have != nil, nil
	case makesIndex:
		query := `SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND name = ?`
		if engine == connect.MySQL {
			query = `SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? AND index_name = ?`
		}
		return exists(ctx, q, query, s.table, s.name)
	}
	if engine == connect.SQLite {
		return false, errors.New("SQLite adds no constraint to a table")
	}
	return exists(ctx, q, `SELECT COUNT(*) FROM information_schema.table_constraints WHERE table_schema = DATABASE() AND table_name = ? AND constraint_name = ?`, s.table, s.name)
}

func exists(ctx context.Context, q querier, query string, args ...any) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	var n int
	err := q.QueryRowContext(ctx, query, args...).Scan(&n)
	return n > 0, err
}

// columnsOf lists the columns of those of the tables that are there, all in small letters.
func columnsOf(ctx context.Context, q querier, engine connect.Engine, tables ...string) (map[string][]string, error) {
	in := `(?` + strings.Repeat(`, ?`, len(tables)-1) + `)`
	query := `SELECT LOWER(m.name), LOWER(c.name) FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND LOWER(m.name) IN ` + in
	if engine == connect.MySQL {
		query = `SELECT LOWER(table_name), LOWER(column_name) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ` + in
	}
	args := make([]any, len(tables))
	for i, name := range tables {
		args[i] = name
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	list, err := collect(ctx, q, func(scan func(...any) error) (column [2]string, err error) {
		err = scan(&column[0], &column[1])
		return column, err
	}, query, args...)
	columns := map[string][]string{}
	for _, c := range list {
		columns[c[0]] = append(columns[c[0]], c[1])
	}
	return columns, err
}
