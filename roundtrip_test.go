package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"library-management/db"
	"library-management/importer"
	"library-management/internal/dbtest"
	"library-management/library"
)

// exportFiles are the files in the order in which they can be imported.
var exportFiles = []library.ExportFile{library.ExportBooks, library.ExportCopies, library.ExportUsers, library.ExportLoans, library.ExportHolds}

// exportAll is the content of each file of a library.
func exportAll(t fataler, s *db.Store) map[library.ExportFile]string {
	files := map[library.ExportFile]string{}
	for _, f := range exportFiles {
		r, err := library.NewExportReader(context.Background(), s, f, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(text)
	}
	return files
}

type fataler interface {
	Fatal(...any)
	Errorf(string, ...any)
}

// importAll imports the files, and fails where a row is refused or warned of. It returns what became of the rows.
func importAll(t fataler, s *db.Store, files map[library.ExportFile]string) (total importer.Summary) {
	var refused bytes.Buffer
	m := &importer.Import{Store: s, Refused: &refused}
	take := map[library.ExportFile]func(context.Context, string, io.Reader) (importer.Summary, error){
		library.ExportBooks: m.Books, library.ExportCopies: m.Copies, library.ExportUsers: m.Users, library.ExportLoans: m.Loans, library.ExportHolds: m.Holds,
	}
	for _, f := range exportFiles {
		sum, err := take[f](context.Background(), string(f), strings.NewReader(files[f]))
		if err != nil {
			t.Fatal(err)
		}
		total.Created += sum.Created
		total.Updated += sum.Updated
		total.Unchanged += sum.Unchanged
		total.Refused += sum.Refused
	}
	if refused.Len() > 0 {
		t.Errorf("refused: %s", refused.String())
	}
	return total
}

// nastyTexts are what files of CSV and spreadsheets stumble over.
var nastyTexts = []string{
	"=1+1", "+49 30", "-1", "@SUM(A1)", "'Tis", "''", "'", "'=x", `="00079"`, `say "hi"`, `"`, `""`, "a,b", ";", "a\tb", "sep=;", "00079", "3.50",
	"é", "e\u0301", "ß", "字", "📚", "١٢٣", "a  b", "NULL", "-", "--", "#N/A", "1e5", "2026-01-01", "source_id", "\u00a0x", "ﬁ",
}

// TestRoundTrip: what was exported and imported into an empty library is exported as the same bytes, on whichever database; fines and
// balances are the same, and nobody is charged twice. Importing a file again, or into the library that it is from, changes nothing.
func TestRoundTrip(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		rapid.Check(t, func(rt *rapid.T) {
			var here, there *dbtest.Database
			if d.Engine == "sqlite" {
				here, there = dbtest.SQLite(t), dbtest.SQLite(t)
			} else {
				here, there = dbtest.SQLite(t), dbtest.MySQL(t)
			}
			now := dbtest.NewClock(time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC))
			clock := func(c *db.Config) { c.Now = now.Now }
			a := here.Open(t, clock)
			makeLibrary(rt, a, now.AddDays)
			files := exportAll(rt, a)
			if again := importAll(rt, a, files); again.Created+again.Updated+again.Refused > 0 {
				rt.Errorf("into the library that they are from: %s", again)
			}
			if diff := cmp.Diff(files, exportAll(rt, a)); diff != "" {
				rt.Errorf("an import of the own files (-before +after):\n%s", diff)
			}
			policy := library.DefaultPolicy // another library's rules
			policy.BorrowLimit, policy.FinePerDay = 1, 7
			b := there.Open(t, clock, func(c *db.Config) { c.Policy = &policy })
			importAll(rt, b, files)
			if diff := cmp.Diff(files, exportAll(rt, b)); diff != "" {
				rt.Errorf("-exported +exported after an import:\n%s", diff)
			}
			if second := importAll(rt, b, files); second.Created+second.Updated+second.Refused > 0 {
				rt.Errorf("a second time: %s", second)
			}
			if diff := cmp.Diff(files, exportAll(rt, b)); diff != "" {
				rt.Errorf("-exported +exported after two imports:\n%s", diff)
			}
			dbtest.CheckRules(t, there.SQL(t), library.DefaultPolicy) // under which the loans were made
			a.Close()
			b.Close()
		})
	})
}

