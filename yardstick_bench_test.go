package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// How the yardstick measures: many short rounds, because the machine is never still.
const (
	yardstickRounds = 9
	yardstickRound  = 600 * time.Millisecond
	yardstickBooks  = 20_000
	yardstickUsers  = 20_000
	// readers and lenders are how many clients call at once.
	readers = 64
	lenders = 32
	// roundTrip is what a delaying forwarder adds to each round trip to the database.
	roundTrip = 2800 * time.Microsecond
)

// BenchmarkYardstick compares the program, as it is built for release, with testdata/yardstick: bare Fiber with plain
// statements on tables of its own, a pool of the same size and answers of the same length, and with the same plain statements
// without HTTP. Each is a process of its own, all on one MySQL, and on SQLite files; they take turns within each round. It prints
// the table of docs/performance.md.
func BenchmarkYardstick(b *testing.B) {
	folder := b.TempDir()
	writeCatalogue(b, folder)
	release, plain := buildForRelease(b, "."), buildForRelease(b, "./testdata/yardstick")
	ours, theirs := dbtest.MySQL(b).Config, dbtest.MySQL(b).Config
	dsn := func(port string) string {
		return fmt.Sprintf("%s:%s@tcp(%s:%s)/%s?interpolateParams=true", theirs.User, theirs.Password, theirs.Host, port, theirs.Name)
	}
	onMySQL := func(port string) []string {
		return []string{"DB_HOST=" + ours.Host, "DB_PORT=" + port, "DB_USER=" + ours.User, "DB_PASSWORD=" + ours.Password, "DB_NAME=" + ours.Name}
	}
	onSQLite := []string{"DATABASE_URL=sqlite://" + filepath.Join(folder, "library.db")}
	importInto := func(settings []string) {
		cmd := exec.Command(release, "import", "--books", filepath.Join(folder, "books.csv"), "--users", filepath.Join(folder, "users.csv"))
		cmd.Env = append(environment(), settings...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("import: %v: %s", err, out)
		}
	}
	importInto(onMySQL(ours.Port))
	importInto(onSQLite)

	program := startProgram(b, release, onMySQL(ours.Port))
	yardstick := startYardstick(b, plain, "mysql", dsn(theirs.Port), folder)
	embedded := startProgram(b, release, onSQLite)
	bare := startYardstick(b, plain, "sqlite", filepath.Join(folder, "yardstick.db"), folder)
	far := delay(b, net.JoinHostPort(ours.Host, ours.Port), roundTrip)
	farProgram := startProgram(b, release, append(onMySQL(far), "MIGRATE=off"))
	farYardstick := startYardstick(b, plain, "mysql", dsn(far))

	keyed := startProgram(b, release, append(onMySQL(ours.Port), "AUTH=keys"))
	withKey := "Authorization: Bearer " + makeKey(b, release, onMySQL(ours.Port)) + "\r\n"

	stock := stockOf(b, program)
	stock.lendHalf(b, program)
	inFile := stockOf(b, embedded)
	inFile.lendHalf(b, embedded)

	server := serverPID(b)
	cases := []yardstickCase{
		{name: "one book, hot", clients: readers, loop: "book-hot",
			ours: fixed("GET", fmt.Sprint("/books/", stock.books[99])), theirs: fixed("GET", "/volumes/100")},
		{name: "one book, cold", clients: readers, loop: "book-cold",
			ours:   func(_, _ int) [][]byte { return get(fmt.Sprint("/books/", stock.books[rand.N(len(stock.books))])) },
			theirs: func(_, _ int) [][]byte { return get(fmt.Sprint("/volumes/", 1+rand.N(yardstickBooks))) }},
		// Against the program itself, open: what a key costs that the instance knows already.
		{name: "one book, hot, with a key : open", clients: readers, loop: "book-hot", program: keyed, yardstick: program, bare: yardstick, server: server,
			ours: fixed("GET", fmt.Sprint("/books/", stock.books[99]), withKey), theirs: fixed("GET", fmt.Sprint("/books/", stock.books[99]))},
		{name: "one book, cold, with a key : open", clients: readers, loop: "book-cold", program: keyed, yardstick: program, bare: yardstick, server: server,
			ours: func(_, _ int) [][]byte {
				return [][]byte{request("GET", fmt.Sprint("/books/", stock.books[rand.N(len(stock.books))]), withKey)}
			},
			theirs: func(_, _ int) [][]byte { return get(fmt.Sprint("/books/", stock.books[rand.N(len(stock.books))])) }},
		{name: "100 books, hot", clients: readers, loop: "books-hot", ours: fixed("GET", "/books/"), theirs: fixed("GET", "/volumes/")},
		{name: "100 books, cold", clients: readers, loop: "books-cold",
			ours:   func(_, _ int) [][]byte { return get(stock.bookPages[rand.N(len(stock.bookPages))]) },
			theirs: func(_, _ int) [][]byte { return get(fmt.Sprint("/volumes/?after=", 100+rand.N(yardstickBooks-200))) }},
		{name: "100 users, hot", clients: readers, loop: "users-hot", ours: fixed("GET", "/users/"), theirs: fixed("GET", "/members/")},
		{name: "100 users, cold", clients: readers, loop: "users-cold",
			ours:   func(_, _ int) [][]byte { return get(stock.userPages[rand.N(len(stock.userPages))]) },
			theirs: func(_, _ int) [][]byte { return get(fmt.Sprint("/members/?after=", 100+rand.N(yardstickUsers-200))) }},
		{name: "borrow and return", clients: lenders, loop: "lending", loop2: "lending-and-row", ours: stock.lend, theirs: lendVolume},
		{name: "borrow and return, one client, 2.8 ms a trip", clients: 1, loop: "lending", ours: stock.lend, theirs: lendVolume,
			program: farProgram, yardstick: farYardstick},
		{name: "SQLite: 100 books, cold", clients: readers, loop: "books-cold", program: embedded, bare: bare,
			ours: func(_, _ int) [][]byte { return get(inFile.bookPages[rand.N(len(inFile.bookPages))]) }},
		{name: "SQLite: borrow and return", clients: lenders, loop: "lending", program: embedded, bare: bare, ours: inFile.lend},
	}
	var rates, costs strings.Builder
	for _, c := range cases {
		c.program = cmp.Or(c.program, program)
		if c.bare == nil {
			c.yardstick, c.server = cmp.Or(c.yardstick, yardstick), server
			c.bare = c.yardstick
		}
		b.Run(c.name, func(b *testing.B) {
			c.measure(b, &rates, &costs)
			b.ReportMetric(0, "ns/op")
		})
	}
	fmt.Printf(`
| | program : yardstick | program : bare loop | program | yardstick | bare loop | answer: program | yardstick |
|---|---|---|---|---|---|---|---|
%s
| processor time | yardstick : program | program | MySQL | client | yardstick | MySQL | client | bare loop | MySQL |
|---|---|---|---|---|---|---|---|---|---|
%s
`, rates.String(), costs.String())
}

