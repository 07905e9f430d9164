package desk_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// What somebody who had never seen the pages stumbled over.

// buttons are the labels of what can be pressed in the lines, the newest first.
func (p *tab) buttons() string {
	p.t.Helper()
	return strings.Join(eval[[]string](p, `[...document.querySelectorAll("#lines button")].map((e) => e.innerText)`), "; ")
}

// TestOpen_card_is_said_everywhere: on no page is a book lent to somebody whose card one has forgotten.
func TestOpen_card_is_said_everywhere(t *testing.T) {
	s := shelf(t, "A")
	p := s.open("/desk")
	p.scan("C-ADA")
	p.shows(".member", "Ada Lovelace", "A book scanned now is lent to Ada Lovelace.")
	for _, screen := range []string{"find", "overdue", "holds", "add-book", "add-member", "edit-book/1", "edit-member/2", "book/1", "member/2"} {
		eval[any](p, fmt.Sprintf(`location.hash = %q; 0`, screen))
		p.wait(fmt.Sprintf(`test.settled() && location.hash === "#%s" && document.querySelector("h1")`, screen))
		p.shows(".open", "Open card: Ada Lovelace", "A book scanned now is lent to Ada Lovelace.")
	}
	p.shows("h1", "Grace Hopper")
	p.accessible("member-open")
	p.click(".open button", "Close card")
	p.wait(`!document.querySelector(".open")`)
	p.wait(`document.activeElement.tagName === "H1"`)
	p.scan("B-A")
	p.line("Look", "Book A", "Not on loan")
	if got := s.loans(); got != "" {
		t.Errorf("got %s, want none", got)
	}
}

// TestDesk_old_questions: what was asked about a card ends with it, and what was asked about a loan with the loan.
func TestDesk_old_questions(t *testing.T) {
	s := shelf(t, "AB")
	s.call("POST", "/books/1/borrow/1", nil)
	s.call("POST", "/books/2/borrow/2", nil)
	p := s.open("/desk")
	p.scan("C-GRACE", "B-A")
	p.line("Look", "Book A", "On loan to Ada Lovelace")
	p.scan("B-B")
	p.line("Look", "Book B", "On this card")
	if got, want := p.buttons(), "Renew; Return; Take it back from Ada Lovelace; Take it back and lend to Grace Hopper; Place a hold for Grace Hopper"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.press("\x1b")
	p.shows(".member", "No card is open")
	if got, want := p.buttons(), "Take it back from Ada Lovelace"; got != want {
		t.Errorf("after the card was closed: got %s, want %s", got, want)
	}
	p.scan("B-A")
	p.line("Done", "Book A", "Returned from Ada Lovelace")
	if got, want := p.buttons(), "Lend it again to Ada Lovelace"; got != want {
		t.Errorf("after the book came back: got %s, want %s", got, want)
	}
	p.scan("C-GRACE", "B-A")
	p.line("Done", "Book A", "Lent to Grace Hopper")
	if got, want := p.buttons(), "Undo"; got != want {
		t.Errorf("after the book was lent: got %s, want %s", got, want)
	}
	p.scan("C-ADA", "B-A")
	p.line("Look", "Book A", "On loan to Grace Hopper")
	p.click("#lines button", "Take it back from Grace Hopper") // a book of a pile, with a card still open
	p.line("Done", "Book A", "Returned from Grace Hopper")
	p.wait(`document.activeElement.id === "box"`)
	p.scan("C-GRACE")
	p.later(10)
	p.scan("B-B")
	p.line("Look", "Book B", "On this card", "Renew")
	p.click(".member a", "Loans and account")
	p.click("main button", "Return")
	p.shows(".notice", "Book B: returned")
	p.click("nav a", "Desk")
	p.line("Look", "Book B", "On this card")
	if got := p.buttons(); strings.Contains(got, "Renew") {
		t.Errorf("after the loan was returned on another page: got %s", got)
	}
	if got := s.loans(); got != "" {
		t.Errorf("got %s", got)
	}
}