// makeLibrary fills a library through its store: members with only a name, books without identifiers, several of one title, loans that
// came back late, that were renewed and that are out, and who was blocked or deleted.
func makeLibrary(t *rapid.T, s *db.Store, pass func(days int)) {
	ctx := context.Background()
	text := rapid.OneOf(rapid.SampledFrom(nastyTexts), rapid.StringN(1, 12, -1).Filter(func(s string) bool {
		return library.OneLine(s) == strings.TrimSpace(s) // line separators are letters to the store, and spaces in a file
	}))
	maybe := func(label, value string) string {
		if rapid.Bool().Draw(t, label) {
			return value
		}
		return ""
	}
	var books, users, copies []int64
	for i := range rapid.IntRange(1, 12).Draw(t, "books") {
		b := library.Book{Title: text.Draw(t, "title"), Author: text.Draw(t, "author"), Copies: rapid.IntRange(1, 3).Draw(t, "copies"),
			Barcode: maybe("barcode", fmt.Sprint(rapid.SampledFrom([]string{"b", "=", "'", "-"}).Draw(t, "prefix"), i)), Category: maybe("category", text.Draw(t, "category text"))}
		if rapid.Bool().Draw(t, "year") {
			year := rapid.IntRange(-800, 2020).Draw(t, "published")
			b.PublishedYear = &year
		}
		if made, err := s.CreateBook(ctx, b); err == nil { // some texts no book can have
			books = append(books, made.ID)
			if labels, _, err := s.FindCopies(ctx, made.ID, library.Page{Limit: 10}); err == nil && len(labels) > 0 {
				copies = append(copies, labels[0].ID)
			}
		}
	}
	for i := range rapid.IntRange(1, 8).Draw(t, "users") {
		u := library.User{Name: text.Draw(t, "name"), CardNumber: maybe("card", fmt.Sprint("@", i)), Email: maybe("email", fmt.Sprint("+", i, "@x.org"))}
		if rapid.Bool().Draw(t, "blocked") {
			u.Status, u.StatusReason = library.UserBlocked, maybe("reason", text.Draw(t, "reason text"))
		}
		if made, err := s.CreateUser(ctx, u); err == nil {
			users = append(users, made.ID)
		}
	}
	if len(books) == 0 || len(users) == 0 {
		return
	}
	for range rapid.IntRange(0, 60).Draw(t, "events") {
		book, user := rapid.SampledFrom(books).Draw(t, "book"), rapid.SampledFrom(users).Draw(t, "user")
		// What the rules refuse is refused: the library is a possible one whatever came of it.
		switch rapid.IntRange(0, 13).Draw(t, "event") {
		case 6:
			c := library.Copy{Barcode: fmt.Sprint(rapid.SampledFrom([]string{"c", "+", "'"}).Draw(t, "label"), len(copies)), Note: maybe("note", text.Draw(t, "note text"))}
			if made, err := s.CreateCopy(ctx, book, c); err == nil {
				copies = append(copies, made.ID)
			}
		case 7:
			if len(copies) == 0 {
				continue
			}
			status := rapid.SampledFrom([]library.CopyStatus{library.CopyAvailable, library.CopyLost, library.CopyDamaged, library.CopyWithdrawn}).Draw(t, "status")
			_, _ = s.UpdateCopy(ctx, rapid.SampledFrom(copies).Draw(t, "copy"), func(c *library.Copy) error {
				c.Status = status
				return nil
			})
		case 10, 11:
			if len(copies) == 0 {
				continue
			}
			c, err := s.FindCopy(ctx, rapid.SampledFrom(copies).Draw(t, "scanned"))
			if err == nil && c.Barcode != "" {
				_, _ = s.Lend(ctx, library.LendingRequest{UserID: user, Barcode: c.Barcode})
			}
		case 13: // several of the largest are more than one line may be
			line := library.AccountLine{UserID: user, Kind: library.LineCharge, Amount: rapid.SampledFrom([]int64{1, library.MaxAmount}).Draw(t, "amount"), Reason: "Wet"}
			_, _, _ = s.AddLine(ctx, line)
		case 12:
			if loans, _, err := s.FindLoans(ctx, library.LoanFilter{BookID: book, Status: library.LoanOpen}, library.LoanPage{Limit: 1}); err == nil && len(loans) > 0 {
				_, _ = s.LoseLoan(ctx, loans[0].ID, library.Loss{Charge: rapid.Int64Range(0, 9).Draw(t, "charge")})
			}
		case 8, 9:
			_, _ = s.PlaceHold(ctx, book, user)
		case 0, 1:
			_, _ = s.Borrow(ctx, book, user)
		case 2:
			_, _ = s.Return(ctx, book, user)
		case 3:
			_, _ = s.Renew(ctx, book, user)
		case 4:
			pass(rapid.IntRange(1, 20).Draw(t, "days"))
		case 5:
			if rapid.IntRange(0, 9).Draw(t, "delete") == 0 {
				_ = s.DeleteUser(ctx, user, nil)
			}
		}
	}
}
