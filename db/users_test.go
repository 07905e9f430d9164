package db_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"library-management/internal/dbtest"
	"library-management/library"
)

func TestUserIsKeptAsSent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		for _, want := range []library.User{
			{Name: "O'Brien; DROP TABLE users;--", Status: library.UserActive},
			{Name: "村上春樹 📚", Email: "Haruki@Example.ORG", CardNumber: "Ｃ１", Status: library.UserBlocked},
			{Name: strings.Repeat("🐛", library.MaxName), Email: strings.Repeat("x", library.MaxEmail-4) + "@x.y", CardNumber: strings.Repeat("é", library.MaxCardNumber), Status: library.UserBlocked, StatusReason: strings.Repeat("📚", library.MaxReason)},
		} {
			got, err := s.CreateUser(ctx, want)
			want.ID, want.BorrowedBooks = got.ID, []library.Book{}
			if diff := cmp.Diff(want, got); diff != "" || err != nil || got.ID == 0 {
				t.Fatalf("created %v (-want +got):\n%s", err, diff)
			}
			got, err = s.FindUser(ctx, want.ID)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("found %v (-want +got):\n%s", err, diff)
			}
		}
	})
}

func TestCreateUserIgnoresWhatIsNotTheCallers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		got, err := s.CreateUser(ctx, library.User{ID: 99, Name: " n ", TotalFines: 5, BorrowedBooks: []library.Book{{ID: 1}}})
		if diff := cmp.Diff(library.User{ID: got.ID, Name: "n", Status: library.UserActive, BorrowedBooks: []library.Book{}}, got); diff != "" || err != nil || got.ID == 99 {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		_, err = s.CreateUser(ctx, library.User{Name: " ", Email: "x", Status: "gone"})
		refused(t, err, library.ErrInvalid.Code)
		if diff := cmp.Diff([]string{"name", "email", "status"}, fields(err)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUnknownUser(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		gone := newUser(t, s).ID
		refused(t, s.DeleteUser(ctx, gone, nil), "")
		for _, id := range []int64{gone, 0, -1, 1 << 62, 1<<63 - 1} {
			_, err := s.FindUser(ctx, id)
			refused(t, err, library.ErrUserNotFound.Code)
			_, err = s.UpdateUser(ctx, id, func(*library.User) error { t.Error("change was called"); return nil })
			refused(t, err, library.ErrUserNotFound.Code)
			refused(t, s.DeleteUser(ctx, id, nil), library.ErrUserNotFound.Code)
		}
	})
}

