package dbtest

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// loader writes rows past the Store as fast as an engine takes them: LOAD DATA on MySQL, long INSERTs on SQLite.
type loader struct {
	testing.TB
	engine string
	conn   *sql.Conn
	tables []string // that were loaded
}

func newLoader(t testing.TB, d *Database) *loader {
	t.Helper()
	conn, err := d.SQL(t).Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{TB: t, engine: d.Engine, conn: conn}
	t.Cleanup(func() { conn.Close() })
	if d.Engine == "mysql" {
		l.exec(`SET GLOBAL local_infile = 1`)
		l.exec(`SET SESSION unique_checks = 0, foreign_key_checks = 0, time_zone = '+00:00'`)
	} else {
		l.exec(`PRAGMA synchronous = OFF`)
		l.exec(`PRAGMA cache_size = -400000`)
	}
	return l
}

func (l *loader) exec(query string, args ...any) int64 {
	l.Helper()
	result, err := l.conn.ExecContext(context.Background(), query, args...)
	if err != nil {
		l.Fatalf("%s: %v", query[:min(len(query), 200)], err)
	}
	n, _ := result.RowsAffected()
	return n
}

// rows is table with the columns in one text.
func (l *loader) rows(table, columns string, rows func(func(...any) bool)) {
	l.Helper()
	l.table(table, strings.Fields(columns), rows)
}

// table writes the rows of a table: numbers, texts and nil.
func (l *loader) table(table string, columns []string, rows func(yield func(...any) bool)) {
	l.Helper()
	l.tables = append(l.tables, table)
	began, n := time.Now(), int64(0)
	if l.engine == "mysql" {
		n = l.loadData(table, columns, rows)
	} else {
		n = l.insert(table, columns, rows)
	}
	if took := time.Since(began); took > 5*time.Second {
		l.Logf("%s: %d rows in %.0f s", table, n, took.Seconds())
	}
}

// analyze has the engine look at what was loaded, for its plans.
func (l *loader) analyze() {
	l.Helper()
	if l.engine == "mysql" {
		l.exec(`ANALYZE TABLE ` + strings.Join(l.tables, ", "))
	}
}

var streams atomic.Int64

// loadData streams the rows, some hundred thousand for each statement, so that none has to undo all of them.
func (l *loader) loadData(table string, columns []string, rows func(func(...any) bool)) (n int64) {
	l.Helper()
	const some = 500_000
	name := "rows-" + strconv.FormatInt(streams.Add(1), 10)
	query := `LOAD DATA LOCAL INFILE 'Reader::` + name + `' INTO TABLE ` + table + ` CHARACTER SET utf8mb4 (` + strings.Join(columns, ", ") + `)`
	var pipe *io.PipeWriter
	var buffer *bufio.Writer
	loaded := make(chan error, 1)
	begin := func() {
		var in *io.PipeReader
		in, pipe = io.Pipe()
		buffer = bufio.NewWriterSize(pipe, 1<<20)
		mysql.RegisterReaderHandler(name, func() io.Reader { return in })
		go func() {
			result, err := l.conn.ExecContext(context.Background(), query)
			if err == nil {
				var took int64
				if took, err = result.RowsAffected(); err == nil { // of what is wrong with a row, LOAD DATA LOCAL only warns
					n += took
				}
			}
			in.CloseWithError(fmt.Errorf("ended: %w", err))
			loaded <- err
		}()
	}
	end := func() {
		if err := buffer.Flush(); err == nil {
			pipe.Close()
		}
		if err := <-loaded; err != nil {
			l.Fatalf("load %s: %v", table, err)
		}
		buffer = nil
	}
	defer mysql.DeregisterReaderHandler(name)
	sent := int64(0)
	var line []byte
	rows(func(values ...any) bool {
		if buffer == nil {
			begin()
		}
		line = line[:0]
		for i, v := range values {
			if i > 0 {
				line = append(line, '\t')
			}
			line = appendField(line, v)
		}
		if _, err := buffer.Write(append(line, '\n')); err != nil {
			end()
		}
		if sent++; sent%some == 0 {
			end()
		}
		return true
	})
	if buffer != nil {
		end()
	}
	if n != sent {
		l.Fatalf("of %d rows of %s %d were taken", sent, table, n)
	}
	return n
}

var escapes = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n")

func appendField(line []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(line, `\N`...)
	case string:
		if strings.ContainsAny(v, "\\\t\n") {
			v = escapes.Replace(v)
		}
		return append(line, v...)
	case int:
		return strconv.AppendInt(line, int64(v), 10)
	case int32:
		return strconv.AppendInt(line, int64(v), 10)
	case int64:
		return strconv.AppendInt(line, v, 10)
	}
	panic(fmt.Sprintf("a value of type %T", v))
}

func (l *loader) insert(table string, columns []string, rows func(func(...any) bool)) (n int64) {
	l.Helper()
	const some = 200
	into := `INSERT OR FAIL INTO ` + table + ` (` + strings.Join(columns, ", ") + `) VALUES `
	row := `(` + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + `)`
	l.exec(`BEGIN IMMEDIATE`)
	prepared, err := l.conn.PrepareContext(context.Background(), into+row+strings.Repeat(", "+row, some-1))
	if err != nil {
		l.Fatal(err)
	}
	defer prepared.Close()
	var args []any
	rows(func(values ...any) bool {
		args = append(args, values...)
		if n++; len(args) == some*len(columns) {
			if _, err := prepared.Exec(args...); err != nil {
				l.Fatalf("insert into %s: %v", table, err)
			}
			args = args[:0]
		}
		return true
	})
	if left := len(args) / len(columns); left > 0 {
		l.exec(into+row+strings.Repeat(", "+row, left-1), args...)
	}
	l.exec(`COMMIT`)
	return n
}