// yardstickCase is one thing to do, by clients at once.
type yardstickCase struct {
	name    string
	clients int
	// loop names the yardstick's loop of the same; loop2, if any, is run beside it and compared with it.
	loop, loop2 string
	// ours and theirs are the requests of a client's turn i.
	ours, theirs func(client, i int) [][]byte
	// program, yardstick (nil: without) and bare (whose loop it is) are the processes; server is MySQL's, "" where there is none.
	program, yardstick, bare *contestant
	server                   string
}

// runner is what takes turns in a case, and what came of it.
type runner struct {
	process *contestant
	run     func(long time.Duration) (rate float64, size int)

	rates []float64 // turns a second, by round
	turns float64
	size  int // of an answer, in bytes
	// own, server and client are the processors' seconds.
	own, server, client float64
}

// measure runs the rounds and adds the case's lines to the tables.
func (c *yardstickCase) measure(b *testing.B, rates, costs *strings.Builder) {
	over := func(p *contestant, requests func(client, i int) [][]byte) *runner {
		return &runner{process: p, run: func(long time.Duration) (float64, int) { return p.round(b, c.clients, long, requests) }}
	}
	loop := func(name string) *runner {
		return &runner{process: c.bare, run: func(long time.Duration) (float64, int) { return c.bare.loop(b, name, c.clients, long), 0 }}
	}
	ours, bare := over(c.program, c.ours), loop(c.loop)
	runners := []*runner{ours, bare}
	var theirs, row *runner
	if c.yardstick != nil {
		theirs = over(c.yardstick, c.theirs)
		runners = append(runners, theirs)
	}
	if c.loop2 != "" {
		row = loop(c.loop2)
		runners = append(runners, row)
	}
	for _, r := range runners {
		r.run(yardstickRound / 3) // to warm up
	}
	for round := range yardstickRounds {
		for i := range runners {
			r := runners[(i+round)%len(runners)]
			own, server, client := cpuOf(b, r.process.pid), cpuOf(b, c.server), cpuOf(b, "self")
			start := time.Now()
			rate, size := r.run(yardstickRound)
			r.rates, r.size = append(r.rates, rate), size
			r.turns += rate * time.Since(start).Seconds()
			r.own += cpuOf(b, r.process.pid) - own
			r.server += cpuOf(b, c.server) - server
			r.client += cpuOf(b, "self") - client
		}
	}

	rate := func(r *runner) string {
		if r == nil {
			return "–"
		}
		return fmt.Sprintf("%.0f/s", median(slices.Clone(r.rates)))
	}
	micros := func(r *runner, seconds float64) string { return fmt.Sprintf("%.0f µs", seconds/r.turns*1e6) }
	whole := func(r *runner) float64 { return (r.own + r.server + r.client) / r.turns }
	b.ReportMetric(ratio(ours, bare), "program:loop")
	toYardstick, size, cpu := "–", "–", "– | %s | %s | %s | – | – | –"
	if theirs != nil {
		b.ReportMetric(ratio(ours, theirs), "program:yardstick")
		if min(ours.size, theirs.size)*100 < max(ours.size, theirs.size)*95 {
			b.Errorf("the program's answer has %d bytes, the yardstick's %d: make the yardstick's as long", ours.size, theirs.size)
		}
		toYardstick, size = fmt.Sprintf("%.2f", ratio(ours, theirs)), fmt.Sprintf("%d B", theirs.size)
		cpu = fmt.Sprintf("%.2f | %%s | %%s | %%s | %s | %s | %s", whole(theirs)/whole(ours), micros(theirs, theirs.own), micros(theirs, theirs.server), micros(theirs, theirs.client))
	}
	fmt.Fprintf(rates, "| %s | %s | %.2f | %s | %s | %s | %d B | %s |\n", c.name, toYardstick, ratio(ours, bare), rate(ours), rate(theirs), rate(bare), ours.size, size)
	fmt.Fprintf(costs, "| %s | "+cpu+" | %s | %s |\n", c.name, micros(ours, ours.own), micros(ours, ours.server), micros(ours, ours.client), micros(bare, bare.own), micros(bare, bare.server))
	if row != nil {
		b.ReportMetric(ratio(row, bare), "with-row:without")
		fmt.Fprintf(rates, "| with the stored operation : without | – | %.2f | – | – | %s | – | – |\n", ratio(row, bare), rate(row))
		fmt.Fprintf(costs, "| with the stored operation | – | – | – | – | – | – | – | %s | %s |\n", micros(row, row.own), micros(row, row.server))
	}
}

