// Command yardstick is what make bench measures the program against: the least that somebody would write on bare Fiber and
// the driver. It has tables and plain statements of its own, and nothing of this project: no validation, no request's deadline,
// no problem documents, no ETags, no log, no operation's row.
//
//	yardstick mysql DSN [FOLDER]
//	yardstick sqlite FILE FOLDER
//
// It fills its tables from FOLDER's books.csv and users.csv, where there is one, prints the address that it serves on, and ends with
// its standard input. GET /loop/CASE?clients=N&ms=M runs the statements of a case without HTTP, as fast as they go, and
// answers how often a second it did.
package main

import (
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/gofiber/fiber/v2"
	_ "modernc.org/sqlite"
)

const (
	// connections is how many the program has too, unless it is told otherwise.
	connections = 10
	page        = 100
	// onLoan is how many of the first page's books are lent, each to a member of the first page.
	onLoan = page / 2
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("yardstick: ")
	y, err := open(os.Args[1], os.Args[2])
	if err == nil && len(os.Args) > 3 {
		err = y.fill(os.Args[1], os.Args[3])
	}
	if err == nil {
		err = y.prepare()
	}
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, so does this process
		os.Exit(0)
	}()
	log.Fatal(y.app().Listener(listener))
}

type yardstick struct {
	db      *sql.DB
	sqlite  bool
	volumes int
	members int

	volume, list, people               *sql.Stmt // SQLite's; MySQL's are sent whole, in one round trip
	begun, member, lendVolume, lending *sql.Stmt
	memberBack, volumeBack, back       *sql.Stmt
	writer                             sync.Mutex // SQLite has one, and waiting here is cheaper than by its busy time-out
}

func open(engine, dsn string) (*yardstick, error) {
	y := &yardstick{sqlite: engine == "sqlite"}
	if y.sqlite {
		dsn = "file:" + dsn + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	}
	var err error
	y.db, err = sql.Open(engine, dsn)
	if err == nil {
		y.db.SetMaxOpenConns(connections)
		y.db.SetMaxIdleConns(connections)
	}
	return y, err
}

const schema = `
CREATE TABLE volumes (
  id BIGINT NOT NULL PRIMARY KEY, title VARCHAR(500) NOT NULL, author VARCHAR(500) NOT NULL, isbn VARCHAR(13) UNIQUE, barcode VARCHAR(64) UNIQUE,
  year INT, language VARCHAR(35), category VARCHAR(100), copies INT NOT NULL, lent INT NOT NULL DEFAULT 0, holder BIGINT, due DATE
);
CREATE TABLE members (
  id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(254) UNIQUE, card VARCHAR(64) UNIQUE, owes BIGINT NOT NULL DEFAULT 0,
  lent INT NOT NULL DEFAULT 0, volume_id BIGINT, title VARCHAR(500), author VARCHAR(500), isbn VARCHAR(13), barcode VARCHAR(64), year INT,
  language VARCHAR(35), category VARCHAR(100), copies INT, free INT, due DATE
);
CREATE TABLE lendings (
  id INTEGER NOT NULL PRIMARY KEY AUTO_INCREMENT, volume_id BIGINT NOT NULL, member_id BIGINT NOT NULL, lent_on DATE NOT NULL, due_on DATE NOT NULL, back_on DATE
);
CREATE INDEX lendings_of ON lendings (member_id, volume_id, back_on);
CREATE TABLE operations (
  id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, fingerprint VARCHAR(64) NOT NULL, answer MEDIUMTEXT, created_at DATETIME NOT NULL
);
CREATE INDEX operations_at ON operations (created_at)`

