package handlers_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"library-management/handlers"
	"library-management/internal/dbtest"
	"library-management/library"
)

// failing is a store whose every method fails with err.
type failing struct{ err error }

func (f failing) CreateBook(context.Context, library.Book) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) FindBook(context.Context, int64) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) FindBooks(context.Context, library.Page) ([]library.Book, int64, error) {
	return nil, 0, f.err
}
func (f failing) SearchBooks(context.Context, library.BookQuery, *library.Place, int) ([]library.Book, *library.Place, error) {
	return nil, nil, f.err
}
func (f failing) SearchUsers(context.Context, library.UserQuery, *library.Place, int) ([]library.User, *library.Place, error) {
	return nil, nil, f.err
}
func (f failing) UpdateBook(context.Context, int64, func(*library.Book) error) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) DeleteBook(context.Context, int64, func(library.Book) error) error { return f.err }
func (f failing) Scan(context.Context, string) ([]library.Match, error)             { return nil, f.err }
func (f failing) Lend(context.Context, library.LendingRequest) (library.Lent, error) {
	return library.Lent{}, f.err
}
func (f failing) PreviewLend(context.Context, library.LendingRequest) (library.Lent, error) {
	return library.Lent{}, f.err
}
func (f failing) TakeBack(context.Context, library.LendingRequest) (library.ReturnedLoan, error) {
	return library.ReturnedLoan{}, f.err
}
func (f failing) LoseLoan(context.Context, int64, library.Loss) (library.ReturnedLoan, error) {
	return library.ReturnedLoan{}, f.err
}
func (f failing) FindCopies(context.Context, int64, library.Page) ([]library.Copy, int64, error) {
	return nil, 0, f.err
}
func (f failing) FindCopy(context.Context, int64) (library.Copy, error) {
	return library.Copy{}, f.err
}
func (f failing) CreateCopy(context.Context, int64, library.Copy) (library.Copy, error) {
	return library.Copy{}, f.err
}
func (f failing) UpdateCopy(context.Context, int64, func(*library.Copy) error) (library.Copy, error) {
	return library.Copy{}, f.err
}
func (f failing) DeleteCopy(context.Context, int64, func(library.Copy) error) error { return f.err }
func (f failing) CreateUser(context.Context, library.User) (library.User, error) {
	return library.User{}, f.err
}
func (f failing) FindUser(context.Context, int64) (library.User, error) {
	return library.User{}, f.err
}
func (f failing) FindUsers(context.Context, library.Page) ([]library.User, int64, error) {
	return nil, 0, f.err
}
func (f failing) UpdateUser(context.Context, int64, func(*library.User) error) (library.User, error) {
	return library.User{}, f.err
}
func (f failing) DeleteUser(context.Context, int64, func(library.User) error) error { return f.err }
func (f failing) Borrow(context.Context, int64, int64) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) Return(context.Context, int64, int64) (library.ReturnedBook, error) {
	return library.ReturnedBook{}, f.err
}
func (f failing) PlaceHold(context.Context, int64, int64) (library.Hold, error) {
	return library.Hold{}, f.err
}
func (f failing) CancelHold(context.Context, int64, int64) error { return f.err }
func (f failing) FindHolds(context.Context, library.HoldFilter, library.HoldPage) ([]library.Hold, library.HoldPlace, error) {
	return nil, library.HoldPlace{}, f.err
}
func (f failing) PreviewBorrow(context.Context, int64, int64) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) Renew(context.Context, int64, int64) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) PreviewRenewal(context.Context, int64, int64) (library.Book, error) {
	return library.Book{}, f.err
}
func (f failing) RenewLoan(context.Context, int64) (library.Loan, error) {
	return library.Loan{}, f.err
}
func (f failing) PreviewLoanRenewal(context.Context, int64) (library.Loan, error) {
	return library.Loan{}, f.err
}
func (f failing) ReturnLoan(context.Context, int64) (library.ReturnedLoan, error) {
	return library.ReturnedLoan{}, f.err
}
func (f failing) FindLoan(context.Context, int64) (library.Loan, error) {
	return library.Loan{}, f.err
}
func (f failing) FindLoans(context.Context, library.LoanFilter, library.LoanPage) ([]library.Loan, library.LoanPlace, error) {
	return nil, library.LoanPlace{}, f.err
}
func (f failing) FindUserLoans(context.Context, library.LoanFilter, library.LoanPage) ([]library.Loan, library.LoanPlace, error) {
	return nil, library.LoanPlace{}, f.err
}

