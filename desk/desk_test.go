package desk_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// scan types a code as a scanner does, with Enter at its end.
func (p *tab) scan(codes ...string) {
	p.t.Helper()
	for _, c := range codes {
		p.press(c + "\r")
	}
}

// line waits until the newest line has the tone, Done, Look or No, and all of the words.
func (p *tab) line(tone string, words ...string) {
	p.t.Helper()
	p.lineAt(1, tone, words...)
}

func (p *tab) lineAt(n int, tone string, words ...string) {
	p.t.Helper()
	for _, w := range append([]string{tone}, words...) {
		p.wait(fmt.Sprintf(`document.querySelector("#lines li:nth-child(%d)")?.innerText.includes(%q)`, n, w))
	}
	if got := p.text(fmt.Sprintf("#lines li:nth-child(%d) .tag", n)); got != tone {
		p.t.Errorf("%q: the tone is %s, want %s", words, got, tone)
	}
}

// idle waits until nothing is in the queue.
func (p *tab) idle() {
	p.t.Helper()
	p.wait(`JSON.parse(sessionStorage.getItem("desk")).queue.length === 0`)
}

// loans are the open loans: titles and names.
func (s *server) loans() string {
	s.t.Helper()
	var loans []struct {
		Book struct{ Title string }
		User struct{ Name string }
	}
	s.ask("GET", "/loans/?status=open", nil, &loans)
	var out []string
	for i := len(loans) - 1; i >= 0; i-- {
		out = append(out, loans[i].Book.Title+": "+loans[i].User.Name)
	}
	return strings.Join(out, "; ")
}

// shelf is a library with two members and books by letters, each with one copy that has a barcode: A with B-A.
func shelf(t testing.TB, titles string, env ...string) *server {
	s := serve(t, env...)
	s.member("Ada Lovelace", "C-ADA")
	s.member("Grace Hopper", "C-GRACE")
	for _, title := range titles {
		s.book("Book "+string(title), "Author "+string(title), "barcode", "B-"+string(title))
	}
	return s
}

func TestDesk_lends_and_takes_back(t *testing.T) {
	s := shelf(t, "ABC")
	p := s.open("/desk")
	p.wait(`document.activeElement.id === "box"`)
	p.shows(".member", "No card is open", "A book scanned now is returned")
	p.accessible("desk-nobody")

	p.scan("B-A")
	p.line("Look", "Book A", "Not on loan", "Scan a card first")
	p.scan("C-ADA")
	p.line("Done", "Ada Lovelace", "0 books on loan")
	p.shows(".member", "Ada Lovelace", "C-ADA")
	p.scan("B-A")
	p.line("Done", "Book A", "Lent to Ada Lovelace, due ")
	p.wait(`document.getElementById("said").textContent.includes("Done: Book A. Lent to Ada Lovelace, due ")`) // to who listens
	p.shows(".member", "1 book on loan")
	p.scan("C-GRACE")
	p.line("Done", "Grace Hopper")
	p.scan("B-A")
	p.line("Look", "Book A", "On loan to Ada Lovelace", "Take it back and lend to Grace Hopper")
	p.scan("B-B")
	p.line("Done", "Book B", "Lent to Grace Hopper")
	p.accessible("desk")
	p.click("#lines button", "Take it back and lend to Grace Hopper")
	p.line("Done", "Book A", "Lent to Grace Hopper")
	p.lineAt(2, "Done", "Book A", "Returned from Ada Lovelace")
	p.wait(`document.activeElement.id === "box"`)
	if got, want := s.loans(), "Book B: Grace Hopper; Book A: Grace Hopper"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.click("#lines button", "Undo")
	p.line("Done", "Book A", "Undone: returned from Grace Hopper")
	p.press("\x1b")
	p.shows(".member", "No card is open")
	p.scan("B-B")
	p.line("Done", "Book B", "Returned from Grace Hopper")
	p.scan("B-B")
	p.line("Look", "Book B", "Scanned twice, returned once")
	if got := s.loans(); got != "" {
		t.Errorf("got %s, want none", got)
	}
}

