package desk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"library-management/internal/dbtest"
)

// patience is how long a page may take to come to a state. None takes that long but a wrong one.
const patience = time.Minute

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "desk")
	if err != nil {
		panic(err)
	}
	temporary = dir
	dbtest.Main(m, func() {
		if browser.stop != nil {
			browser.stop()
		}
		os.RemoveAll(dir)
	})
}

// temporary is a folder for what all tests of this binary share.
var temporary string

// program is the real one, built once.
var program = sync.OnceValues(func() (string, error) {
	file := filepath.Join(temporary, "library")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", file, "..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return file, nil
})

// browser is one for all tests of this binary; each test has a context of its own in it, with its own cookies and storage.
var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

func startBrowser() {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if _, err := exec.LookPath(name); err == nil {
			browser.ctx, browser.stop = chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(
				append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(name), chromedp.NoSandbox, chromedp.Flag("lang", "en-GB"))...))
			browser.err = chromedp.Do(browser.ctx)
			return
		}
	}
	browser.err = errors.New("there is no chromium on the PATH")
}

// server is a library that answers a page, with a door before it that can be slow, lose answers and be shut.
type server struct {
	t testing.TB
	// url is the door's.
	url  string
	env  []string
	cmd  *exec.Cmd
	real string
	end  <-chan struct{}
	// delay is how long each answer takes, in ns; shut cuts off all but the pages themselves; hook, unless nil, says what becomes of a request.
	delay atomic.Int64
	shut  atomic.Bool
	hook  atomic.Pointer[func(*http.Request) fate]
	// calls are the requests that came to the library, such as "POST /loans/".
	mu    sync.Mutex
	calls []string
	key   string
}

// fate is what becomes of a request at the door.
type fate int

const (
	answered fate = iota
	// lost: the library carries it out, and its answer does not arrive.
	lost
	// failing: the library is not asked, and the answer is a 500.
	failing
)

// at gives the requests of a method and a path their fates, in the order in which they come, and then lets them be answered.
func (s *server) at(method, path string, fates ...fate) {
	var mu sync.Mutex
	hook := func(r *http.Request) fate {
		mu.Lock()
		defer mu.Unlock()
		if len(fates) == 0 || r.Method != method || r.URL.Path != path {
			return answered
		}
		f := fates[0]
		fates = fates[1:]
		return f
	}
	s.hook.Store(&hook)
}

// serve starts the program on a database of its own, SQLite unless env says otherwise.
func serve(t testing.TB, env ...string) *server {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		if os.Getenv("REQUIRE_CHROMIUM") != "" {
			t.Fatal(browser.err)
		}
		t.Skipf("%v: install it (as root on Debian: apt-get install chromium)", browser.err)
	}
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, env: append([]string{"DATABASE_URL=sqlite://" + filepath.Join(t.TempDir(), "library.db"), "BORROW_LIMIT=5", "LOG_LEVEL=warn", "DRAIN_DELAY=0s"}, env...)}
	s.start()
	target, err := url.Parse(s.real)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { drop(w) },
	}
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.shut.Load() && !strings.HasPrefix(r.URL.Path, "/desk") {
			drop(w)
			return
		}
		s.mu.Lock()
		s.calls = append(s.calls, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		if hook := s.hook.Load(); hook != nil {
			switch (*hook)(r) {
			case lost:
				forward.ServeHTTP(httptest.NewRecorder(), r)
				drop(w)
				return
			case failing:
				w.WriteHeader(500)
				return
			}
		}
		time.Sleep(time.Duration(s.delay.Load()))
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	s.url = door.URL
	return s
}