// ratio is the median of the rounds' ratios.
func ratio(a, b *runner) float64 {
	var all []float64
	for i := range a.rates {
		all = append(all, a.rates[i]/b.rates[i])
	}
	return median(all)
}

// writeCatalogue writes books.csv and users.csv, which both sides are filled from.
func writeCatalogue(b *testing.B, folder string) {
	write := func(name string, header []string, n int, row func(i int) []string) {
		f, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			b.Fatal(err)
		}
		w := csv.NewWriter(f)
		_ = w.Write(header) // Flush keeps the error
		for i := range n {
			_ = w.Write(row(i))
		}
		w.Flush()
		if err := errors.Join(w.Error(), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
	titles := []string{"The Left Hand of Darkness", "Middlemarch", "One Hundred Years of Solitude", "Things Fall Apart", "Le Petit Prince", "Pedro Páramo"}
	authors := []string{"Ursula K. Le Guin", "George Eliot", "Gabriel García Márquez", "Chinua Achebe", "Antoine de Saint-Exupéry", "Juan Rulfo"}
	write("books.csv", []string{"title", "author", "isbn", "barcode", "published_year", "language", "category"}, yardstickBooks, func(i int) []string {
		return []string{fmt.Sprintf("%s, volume %05d", titles[i%6], i), authors[i%6], isbn(i), strconv.Itoa(30112000000 + i), strconv.Itoa(1850 + i%170), "en", "Fiction"}
	})
	write("users.csv", []string{"name", "email", "card_number"}, yardstickUsers, func(i int) []string {
		return []string{fmt.Sprintf("Reader Number %05d", i), fmt.Sprintf("reader%05d@example.org", i), strconv.Itoa(20112000000 + i)}
	})
}

// isbn is the ISBN-13 of number i, with its check digit.
func isbn(i int) string {
	digits := fmt.Sprintf("978%09d", 44_000_000+i)
	sum := 0
	for at, d := range digits {
		sum += int(d-'0') * (1 + 2*(at%2))
	}
	return digits + strconv.Itoa((10-sum%10)%10)
}

// environment is this process's, without a database.
func environment() []string {
	return append(os.Environ(), "DATABASE_URL=", "DB_HOST=", "HOST=127.0.0.1")
}

// contestant is a process that serves.
type contestant struct {
	address string
	pid     string // "": not asked for
}

// startProgram starts the program as it is in production, with its access lines, which go to /dev/null.
func startProgram(b *testing.B, program string, settings []string) *contestant {
	address := dbtest.FreeAddress(b)
	cmd := exec.Command(program)
	cmd.Dir = b.TempDir()
	cmd.Env = append(environment(), append(settings, "PORT="+address[strings.LastIndex(address, ":")+1:])...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 3000 {
		if r, err := http.Get("http://" + address + "/readyz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return &contestant{address: address, pid: strconv.Itoa(cmd.Process.Pid)}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatal("the program does not get ready")
	return nil
}

func startYardstick(b *testing.B, program string, args ...string) *contestant {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &contestant{address: strings.TrimSpace(address), pid: strconv.Itoa(cmd.Process.Pid)}
}

// round has clients call for as long as is said, each on a connection of its own, and returns how many turns there were in a second,
// and the length of an answer on average.
func (p *contestant) round(b *testing.B, clients int, long time.Duration, requests func(client, i int) [][]byte) (rate float64, size int) {
	callers := make([]caller, clients) // anew in each round, for a server closes idle connections
	for i := range callers {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		callers[i] = caller{conn: conn, in: make([]byte, 64<<10)}
	}
	var wait sync.WaitGroup
	var turns, answers, length atomic.Int64
	start := time.Now()
	end := start.Add(long)
	for client := range clients {
		wait.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				all := requests(client, i)
				for _, request := range all {
					body, err := callers[client].call(request)
					if err != nil {
						b.Errorf("%s: %v", bytes.Fields(request)[1], err)
						return
					}
					length.Add(int64(body))
				}
				answers.Add(int64(len(all)))
				turns.Add(1)
			}
		})
	}
	wait.Wait()
	return float64(turns.Load()) / time.Since(start).Seconds(), int(length.Load() / max(1, answers.Load()))
}

// caller is a light client: one connection, a request at a time, and of the answer it reads no more than it must. One thread
// that polls all connections, as wrk's, took 23 µs of the processor for a request instead of 27: not worth its lines.
type caller struct {
	conn net.Conn
	in   []byte
}

// call returns how long the answer's body is.
func (c *caller) call(request []byte) (body int, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, err
	}
	head, n := -1, 0
	for head < 0 && n < len(c.in) {
		m, err := c.conn.Read(c.in[n:])
		if err != nil {
			return 0, err
		}
		n += m
		head = bytes.Index(c.in[:n], []byte("\r\n\r\n"))
	}
	_, rest, _ := bytes.Cut(c.in[:max(0, head)], []byte("Content-Length: "))
	digits, _, _ := bytes.Cut(rest, []byte("\r"))
	if body, err = strconv.Atoi(string(digits)); bytes.HasPrefix(c.in, []byte("HTTP/1.1 204 ")) {
		body, err = 0, nil
	}
	end := head + 4 + body
	if err != nil || end > len(c.in) {
		return 0, fmt.Errorf("an answer without its length, or too long: %s", c.in[:n])
	}
	if n < end {
		if _, err := io.ReadFull(c.conn, c.in[n:end]); err != nil {
			return 0, err
		}
	}
	if !bytes.HasPrefix(c.in, []byte("HTTP/1.1 20")) {
		return 0, fmt.Errorf("%s", c.in[:end])
	}
	return body, nil
}

