package desk_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestFind(t *testing.T) {
	s := shelf(t, "A")
	s.book("Germinal", "Émile Zola")
	s.book("Dune", "Frank Herbert", "barcode", "3011201")
	s.member("Émilie du Châtelet", "C-EMILIE")
	p := s.open("/desk#find")
	p.wait(`document.activeElement.id === "q"`)
	p.press("emil")
	p.shows("main", "Émilie du Châtelet", "Germinal", "open the member's card first")
	p.accessible("find")
	p.click(".rows button", "Open at the desk")
	p.shows(".member", "Émilie du Châtelet")
	p.click("nav a", "Find")
	p.wait(`document.activeElement.id === "q"`)
	p.press("germinal")
	p.shows("main", "Germinal")
	p.click(".rows button", "Lend to Émilie du Châtelet")
	p.line("Done", "Germinal", "Lent to Émilie")
	p.click("nav a", "Find")
	p.wait(`document.activeElement.id === "q"`)
	p.press("qqq")
	p.shows("main", "Nothing is found")
	p.press("\b\b\b3011201") // a barcode, which no title has
	p.shows(".rows", "Dune")
	s.call("POST", "/books/1/borrow/1", nil)
	p.press("\b\b\b\b\b\b\bbook a")
	p.shows(".rows", "Due ")
	p.click(".rows button", "Take back, or hold for Émilie du Châtelet…") // and not "Lend to", which it cannot be
	p.line("Look", "Book A", "On loan to Ada Lovelace", "Take it back from Ada Lovelace", "Place a hold for Émilie du Châtelet")
}

func TestEdit(t *testing.T) {
	s := shelf(t, "A")
	p := s.open("/desk#add-book")
	p.wait(`document.activeElement.name === "isbn"`)
	p.accessible("add-book")
	p.scan("9780441478125")                             // a scanner's Enter saves nothing
	p.wait(`document.activeElement.name === "barcode"`) // and the next scan is that of the copy
	p.press("B-LEFT\rThe Left Hand of Darkness\rUrsula K. Le Guin\r1x")
	p.click("form.edit button", "Save")
	p.shows("form.edit", "must be a whole number")
	p.wait(`document.activeElement.name === "published_year"`)
	p.accessible("add-book-problem")
	p.press("1969") // in its place
	p.wait(`!document.querySelector("form.edit .alarm")`)
	p.click("form.edit button", "Save")
	p.shows("h1", "The Left Hand of Darkness")
	p.shows(".notice.done", "The Left Hand of Darkness: saved")
	p.shows("main", "B-LEFT", "1969", "1 of 1 free", "Nobody has it now", "Nobody waits", "Never lent before")
	p.accessible("book")
	p.click("main a", "Edit")
	p.wait(`document.querySelector("form.edit")?.title.value === "The Left Hand of Darkness"`)
	p.click("form.edit button", "Save")
	p.shows("h1", "The Left Hand of Darkness")

	p.click("nav a", "Add a book")
	p.wait(`document.activeElement.name === "isbn"`)
	p.scan("0-441-47812-3")
	p.shows("form.edit", "In the catalogue already: The Left Hand of Darkness")

	p.click("nav a", "Add a member")
	p.wait(`document.activeElement.name === "name"`)
	p.press("Alan Turing\rC-ADA")
	p.click("form.edit button", "Save")
	p.shows("main", "Another member has this card number")
	p.accessible("add-member-problem")
	p.wait(`document.activeElement.name === "card_number"`)
	p.press("C-ALAN") // in its place
	p.wait(`!document.querySelector(".notice, form.edit .alarm")`)
	p.click("form.edit button", "Save")
	p.shows("h1", "Alan Turing")
	p.shows("main", "C-ALAN", "Nothing is on loan", "No holds")
	p.accessible("member-new")
	p.scan("B-LEFT") // wherever one scans, it is at the desk
	p.line("Look", "The Left Hand of Darkness", "Not on loan")
	p.wait(`location.hash === "#desk"`)
}

