package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Plan is MySQL's plan of a statement, a line for each table, and those lines that read a whole table, or walk an index from end to end.
func Plan(t testing.TB, session *sql.Conn, statement string, args ...any) (plan, whole []string) {
	t.Helper()
	rows, err := session.QueryContext(context.Background(), "EXPLAIN FORMAT=TRADITIONAL "+statement, args...) // MySQL 9 has another form by itself
	if err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(columns, "table") {
		t.Fatalf("the plan has no column for the table: %v", columns)
	}
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		step := map[string]string{}
		for i, c := range columns {
			step[c] = values[i].String
		}
		line := fmt.Sprintf("%s: %s, key %s, %s rows, %s", step["table"], step["type"], step["key"], step["rows"], step["Extra"])
		plan = append(plan, line)
		// A walk in the index's order ends with the page, and a small table may be read whole.
		estimate, _ := strconv.Atoi(step["rows"])
		walk := step["type"] == "index" && strings.Contains(statement, "LIMIT") && !strings.Contains(step["Extra"], "filesort") && !strings.Contains(step["Extra"], "temporary")
		// The temporary tables that a statement makes of its own parts are called <derived2> and the like.
		if estimate > 100 && step["table"] != "" && step["table"][0] != '<' && (step["type"] == "ALL" || step["type"] == "index" && !walk || step["key"] == "") {
			whole = append(whole, line)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan, whole
}

// UsesIndexes fails the test where MySQL's plan reads a whole table, or walks an index from end to end.
func UsesIndexes(t testing.TB, session *sql.Conn, statement string, args ...any) {
	t.Helper()
	if plan, whole := Plan(t, session, statement, args...); len(whole) > 0 {
		t.Errorf("reads a table whole: %s\n%s", strings.Join(plan, "\n"), statement)
	}
}

// A part of a statement that SQLite makes a table of its own of, or reads row by row as one.
var ofItself = regexp.MustCompile(`^(?:CO-ROUTINE|MATERIALIZE) (.+)`)

// notDeleted is a step that finds rows by their not being deleted alone, as nearly all are not. Statistics name that index.
var notDeleted = regexp.MustCompile(`^SEARCH (\S+) USING (?:COVERING )?INDEX (\S+) \(deleted_at=\?\)`)

// UsesIndexesInSQLite is UsesIndexes for SQLite. A walk from an end of a table or an index that LIMIT ends, and nothing sorts, is none.
func UsesIndexesInSQLite(t testing.TB, pool *sql.DB, statement string) {
	t.Helper()
	// The plan is the same for all values, but the driver wants one for each mark.
	rows, err := pool.Query("EXPLAIN QUERY PLAN "+statement, make([]any, strings.Count(statement, "?"))...)
	if err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
	defer rows.Close()
	var plan, scans []string
	own := map[string]bool{"CONSTANT": true}
	sorts := false
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
		if m := ofItself.FindStringSubmatch(step); m != nil {
			own[m[1]] = true
		}
		if table, ok := strings.CutPrefix(step, "SCAN "); ok {
			scans = append(scans, table)
		}
		if m := notDeleted.FindStringSubmatch(step); m != nil && !strings.Contains(statement, "INDEXED BY "+m[2]) {
			t.Errorf("reads %s whole, for what is not deleted: %s\n%s", m[1], step, statement)
		}
		sorts = sorts || strings.Contains(step, "TEMP B-TREE FOR ORDER BY")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, table := range scans {
		name := strings.Fields(table)[0]
		if !own[name] && !strings.Contains(table, "CONSTANT ROW") && (sorts || !strings.Contains(statement, "LIMIT")) {
			t.Errorf("reads %s whole: %s\n%s", name, strings.Join(plan, "\n"), statement)
		}
	}
}