// loop has the yardstick run a case without HTTP, and returns how many turns there were in a second.
func (p *contestant) loop(b *testing.B, name string, clients int, long time.Duration) float64 {
	r, err := http.Get(fmt.Sprintf("http://%s/loop/%s?clients=%d&ms=%d", p.address, name, clients, long.Milliseconds()))
	if err != nil {
		b.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	rate, err2 := strconv.ParseFloat(string(text), 64)
	if err != nil || err2 != nil {
		b.Fatalf("the yardstick's %s: %v: %s", name, err, text)
	}
	return rate
}

// serverPID is the process of MySQL, "" where it is not on this machine.
func serverPID(b *testing.B) string {
	var file string
	if err := dbtest.MySQL(b).SQL(b).QueryRow(`SELECT @@pid_file`).Scan(&file); err != nil {
		b.Fatal(err)
	}
	text, _ := os.ReadFile(file) // not there: not on this machine
	return strings.TrimSpace(string(text))
}

// cpuOf is how many seconds a process was on a processor so far; 0 where that is not told.
func cpuOf(b *testing.B, pid string) float64 {
	if runtime.GOOS != "linux" || pid == "" {
		return 0
	}
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')'):]))
	user, _ := strconv.ParseFloat(fields[12], 64)
	system, _ := strconv.ParseFloat(fields[13], 64)
	return (user + system) / 100 // clock ticks are 10 ms wherever Go runs on Linux
}