// fill makes the tables. What a member has out stands in the member's row, so that a list of them, too, is one statement on one table.
func (y *yardstick) fill(engine, folder string) error {
	text := schema
	if y.sqlite {
		text = strings.NewReplacer("BIGINT NOT NULL PRIMARY KEY", "INTEGER PRIMARY KEY", "AUTO_INCREMENT", "AUTOINCREMENT", "CHARACTER SET ascii COLLATE ascii_bin", "", "DATE", "TEXT").Replace(text)
	}
	for statement := range strings.SplitSeq(text, ";\n") {
		if _, err := y.db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	due := time.Now().AddDate(0, 0, 14).Format(time.DateOnly)
	books, err := readCSV(filepath.Join(folder, "books.csv"))
	if err != nil {
		return err
	}
	err = y.insert(`INSERT INTO volumes (id, title, author, isbn, barcode, year, language, category, copies, lent, holder, due) VALUES `, books, func(i int, r []string) []any {
		row := []any{i + 1, r[0], r[1], r[2], r[3], r[4], r[5], r[6], 1, 0, nil, nil}
		if i < page && i%2 == 0 {
			row[9], row[10], row[11] = 1, i+1, due
		}
		return row
	})
	if err != nil {
		return err
	}
	users, err := readCSV(filepath.Join(folder, "users.csv"))
	if err != nil {
		return err
	}
	return y.insert(`INSERT INTO members (id, name, email, card, lent, volume_id, title, author, isbn, barcode, year, language, category, copies, free, due) VALUES `, users, func(i int, r []string) []any {
		row := append([]any{i + 1, r[0], r[1], r[2], 0}, make([]any, 11)...)
		if b := books[i%len(books)]; i < page && i%2 == 0 {
			row = []any{i + 1, r[0], r[1], r[2], 1, i + 1, b[0], b[1], b[2], b[3], b[4], b[5], b[6], 1, 0, due}
		}
		return row
	})
}

func readCSV(name string) ([][]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	return rows[1:], err
}

// insert puts 500 rows into a statement.
func (y *yardstick) insert(into string, rows [][]string, values func(i int, row []string) []any) error {
	for from := 0; from < len(rows); from += 500 {
		var args []any
		var marks []string
		for i := from; i < min(from+500, len(rows)); i++ {
			row := values(i, rows[i])
			args = append(args, row...)
			marks = append(marks, "(?"+strings.Repeat(",?", len(row)-1)+")")
		}
		if _, err := y.db.Exec(into+strings.Join(marks, ","), args...); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlVolumes    = `SELECT id, title, author, isbn, barcode, year, language, category, copies, copies - lent, holder, due FROM volumes `
	sqlVolume     = sqlVolumes + `WHERE id = ?`
	sqlList       = sqlVolumes + `WHERE id > ? ORDER BY id LIMIT ?`
	sqlMembers    = `SELECT id, name, email, card, owes, volume_id, title, author, isbn, barcode, year, language, category, copies, free, due FROM members WHERE id > ? ORDER BY id LIMIT ?`
	sqlBegun      = `INSERT INTO operations (id, fingerprint, answer, created_at) VALUES (?, ?, NULL, ?)`
	sqlMember     = `UPDATE members SET lent = lent + 1 WHERE id = ? AND lent < 2`
	sqlLendVolume = `UPDATE volumes SET lent = lent + 1, holder = ?, due = ? WHERE id = ? AND lent < copies`
	sqlLending    = `INSERT INTO lendings (volume_id, member_id, lent_on, due_on) VALUES (?, ?, ?, ?)`
	sqlMemberBack = `UPDATE members SET lent = lent - 1 WHERE id = ? AND lent > 0`
	sqlVolumeBack = `UPDATE volumes SET lent = lent - 1, holder = NULL, due = NULL WHERE id = ? AND lent > 0`
	sqlBack       = `UPDATE lendings SET back_on = ? WHERE member_id = ? AND volume_id = ? AND back_on IS NULL`
)

// prepare counts the rows, and prepares SQLite's statements.
func (y *yardstick) prepare() error {
	if err := y.db.QueryRow(`SELECT (SELECT COUNT(*) FROM volumes), (SELECT COUNT(*) FROM members)`).Scan(&y.volumes, &y.members); err != nil || !y.sqlite {
		return err
	}
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{{&y.volume, sqlVolume}, {&y.list, sqlList}, {&y.people, sqlMembers}, {&y.begun, sqlBegun}, {&y.member, sqlMember}, {&y.lendVolume, sqlLendVolume},
		{&y.lending, sqlLending}, {&y.memberBack, sqlMemberBack}, {&y.volumeBack, sqlVolumeBack}, {&y.back, sqlBack}} {
		var err error
		if *s.to, err = y.db.Prepare(s.text); err != nil {
			return err
		}
	}
	return nil
}

func (y *yardstick) query(s *sql.Stmt, text string, args ...any) (*sql.Rows, error) {
	if s != nil {
		return s.Query(args...)
	}
	return y.db.Query(text, args...)
}

// Volume has as many fields as the program's book.
type Volume struct {
	ID            int64   `json:"id"`
	Title         string  `json:"title"`
	Author        string  `json:"author"`
	ISBN          *string `json:"isbn"`
	Barcode       *string `json:"barcode"`
	PublishedYear *int    `json:"published_year"`
	Language      *string `json:"language"`
	Category      *string `json:"category"`
	Copies        int     `json:"copies"`
	Free          int     `json:"copies_available"`
	Available     bool    `json:"available"`
	Holder        *int64  `json:"borrowed_by_id"`
	Due           *string `json:"due_date"`
}

// Member has as many fields as the program's user.
type Member struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Email   *string  `json:"email"`
	Card    *string  `json:"card_number"`
	Owes    int64    `json:"total_fines"`
	Volumes []Volume `json:"borrowed_books"`
}

// Receipt answers a lending and a return; its terms make it as long as a book, which the program answers with.
type Receipt struct {
	Volume int64  `json:"book_id"`
	Member int64  `json:"user_id"`
	Due    string `json:"due_date"`
	Terms  string `json:"terms"`
}

const terms = "Bring it back by the date above. A day later costs one unit, and so does each day after it. Whoever has two books brings one of them back first, please. No book is lent twice. Thank you for reading, and welcome back."

func (y *yardstick) readVolumes(s *sql.Stmt, text string, args ...any) ([]Volume, error) {
	rows, err := y.query(s, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Volume
	for rows.Next() {
		var v Volume
		if err := rows.Scan(&v.ID, &v.Title, &v.Author, &v.ISBN, &v.Barcode, &v.PublishedYear, &v.Language, &v.Category, &v.Copies, &v.Free, &v.Holder, &v.Due); err != nil {
			return nil, err
		}
		v.Available = v.Free > 0
		list = append(list, v)
	}
	return list, rows.Err()
}

func (y *yardstick) readVolume(id int) (*Volume, error) {
	list, err := y.readVolumes(y.volume, sqlVolume, id)
	if err == nil && len(list) == 0 {
		return nil, fiber.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func (y *yardstick) readList(after int) ([]Volume, error) {
	return y.readVolumes(y.list, sqlList, after, page)
}

func (y *yardstick) readMembers(after int) ([]Member, error) {
	rows, err := y.query(y.people, sqlMembers, after, page)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Member
	for rows.Next() {
		m := Member{Volumes: []Volume{}}
		var v Volume
		var id *int64
		var title, author *string
		var copies, free *int
		if err := rows.Scan(&m.ID, &m.Name, &m.Email, &m.Card, &m.Owes, &id, &title, &author, &v.ISBN, &v.Barcode, &v.PublishedYear, &v.Language, &v.Category, &copies, &free, &v.Due); err != nil {
			return nil, err
		}
		if id != nil {
			v.ID, v.Title, v.Author, v.Copies, v.Free, v.Holder = *id, *title, *author, *copies, *free, &m.ID
			m.Volumes = append(m.Volumes, v)
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// lend takes five round trips: BEGIN, two guarded updates, the loan, COMMIT; a sixth where the operation's row is to be measured.
func (y *yardstick) lend(volume, member int, operation bool) (*Receipt, error) {
	now := time.Now()
	today, due := now.Format(time.DateOnly), now.AddDate(0, 0, 14).Format(time.DateOnly)
	err := y.inTx(func(exec func(*sql.Stmt, string, ...any) error) error {
		if operation {
			if err := exec(y.begun, sqlBegun, fmt.Sprintf("op %012x %016x", now.UnixMilli(), rand.Uint64()), "1", now.UTC().Format(time.DateTime)); err != nil {
				return err
			}
		}
		if err := exec(y.member, sqlMember, member); err != nil {
			return err
		}
		if err := exec(y.lendVolume, sqlLendVolume, member, due, volume); err != nil {
			return err
		}
		return exec(y.lending, sqlLending, volume, member, today, due)
	})
	return &Receipt{Volume: int64(volume), Member: int64(member), Due: due, Terms: terms}, err
}

func (y *yardstick) takeBack(volume, member int, operation bool) (*Receipt, error) {
	now := time.Now()
	today := now.Format(time.DateOnly)
	err := y.inTx(func(exec func(*sql.Stmt, string, ...any) error) error {
		if operation {
			if err := exec(y.begun, sqlBegun, fmt.Sprintf("op %012x %016x", now.UnixMilli(), rand.Uint64()), "1", now.UTC().Format(time.DateTime)); err != nil {
				return err
			}
		}
		if err := exec(y.memberBack, sqlMemberBack, member); err != nil {
			return err
		}
		if err := exec(y.volumeBack, sqlVolumeBack, volume); err != nil {
			return err
		}
		return exec(y.back, sqlBack, today, member, volume)
	})
	return &Receipt{Volume: int64(volume), Member: int64(member), Due: today, Terms: terms}, err
}

func (y *yardstick) inTx(do func(exec func(s *sql.Stmt, text string, args ...any) error) error) error {
	if y.sqlite {
		y.writer.Lock()
		defer y.writer.Unlock()
	}
	tx, err := y.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	err = do(func(s *sql.Stmt, text string, args ...any) (err error) {
		var r sql.Result
		if s != nil {
			r, err = tx.Stmt(s).Exec(args...)
		} else {
			r, err = tx.Exec(text, args...)
		}
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("%s: %d rows, %v", text, n, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (y *yardstick) app() *fiber.App {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	answer := func(c *fiber.Ctx, v any, err error) error {
		if err != nil {
			return err
		}
		return c.JSON(v)
	}
	app.Get("/volumes/", func(c *fiber.Ctx) error {
		list, err := y.readList(c.QueryInt("after"))
		return answer(c, list, err)
	})
	app.Get("/members/", func(c *fiber.Ctx) error {
		list, err := y.readMembers(c.QueryInt("after"))
		return answer(c, list, err)
	})
	app.Get("/volumes/:volume", func(c *fiber.Ctx) error {
		id, err := c.ParamsInt("volume")
		if err != nil {
			return fiber.ErrNotFound
		}
		v, err := y.readVolume(id)
		return answer(c, v, err)
	})
	for name, f := range map[string]func(volume, member int, operation bool) (*Receipt, error){"lend": y.lend, "take-back": y.takeBack} {
		app.Post("/volumes/:volume/"+name+"/:member", func(c *fiber.Ctx) error {
			volume, err := c.ParamsInt("volume")
			member, err2 := c.ParamsInt("member")
			if err != nil || err2 != nil {
				return fiber.ErrNotFound
			}
			receipt, err := f(volume, member, false)
			return answer(c, receipt, err)
		})
	}
	app.Get("/loop/:case", func(c *fiber.Ctx) error {
		rate, err := y.loop(c.Params("case"), c.QueryInt("clients", 1), time.Duration(c.QueryInt("ms", 1000))*time.Millisecond)
		if err != nil {
			return err
		}
		return c.SendString(fmt.Sprint(rate))
	})
	return app
}

// loop runs a case's statements for as long as is said, and returns how often a second.
func (y *yardstick) loop(name string, clients int, long time.Duration) (float64, error) {
	read := func(f func(int) error, from func() int) func(int, int) error {
		return func(int, int) error { return f(from()) }
	}
	volume := func(id int) error { _, err := y.readVolume(id); return err }
	list := func(after int) error { _, err := y.readList(after); return err }
	members := func(after int) error { _, err := y.readMembers(after); return err }
	lending := func(operation bool) func(int, int) error {
		return func(client, i int) error {
			volume, member := 1+2*page+client+clients*(i%200), 1+2*page+client
			if _, err := y.lend(volume, member, operation); err != nil {
				return err
			}
			_, err := y.takeBack(volume, member, operation)
			return err
		}
	}
	f, ok := map[string]func(client, i int) error{
		"book-hot":        read(volume, func() int { return page }),
		"book-cold":       read(volume, func() int { return 1 + rand.N(y.volumes) }),
		"books-hot":       read(list, func() int { return 0 }),
		"books-cold":      read(list, func() int { return page + rand.N(y.volumes-2*page) }),
		"users-hot":       read(members, func() int { return 0 }),
		"users-cold":      read(members, func() int { return page + rand.N(y.members-2*page) }),
		"lending":         lending(false),
		"lending-and-row": lending(true),
	}[name]
	if !ok {
		return 0, errors.New("there is no such case")
	}
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wait sync.WaitGroup
	start := time.Now()
	end := start.Add(long)
	for client := range clients {
		wait.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				if err := f(client, i); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(start).Seconds(), nil
}