func TestMember(t *testing.T) {
	s := shelf(t, "AB")
	s.call("POST", "/books/1/borrow/1", nil)
	s.call("POST", "/books/2/borrow/1", nil)
	s.call("POST", "/books/2/return/1", nil)
	s.call("POST", "/users/1/charges", map[string]any{"amount": 12, "reason": "Coffee on page 12"})
	s.call("POST", "/books/1/holds/2", nil)
	p := s.open("/desk#member/1")
	p.shows("h1", "Ada Lovelace")
	p.shows("main", "Book A", "due ", "Book B", "Coffee on page 12")
	p.accessible("member")

	p.click("summary", "Payment")
	p.wait(`document.activeElement.name === "amount"`)
	p.press("5") // in place of all that is owed
	p.accessible("member-payment")
	p.click("details[open] button", "Take the payment")
	p.shows(".notice", "5 paid")
	p.shows(".sums", "7")
	p.wait(`!document.querySelector("details[open]")`)
	p.click("summary", "Waiver")
	p.wait(`document.activeElement.name === "amount"`)
	p.click("details[open] button", "Waive")
	p.wait(`document.activeElement.name === "about"`) // the browser says that the reason is missing
	p.press("Our coffee")
	p.click("details[open] button", "Waive")
	p.shows(".notice", "7 waived")

	p.click("main button", "Renew")
	p.shows(".notice.no", "Set aside for somebody else")
	p.click("main button", "Return")
	p.shows(".notice", "Book A: returned")
	p.shows("main", "Nothing is on loan")

	p.click("summary", "Block")
	p.wait(`document.activeElement.name === "reason"`)
	p.press("Lost the card")
	p.click("details[open] button", "Block")
	p.shows("main", "Blocked: Lost the card")
	p.accessible("member-blocked")
	p.click("main button", "Unblock")
	p.shows(".notice", "active again")

	p.do(chromedp.Navigate(s.url + "/desk#member/2"))
	p.shows("main", "Book A", "ready until")
	p.click("main summary", "Cancel the hold") // asks
	p.shows("main", "ready until")
	p.click("main button", "Yes: Grace Hopper loses the place in the queue")
	p.shows("main", "No holds")
}

// TestMember_lost: a lost book ends its loan, with what is charged for it; of which copy, the desk has to know.
func TestMember_lost(t *testing.T) {
	s := shelf(t, "A")
	s.book("Dune", "Frank Herbert", "barcode", "B-D", "copies", 2)
	s.call("POST", "/books/2/borrow/1", nil)
	s.call("POST", "/loans/", map[string]any{"user_id": 1, "barcode": "B-A"})
	p := s.open("/desk#member/1")
	p.shows("main", "Book A", "Dune")
	p.click("summary", "Lost") // of the newest loan
	p.wait(`document.activeElement.name === "charge"`)
	p.press("15 each")
	p.accessible("member-lost")
	p.click("details[open] button", "Lost")
	p.shows(".notice.no", "must be a whole number")
	p.press("15") // in its place
	p.wait(`!document.querySelector(".notice")`)
	p.click("details[open] button", "Lost")
	p.shows(".notice.done", "Book A: lost")
	p.wait(`!document.querySelector("main .rows").innerText.includes("Book A")`)
	p.shows(".sums", "15")
	var copies []map[string]any
	if s.ask("GET", "/books/1/copies", nil, &copies); copies[0]["status"] != "lost" {
		t.Errorf("got %v", copies)
	}
	if got := s.call("GET", "/users/1/account", nil); got["balance"] != 15.0 {
		t.Errorf("got %v", got)
	}
	if got := s.loans(); got != "Dune: Ada Lovelace" {
		t.Errorf("got %s", got)
	}
}

// TestPage_that_does_not_come: where a script cannot be had, the page says so and is not just white.
func TestPage_that_does_not_come(t *testing.T) {
	s := serve(t)
	hook := func(r *http.Request) fate {
		if strings.HasSuffix(r.URL.Path, "/lit-html.js") {
			return failing
		}
		return answered
	}
	s.hook.Store(&hook)
	p := s.open("/desk")
	p.shows("body", "The page does not come. Load it again.")
	s.hook.Store(nil)
	p.do(chromedp.Reload())
	p.shows("body", "No card is open")
	if got := p.text("body"); strings.Contains(got, "does not come") {
		t.Error(got)
	}
}