func get(path string) [][]byte { return [][]byte{request("GET", path)} }

func request(method, path string, headers ...string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", method, path, strings.Join(headers, ""))
}

// makeKey makes a desk's key with the program's own command.
func makeKey(b *testing.B, program string, settings []string) string {
	cmd := exec.Command(program, "key", "add", "desk", "--name", "Benchmark")
	cmd.Env = append(environment(), settings...)
	out, err := cmd.CombinedOutput()
	key := regexp.MustCompile(`libkey_[0-9A-Za-z]{46}`).Find(out)
	if err != nil || key == nil {
		b.Fatalf("key add: %v: %s", err, out)
	}
	return string(key)
}

// fixed is the same request each time.
func fixed(method, path string, headers ...string) func(client, i int) [][]byte {
	r := [][]byte{request(method, path, headers...)}
	return func(int, int) [][]byte { return r }
}

// catalogue is what the program has, as its pages tell.
type catalogue struct {
	books, users         []int64
	bookPages, userPages []string // pages of 100, each beginning 10 further on
}

// stockOf walks the program's pages.
func stockOf(b *testing.B, p *contestant) *catalogue {
	walk := func(path string) (ids []int64, pages []string) {
		const step = "limit=10"
		for next := path + "?" + step; next != ""; {
			r, err := http.Get("http://" + p.address + next)
			if err != nil {
				b.Fatal(err)
			}
			var list []struct{ ID int64 }
			err = json.NewDecoder(r.Body).Decode(&list)
			r.Body.Close()
			if err != nil || r.StatusCode != http.StatusOK {
				b.Fatal(next, r.Status, err)
			}
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			link, _, found := strings.Cut(strings.TrimPrefix(r.Header.Get("Link"), "<"), ">")
			if next = link; found {
				pages = append(pages, strings.Replace(next, step, "limit=100", 1))
			}
		}
		return ids, pages[10 : len(pages)-10] // none that begins with what is lent, none that is short
	}
	var c catalogue
	c.books, c.bookPages = walk("/books/")
	c.users, c.userPages = walk("/users/")
	if len(c.books) != yardstickBooks || len(c.users) != yardstickUsers {
		b.Fatalf("the program has %d books and %d users", len(c.books), len(c.users))
	}
	return &c
}

// lendHalf lends every other book of the first page to every other user of the first page.
func (c *catalogue) lendHalf(b *testing.B, p *contestant) {
	for i := 0; i < 100; i += 2 {
		r, err := http.Post(fmt.Sprintf("http://%s/books/%d/borrow/%d", p.address, c.books[i], c.users[i]), "", nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			b.Fatal(r.Status)
		}
	}
}

func (c *catalogue) lend(client, i int) [][]byte {
	book, user := c.books[200+client+lenders*(i%200)], c.users[200+client]
	return [][]byte{request("POST", fmt.Sprintf("/books/%d/borrow/%d", book, user)), request("POST", fmt.Sprintf("/books/%d/return/%d", book, user))}
}

func lendVolume(client, i int) [][]byte {
	volume, member := 201+client+lenders*(i%200), 201+client
	return [][]byte{request("POST", fmt.Sprintf("/volumes/%d/lend/%d", volume, member)), request("POST", fmt.Sprintf("/volumes/%d/take-back/%d", volume, member))}
}

// delay is a forwarder to a server that is far away, and returns its port on 127.0.0.1.
func delay(b *testing.B, target string, trip time.Duration) (port string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(near, far); near.Close() }()
				for buffer := make([]byte, 64<<10); ; {
					n, err := near.Read(buffer)
					if err != nil {
						return
					}
					time.Sleep(trip)
					if _, err := far.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}