func (f failing) Export(context.Context, library.ExportFile, library.ExportPlace, int) ([]library.ExportRow, library.ExportPlace, error) {
	return nil, library.ExportPlace{}, f.err
}
func (f failing) FindAccount(context.Context, int64, library.Page) (library.Account, int64, error) {
	return library.Account{}, 0, f.err
}
func (f failing) AddLine(context.Context, library.AccountLine) (library.AccountLine, int64, error) {
	return library.AccountLine{}, 0, f.err
}

func (f failing) Stats(context.Context, int) (library.Stats, error) {
	return library.Stats{}, f.err
}

func (f failing) CreateKey(context.Context, library.NewKey) (library.Key, string, error) {
	return library.Key{}, "", f.err
}
func (f failing) FindKeys(context.Context, library.Page) ([]library.Key, int64, error) {
	return nil, 0, f.err
}
func (f failing) RevokeKey(context.Context, string) error { return f.err }
func (f failing) Authenticate(context.Context, string) (library.Caller, error) {
	return library.Caller{KeyID: "admin", Role: library.RoleAdmin}, nil
}
func (f failing) BeginSession(context.Context, string, string) (library.Session, error) {
	return library.Session{}, f.err
}
func (f failing) AuthenticateSession(context.Context, string) (library.Caller, error) {
	return library.Caller{}, f.err
}
func (f failing) EndSession(context.Context, string) error { return f.err }

// keyless is a store that cannot even find out whose key it is.
type keyless struct{ failing }

func (k keyless) Authenticate(context.Context, string) (library.Caller, error) {
	return library.Caller{}, k.err
}

const (
	sampleBook = `{"title":"Dune","author":"Herbert","isbn":"9780441013593","barcode":"B1"}`
	sampleUser = `{"name":"Ada","email":"ada@example.org","card_number":"C1"}`
)

// sampleRequests have a request for each operation: the method, the path and the body. TOKEN stands for a key, and ADMIN for its id.
var sampleRequests = map[string]string{
	"list-books": "GET /books/", "create-book": "POST /books/ " + sampleBook, "get-book": "GET /books/1", "replace-book": "PUT /books/1 " + sampleBook,
	"update-book": "PATCH /books/1 " + sampleBook, "delete-book": "DELETE /books/1",
	"list-copies": "GET /books/1/copies", "create-copy": "POST /books/1/copies " + `{"barcode":"L1"}`, "get-copy": "GET /copies/1",
	"update-copy": "PATCH /copies/1 " + `{"note":"torn"}`, "delete-copy": "DELETE /copies/1",
	"scan-code": "GET /scan/?code=B1", "create-loan": "POST /loans/ " + `{"user_id":1,"book_id":1}`, "create-return": "POST /returns/ " + `{"book_id":1}`, "lose-loan": "POST /loans/1/lost {}",
	"list-users": "GET /users/", "create-user": "POST /users/ " + sampleUser, "get-user": "GET /users/1", "replace-user": "PUT /users/1 " + sampleUser,
	"update-user": "PATCH /users/1 " + sampleUser, "delete-user": "DELETE /users/1",
	"borrow-book": "POST /books/1/borrow/1", "return-book": "POST /books/1/return/1",
	"list-loans": "GET /loans/", "get-loan": "GET /loans/1", "list-user-loans": "GET /users/1/loans",
	"renew-book": "POST /books/1/renew/1", "renew-loan": "POST /loans/1/renew", "return-loan": "POST /loans/1/return",
	"place-hold": "POST /books/1/holds/1", "cancel-hold": "DELETE /books/1/holds/1", "list-holds": "GET /holds/",
	"list-book-holds": "GET /books/1/holds", "list-user-holds": "GET /users/1/holds",
	"get-stats": "GET /stats", "export-books": "GET /export/books.csv", "export-users": "GET /export/users.csv", "export-loans": "GET /export/loans.csv", "export-copies": "GET /export/copies.csv", "export-holds": "GET /export/holds.csv",
	"get-account": "GET /users/1/account", "add-payment": "POST /users/1/payments " + `{"amount":3,"note":"cash"}`,
	"add-waiver": "POST /users/1/waivers " + `{"amount":3,"reason":"lost in the post"}`, "add-charge": "POST /users/1/charges " + `{"amount":3,"reason":"lost"}`,
	"list-keys": "GET /keys/", "create-key": "POST /keys/ " + `{"name":"Desk","role":"desk"}`, "revoke-key": "DELETE /keys/ADMIN",
	"begin-session": "POST /session " + `{"key":"TOKEN"}`, "end-session": "DELETE /session",
	"check-liveness": "GET /livez", "check-readiness": "GET /readyz", "explain-problem": "GET /problems/invalid",
}