func TestUpdateUser(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		u, b := newUser(t, s), newBook(t, s, 1)
		b, err := s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		want := library.User{ID: u.ID, Name: "New", Email: "N@x.org", CardNumber: "C", Status: library.UserActive, BorrowedBooks: []library.Book{b}}
		for range 2 {
			got, err := s.UpdateUser(ctx, u.ID, func(u *library.User) error {
				*u = library.User{ID: 3, Name: " New ", Email: "N@x.org", CardNumber: "C", TotalFines: 1000}
				return nil
			})
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Fatalf("%v (-want +got):\n%s", err, diff)
			}
		}
		_, err = s.UpdateUser(ctx, u.ID, func(u *library.User) error { u.Name = "\t"; return nil })
		refused(t, err, library.ErrInvalid.Code)
		got, err := s.UpdateUser(ctx, u.ID, func(u *library.User) error { u.Email, u.CardNumber = "", ""; return nil })
		want.Email, want.CardNumber = "", ""
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// The reason of a block goes with the block.
func TestUserStatus(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		u := newUser(t, s)
		for _, step := range []struct {
			change func(*library.User)
			status library.UserStatus
			reason string
		}{
			{func(u *library.User) { u.Status = library.UserBlocked }, library.UserBlocked, ""},
			{func(u *library.User) { u.StatusReason = " moved away " }, library.UserBlocked, "moved away"},
			{func(u *library.User) { u.Name = "N" }, library.UserBlocked, "moved away"},
			{func(u *library.User) { u.Status = library.UserActive }, library.UserActive, ""},
			{func(u *library.User) { u.StatusReason = "none" }, library.UserActive, ""},
			{func(u *library.User) { u.Status, u.StatusReason = library.UserBlocked, "card stolen" }, library.UserBlocked, "card stolen"},
		} {
			got, err := s.UpdateUser(ctx, u.ID, func(u *library.User) error { step.change(u); return nil })
			refused(t, err, "")
			stored, err := s.FindUser(ctx, u.ID)
			refused(t, err, "")
			for _, got := range []library.User{got, stored} {
				if got.Status != step.status || got.StatusReason != step.reason {
					t.Errorf("got %s, %q, want %s, %q", got.Status, got.StatusReason, step.status, step.reason)
				}
			}
		}
		refused(t, s.DeleteUser(ctx, u.ID, nil), "")
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestEmailAndCardNumberAreUnique(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		create := func(email, card string) (library.User, error) {
			return s.CreateUser(ctx, library.User{Name: "Ada", Email: email, CardNumber: card})
		}
		first, err := create("Ada@Example.org", "Cé1")
		refused(t, err, "")
		_, err = create("aDA@eXAMPLE.ORG", "")
		refused(t, err, library.ErrEmailTaken.Code)
		_, err = create("", "Cé1")
		refused(t, err, library.ErrCardNumberTaken.Code)
		_, err = create("ada@example.org", "Cé1")
		refused(t, err, library.ErrEmailTaken.Code)
		if diff := cmp.Diff([]string{"email", "card_number"}, fields(err)); diff != "" {
			t.Errorf("both are taken: %s", diff)
		}
		for _, other := range []string{"adá@example.org", "ada@example.org.", "ada@éxample.org", "📚@example.org", "🐛@example.org", "ß@example.org"} {
			if _, err := create(other, ""); err != nil {
				t.Errorf("email %q: %v", other, err)
			}
		}
		for _, same := range []string{"ADÁ@example.org", "ada\u0301@example.org", "ss@example.org", "SS@EXAMPLE.org", "ADA@ÉXAMPLE.ORG"} { // on SQLite too, whose LOWER knows ASCII only
			_, err = create(same, "")
			refused(t, err, library.ErrEmailTaken.Code)
			if diff := cmp.Diff([]string{"email"}, fields(err)); diff != "" {
				t.Errorf("email %q is taken: %s", same, diff)
			}
		}
		for _, other := range []string{"cé1", "CÉ1", "Ce1", "Ｃé1"} {
			if _, err := create("", other); err != nil {
				t.Errorf("card %q: %v", other, err)
			}
		}
		for range 2 {
			_, err = create("", "")
			refused(t, err, "")
		}

		second := newUser(t, s)
		take := func(u *library.User) error { u.Email, u.CardNumber = "ADA@example.org", "Cé1"; return nil }
		_, err = s.UpdateUser(ctx, second.ID, take)
		refused(t, err, library.ErrEmailTaken.Code)
		if diff := cmp.Diff([]string{"email", "card_number"}, fields(err)); diff != "" {
			t.Errorf("both are taken: %s", diff)
		}
		// A user's own address in other letters is not taken.
		if u, err := s.UpdateUser(ctx, first.ID, take); err != nil || u.Email != "ADA@example.org" {
			t.Errorf("got %q, %v", u.Email, err)
		}
		refused(t, s.DeleteUser(ctx, first.ID, nil), "")
		_, err = s.UpdateUser(ctx, second.ID, take)
		refused(t, err, "")
	})
}