// drop ends a connection without an answer.
func drop(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if c, _, err := h.Hijack(); err == nil {
			c.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}

func (s *server) start() {
	s.t.Helper()
	if s.real == "" {
		s.real = "http://" + dbtest.FreeAddress(s.t)
	}
	file, _ := program()
	u, _ := url.Parse(s.real)
	host, port, _ := net.SplitHostPort(u.Host)
	s.cmd = exec.Command(file)
	s.cmd.Env = append(append(os.Environ(), "HOST="+host, "PORT="+port), s.env...)
	s.cmd.Dir = s.t.TempDir()
	var said bytes.Buffer
	s.cmd.Stdout, s.cmd.Stderr = &said, &said
	end, err := dbtest.Start(s.cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.end = end
	s.t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-end
		if s.t.Failed() {
			s.t.Logf("the program said:\n%s", &said)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if r, err := http.Get(s.real + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == 200 {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the program did not start: %s", &said)
		}
	}
}

// stop ends the program; start starts it again on the same port and database.
func (s *server) stop() {
	s.t.Helper()
	s.cmd.Process.Kill()
	<-s.end
}

// library runs one of the program's commands on the same database.
func (s *server) library(args ...string) string {
	s.t.Helper()
	file, _ := program()
	cmd := exec.Command(file, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Dir = s.cmd.Dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("library %s: %v: %s", strings.Join(args, " "), err, &said)
	}
	return strings.TrimSpace(string(out))
}

// call asks the library itself, past the door, and returns the answer, which must be a success.
func (s *server) call(method, path string, body any) map[string]any {
	s.t.Helper()
	var answer map[string]any
	s.ask(method, path, body, &answer)
	return answer
}

func (s *server) ask(method, path string, body, into any) {
	s.t.Helper()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		sent = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, s.real+path, sent)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if s.key != "" {
		r.Header.Set("Authorization", "Bearer "+s.key)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode >= 300 {
		s.t.Fatalf("%s %s: got %d, %v: %s", method, path, a.StatusCode, err, b)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, into); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// count is how often the library was called so.
func (s *server) count(call string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c == call {
			n++
		}
	}
	return n
}

// mysql is the settings for a database of a test's own on MySQL.
func mysql(t *testing.T) []string {
	t.Helper()
	c := dbtest.MySQL(t).Config
	return []string{"DATABASE_URL=", "DB_HOST=" + c.Host, "DB_PORT=" + c.Port, "DB_USER=" + c.User, "DB_PASSWORD=" + c.Password, "DB_NAME=" + c.Name}
}

// tab is a page in the browser. What goes wrong in it fails the test at its end: a violation of the policy, an exception, a
// rejection that nobody caught, an error on the console.
type tab struct {
	t      testing.TB
	ctx    context.Context
	mu     sync.Mutex
	faults []string
	// refused are the answers that were no success, and what had no answer: told where a test fails.
	refused []string
	// clicked is where and when, by the page's own clock, the mouse was last pressed: x, y, ms.
	clicked []float64
}

// firstScript runs before the page's own scripts. It has faults heard of from the beginning on. It has the page's clock stand still
// but for later: how fast a busy machine goes on with a test must not decide whether a member closes, or whether a book was scanned
// twice. And it says when the page stands still, so that a click comes to what it was meant for.
const firstScript = `
	addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI + " " + e.sample));
	Date.now = ((now) => () => now)(Date.now());
	window.test = {
		asked: 0, // requests under way
		shown: location.href, // the address whose screen is drawn: a link changes the address first, and the screen a little later
		settled: () => test.asked === 0 && test.shown === location.href,
		// aim is whether an element can be clicked at now: the page is settled, and it is where it was when aim was last called.
		aim(e) {
			if (!e || !test.settled()) return false;
			e.scrollIntoView({block: "center"});
			const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2;
			const still = test.want === e && test.x === x && test.y === y && e.contains(document.elementFromPoint(x, y));
			Object.assign(test, {want: e, x, y, hit: undefined});
			return still;
		},
	};
	addEventListener("hashchange", () => { test.shown = location.href; });
	history.replaceState = ((real) => function (...given) { real.apply(this, given); test.shown = location.href; })(history.replaceState);
	addEventListener("pointerdown", (e) => { test.hit = e.target; }, true);
	fetch = ((real) => async (...given) => {
		test.asked++;
		try {
			const answer = await real(...given), body = await answer.text(); // all of it: the page draws it before the next line counts
			return new Response(answer.status === 204 ? null : body, answer);
		} finally {
			setTimeout(() => test.asked--);
		}
	})(fetch);
`

// open opens a path of the library in a context of its own.
func (s *server) open(path string) *tab {
	s.t.Helper()
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	ctx, end := context.WithTimeout(ctx, 4*time.Minute) // the browser's own context has no deadline
	p := &tab{t: s.t, ctx: ctx}
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("the page showed, at %s:\n%s", eval[string](p, `location.href + ", " + document.readyState`), p.text("body"))
		}
		p.mu.Lock()
		if s.t.Failed() {
			s.t.Logf("what the page asked for and did not get:\n%s", strings.Join(p.refused, "\n"))
		}
		for _, f := range p.faults {
			s.t.Errorf("in the page: %s", f)
		}
		p.mu.Unlock()
		end()
		cancel()
	})
	p.check(chromedp.Listen(ctx, p.hear))
	_, err := chromedp.Call(ctx, log.Enable, struct{}{})
	p.check(err)
	_, err = chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: firstScript})
	p.check(err)
	p.size(1100, 800)
	p.do(chromedp.Navigate(s.url + path))
	return p
}

// hear notes what went wrong. That a request was refused is no fault of the page's.
func (p *tab) hear(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			for _, a := range e.Args {
				fault += string(a.Value) + a.Description + " "
			}
		}
	case *runtime.EventExceptionThrown:
		fault = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			fault += " " + x.Description
		}
	case *log.EventEntryAdded:
		if (e.Entry.Level == "error" || e.Entry.Level == "warning") && e.Entry.Source != "network" {
			fault = e.Entry.Text
		} else if e.Entry.Source == "network" {
			p.mu.Lock()
			p.refused = append(p.refused, e.Entry.Text+" "+e.Entry.URL)
			p.mu.Unlock()
		}
	case *page.EventJavascriptDialogOpening: // leaving with scans in the queue
		go chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	}
	if fault != "" {
		p.mu.Lock()
		p.faults = append(p.faults, fault)
		p.mu.Unlock()
	}
}