// TestCodes meets each problem that the document says an operation can answer, from an empty library on. Those that hang
// on the state of the database's server, or on two requests at one instant, are the store's to provoke: here it is told to
// answer so, and db's tests see that it does (TestOutcome…, TestIdempotency…, TestGate…).
func TestCodes(t *testing.T) {
	const book, user = sampleBook, sampleUser
	requests := maps.Clone(sampleRequests)
	byStore := map[string]*library.Error{
		"unavailable": library.ErrUnavailable, "overloaded": library.ErrOverloaded,
		"unknown_outcome": library.ErrUnknownOutcome, "storage_full": library.ErrStorageFull, "idempotency_key_in_use": library.ErrIdempotencyKeyInUse,
		"overdue": library.ErrOverdue, "blocked": library.ErrBlocked, "fines_owed": library.ErrFinesOwed,
	}
	// What comes before it, and the request itself where it differs, by the code or by the operation and the code.
	another := "POST /books/ " + `{"title":"Another","author":"A"}`
	twoUsers := []string{"POST /users/ " + user, "POST /users/ " + `{"name":"Bob"}`}
	// The second user has the first book.
	lent := append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/2")
	five := append(slices.Clone(lent), `POST /users/ {"name":"Cem"}`, `POST /users/ {"name":"Dot"}`)
	for i := 2; i <= 6; i++ {
		five = append(five, another, sprint("POST /books/%d/borrow/%d", i, 2+i/2%3), sprint("POST /books/%d/holds/1", i))
	}
	two := append(slices.Clone(twoUsers), `POST /users/ {"name":"Cem"}`, "POST /books/ "+`{"title":"T","author":"A","copies":2}`,
		"POST /books/1/borrow/1", "POST /books/1/borrow/2", "POST /books/1/holds/3", "POST /books/1/return/1")
	provoke := map[string][]string{
		"replace-book copies_on_hold":    append(slices.Clone(two), "PUT /books/1 "+`{"title":"T","author":"A","copies":1}`),
		"update-book copies_on_hold":     append(slices.Clone(two), "PATCH /books/1 "+`{"copies":1}`),
		"available":                      {"POST /users/ " + user, "POST /books/ " + book, ""},
		"already_on_hold":                append(slices.Clone(lent), "POST /books/1/holds/1", ""),
		"hold_limit":                     append(slices.Clone(five), ""),
		"hold_not_found":                 append(slices.Clone(lent), ""),
		"has_holds":                      append(slices.Clone(lent), "POST /books/1/holds/1", "POST /books/1/return/2", ""),
		"on_hold":                        append(slices.Clone(lent), `POST /users/ {"name":"Cem"}`, "POST /books/1/holds/3", "POST /books/1/return/2", ""),
		"renew-book on_hold":             append(slices.Clone(lent), "POST /books/1/holds/1", "POST /books/1/renew/2"),
		"renew-loan on_hold":             append(slices.Clone(lent), "POST /books/1/holds/1", ""),
		"list-user-holds user_not_found": {""},
		"book_not_found":                 {"POST /users/ " + user, ""}, "user_not_found": {"POST /books/ " + book, ""},
		"precondition_failed": {"POST /books/ " + `{"title":"T","author":"A"}`, "POST /users/ " + `{"name":"N"}`, "POST /books/1/copies " + `{"barcode":"B"}`, ""},
		"has_open_loans":      {"POST /books/ " + book, "POST /users/ " + user, "POST /books/1/borrow/1", ""},
		"already_borrowed":    {"POST /books/ " + book, "POST /users/ " + user, "POST /books/1/borrow/1", ""},
		"not_borrowed":        {"POST /books/ " + book, "POST /users/ " + user, ""},
		"not_available":       append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/2", ""),
		"borrow_limit":        {"POST /users/ " + user, "POST /books/ " + book, another, another, "POST /books/2/borrow/1", "POST /books/3/borrow/1", ""},

		"renewal_limit":            append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/1", "POST /books/1/renew/1", "POST /loans/1/renew", ""),
		"renew-loan not_borrowed":  append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/1", "POST /books/1/return/1", ""),
		"return-loan not_borrowed": append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/1", "POST /books/1/return/1", ""),

		"create-book barcode_taken":     {"POST /books/ " + `{"title":"T","author":"A","barcode":"B1"}`, ""},
		"create-book isbn_taken":        {"POST /books/ " + `{"title":"T","author":"A","isbn":"9780441013593"}`, ""},
		"barcode_taken":                 {another, "POST /books/ " + `{"title":"T","author":"A","barcode":"B1"}`, ""},
		"isbn_taken":                    {another, "POST /books/ " + `{"title":"T","author":"A","isbn":"9780441013593"}`, ""},
		"create-user email_taken":       {"POST /users/ " + `{"name":"N","email":"ADA@example.org"}`, ""},
		"create-user card_number_taken": {"POST /users/ " + `{"name":"N","card_number":"C1"}`, ""},
		"email_taken":                   {"POST /users/ " + `{"name":"N"}`, "POST /users/ " + `{"name":"N","email":"ADA@example.org"}`, ""},
		"card_number_taken":             {"POST /users/ " + `{"name":"N"}`, "POST /users/ " + `{"name":"N","card_number":"C1"}`, ""},

		"replace-book copies_on_loan":      append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","copies":2}`, "POST /books/1/borrow/1", "POST /books/1/borrow/2", "PUT /books/1 "+`{"title":"T","author":"A","copies":1}`),
		"update-book copies_on_loan":       append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","copies":2}`, "POST /books/1/borrow/1", "POST /books/1/borrow/2", "PATCH /books/1 "+`{"copies":1}`),
		"replace-book copies_labelled":     {"POST /books/ " + book, "POST /books/1/copies " + `{"barcode":"L2"}`, "PUT /books/1 " + `{"title":"T","author":"A","copies":1}`},
		"update-book copies_labelled":      {"POST /books/ " + book, "POST /books/1/copies " + `{"barcode":"L2"}`, "PATCH /books/1 " + `{"copies":1}`},
		"create-copy barcode_taken":        {"POST /books/ " + `{"title":"T","author":"A","barcode":"L1"}`, ""},
		"update-copy barcode_taken":        {"POST /books/ " + book, "POST /books/1/copies " + `{"barcode":"L2"}`, "PATCH /copies/1 " + `{"barcode":"L2"}`},
		"update-copy copy_on_loan":         append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /loans/ "+`{"user_id":1,"barcode":"B1"}`, "PATCH /copies/1 "+`{"status":"damaged"}`),
		"delete-copy copy_on_loan":         append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /loans/ "+`{"user_id":1,"barcode":"B1"}`, ""),
		"update-copy copies_on_loan":       {"POST /books/ " + book, "POST /users/ " + user, "POST /books/1/borrow/1", "PATCH /copies/1 " + `{"status":"damaged"}`},
		"delete-copy copies_on_loan":       {"POST /books/ " + book, "POST /users/ " + user, "POST /books/1/borrow/1", ""},
		"update-copy copies_on_hold":       append(slices.Clone(two), "POST /books/1/copies "+`{"barcode":"L1"}`, "PATCH /copies/1 "+`{"status":"damaged"}`),
		"delete-copy copies_on_hold":       append(slices.Clone(two), "POST /books/1/copies "+`{"barcode":"L1"}`, ""),
		"unknown_code":                     {""},
		"create-loan copy_not_found":       {"POST /users/ " + user, "POST /loans/ " + `{"user_id":1,"barcode":"X"}`},
		"create-loan copy_on_loan":         append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","barcode":"B1","copies":2}`, "POST /loans/ "+`{"user_id":2,"barcode":"B1"}`, "POST /loans/ "+`{"user_id":1,"barcode":"B1"}`),
		"create-loan copy_not_circulating": append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","barcode":"B1","copies":2}`, "PATCH /copies/1 "+`{"status":"lost"}`, "POST /loans/ "+`{"user_id":1,"barcode":"B1"}`),
		"create-return copy_not_found":     {"POST /returns/ " + `{"barcode":"X"}`},
		"create-return user_not_found":     {"POST /books/ " + book, "POST /returns/ " + `{"barcode":"B1","user_id":9}`},
		"create-return which_user":         append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","copies":2}`, "POST /books/1/borrow/1", "POST /books/1/borrow/2", ""),
		"lose-loan not_borrowed":           append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/1", "POST /books/1/return/1", ""),
		"lose-loan copy_not_found":         append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/borrow/1", "POST /loans/1/lost "+`{"barcode":"X"}`),
		"lose-loan copy_on_loan":           append(slices.Clone(twoUsers), "POST /books/ "+`{"title":"T","author":"A","barcode":"B1","copies":2}`, "POST /books/1/borrow/1", "POST /loans/ "+`{"user_id":2,"barcode":"B1"}`, "POST /loans/1/lost "+`{"barcode":"B1"}`),
		"lose-loan which_copy":             append(slices.Clone(twoUsers), "POST /books/ "+book, "POST /books/1/copies "+`{"barcode":"B2"}`, "POST /books/1/borrow/1", ""),
		"copy_not_found":                   {""},
		"loan_not_found":                   {""}, "list-user-loans user_not_found": {""},

		"get-account user_not_found": {""}, "add-payment user_not_found": {""}, "add-waiver user_not_found": {""}, "add-charge user_not_found": {""},
		"has_balance":     {"POST /users/ " + user, "POST /users/1/charges " + `{"amount":2,"reason":"lost"}`, ""},
		"exceeds_balance": {"POST /users/ " + user, "POST /users/1/charges " + `{"amount":2,"reason":"lost"}`, ""},

		"explain-problem not_found": {"GET /problems/none"},
		"key_not_found":             {"DELETE /keys/none"},
		"begin-session key_unknown": {"POST /session " + `{"key":"wrong"}`},
	}
	// Everything is asked with an admin's key, unless a code needs another.
	sendAs := func(t *testing.T, app *fiber.App, token, request string, headers ...string) answer {
		t.Helper()
		if !slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(h, "Authorization:") || strings.HasPrefix(h, "Cookie:") }) {
			headers = append(headers, "Authorization: Bearer "+token)
		}
		id, _ := library.ParseToken(token)
		request = strings.NewReplacer("TOKEN", token, "ADMIN", id).Replace(request)
		words := append(strings.SplitN(request, " ", 3), "")
		return call(t, app, words[0], words[1], words[2], headers...)
	}
	for _, methods := range document().Paths {
		for _, op := range methods {
			request, ok := requests[op.OperationID]
			if !ok {
				t.Errorf("%s: this test does not know it", op.OperationID)
				continue
			}
			for _, response := range op.Responses {
				for code := range response.Content["application/problem+json"].Examples {
					t.Run(op.OperationID+"/"+code, func(t *testing.T) {
						if err := unread[code]; err != nil {
							words := strings.Fields(request)
							unreadable(t, words[0], words[1], err).problem(problemStatus[code], code)
							return
						}
						store := library.Store(dbtest.SQLite(t).Open(t))
						token, readers := newKey(t, store, library.RoleAdmin), newKey(t, store, library.RoleReader)
						request, headers := request, []string(nil)
						send := func(t *testing.T, app *fiber.App, request string, headers ...string) answer {
							t.Helper()
							return sendAs(t, app, token, request, headers...)
						}
						access := handlers.Closed
						steps, known := provoke[op.OperationID+" "+code]
						if !known {
							steps, known = provoke[code]
						}
						var ready error
						switch {
						case byStore[code] != nil:
							store = failing{byStore[code]}
							if op.OperationID == "explain-problem" {
								store = keyless{failing{byStore[code]}}
							}
							if op.OperationID == "end-session" {
								headers = []string{"Cookie: " + cookieName(t, newApp(still{}, closed)) + "=x"}
							}
						case code == "internal":
							if strings.HasPrefix(request, "GET /livez") || strings.HasPrefix(request, "GET /readyz") || strings.HasPrefix(request, "GET /problems/") {
								t.Skip("nothing in it can fail: it stands for a panic, which TestPanic has")
							}
							store = failing{errors.New("disk on fire")}
							if op.OperationID == "end-session" {
								headers = []string{"Cookie: " + cookieName(t, newApp(still{}, closed)) + "=x"}
							}
						case code == "not_ready":
							ready = errors.New("draining")
						case code == "invalid":
							target := strings.Fields(request)[1]
							request = strings.Replace(request, target, with(target, "unknown=1"), 1)
						case code == "malformed" && slices.Contains([]string{"check-liveness", "check-readiness", "end-session"}, op.OperationID):
							words := strings.Fields(request)
							exchange(t, serve(t, newApp(store)), sprint("%s %s HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", words[0], words[1]))[0].problem(400, code)
							return
						case code == "malformed" && !strings.Contains(request, "{"):
							headers = []string{"Authorization: Bearer " + token + ", Bearer " + token}
						case code == "malformed":
							request = request[:strings.Index(request, "{")+1]
						case code == "too_large":
							words := strings.Fields(request) // fasthttp refuses it before the app, so that only a connection has the answer
							exchange(t, serve(t, newApp(store)), sprint("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", words[0], words[1], handlers.BodyLimit+1))[0].problem(413, code)
							return
						case code == "unsupported_media_type":
							headers = []string{"Content-Type: text/plain"}
						case code == "precondition_failed":
							headers = []string{`If-Match: "another"`}
						case code == "foreign_host":
							headers, access = []string{"Host: evil.example"}, handlers.OpenToAll
						case code == "cross_origin":
							headers = []string{"Sec-Fetch-Site: cross-site", "Cookie: " + beginSession(t, newApp(store, closed), token)}
						case code == "key_needed":
							headers = []string{"Cookie: another=1"}
						case code == "key_unknown" && !known:
							headers = []string{"Authorization: Bearer wrong"}
						case code == "key_in_url":
							request = strings.Replace(request, strings.Fields(request)[1], with(strings.Fields(request)[1], "key="+token), 1)
						case code == "not_allowed":
							headers = []string{"Authorization: Bearer " + readers}
							if slices.Contains([]string{"list-books", "get-book", "list-copies", "get-copy"}, op.OperationID) {
								headers = []string{"Authorization: Bearer " + rootKey}
							}
						case code == "session_ended":
							headers = []string{"Cookie: " + cookieName(t, newApp(store, closed)) + "=ended"}
						case code == "too_many_failures":
							if headers = []string{"Authorization: Bearer wrong"}; op.OperationID == "begin-session" {
								request = "POST /session " + `{"key":"wrong"}`
							}
							for range 10 {
								steps = append(steps, "")
							}
							steps = append(steps, request)
						case code == "idempotency_key_reused":
							headers = []string{"Idempotency-Key: k"}
						case !known:
							t.Fatal("documented, and this test cannot provoke it")
						}
						app := newApp(store, closed, func(c *handlers.Config) {
							c.Access, c.Ready = access, func(context.Context) error { return ready }
						})
						if code == "idempotency_key_reused" {
							send(t, app, "POST /users/ "+`{"name":"First"}`, headers...).want(201)
						}
						for _, step := range steps[:max(len(steps)-1, 0)] {
							if step == "" {
								send(t, app, request, headers...).want(401)
								continue
							}
							if a := send(t, app, step); a.status > 201 {
								t.Fatalf("%s: got %d %s", step, a.status, a.body)
							}
						}
						if len(steps) > 0 && steps[len(steps)-1] != "" {
							request = steps[len(steps)-1]
						}
						if a := send(t, app, request, headers...); a.status < 400 || a.object()["code"] != code {
							t.Errorf("%s: got %d %s, want %s", request, a.status, a.body, code)
						}
					})
				}
			}
			delete(requests, op.OperationID)
		}
	}
	if len(requests) > 0 {
		t.Errorf("no such operations: %q", slices.Sorted(maps.Keys(requests)))
	}
}

