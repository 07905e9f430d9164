package db_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/internal/dbtest"
	"library-management/library"
)

// TestImport_decides_by_what_is_there_once_it_has_locked: on a server that logs statements the isolation stays REPEATABLE READ, where a
// transaction's first look, without a lock, is what all of its looks see. A desk writes after an import has looked records up, and before
// it has their locks; what the import then decides by, and writes, takes that in.
func TestImport_decides_by_what_is_there_once_it_has_locked(t *testing.T) {
	server := dbtest.StartServer(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=STATEMENT", "--transaction-isolation=REPEATABLE-READ")
	imported := func(t *testing.T, results []library.Imported, err error) {
		t.Helper()
		refused(t, err, "")
		for _, r := range results {
			refused(t, r.Err, "")
		}
	}
	direct := server.Database(t)
	behind, proxy := direct.Through(t)
	desk, s := direct.Open(t), behind.Open(t)
	hold := func(t *testing.T, b library.Book, users []library.User) {
		_, err := desk.PlaceHold(ctx, b.ID, users[1].ID)
		refused(t, err, "")
	}
	label := func(t *testing.T, b library.Book, _ []library.User) {
		for _, suffix := range []string{"-2", "-3"} {
			_, err := desk.CreateCopy(ctx, b.ID, library.Copy{Barcode: b.Barcode + suffix})
			refused(t, err, "")
		}
	}
	rename := func(t *testing.T, b library.Book, users []library.User) {
		_, err := desk.UpdateBook(ctx, b.ID, func(b *library.Book) error { b.Title = "Otherwise"; return nil })
		refused(t, err, "")
		_, err = desk.UpdateUser(ctx, users[0].ID, func(u *library.User) error { u.Name = "Otherwise"; return nil })
		refused(t, err, "")
	}
	books := func(rows ...func(*library.Book)) func(*testing.T, library.Book, []library.User) {
		return func(t *testing.T, b library.Book, _ []library.User) {
			var named []func(*library.Book)
			for _, row := range rows {
				named = append(named, func(into *library.Book) {
					into.Barcode, into.ISBN, into.Title, into.Author = b.Barcode, b.ISBN, b.Title, b.Author
					row(into)
				})
			}
			results, err := s.ImportBooks(ctx, named)
			imported(t, results, err)
		}
	}
	copies := func(t *testing.T, b library.Book, _ []library.User) {
		results, err := s.ImportCopies(ctx, []library.CopyRecord{{Barcode: b.Barcode + "-1", ISBN: b.ISBN}})
		imported(t, results, err)
	}
	for i, test := range []struct {
		name        string
		desk        func(t *testing.T, b library.Book, users []library.User) // b is out to the first of the users
		importation func(t *testing.T, b library.Book, users []library.User)
	}{
		{"another copy and a hold", hold, books(func(b *library.Book) { b.Copies = 2 })},
		{"two titles", rename, books(func(b *library.Book) { b.Title = "Anew" })},
		{"one copy and more labels", label, books(func(b *library.Book) { b.Title, b.Copies = "Anew", 1 })},
		{"a label in a file of books and a hold", hold, books(func(b *library.Book) { b.Category = "c" }, func(b *library.Book) { b.Barcode += "-1" })},
		{"a label in a file of books and more labels", label, books(func(b *library.Book) { b.Category = "c" }, func(b *library.Book) { b.Barcode += "-1" })},
		{"a label in a file of copies and a hold", hold, copies},
		{"a label in a file of copies and more labels", label, copies},
		{"two names", rename, func(t *testing.T, b library.Book, users []library.User) {
			results, err := s.ImportUsers(ctx, []func(*library.User){func(u *library.User) { u.CardNumber, u.Name = users[0].CardNumber, "Anew" }})
			imported(t, results, err)
		}},
		{"a return and a hold", hold, func(t *testing.T, b library.Book, users []library.User) {
			today := library.DateOf(time.Now().UTC())
			for _, r := range importLoans(t, s, 10, []library.LoanRecord{{CardNumber: users[0].CardNumber, Barcode: b.Barcode, BorrowedOn: today, ReturnedOn: &today}}) {
				refused(t, r.Err, "")
			}
		}},
		{"two holds", hold, func(t *testing.T, b library.Book, users []library.User) {
			results, err := s.ImportHolds(ctx, []library.HoldRecord{{CardNumber: users[2].CardNumber, Barcode: b.Barcode, PlacedOn: library.DateOf(time.Now().UTC())}})
			imported(t, results, err)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var users []library.User
			for j := range 3 {
				u, err := desk.CreateUser(ctx, library.User{Name: "N", CardNumber: fmt.Sprintf("u%d-%d", i, j)})
				refused(t, err, "")
				users = append(users, u)
			}
			b, err := desk.CreateBook(ctx, library.Book{Title: "T", Author: "A", Barcode: fmt.Sprint("b", i), ISBN: dbtest.ISBN(i + 1), Copies: 1})
			refused(t, err, "")
			_, err = desk.Borrow(ctx, b.ID, users[0].ID)
			refused(t, err, "")
			var once sync.Once
			between := false
			proxy.Lose(func(statement string) dbtest.Loss {
				if strings.Contains(statement, "FOR UPDATE") {
					once.Do(func() { test.desk(t, b, users); between = true })
				}
				return dbtest.Pass
			})
			defer proxy.Lose(nil)
			test.importation(t, b, users)
			if !between {
				t.Error("the import has locked nothing")
			}
			dbtest.CheckRules(t, direct.SQL(t), library.DefaultPolicy)
		})
	}
}