// TestDesk_fast_scanner: eleven scans in a third of a second, where each answer takes as long.
func TestDesk_fast_scanner(t *testing.T) {
	s := shelf(t, "ABCDEFGHIJ", "BORROW_LIMIT=20")
	p := s.open("/desk")
	p.wait(`document.activeElement.id === "box"`)
	s.delay.Store(int64(300 * time.Millisecond))
	began := time.Now()
	p.press("C-ADA\rB-A\rB-B\rB-C\rB-D\rB-E\rB-F\rB-G\rB-H\rB-I\rB-J\r")
	scanned := time.Since(began)
	p.shows(".waiting", "waiting")
	p.line("Done", "Book J", "Lent to Ada")
	p.idle()
	t.Logf("eleven scans in %s, all done after %s", scanned, time.Since(began))
	want := ""
	for _, c := range "ABCDEFGHIJ" {
		want += "; Book " + string(c) + ": Ada Lovelace"
	}
	if got := s.loans(); got != want[2:] {
		t.Errorf("got %s, want %s", got, want[2:])
	}
}

var update = flag.Bool("update", false, "take the README's picture anew")

// TestPicture takes the README's picture of the desk.
func TestPicture(t *testing.T) {
	const file = "../docs/desk.png"
	if *update {
		s := serve(t, "FINE_LIMIT=10")
		s.member("Ada Lovelace", "2170001")
		s.member("Grace Hopper", "2170002")
		for i, b := range [][2]string{{"The Left Hand of Darkness", "Ursula K. Le Guin"}, {"Germinal", "Émile Zola"}, {"Dune", "Frank Herbert"}, {"The Makioka Sisters", "Jun'ichirō Tanizaki"}} {
			s.book(b[0], b[1], "barcode", fmt.Sprint(3011201+i))
		}
		on := time.Now().UTC().AddDate(0, 0, -20).Format(time.DateOnly)
		loans := t.TempDir() + "/loans.csv"
		if err := os.WriteFile(loans, []byte("card_number,barcode,borrowed_on,returned_on\n2170002,3011202,"+on+",\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.library("import", "--loans", loans)
		s.call("POST", "/books/3/borrow/2", nil)
		s.call("POST", "/books/2/holds/1", nil)
		p := s.open("/desk")
		p.size(900, 840)
		p.wait(`document.activeElement.id === "box"`)
		p.scan("3011202")
		p.line("Look", "Set aside for Ada")
		p.scan("2170001", "3011202", "3011201", "3011203")
		p.line("Look", "On loan to Grace Hopper")
		p.idle()
		b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		p.check(err)
		p.check(os.WriteFile(file, b, 0o644))
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) || len(b) > 200_000 {
		t.Errorf("%s: %v, %d bytes; it must be a PNG of 200 kB at the most: go test ./desk -run Picture -update", file, err, len(b))
	}
}

// TestDesk_back_and_out: a book that comes back goes right out to the next reader, scanned faster than anything is answered.
func TestDesk_back_and_out(t *testing.T) {
	s := shelf(t, "A")
	s.call("POST", "/books/1/borrow/1", nil)
	p := s.open("/desk")
	p.wait(`document.activeElement.id === "box"`)
	s.delay.Store(int64(200 * time.Millisecond))
	p.press("B-A\rC-GRACE\rB-A\r")
	p.line("Done", "Book A", "Lent to Grace Hopper")
	p.lineAt(3, "Done", "Book A", "Returned from Ada Lovelace")
}

// later has the page's clock go on by so many seconds.
func (p *tab) later(seconds int) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf(`Date.now = ((now) => () => now() + %d)(Date.now); 0`, seconds*1000))
}