// TestMember_of_many_years: what was lent in the past slows nothing down.
func TestMember_of_many_years(t *testing.T) {
	s := shelf(t, "AB")
	var rows strings.Builder
	rows.WriteString("card_number,barcode,borrowed_on,returned_on\n")
	day := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1000 {
		from := day.AddDate(0, 0, 3*i)
		fmt.Fprintf(&rows, "C-ADA,B-%c,%s,%s\n", 'A'+i%2, from.Format(time.DateOnly), from.AddDate(0, 0, 2).Format(time.DateOnly))
	}
	file := t.TempDir() + "/loans.csv"
	if err := os.WriteFile(file, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.library("import", "--loans", file)
	p := s.open("/desk")
	p.scan("C-ADA")
	p.shows(".member", "0 books on loan")
	p.click(".member a", "Loans and account")
	p.shows("main", "Returned")
	if got := eval[int](p, `document.querySelectorAll("main li").length`); got != 20 {
		t.Errorf("got %d loans, want one page of them, 20", got)
	}
	p.click("main button", "More")
	p.wait(`document.querySelectorAll("main li").length === 40`)
	if got := eval[float64](p, `Math.max(...performance.getEntriesByType("resource").map((e) => e.decodedBodySize))`); got > 64<<10 {
		t.Errorf("an answer of %.0f bytes", got)
	}
}

func TestBook(t *testing.T) {
	s := shelf(t, "A")
	s.call("POST", "/books/1/borrow/1", nil)
	s.call("POST", "/books/1/holds/2", nil)
	p := s.open("/desk#book/1")
	p.shows("h1", "Book A")
	p.shows("main", "B-A", "On loan", "Ada Lovelace", "Grace Hopper", "number 1 in the queue")
	p.click("label", "Add a copy: scan its barcode")
	p.press("B-A\rB-A2\rB-A3\r") // a scanner's Enter adds, however fast
	p.shows("main", "Copy B-A2 is added", "Copy B-A3 is added", "B-A: Another copy has this barcode", "ready until", "1 of 3 free")
	p.wait(`document.activeElement.name === "barcode" && document.activeElement.value === ""`)
	p.accessible("book-out")
	p.click("summary", "Edit")
	p.click("main button", "Mark as lost")
	p.shows(".notice", "Lost")
}

func TestHolds(t *testing.T) {
	s := shelf(t, "AB")
	s.call("POST", "/books/1/borrow/1", nil)
	s.call("POST", "/books/1/holds/2", nil)
	s.call("POST", "/books/2/borrow/2", nil)
	s.call("POST", "/books/2/holds/1", nil)
	s.call("POST", "/books/1/return/1", nil)
	p := s.open("/desk#holds")
	p.shows("main", "Book A", "Grace Hopper", "until", "Book B", "Ada Lovelace", "since")
	p.shows("main", "Nothing has to come off the shelf")
	p.accessible("holds")
	eval[any](p, `window.print = () => {}; 0`)
	p.click("main button", "Print hold slip")
	p.pdf("hold-slip", "Set aside", "For Grace Hopper", "Book A", "Until")
}

// TestHolds_expired: what nobody has come for is listed, to be taken off the shelf, and whose the copy is now.
func TestHolds_expired(t *testing.T) {
	s := shelf(t, "ABC")
	s.member("Alan Turing", "C-ALAN")
	day := func(ago int) string { return time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) }
	file := t.TempDir() + "/holds.csv"
	rows := "card_number,barcode,placed_on,ready_on,ready_until\n"
	rows += fmt.Sprintf("C-GRACE,B-A,%s,%s,%s\n", day(9), day(4), day(1)) // and Alan is next
	rows += fmt.Sprintf("C-ALAN,B-A,%s,,\n", day(8))
	rows += fmt.Sprintf("C-GRACE,B-C,%s,%s,%s\n", day(40), day(35), day(30)) // long off the shelf
	rows += fmt.Sprintf("C-ADA,B-B,%s,%s,%s\n", day(9), day(5), day(2))
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	s.library("import", "--holds", file)
	p := s.open("/desk#holds")
	p.shows("main", "Not picked up in the last two weeks: take these off the holds shelf")
	list := `[...document.querySelectorAll("main ul")].map((u) => [...u.querySelectorAll(".what")].map((e) => e.innerText.replace(/\s+/g, " ")).join(" | "))`
	got := eval[[]string](p, list)
	if len(got) != 3 || !strings.Contains(got[0], "Book A Alan Turing until ") || strings.Contains(got[0], "Grace") ||
		!strings.HasPrefix(got[1], "Book A Grace Hopper until ") || !strings.Contains(got[1], "Now set aside for Alan Turing: it needs a new slip | Book B Ada Lovelace until ") || got[2] != "" {
		t.Errorf("ready, expired and waiting: got %q", got)
	}
	p.accessible("holds-expired")
	p.pdf("holds-expired", "Not picked up in the last two weeks", "Grace Hopper", "Now set aside for Alan Turing")
}

// overdue is a shelf where Ada has A for 30 days and Grace B for 20.
func overdue(t *testing.T) *server {
	s := shelf(t, "ABC")
	s.late(1, 1, 30)
	s.late(2, 2, 20)
	return s
}

// late lends a book so many days ago.
func (s *server) late(book, user, days int) {
	s.t.Helper()
	on := time.Now().UTC().AddDate(0, 0, -days).Format(time.DateOnly)
	file := s.t.TempDir() + "/loans.csv"
	rows := fmt.Sprintf("card_number,barcode,borrowed_on,returned_on\n%s,%s,%s,\n", []string{"C-ADA", "C-GRACE"}[user-1], "B-"+string(rune('A'+book-1)), on)
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.library("import", "--loans", file)
}

