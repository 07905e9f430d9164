package desk_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDocs is what a stranger does on /docs of a library that asks for keys: authorizes, and presses Execute on each operation as the
// page offers it, from the top to the bottom; on a telephone, and on a large screen once more, when the library has been in use. Each
// succeeds, or is refused with a sentence.
func TestDocs(t *testing.T) {
	s := serve(t, "AUTH=keys", "ADMIN_KEY=a-root-key-of-more-than-32-characters")
	began := time.Now()
	s.key = s.library("key", "add", "admin", "--name", "A stranger")
	for _, width := range []int64{390, 1100} {
		p := s.openDocs(width)
		if got, want := p.text(".servers option"), s.url+" - This library"; got != want {
			t.Errorf("the server: got %q, want %q", got, want)
		}
		if got := p.execute("list-users"); got.Status != 401 {
			t.Errorf("without a key: got %v", got)
		}
		order := eval[[]string](p, `[...document.querySelectorAll(".opblock")].map((e) => e.id.split("-").slice(2).join("-"))`)
		for day := range slices.Chunk([]string{"create-user", "create-book", "create-book", "create-loan", "scan-code", "create-loan", "create-loan", "create-return",
			"borrow-book", "return-book", "return-book", "place-hold", "add-charge", "add-payment", "add-payment", "get-stats", "get-stats", "create-key"}, 2) {
			if a, b := slices.Index(order, day[0]), slices.Index(order, day[1]); a < 0 || a > b {
				t.Errorf("%s is not before %s in %q", day[0], day[1], order)
			}
		}
		refused := 0
		for some := range slices.Chunk(order, 14) { // a page of their own each: a busy machine takes minutes for all of them
			p := s.openDocs(width)
			p.authorize(s.key)
			for _, id := range some {
				got := p.execute(id)
				if got.Width > width {
					t.Errorf("%s is %d px wide, where the window is %d: %q", id, got.Width, width, got.Wide)
				}
				if got.Status >= 200 && got.Status < 300 {
					continue
				}
				refused++
				var problem struct{ Detail string }
				_, body, _ := strings.Cut(got.Body, "{")
				err := json.Unmarshal([]byte("{"+body), &problem)
				if err != nil || !strings.HasSuffix(problem.Detail, ".") || got.Status >= 500 || slices.Contains([]int{400, 403, 415, 422}, got.Status) || got.Status == 401 && id != "begin-session" {
					t.Errorf("%s: got %d %s, %v", id, got.Status, got.Body, err)
				}
			}
			p.picture(fmt.Sprint("docs-", width))
		}
		if refused > len(order)/3 {
			t.Errorf("%d of %d operations were refused", refused, len(order))
		}
		t.Logf("%d px: %d operations, of which %d were refused, after %s", width, len(order), refused, time.Since(began))
		s.fill()
	}
}

// executeScript presses Execute on an operation as it is offered, and waits for the answer. No request is sent where a field lacks a
// value that has to be there.
const executeScript = `
	window.tryOut = async (id) => {
		const block = document.querySelector('.opblock[id$="-' + id + '"]');
		const until = async (what, found) => {
			for (const began = performance.now(); performance.now() - began < 60_000; await new Promise((next) => setTimeout(next, 5))) {
				const e = found();
				if (e) return e;
			}
			throw new Error(id + ": never came: " + what);
		};
		const button = (selector) => until(selector, () => block.querySelector(selector));
		(await button(".opblock-summary-control")).click();
		const offer = await button(".try-out__btn");
		if (!offer.classList.contains("cancel")) offer.click();
		const execute = await button(".execute");
		block.querySelector(".btn-clear")?.click();
		await until("no answer", () => !block.querySelector(".live-responses-table"));
		execute.click();
		const status = await button(".live-responses-table tbody .response-col_status");
		const answer = {
			Status: parseInt(status.innerText), Body: block.querySelector(".live-responses-table .highlight-code")?.innerText ?? status.innerText,
			Width: document.documentElement.scrollWidth,
			Wide: [...block.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + "." + e.className).slice(0, 20),
		};
		block.querySelector(".opblock-summary-control").click();
		await until("closed", () => !block.querySelector(".opblock-body"));
		return answer;
	};
`

// openDocs opens /docs. Swagger UI waits by the clock, which has to go on for it, and changes the address without another screen.
func (s *server) openDocs(width int64) *tab {
	s.t.Helper()
	p := s.open("/docs")
	p.wait(`document.querySelectorAll(".opblock").length > 40`)
	eval[any](p, `Date.now = () => Math.floor(performance.timeOrigin + performance.now()); test.settled = () => test.asked === 0;`+executeScript+`0`)
	p.size(width, 800)
	return p
}

// fill adds two members, of whom one has three books and the other waits for two of them.
func (s *server) fill() {
	s.t.Helper()
	ada, grace := s.call("POST", "/users/", map[string]any{"name": "Ada Lovelace"}), s.call("POST", "/users/", map[string]any{"name": "Grace Hopper"})
	for i := range 3 {
		b := s.book("Germinal", "Émile Zola")
		s.call("POST", fmt.Sprintf("/books/%d/borrow/%d", id(b), id(ada)), nil)
		if i > 0 {
			s.call("POST", fmt.Sprintf("/books/%d/holds/%d", id(b), id(grace)), nil)
		}
	}
}

// authorize gives the page a key by its dialog.
func (p *tab) authorize(key string) {
	p.t.Helper()
	p.click(".auth-wrapper button.authorize", "Authorize")
	p.wait(`document.querySelector(".auth-container input")`)
	eval[any](p, `document.querySelector(".auth-container input").focus(); 0`)
	p.press(key)
	p.click(".auth-btn-wrapper button", "Authorize")
	p.wait(`[...document.querySelectorAll(".auth-btn-wrapper button")].some((e) => e.innerText.trim() === "Logout")`)
	p.click(".auth-btn-wrapper button", "Close")
	p.wait(`!document.querySelector(".dialog-ux")`)
}

// tried is what the page shows of an answer, and how wide it is then; Wide is what stands out at the right.
type tried struct {
	Status int
	Body   string
	Width  int64
	Wide   []string
}

func (p *tab) execute(operation string) tried {
	p.t.Helper()
	return eval[tried](p, fmt.Sprintf(`tryOut(%q)`, operation))
}