// An email that an older release has stored, without the key that this one keeps, is found until a repair has made the key.
func TestEmailOfAnOlderRelease(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s, pool := d.Open(t), d.SQL(t)
		if _, err := pool.Exec(`INSERT INTO users (name, email) VALUES ('Ada', 'Ada@Example.org')`); err != nil {
			t.Fatal(err)
		}
		_, err := s.CreateUser(ctx, library.User{Name: "other", Email: "aDA@example.org"})
		refused(t, err, library.ErrEmailTaken.Code)
		other := newUser(t, s)
		_, err = s.UpdateUser(ctx, other.ID, func(u *library.User) error { u.Email = "ada@example.org"; return nil })
		refused(t, err, library.ErrEmailTaken.Code)
		got, err := s.ImportUsers(ctx, []func(*library.User){func(u *library.User) { u.Name, u.Email = "Ada Lovelace", "ADA@example.org" }})
		if err != nil || len(got) != 1 || got[0].Outcome != library.Updated {
			t.Errorf("import: got %+v, %v; want the user updated", got, err)
		}
	})
}

func TestFault_a_users_deletion_deletes_the_book(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		b := newBook(t, s, 1)
		u, err := s.CreateUser(ctx, library.User{Name: "Ada", Email: "a@b", CardNumber: "C"})
		refused(t, err, "")
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), library.ErrHasOpenLoans.Code)
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), library.ErrUserNotFound.Code)
		_, err = s.Borrow(ctx, b.ID, u.ID)
		refused(t, err, library.ErrUserNotFound.Code)
		_, err = s.Return(ctx, b.ID, u.ID)
		refused(t, err, library.ErrUserNotFound.Code)
		if list, _, err := s.FindUsers(ctx, library.Page{Limit: 10}); len(list) != 0 || err != nil {
			t.Errorf("still listed: %v, %v", list, err)
		}
		if got, err := s.FindBook(ctx, b.ID); err != nil || !got.Available() {
			t.Errorf("the book that the user had is %+v, %v", got, err)
		}
		_, err = s.Borrow(ctx, b.ID, newUser(t, s).ID)
		refused(t, err, "")
		pool := d.SQL(t)
		var loans int
		var name string
		if err := pool.QueryRow(`SELECT COUNT(*), MAX(u.name) FROM loans l JOIN users u ON u.id = l.user_id WHERE l.returned_on IS NOT NULL`).Scan(&loans, &name); err != nil || loans != 1 || name != "" {
			t.Errorf("history: %d loans of %q, %v; want 1 without the name", loans, name, err)
		}
		dbtest.CheckRules(t, pool, library.DefaultPolicy)
	})
}

func TestDeleteUser_refused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		c.set(t, "2026-03-01T12:00:00Z")
		s := d.Open(t, at(&c, library.DefaultPolicy))
		lent, held, u, other := newBook(t, s, 1), newBook(t, s, 1), newUser(t, s), newUser(t, s)
		for book, user := range map[int64]int64{lent.ID: u.ID, held.ID: other.ID} {
			_, err := s.Borrow(ctx, book, user)
			refused(t, err, "")
		}
		_, err := s.PlaceHold(ctx, held.ID, u.ID)
		refused(t, err, "")
		owed := library.AccountLine{UserID: u.ID, Kind: library.LineCharge, Amount: 2, Reason: "torn"}
		_, _, err = s.AddLine(ctx, owed)
		refused(t, err, "")
		reasons(t, s.DeleteUser(ctx, u.ID, nil), "has_open_loans", "has_holds", "has_balance")
		_, err = s.Return(ctx, lent.ID, u.ID)
		refused(t, err, "")
		reasons(t, s.DeleteUser(ctx, u.ID, nil), "has_holds", "has_balance")
		_, err = s.Return(ctx, held.ID, other.ID)
		refused(t, err, "")
		c.AddDays(library.DefaultPolicy.HoldDays + 1) // nobody has looked, and the hold has expired
		reasons(t, s.DeleteUser(ctx, u.ID, nil), "has_balance")
		owed.Kind = library.LineWaiver
		_, _, err = s.AddLine(ctx, owed)
		refused(t, err, "")
		refused(t, s.DeleteUser(ctx, u.ID, nil), "")
		refused(t, s.DeleteBook(ctx, held.ID, nil), "")
		dbtest.CheckRules(t, d.SQL(t), library.DefaultPolicy)
	})
}

func TestUsersArePagedByKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		s := d.Open(t)
		if list, next, err := s.FindUsers(ctx, library.Page{Limit: 10}); list == nil || len(list) != 0 || next != 0 || err != nil {
			t.Errorf("empty library: %v, %d, %v; want an empty list, not null", list, next, err)
		}
		var ids []int64
		for range 7 {
			ids = append(ids, newUser(t, s).ID)
		}
		refused(t, s.DeleteUser(ctx, ids[1], nil), "")
		refused(t, s.DeleteUser(ctx, ids[6], nil), "")
		var got []int64
		var pages int
		for p := (library.Page{Limit: 2}); ; pages++ {
			list, next, err := s.FindUsers(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range list {
				got = append(got, u.ID)
			}
			if next == 0 {
				break
			}
			if p.After = next; pages == 0 {
				refused(t, s.DeleteUser(ctx, next, nil), "") // where the cursor stands
			}
		}
		if diff := cmp.Diff([]int64{ids[0], ids[2], ids[3], ids[4], ids[5]}, got); diff != "" || pages != 2 {
			t.Errorf("%d pages (-want +got):\n%s", pages+1, diff)
		}
	})
}

// The order is that of borrowing, and each book shows this user's own due date, whoever else has a copy.
func TestBorrowedBooksInOrderWithTheirOwnDueDates(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.Database) {
		var c clock
		p := library.Policy{BorrowLimit: 5, LoanDays: 14, FinePerDay: 1}
		s := d.Open(t, at(&c, p))
		first, second, third := newBook(t, s, 2), newBook(t, s, 2), newBook(t, s, 5)
		ada, bob := newUser(t, s), newUser(t, s)
		for _, loan := range []struct {
			now  string
			book library.Book
			user library.User
		}{
			{"2026-01-01T00:00:00Z", third, bob}, {"2026-01-02T00:00:00Z", third, ada}, {"2026-01-03T00:00:00Z", first, ada},
			{"2026-01-04T00:00:00Z", second, ada}, {"2026-01-05T00:00:00Z", first, bob},
		} {
			c.set(t, loan.now)
			_, err := s.Borrow(ctx, loan.book.ID, loan.user.ID)
			refused(t, err, "")
		}
		_, err := s.Return(ctx, third.ID, ada.ID)
		refused(t, err, "")
		c.set(t, "2026-01-06T00:00:00Z")
		_, err = s.Borrow(ctx, third.ID, ada.ID)
		refused(t, err, "")

		type out struct {
			Book, By int64
			Due      string
			Free     int
		}
		shown := func(u library.User) (list []out) {
			for _, b := range u.BorrowedBooks {
				list = append(list, out{b.ID, *b.BorrowedByID, b.DueDate.String(), b.CopiesAvailable})
			}
			return list
		}
		users, _, err := s.FindUsers(ctx, library.Page{Limit: 10})
		refused(t, err, "")
		for i, want := range [][]out{
			{{first.ID, ada.ID, "2026-01-17", 0}, {second.ID, ada.ID, "2026-01-18", 1}, {third.ID, ada.ID, "2026-01-20", 3}},
			{{third.ID, bob.ID, "2026-01-15", 3}, {first.ID, bob.ID, "2026-01-19", 0}},
		} {
			if diff := cmp.Diff(want, shown(users[i])); diff != "" {
				t.Errorf("listed user %d (-want +got):\n%s", i, diff)
			}
			one, err := s.FindUser(ctx, users[i].ID)
			if diff := cmp.Diff(users[i], one); diff != "" || err != nil {
				t.Errorf("%v (-listed +alone):\n%s", err, diff)
			}
		}
	})
}