func TestOverdue(t *testing.T) {
	s := overdue(t)
	p := s.open("/desk#overdue")
	p.shows("main", "2 loans of 2 members", "Ada Lovelace", "16 days late", "Grace Hopper", "6 days late")
	p.accessible("overdue")
	p.pdf("overdue", "Overdue", "Ada Lovelace", "Book A", "16 days late")
	eval[any](p, `URL.createObjectURL = (file) => { file.text().then((t) => { window.saved = t; }); return "#overdue"; }; 0`)
	p.click("main button", "Save as CSV")
	p.wait(`window.saved?.includes('"Ada Lovelace","Book A"')`)
}

// pdf looks for words on the paper, and prints it.
func (p *tab) pdf(name string, words ...string) {
	p.t.Helper()
	p.print(true)
	for _, w := range words {
		if got := p.text("body"); !strings.Contains(got, w) {
			p.t.Errorf("%s: not on paper: %q, but %s", name, w, got)
		}
	}
	if got := eval[[]string](p, `[...document.querySelectorAll("button, input, nav, header")].filter((e) => e.offsetParent).map((e) => e.outerHTML)`); len(got) != 0 {
		p.t.Errorf("%s: printed: %q", name, got)
	}
	p.print(false)
	b, err := chromedp.Run(p.ctx, chromedp.PrintToPDF())
	p.check(err)
	if !bytes.HasPrefix(b, []byte("%PDF")) {
		p.t.Errorf("%s: no PDF: %.20q", name, b)
	}
	if dir := os.Getenv("DESK_PICTURES"); dir != "" {
		p.check(os.WriteFile(dir+"/"+name+".pdf", b, 0o644))
	}
	p.wait(`!document.getElementById("sheet")`) // the screen is back
}

// TestKeyboard goes from logging in to the overdue list by keyboard alone.
func TestKeyboard(t *testing.T) {
	s := overdue(t)
	key := s.library("key", "add", "desk", "--name", "Front desk")
	s.key = key
	s.stop()
	s.env = append(s.env, "AUTH=keys")
	s.start()
	p := s.open("/desk")
	p.wait(`document.activeElement.id === "key"`)
	p.accessible("key")
	p.press(s.library("key", "add", "reader", "--name", "Readers") + "\r")
	p.shows(".notice.no", "only read the catalogue")
	p.wait(`document.activeElement.id === "key"`)
	p.press("libkey_wrong\r")
	p.shows(".notice.no", "not known")
	p.wait(`document.activeElement.id === "key"`)
	p.press(strings.Repeat("\b", 40) + key + "\r")
	p.wait(`document.activeElement.id === "box"`)
	p.scan("C-ADA", "B-A")
	p.line("Look", "Book A", "On this card")
	p.press(kb.ArrowDown)
	p.wait(`document.activeElement.innerText === "Renew"`)
	p.press(kb.ArrowDown)
	p.press("\r")
	p.line("Done", "Book A", "Returned from Ada Lovelace", "16 days late, fine 16")
	p.wait(`document.activeElement.id === "box"`)
	for range 30 {
		if eval[string](p, `document.activeElement.innerText ?? ""`) == "Overdue" {
			break
		}
		p.do(chromedp.KeyEvent("\t", chromedp.KeyModifiers(chromedp.ModifierShift)))
	}
	p.press("\r")
	p.shows("main", "Grace Hopper", "6 days late")
	p.wait(`document.activeElement.tagName === "H1"`)
}

func TestBasePath(t *testing.T) {
	s := shelf(t, "A", "BASE_PATH=/v1", "AUTH=off")
	p := s.open("/v1/desk")
	p.scan("C-ADA", "B-A")
	p.line("Done", "Book A", "Lent to Ada Lovelace")
	p.do(chromedp.Navigate(s.url + "/v1/"))
	p.click("a b", "Catalogue")
	p.wait(`location.pathname === "/v1/catalogue"`)
	p.shows("main", "Book A", "Due ")
}

// TestFirst_screen: how long it takes from the address to a box that takes scans. What is asserted is far more than it takes.
func TestFirst_screen(t *testing.T) {
	s := shelf(t, "A")
	s.open("/desk").wait(`document.activeElement.id === "box"`) // the program's and the browser's first time
	p := s.open("/")
	p.shows("h1", "Library")
	p.do(chromedp.Navigate(s.url + "/desk"))
	p.wait(`document.activeElement.id === "box"`)
	t.Logf("the box took scans after %.0f ms", eval[float64](p, `performance.getEntriesByName("box")[0].startTime`))
	t.Logf("loaded: %s", eval[string](p, `performance.getEntriesByType("resource").map((e) => e.name.split("/").pop() + " " + e.transferSize).join(", ")`))
}