// TestDesk_double_click: the second half of a double click does not press what has come under the pointer by then.
func TestDesk_double_click(t *testing.T) {
	s := shelf(t, "AB")
	p := s.open("/desk")
	p.scan("C-ADA", "B-A", "B-B")
	p.line("Done", "Book B", "Lent")
	p.idle()
	at := eval[[]float64](p, `(() => { const r = document.querySelector("#lines li:nth-child(2) button").getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	p.do(chromedp.MouseClickXY(at[0], at[1]))
	p.line("Done", "Book A", "Undone")
	p.wait(fmt.Sprintf(`document.elementFromPoint(%f, %f).innerText === "Undo"`, at[0], at[1])) // that of B
	p.do(chromedp.MouseClickXY(at[0], at[1], chromedp.ClickCount(2)))
	p.wait(`document.activeElement.id === "box"`)
	p.scan("C-GRACE")
	p.line("Done", "Grace Hopper")
	if got := s.loans(); got != "Book B: Ada Lovelace" {
		t.Errorf("got %s", got)
	}
}

// TestMember_form_goes_away: what was charged or paid is not charged or paid again by another press.
func TestMember_form_goes_away(t *testing.T) {
	s := shelf(t, "")
	p := s.open("/desk#member/1")
	where := func() float64 {
		return eval[float64](p, `[...document.querySelectorAll("summary")].find((e) => e.innerText === "New charge").getBoundingClientRect().x`)
	}
	p.click("summary", "New charge")
	p.wait(`document.activeElement.name === "amount"`)
	p.press("2.50")
	p.click("details[open] label", "Reason")
	p.press("Coffee")
	p.click("details[open] button", "Add the charge")
	p.shows(".notice.no", "The amount must be a whole number")
	p.press("3") // in its place
	p.wait(`!document.querySelector(".notice")`)
	p.click("details[open] button", "Add the charge")
	p.shows(".notice.done", "3 charged")
	p.wait(`!document.querySelector("details[open]")`)
	p.press("\r") // once more: it only opens the form again, and that is empty
	p.wait(`document.activeElement.name === "amount" && document.activeElement.value === "" && document.querySelector("details[open] [name=about]").value === ""`)
	p.click("summary", "New charge")
	p.wait(`!document.querySelector("details[open]")`)
	before := where()
	p.click("summary", "Payment")
	p.wait(`document.activeElement.name === "amount" && document.activeElement.value === "3"`)
	p.click("details[open] button", "Take the payment")
	p.shows(".notice.done", "3 paid")
	p.wait(`!document.querySelector("details[open]")`)
	if after := where(); after != before {
		t.Errorf("the charge's button has moved from %f to %f", before, after)
	}
	if got := s.call("GET", "/users/1/account", nil); got["charged"] != 3.0 || got["paid"] != 3.0 {
		t.Errorf("got %v", got)
	}
}

// TestDesk_typed_title: a title that was typed is no scan: what is done is what the button says.
func TestDesk_typed_title(t *testing.T) {
	s := shelf(t, "A")
	s.call("POST", "/books/1/borrow/1", nil)
	p := s.open("/desk")
	p.press("author\r")
	p.line("Look", "Found for “author”")
	p.click("#lines button", "Book A, Author A")
	p.line("Look", "Book A", "On loan to Ada Lovelace, due ")
	if got := s.loans(); got != "Book A: Ada Lovelace" {
		t.Errorf("got %s", got)
	}
	p.click("#lines button", "Take it back from Ada Lovelace")
	p.line("Done", "Book A", "Returned from Ada Lovelace")
	p.scan("C-GRACE")
	p.line("Done", "Grace Hopper")
	p.press("author\r")
	p.click("#lines button", "Lend to Grace Hopper: Book A, Author A")
	p.line("Done", "Book A", "Lent to Grace Hopper")
}

// TestDesk_returned_by_mistake: a return cannot be undone, but the book can be lent again.
func TestDesk_returned_by_mistake(t *testing.T) {
	s := shelf(t, "A")
	s.call("POST", "/books/1/borrow/1", nil)
	p := s.open("/desk")
	p.scan("B-A")
	p.line("Done", "Book A", "Returned from Ada Lovelace")
	p.click("#lines button", "Lend it again to Ada Lovelace")
	p.line("Done", "Book A", "Lent to Ada Lovelace, due ")
	p.shows(".member", "No card is open")
	if got := s.loans(); got != "Book A: Ada Lovelace" {
		t.Errorf("got %s", got)
	}
}

// TestDesk_undo_of_a_hold: the hold that ended with a loan is not there again when the loan is undone, and that is said before.
func TestDesk_undo_of_a_hold(t *testing.T) {
	s := shelf(t, "AB")
	alan := s.member("Alan Turing", "C-ALAN")
	s.call("POST", "/books/1/borrow/1", nil)
	s.call("POST", "/books/1/holds/2", nil)
	s.call("POST", fmt.Sprintf("/books/1/holds/%d", id(alan)), nil)
	p := s.open("/desk")
	p.scan("B-A", "C-GRACE", "B-A")
	p.line("Done", "Book A", "Lent to Grace Hopper", "Undo: the hold is given up")
	p.click("#lines button", "Undo: the hold is given up")
	p.line("Look", "Book A", "Set aside for Alan Turing", "Undone: returned from Grace Hopper", "The hold is given up")
	p.click("#lines button", "Place a hold for Grace Hopper")
	p.line("Done", "Book A", "Hold placed for Grace Hopper, number 1 in the queue")

	p.click("#lines button", "Undo")
	p.line("Done", "Book A", "Undone: Grace Hopper has no hold on it")
	p.wait(`document.activeElement.id === "box"`)
	var holds []any
	if s.ask("GET", "/users/2/holds", nil, &holds); len(holds) != 0 {
		t.Errorf("got %v, want none", holds)
	}

	s.call("POST", "/books/2/borrow/1", nil)
	s.call("POST", "/books/2/holds/2", nil)
	p.scan("B-B")
	p.line("Look", "Book B", "On loan to Ada Lovelace")
	p.click("#lines button", "Take it back and lend to Grace Hopper")
	p.line("Done", "Book B", "Lent to Grace Hopper", "Undo: the hold is given up")
	p.click("#lines button", "Undo: the hold is given up")
	p.line("Done", "Book B", "Undone: returned from Grace Hopper", "The hold is given up") // and nobody else waits
}

// TestDesk_small_screen: on a telephone, with a card open, what came of a scan is in sight, and so is the box.
func TestDesk_small_screen(t *testing.T) {
	s := shelf(t, "A")
	p := s.open("/desk")
	p.size(320, 640)
	p.scan("C-ADA", "B-A")
	p.line("Done", "Book A", "Lent to Ada Lovelace")
	p.shows(".member", "Print slip")
	p.picture("desk-small")
	if got := eval[[]float64](p, `[document.getElementById("box").getBoundingClientRect().top, document.querySelector("#lines li").getBoundingClientRect().bottom]`); got[0] < 0 || got[1] > 640 {
		t.Errorf("the box begins at %.0f px and the newest line ends at %.0f px, of 640", got[0], got[1])
	}
	p.click("button", "Clear the list")
	p.wait(`document.activeElement.id === "box"`)
	p.click("button", "Turn the sound on")
	p.wait(`document.activeElement.id === "box"`)
	p.shows("main", "Turn the sound off")
}
