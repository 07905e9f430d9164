package chaos

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"library-management/internal/dbtest"
)

// file is what a librarian imports: rows of books, users and loans that are new, and rows that change records of the desks.
type file struct {
	name    string // of the new rows
	folder  string
	records map[*record]content
	// acknowledged is set once library import has said that all is in.
	acknowledged atomic.Bool
}

// newRows is how many books and how many users of a file are new.
const newRows = 3

// importing imports one file after the other, by the settings that env returns, until the desks close.
func (l *library) importing(folder string, env func() []string) {
	for n := 0; !l.ending.Load(); n++ {
		f := l.newFile(filepath.Join(folder, fmt.Sprint(n)))
		if f == nil {
			return
		}
		var atOnce sync.WaitGroup
		for range 1 + rand.N(3)/2 { // one file in three by two librarians at once
			atOnce.Go(func() { l.bring(f, env) })
		}
		atOnce.Wait()
		os.RemoveAll(f.folder)
		time.Sleep(rand.N(400 * time.Millisecond))
	}
}

func (l *library) newFile(folder string) *file {
	f := &file{name: fmt.Sprintf("Imported %d", l.serial.Add(1)), folder: folder, records: map[*record]content{}}
	mark := strings.ReplaceAll(f.name, " ", "-")
	books, users, loans := "barcode,title,author\n", "card_number,name,email\n", "card_number,barcode,borrowed_on,returned_on\n"
	for n := range newRows {
		barcode := "" // the last book is known by its title and author
		if n < newRows-1 {
			barcode = fmt.Sprintf("%s-%d", mark, n)
			loans += fmt.Sprintf("%s-%d,%s,2020-01-01,2020-01-05\n", mark, n, barcode)
		}
		books += fmt.Sprintf("%s,%s,row %d\n", barcode, f.name, n)
		users += fmt.Sprintf("%s-%d,%s,\n", mark, n, f.name)
	}
	rooms := *l.rooms.Load()
	r := rooms[rand.N(len(rooms))]
	for n := range r.shelves {
		if e := r.shelves[n].record.Load(); rand.N(2) == 0 {
			c := l.content(e.kind)
			f.records[e] = c
			row := fmt.Sprintf("%s,%s,%s\n", e.mark, c.one, c.two)
			if e.kind == "books" {
				books += row
			} else {
				users += row
			}
		}
	}
	err := os.Mkdir(folder, 0o700)
	for name, text := range map[string]string{"books": books, "users": users, "loans": loans} {
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)
		}
	}
	if err != nil {
		l.wrong("write a file to import: %v", err)
		return nil
	}
	l.journal.mu.Lock()
	l.journal.files = append(l.journal.files, f)
	l.journal.mu.Unlock()
	return f
}

// bring imports a file again and again, as its error says, until it is told that all is in.
func (l *library) bring(f *file, env func() []string) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond)) {
		from := time.Now()
		said, done := l.attemptImport(f, env())
		to := time.Now()
		if !done {
			to = to.Add(time.Hour) // what it sent last may be carried out later
		}
		for e, c := range f.records {
			l.recordEdit(desks+1, e, edit{verb: "import", set: c}, from, to, edited{known: done, status: 200})
		}
		if done {
			f.acknowledged.Store(true)
			return
		}
		// Where answers may be old ones, a row may be looked for where it is not yet.
		if strings.Contains(said, "some rows were refused") && !l.stale {
			l.wrong("%s: %s", f.name, said)
			return
		}
	}
}

// attemptImport runs the program once. One in ten is killed on the way.
func (l *library) attemptImport(f *file, env []string) (said string, done bool) {
	var output bytes.Buffer
	cmd := exec.Command(program, "import", "--books", filepath.Join(f.folder, "books"), "--users", filepath.Join(f.folder, "users"), "--loans", filepath.Join(f.folder, "loans"))
	cmd.Env = append(append(os.Environ(), "MIGRATE=off"), env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	ended, err := dbtest.Start(cmd)
	if err != nil {
		l.wrong("library import: %v", err)
		return "", false
	}
	longest := patience
	if rand.N(10) == 0 {
		longest = rand.N(200 * time.Millisecond)
	}
	select {
	case <-ended:
	case <-time.After(longest):
		cmd.Process.Kill()
		<-ended
	}
	l.journal.mu.Lock()
	l.journal.imports++
	l.journal.mu.Unlock()
	return output.String(), cmd.ProcessState.Success()
}

// checkImports looks for each row of a file that was acknowledged, and for rows that are there twice.
func (c *chaos) checkImports() {
	pool := c.database.SQL(c.t)
	found := map[string]map[string]int{} // by the file's name
	for table, query := range map[string]string{
		"books": `SELECT title, author FROM books WHERE title LIKE 'Imported %' AND deleted_at IS NULL`,
		"users": `SELECT name, card_number FROM users WHERE name LIKE 'Imported %' AND deleted_at IS NULL`,
		"loans": `SELECT b.title, b.author FROM loans l JOIN books b ON b.id = l.book_id WHERE b.title LIKE 'Imported %'`,
	} {
		rows, err := pool.Query(query)
		if err != nil {
			c.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var name, row string
			if err := rows.Scan(&name, &row); err != nil {
				c.t.Fatal(err)
			}
			if found[name] == nil {
				found[name] = map[string]int{}
			}
			found[name][table+" "+row]++
		}
		if err := rows.Err(); err != nil {
			c.t.Fatal(err)
		}
	}
	const loans = newRows - 1
	for _, f := range c.library.journal.files {
		for row, n := range found[f.name] {
			if n > 1 {
				c.library.wrong("%s: %s is there %d times", f.name, row, n)
			}
		}
		if n := len(found[f.name]); f.acknowledged.Load() && n != 2*newRows+loans {
			c.library.wrong("%s was acknowledged, and %d of its %d new rows are there: %v", f.name, n, 2*newRows+loans, found[f.name])
		}
	}
}