// TestDesk_server_away: the server is cut off in the middle, the page is loaded again, and the server comes back: each book is lent once.
func TestDesk_server_away(t *testing.T) {
	for name, env := range map[string]func(*testing.T) []string{"sqlite": func(*testing.T) []string { return nil }, "mysql": mysql} {
		t.Run(name, func(t *testing.T) {
			s := shelf(t, "ABCDE", env(t)...)
			p := s.open("/desk")
			p.scan("C-ADA", "B-A")
			p.line("Done", "Book A")
			s.at("POST", "/loans/", slices.Repeat([]fate{lost}, 100)...)
			p.scan("B-B")
			p.wait(`JSON.parse(sessionStorage.getItem("desk")).queue[0]?.op`) // decided, and under way
			s.shut.Store(true)
			p.scan("B-C", "B-D")
			p.shows(".notice", "No connection. 3 scans wait; nothing is lost")
			if name == "sqlite" {
				p.accessible("desk-away")
			}
			p.do(chromedp.Reload())
			p.shows(".notice", "No connection. 3 scans wait; nothing is lost")
			p.scan("B-E")
			s.stop()
			s.start()
			s.hook.Store(nil)
			s.shut.Store(false)
			p.line("Done", "Book E", "Lent to Ada Lovelace")
			p.idle()
			p.shows(".member", "Ada Lovelace", "5 books on loan")
			if got, want := s.loans(), "Book A: Ada Lovelace; Book B: Ada Lovelace; Book C: Ada Lovelace; Book D: Ada Lovelace; Book E: Ada Lovelace"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestDesk_lost_answers(t *testing.T) {
	s := shelf(t, "AB")
	p := s.open("/desk")
	p.scan("C-ADA")
	p.line("Done", "Ada")
	s.at("POST", "/loans/", slices.Repeat([]fate{lost}, 9)...) // Chromium itself sends again, up to three times
	p.scan("B-A")
	p.line("Done", "Book A", "Lent to Ada Lovelace")
	p.idle()
	s.at("POST", "/returns/", lost)
	p.press("\x1b")
	p.scan("B-A")
	p.line("Done", "Book A", "Returned from Ada Lovelace")
	var loans []any
	if s.ask("GET", "/loans/", nil, &loans); len(loans) != 1 {
		t.Errorf("got %d loans, want 1: %v", len(loans), loans)
	}
	if n := s.count("POST /loans/"); n < 10 {
		t.Errorf("asked %d times", n)
	}
}

func TestDesk_faults_of_the_server(t *testing.T) {
	s := shelf(t, "AB")
	p := s.open("/desk")
	p.scan("C-ADA")
	p.line("Done", "Ada")
	s.at("POST", "/loans/", failing, failing, failing)
	p.scan("B-A", "B-B")
	p.line("Done", "Book B", "Lent to Ada")
	p.lineAt(2, "No", "Book A", "Not sure: look at the loans")
	p.accessible("desk-not-sure")
	p.click("#lines a", "See the loans")
	p.shows("h1", "Ada Lovelace")
}

// TestDesk_session_ends: a 401 in the middle loses no scan.
func TestDesk_session_ends(t *testing.T) {
	s := shelf(t, "ABC")
	key, other := s.library("key", "add", "desk", "--name", "Front desk"), s.library("key", "add", "desk", "--name", "Back desk")
	s.key = key
	s.stop()
	s.env = append(s.env, "AUTH=keys")
	s.start()
	p := s.open("/desk")
	p.wait(`document.activeElement.id === "key"`)
	p.press(key + "\r")
	p.wait(`document.activeElement.id === "box"`)
	p.scan("C-ADA", "B-A")
	p.line("Done", "Book A", "Lent to Ada")
	end := `fetch("session", {method: "DELETE"}).then((r) => r.status)`
	eval[int](p, end)
	p.scan("B-B")
	p.shows("main", "A key is needed to go on. 1 scan waits; nothing is lost")
	p.accessible("desk-key")
	p.scan("B-C") // the box still takes scans
	p.shows("main", "2 scans wait")
	p.click("label", "Key")
	p.press(key + "\r")
	p.line("Done", "Book C", "Lent to Ada")
	p.lineAt(2, "Done", "Book B", "Lent to Ada")
	p.wait(`test.settled() && document.activeElement.id === "box"`)

	eval[int](p, end)
	p.press("\x1b")
	p.scan("B-A")
	p.shows("main", "A key is needed to go on")
	p.click("label", "Key")
	p.press(other + "\r")
	p.shows("main", "made under another key")
	p.accessible("desk-other-key")
	p.click("main button", "Send")
	p.line("Done", "Book A", "Returned from Ada")
	p.click("button", "Log out")
	p.wait(`document.activeElement.id === "key"`)
	if got := p.text("body"); strings.Contains(got, "Ada") {
		t.Errorf("after logging out the page shows %s", got)
	}
}

func TestDesk_member_closes(t *testing.T) {
	s := shelf(t, "AB")
	p := s.open("/desk")
	p.scan("C-ADA")
	p.shows(".member", "Ada")
	p.later(45)
	p.shows(".member", "Closes in ")
	p.accessible("desk-closes")
	p.press("x\b") // somebody is there
	p.wait(`!document.querySelector(".member").innerText.includes("Closes in")`)
	p.later(61)
	p.shows(".member", "No card is open", "A book scanned now is returned.")
	p.scan("C-GRACE")
	p.shows(".member", "Grace")
	p.click(".member button", "Close card")
	p.shows(".member", "No card is open")
	p.wait(`document.activeElement.id === "box"`)
}

// TestDesk_refusals are the rows in which nothing is lent, and why.
func TestDesk_refusals(t *testing.T) {
	s := shelf(t, "ABCDE", "BORROW_LIMIT=2", "FINE_LIMIT=10")
	s.call("PATCH", "/users/2", map[string]any{"status": "blocked", "status_reason": "Lost the card"})
	alan := s.member("Alan Turing", "C-ALAN")
	s.call("POST", fmt.Sprintf("/users/%d/charges", id(alan)), map[string]any{"amount": 12, "reason": "Coffee"})
	p := s.open("/desk")
	p.scan("C-GRACE")
	p.line("No", "Grace Hopper", "Blocked: Lost the card")
	p.shows(".member .alarm", "Blocked: Lost the card")
	p.scan("B-A")
	p.line("No", "Book A", "The card is blocked: Lost the card")
	p.accessible("desk-blocked")
	p.scan("C-ALAN", "B-A")
	p.line("No", "Book A", "12 owed, which is too much to borrow")
	p.scan("C-ADA", "B-A", "B-B", "B-C")
	p.line("No", "Book C", "Ada Lovelace has 2 books on loan, which is the limit")

	p.scan("B-B")
	p.line("Look", "Book B", "Scanned twice, lent once")
	p.later(10)
	p.scan("B-B")
	p.line("Look", "Book B", "On this card, due ", "Renew", "Return")
	p.click("#lines button", "Renew")
	p.line("Done", "Book B", "Renewed for Ada Lovelace")

	p.scan("99999")
	p.line("No", "99999", "Unknown code", "Add a book with this barcode")
	p.scan("978-0-441-47812-5")
	p.line("No", "978-0-441-47812-5", "Unknown code", "Add this book")
	p.accessible("desk-unknown")
	p.press("zzz qqq\r")
	p.line("No", "Nothing is found for “zzz qqq”")
	p.press("grace\r")
	p.line("Look", "Found for “grace”", "Grace Hopper, card C-GRACE")
	p.press(kb.ArrowDown)
	p.wait(`document.activeElement.innerText.startsWith("Grace Hopper")`)
	p.press("\r")
	p.shows(".member", "Grace Hopper")
	p.scan("978-0-441-47812-5")
	p.click("#lines a", "Add this book")
	p.wait(`document.querySelector("form.edit")?.isbn.value === "978-0-441-47812-5"`)
}

func TestDesk_two_matches(t *testing.T) {
	s := shelf(t, "A")
	s.member("Alan Turing", "B-A")
	p := s.open("/desk")
	p.scan("B-A")
	p.line("Look", "Which one?", "Alan Turing", "Book A")
	p.click("#lines button", "Alan Turing, card B-A")
	p.shows(".member", "Alan Turing")
}

func TestDesk_holds(t *testing.T) {
	s := shelf(t, "A", "FINE_PER_DAY=2")
	s.late(1, 1, 20)
	p := s.open("/desk")
	p.scan("C-GRACE", "B-A")
	p.line("Look", "Book A", "On loan to Ada Lovelace", "Place a hold")
	p.click("#lines button", "Place a hold for Grace Hopper")
	p.line("Done", "Book A", "Hold placed for Grace Hopper, number 1 in the queue")
	p.press("\x1b")
	p.scan("B-A")
	p.line("Look", "Book A", "Set aside for Grace Hopper until ", "Returned from Ada Lovelace", "6 days late, fine 12", "Ada Lovelace: 12 owed", "Print hold slip")
	p.accessible("desk-hold")
	eval[any](p, `window.print = () => {}; 0`)
	p.click("#lines button", "Print hold slip")
	p.pdf("hold-slip-desk", "Set aside", "For Grace Hopper", "Book A", "Until")
	p.scan("B-A")
	p.line("Look", "Book A", "Scanned twice, returned once", "Set aside on the holds shelf for Grace Hopper, until ")
	p.later(10)
	p.scan("B-A")
	p.wait(`document.querySelectorAll("#lines li").length === 6`)
	p.line("Look", "Book A", "Set aside on the holds shelf for Grace Hopper, until ")
	p.scan("C-ADA", "B-A")
	p.line("No", "Book A", "Set aside for somebody else: Grace Hopper, until ")
	p.scan("C-GRACE")
	p.line("Done", "Grace Hopper", "1 hold ready to pick up: Book A")
	p.shows(".member", "1 hold ready to pick up: Book A")
	p.scan("B-A")
	p.line("Done", "Book A", "Lent to Grace Hopper")
	p.wait(`!document.querySelector(".member").innerText.includes("ready to pick up")`)
	p.click(".member button", "Print slip")
	p.pdf("visit-slip", "Loans of Grace Hopper", "Book A", "due ")
}

// TestDesk_unlabelled: of copies without labels nobody knows whose has come back.
func TestDesk_unlabelled(t *testing.T) {
	s := shelf(t, "")
	s.book("Dune", "Frank Herbert", "isbn", "9780441172719", "copies", 3)
	p := s.open("/desk")
	for _, card := range []string{"C-ADA", "C-GRACE"} {
		p.scan(card, "978-0-441-17271-9")
		p.line("Done", "Dune", "Lent to")
	}
	p.press("\x1b")
	p.scan("9780441172719")
	p.line("Look", "Dune", "Who brings it?", "Ada Lovelace", "Grace Hopper")
	p.accessible("desk-who")
	p.click("#lines button", "Grace Hopper")
	p.line("Done", "Dune", "Returned from Grace Hopper")
	p.scan("9780441172719")
	p.line("Done", "Dune", "Returned from Ada Lovelace")
}

// TestDesk_two_desks: what one desk does with a member, the other sees and does not undo.
func TestDesk_two_desks(t *testing.T) {
	s := shelf(t, "AB")
	one, two := s.open("/desk"), s.open("/desk")
	one.scan("C-ADA")
	two.scan("C-ADA")
	one.line("Done", "Ada")
	two.line("Done", "Ada")
	one.scan("B-A")
	one.line("Done", "Book A", "Lent")
	two.scan("B-A")
	two.line("Look", "Book A") // who rescans within moments at another desk sees the loan, and lends nothing twice
	two.scan("B-B")
	two.line("Done", "Book B", "Lent")
	two.shows(".member", "2 books on loan")
	one.press("\x1b")
	one.scan("B-B")
	one.line("Done", "Book B", "Returned from Ada")
	two.click("#lines button", "Undo")
	two.line("No", "Book B", "Not on loan")
	if got := s.loans(); got != "Book A: Ada Lovelace" {
		t.Errorf("got %s", got)
	}
}

// TestDesk_a_day_later: after 24 hours the keys of what waits mean nothing: it is asked, and nothing is sent.
func TestDesk_a_day_later(t *testing.T) {
	s := shelf(t, "A")
	p := s.open("/desk")
	p.scan("C-ADA")
	p.line("Done", "Ada")
	s.shut.Store(true)
	p.scan("B-A")
	p.shows(".notice", "No connection. 1 scan waits")
	p.later(25 * 60 * 60)
	p.line("Look", "B-A", "more than a day ago", "Scan it now")
	s.shut.Store(false)
	p.idle()
	if got := s.loans(); got != "" {
		t.Errorf("got %s, want none", got)
	}
}