func (p *tab) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	p.check(chromedp.Do(p.ctx, steps...))
}

// eval is what a script comes to.
func eval[T any](p *tab, script string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// wait waits until a condition, a script, holds.
func (p *tab) wait(condition string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(15 * time.Millisecond) {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("!!("+condition+")"))
		if ok {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("never came true, %v: %s", err, condition)
		}
	}
}

// text is what is shown within the first element of a selector.
func (p *tab) text(selector string) string {
	return eval[string](p, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ""`, selector))
}

// shows waits until an element contains all of these words.
func (p *tab) shows(selector string, words ...string) {
	p.t.Helper()
	for _, w := range words {
		p.wait(fmt.Sprintf(`document.querySelector(%q)?.innerText.includes(%q)`, selector, w))
	}
}

// press types keys, "\r" for Enter.
func (p *tab) press(keys string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(keys))
}

// click clicks with the mouse at the first element of a selector that has the label, once the page stands still.
func (p *tab) click(selector, label string) {
	p.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].find((e) => e.innerText.trim() === %q && !e.disabled)`, selector, label)
	p.wait("test.aim(" + find + ")")
	at := eval[[]float64](p, `[test.x, test.y]`)
	if c := p.clicked; c != nil && math.Hypot(at[0]-c[0], at[1]-c[1]) < 10 {
		p.wait(fmt.Sprintf(`performance.timeOrigin + performance.now() > %f`, c[2]+500)) // else it would be a double click, which the page takes for one
	}
	p.do(chromedp.MouseClickXY(at[0], at[1]))
	p.wait(`!test.want || test.want.contains(test.hit)`) // the click came to it; a page to which it has led knows of none
	p.clicked = append(at, eval[float64](p, `performance.timeOrigin + performance.now()`))
}

func (p *tab) size(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

// dark sets which colours the reader prefers.
func (p *tab) dark(on bool) {
	p.t.Helper()
	value := "light"
	if on {
		value = "dark"
	}
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}})
	p.check(err)
}

// print has the page shown as it would be on paper.
func (p *tab) print(on bool) {
	p.t.Helper()
	media := ""
	if on {
		media = "print"
	}
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media})
	p.check(err)
}

// picture writes what is shown to DESK_PICTURES, for a person to look at.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("DESK_PICTURES")
	if dir == "" {
		return
	}
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	p.check(err)
	p.check(os.WriteFile(filepath.Join(dir, name+".png"), b, 0o644))
}

var axe = sync.OnceValues(func() ([]byte, error) { return os.ReadFile("testdata/axe.min.js") })

// violations are the rules of WCAG 2.2, A and AA, that the page breaks as it is now.
func (p *tab) violations() []string {
	p.t.Helper()
	return p.broken(`{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}`)
}

func (p *tab) broken(rules string) []string {
	p.t.Helper()
	script, err := axe()
	p.check(err)
	if !eval[bool](p, `typeof axe !== "undefined"`) {
		p.do(chromedp.Evaluate[chromedp.Void](string(script)))
	}
	return eval[[]string](p, `axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"]}).then((r) =>
		r.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary)))`)
}

// accessible looks at the page in light and dark, and at 320 px: nothing scrolls sideways, and what can be pressed is 44 px high.
func (p *tab) accessible(name string) {
	p.t.Helper()
	for _, v := range p.violations() {
		p.t.Errorf("%s: %s", name, v)
	}
	p.picture(name)
	p.dark(true)
	for _, v := range p.broken(`{type: "rule", values: ["color-contrast"]}`) {
		p.t.Errorf("%s, dark: %s", name, v)
	}
	p.picture(name + "-dark")
	p.dark(false)
	p.size(320, 640)
	if wide := eval[[]string](p, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 320.5 && getComputedStyle(e).clipPath === "none").map((e) => e.tagName + " " + e.className + " " + e.innerText?.slice(0, 30))`); len(wide) > 0 {
		p.t.Errorf("%s: wider than 320 px: %q", name, wide)
	}
	if low := eval[[]string](p, `[...document.querySelectorAll("button, .button, summary, input:not([type=checkbox]), nav a")].filter((e) => { const r = e.getBoundingClientRect(); return r.height > 1 && r.height < 43.5; }).map((e) => e.outerHTML.slice(0, 80))`); len(low) > 0 {
		p.t.Errorf("%s: lower than 44 px: %q", name, low)
	}
	p.picture(name + "-320")
	p.size(1100, 800)
}