// unread are what becomes of requests that the server gives up, whatever the operation, by the code of the answer.
var unread = map[string]error{
	"request_timeout":   &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
	"headers_too_large": &fasthttp.ErrSmallBuffer{},
	"timeout":           fiber.ErrGatewayTimeout,
}

var problemStatus = map[string]int{"request_timeout": 408, "headers_too_large": 431, "timeout": 504}

// unreadable is the answer to a request of which the server, or Lambda, says err.
func unreadable(t *testing.T, method, target string, err error) answer {
	t.Helper()
	app := newApp(broken{})
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(target)
	if errors.Is(err, fiber.ErrGatewayTimeout) {
		c := app.AcquireCtx(&ctx)
		defer app.ReleaseCtx(c)
		if err := app.ErrorHandler(c, err); err != nil {
			t.Fatal(err)
		}
	} else {
		app.Server().ErrorHandler(&ctx, err)
	}
	a := answer{t, ctx.Response.StatusCode(), http.Header{}, string(ctx.Response.Body())}
	for name, value := range ctx.Response.Header.All() {
		a.header.Add(string(name), string(value))
	}
	checkDocumented(t, method, target, a)
	return a
}

// with adds a parameter to a target.
func with(target, parameter string) string {
	if strings.Contains(target, "?") {
		return target + "&" + parameter
	}
	return target + "?" + parameter
}
