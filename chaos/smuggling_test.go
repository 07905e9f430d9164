package chaos

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"library-management/internal/dbtest"
)

// smuggled is a request that hides in another one. Its answer is known by its code.
const (
	smuggled = "GET /problems/borrow_limit HTTP/1.1\r\nHost: x\r\n\r\n"
	answered = `"borrow_limit"`
	hidden   = `"path":"/problems/borrow_limit"`
)

// What may come of a request that two servers could read in two ways.
const (
	refused = "refused" // a 4xx or no answer, and the connection is closed
	single  = "single"  // or one answer of any status, and no other
)

var attacks = []struct{ name, want, request string }{
	{"CL.TE", refused, withLength(post+"Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"TE.CL", refused, post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunk(smuggled) + "0\r\n\r\n"},
	{"TE.CL_other_order", refused, post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(smuggled) + "0\r\n\r\n"},
	{"TE.CL_of_nothing", refused, post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled},
	{"two_lengths_alike", refused, post + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"two_lengths", refused, withLength(post+"Content-Length: 0\r\n", smuggled)},
	{"a_list_of_lengths", refused, post + "Content-Length: 0, 0\r\n\r\n" + smuggled},
	{"a_length_with_a_sign", refused, post + "Content-Length: +0\r\n\r\n" + smuggled},
	{"a_length_below_zero", refused, post + "Content-Length: -1\r\n\r\n" + smuggled},
	{"a_length_in_hex", refused, post + "Content-Length: 0x0\r\n\r\n" + smuggled},
	{"a_length_that_overflows", refused, post + "Content-Length: 18446744073709551616\r\n\r\n" + smuggled},
	{"no_length_but_the_header", refused, post + "Content-Length:\r\n\r\n" + smuggled},
	{"space_before_the_colon", refused, withLength(post+"Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"space_before_the_lengths_colon", refused, post + "Content-Length : 5\r\n\r\n" + smuggled},
	{"an_unknown_coding", refused, withLength(post+"Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked_and_more", refused, withLength(post+"Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"+smuggled)},
	{"identity", refused, withLength(post+"Transfer-Encoding: identity\r\n", "0\r\n\r\n"+smuggled)},
	{"chunked_and_identity", refused, withLength(post+"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+smuggled)},
	{"a_vertical_tab", refused, withLength(post+"Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"+smuggled)},
	{"a_folded_header", refused, post + "X: a\r\n Content-Length: 5\r\n\r\n" + smuggled},
	{"a_folded_coding", refused, withLength(post+"Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"a_first_line_that_folds", refused, "POST /users/ HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"a_bare_CR", refused, withLength(post+"X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled)},
	{"a_NUL", refused, post + "X: a\x00b\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"a_name_with_a_space", refused, post + "Content Length: 5\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"a_name_that_is_empty", refused, post + ": 5\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"a_chunks_size_with_a_sign", refused, post + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + smuggled},
	{"a_chunks_size_in_C", refused, post + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + smuggled},
	{"a_chunks_size_that_overflows", refused, post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + smuggled},
	{"a_chunk_longer_than_it_says", refused, post + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + smuggled},
	{"a_chunk_that_ends_in_LF", refused, post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n" + smuggled},
	{"a_coding_in_HTTP_1.0", refused, "POST /users/ HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled},
	{"a_version_of_the_future", refused, "POST /users/ HTTP/3.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + smuggled},
	{"HTTP_2", refused, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled},
	{"two_hosts", refused, "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n"},
	{"no_host", single, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"},
	{"64_kB_of_headers", refused, "GET /livez HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n" + smuggled},
	{"64_kB_of_many_headers", refused, "GET /livez HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Some: header\r\n", 4<<10) + "\r\n" + smuggled},
	{"a_path_of_64_kB", refused, "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled},
	{"a_body_of_a_GET", single, withLength("GET /livez HTTP/1.1\r\nHost: x\r\n", smuggled)},
	{"chunks_of_a_GET", single, "GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(smuggled) + "0\r\n\r\n"},
	{"a_chunks_extension", single, post + "Transfer-Encoding: chunked\r\n\r\n0;a=\"" + "b\"\r\n\r\n"},
	{"trailers", single, post + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: 1\r\n\r\n"},
	{"bare_LF", single, "GET /livez HTTP/1.1\nHost: x\n\n"},
	{"an_upgrade", single, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"},
	{"HTTP_0.9", single, "GET /livez\r\n"},
	{"an_absolute_target", single, "GET http://elsewhere.example/livez HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"},
	{"an_asterisk", single, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"a_tunnel", single, "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n"},
}

const post = "POST /users/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

func withLength(head, body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// TestSmuggling: at the program's own listener, and at a balancer before it, no request hides in another one.
func TestSmuggling(t *testing.T) {
	i := newInstance(t, "one", dbtest.SQLite(t), "DRAIN_DELAY=0s").start()
	i.await("/readyz", 200)
	for name, balanced := range map[string]bool{"listener": false, "balancer": true} {
		t.Run(name, func(t *testing.T) {
			address := i.address
			if balanced {
				address = balance(t, []*instance{i, i})
			}
			before := strings.Count(i.said(), hidden)
			said, closed := make([][]byte, len(attacks)), make([]bool, len(attacks))
			var all sync.WaitGroup // at once, since many end with the time that a request has to come
			for n, attack := range attacks {
				if balanced && attack.name == "HTTP_2" {
					continue // which haproxy speaks
				}
				all.Go(func() { said[n], closed[n] = tell(t, address, attack.request) })
			}
			all.Wait()
			seen := 0
			for n, attack := range attacks {
				t.Run(attack.name, func(t *testing.T) {
					seen += bytes.Count(said[n], []byte(answered))
					answers := answersIn(t, said[n])
					switch {
					case balanced: // it mends much before it hands it on, and what follows is a request of its own then
					case bytes.Contains(said[n], []byte(answered)):
						t.Errorf("the hidden request was answered: %.2000q", said[n])
					case len(answers) > 1:
						t.Errorf("%d answers: %.2000q", len(answers), said[n])
					case attack.want == single:
					case len(answers) == 0 && !closed[n]:
						t.Error("neither an answer nor the end")
					case len(answers) == 1 && (answers[0].StatusCode < 400 || answers[0].StatusCode > 499):
						t.Errorf("got %s", answers[0].Status)
					case len(answers) == 1 && !closed[n]:
						t.Errorf("%s, and the connection goes on", answers[0].Status)
					case len(answers) == 1 && answers[0].Header.Get("Content-Type") != "application/problem+json":
						t.Errorf("no problem document: %.500q", said[n])
					}
				})
			}
			// Both read the same requests: each that came out of here was one to whoever sent it.
			if served := strings.Count(i.said(), hidden) - before; served != seen {
				t.Errorf("%d of the hidden requests were served, %d answered", served, seen)
			}
			// And what others are answered is theirs.
			c := newClient(address)
			for range 50 {
				if a := c.do("GET", "/livez", "", ""); a.status != 200 || !strings.Contains(string(a.body), "ok") {
					t.Errorf("after all that: %v", a)
				}
			}
			row, _ := tell(t, address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"+withLength(post, `{"name":"Ada"}`)+"GET /problems/borrow_limit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if list := answersIn(t, row); len(list) != 3 || list[0].StatusCode != 200 || list[1].StatusCode != 201 || !strings.Contains(list[1].Header.Get("Location"), "/users/") || list[2].StatusCode != 200 {
				t.Errorf("three requests in a row: %q", row)
			}
		})
	}
}

// TestSlowClients: whoever dribbles headers or a body is let go after the time that a request has to come.
func TestSlowClients(t *testing.T) {
	i := newInstance(t, "one", dbtest.SQLite(t), "DRAIN_DELAY=0s").start()
	for name, text := range map[string]string{
		"headers": "GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("x", 100),
		"body":    withLength(post, strings.Repeat(" ", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", i.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			ended := make(chan []byte, 1)
			go func() {
				said, _ := io.ReadAll(conn)
				ended <- said
			}()
			for n := range len(text) - 1 {
				conn.Write([]byte{text[n]})
				if n < len(text)-60 {
					continue // the end comes a byte at a time
				}
				select {
				case said := <-ended:
					took := time.Since(began)
					t.Logf("closed after %.1f s: %.80q", took.Seconds(), said)
					if took > 8*time.Second {
						t.Errorf("it took %v", took)
					}
					for _, a := range answersIn(t, said) {
						if a.StatusCode < 400 || a.StatusCode > 499 {
							t.Errorf("got %s", a.Status)
						}
					}
					return
				case <-time.After(250 * time.Millisecond):
				}
			}
			t.Error("still open after 15 s")
		})
	}
}

// tell sends a request and returns all that is said until the connection is closed, or for seven seconds: longer than the
// program waits for the rest of a request.
func tell(t *testing.T, address, request string) (said []byte, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(7 * time.Second))
	go io.WriteString(conn, request) // which it need not read to the end
	said, err = io.ReadAll(conn)
	timeout, _ := err.(net.Error)
	return said, timeout == nil || !timeout.Timeout()
}

func answersIn(t *testing.T, said []byte) (list []*http.Response) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(said))
	for {
		if _, err := r.Peek(1); err != nil {
			return list
		}
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("not an answer: %v: %.500q", err, said)
			return list
		}
		io.Copy(io.Discard, a.Body)
		list = append(list, a)
	}
}
