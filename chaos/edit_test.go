package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
)

// record is a book or a user that desks change and that nobody lends. Its history is checked by itself, as that of a register.
type record struct {
	kind  string // books or users
	id    int64
	mark  string  // the barcode or the card number, by which an import knows it
	first content // as it was created
}

// content is what a record says: title and author of a book, name and e-mail address of a user. No two edits set the same texts,
// so that each content tells which edits it is the result of.
type content struct {
	one, two string
	gone     bool // deleted
}

// edit is the input of an operation on a record.
type edit struct {
	verb  string   // read, put, patch, delete or import
	set   content  // an empty text stays as it is
	match *content // what If-Match stands for; nil without it
}

// edited is what is known of its outcome: the status and, after a 200, the content; or nothing.
type edited struct {
	known   bool
	status  int
	content content
}

// shelf is a place in a room with a record, another one once that was deleted.
type shelf struct {
	record  atomic.Pointer[record]
	deleted atomic.Pointer[record] // the latest; some desk may still have it before it
}

// shelvesEach is how many there are in a room: so few that desks meet at a record all the time.
const shelvesEach = 3

// newRecord is a record to be created, and the body that creates it.
func (l *library) newRecord(kind string) (e *record, body string) {
	n := l.serial.Add(1)
	e = &record{kind: kind, mark: fmt.Sprintf("R%d", n), first: l.content(kind)}
	return e, e.body(e.first)
}

// content is what nobody wrote before.
func (l *library) content(kind string) content {
	n := l.serial.Add(1)
	if kind == "users" {
		return content{one: fmt.Sprintf("Name %d", n), two: fmt.Sprintf("e%d@example.org", n)}
	}
	return content{one: fmt.Sprintf("Title %d", n), two: fmt.Sprintf("Author %d", n)}
}

func (e *record) path() string { return fmt.Sprintf("/%s/%d", e.kind, e.id) }

// body replaces the record by what c says; what a PUT leaves out would be cleared.
func (e *record) body(c content) string {
	if e.kind == "users" {
		return fmt.Sprintf(`{"name":%q,"email":%q,"card_number":%q}`, c.one, c.two, e.mark)
	}
	return fmt.Sprintf(`{"title":%q,"author":%q,"barcode":%q}`, c.one, c.two, e.mark)
}

// patch is a merge patch that sets what c says.
func (e *record) patch(c content) string {
	fields := map[string]string{}
	for i, text := range []string{c.one, c.two} {
		if text != "" {
			fields[map[string][2]string{"books": {"title", "author"}, "users": {"name", "email"}}[e.kind][i]] = text
		}
	}
	body, _ := json.Marshal(fields)
	return string(body)
}

// contentOf reads an answer's body.
func contentOf(body []byte) (content, error) {
	var r struct{ Title, Author, Name, Email string }
	err := json.Unmarshal(body, &r)
	return content{one: r.Title + r.Name, two: r.Author + r.Email}, err
}

// edit is one turn of a desk at a record.
func (l *library) edit(c *client, desk int, r *room) {
	s := &r.shelves[rand.N(shelvesEach)]
	e := s.record.Load()
	if deleted := s.deleted.Load(); deleted != nil && rand.N(10) == 0 {
		e = deleted
	}
	var seen content
	var tag string
	if rand.N(2) == 0 {
		var ok bool
		if seen, tag, ok = l.look(c, desk, e); !ok {
			return
		}
	}
	q := request{path: e.path()}
	do := edit{set: l.content(e.kind)}
	switch p := rand.N(100); {
	case p < 30:
		do.verb, q.method, q.body = "put", "PUT", e.body(do.set)
	case p < 50:
		do.set.one = ""
		do.verb, q.method, q.body = "patch", "PATCH", e.patch(do.set)
	case p < 70:
		do.set.two = ""
		do.verb, q.method, q.body = "patch", "PATCH", e.patch(do.set)
	case p < 76:
		do.verb, q.method, do.set = "delete", "DELETE", content{}
	default:
		l.look(c, desk, e)
		return
	}
	if !l.plain && tag != "" && rand.N(2) == 0 {
		q.match, do.match = tag, &seen
	}
	if !l.plain && rand.N(5) > 1 {
		q.key = fmt.Sprintf("key-%d", l.serial.Add(1))
	}
	from := time.Now()
	a, code, sure := l.careful(c, desk, q)
	switch {
	case sure:
		o := edited{known: true, status: a.status}
		if a.status == 200 {
			var err error
			if o.content, err = contentOf(a.body); err != nil {
				l.wrong("%s %s: %v: %s", q.method, q.path, err, a.body)
			}
		}
		l.recordEdit(desk, e, do, from, a.to, o)
		if a.status == 204 || a.status == 404 {
			l.replace(c, desk, s, e)
		}
	case q.key == "" && unchanged(a, code):
	default:
		l.recordEdit(desk, e, do, from, time.Now().Add(time.Hour), edited{})
	}
}

// look reads a record.
func (l *library) look(c *client, desk int, e *record) (seen content, tag string, ok bool) {
	a := c.do("GET", e.path(), "", "")
	l.note(desk, a, false, 404)
	switch a.status {
	case 200:
		var err error
		if seen, err = contentOf(a.body); err != nil {
			l.wrong("GET %s: %v: %s", e.path(), err, a.body)
			return seen, "", false
		}
	case 404:
		seen.gone = true
	default:
		return seen, "", false
	}
	if !l.staleReads {
		l.recordEdit(desk, e, edit{verb: "read"}, a.from, a.to, edited{known: true, status: a.status, content: seen})
	}
	return seen, a.tag, true
}

// replace puts a new record where a deleted one was.
func (l *library) replace(c *client, desk int, s *shelf, old *record) {
	if s.record.Load() != old {
		return
	}
	e, body := l.newRecord(old.kind)
	path := "/" + e.kind + "/"
	a, _, sure := l.careful(c, desk, request{method: "POST", path: path, body: body, key: "key-" + e.mark})
	made := l.created(a, sure, path, e.first.one)
	if made == 0 {
		return
	}
	e.id = made
	if s.record.CompareAndSwap(old, e) {
		s.deleted.Store(old)
		l.journal.mu.Lock()
		delete(l.journal.created, e.path())
		l.journal.mu.Unlock()
	}
}

func (l *library) recordEdit(desk int, e *record, do edit, from, to time.Time, o edited) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.journal.edits[e] = append(l.journal.edits[e], porcupine.Operation{
		ClientId: desk, Input: do, Call: from.Sub(l.began).Nanoseconds(), Output: o, Return: to.Sub(l.began).Nanoseconds()})
}

// register is what a record's history is held to: each edit is done once, on what the one before left, and answers what it left.
// Where the answers may be old ones, on several database nodes that take writes, nothing follows from a refusal.
func register(first content, stale bool) porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{first} },
		Step: func(state, input, output any) []any {
			before, do, o := state.(content), input.(edit), output.(edited)
			if do.verb == "read" {
				if o.content == before {
					return []any{before}
				}
				return nil
			}
			after, status := before, 200
			switch {
			case before.gone && do.verb == "import": // it makes another one
			case before.gone:
				status = 404
			case do.match != nil && *do.match != before:
				status = 412
			case do.verb == "delete":
				after, status = content{gone: true}, 204
			default:
				if do.set.one != "" {
					after.one = do.set.one
				}
				if do.set.two != "" {
					after.two = do.set.two
				}
			}
			switch {
			case !o.known && after != before:
				return []any{before, after}
			case !o.known:
				return []any{before}
			case stale && (o.status == 404 || o.status == 409 || o.status == 412):
				return []any{before}
			case o.status != status:
				return nil
			case status == 200 && do.verb != "import" && o.content != after:
				return nil
			}
			return []any{after}
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v: %+v", input, output)
		},
	}
	return model.ToModel()
}

// checkEdits reads every record once more and checks its history.
func (l *library) checkEdits(c *client) {
	l.journal.mu.Lock()
	edits := l.journal.edits
	l.journal.mu.Unlock()
	for e := range edits {
		a := c.do("GET", e.path(), "", "")
		seen, err := contentOf(a.body)
		if seen.gone = a.status == 404; seen.gone {
			seen = content{gone: true}
		}
		if err != nil || a.status != 200 && !seen.gone {
			l.wrong("GET %s: %v", e.path(), a)
			continue
		}
		history := append(edits[e], porcupine.Operation{ClientId: desks, Input: edit{verb: "read"},
			Call: a.from.Sub(l.began).Nanoseconds(), Output: edited{known: true, status: a.status, content: seen}, Return: a.to.Sub(l.began).Nanoseconds()})
		l.journal.edited += len(history)
		if result := porcupine.CheckOperationsTimeout(register(e.first, l.stale), history, time.Minute); result != porcupine.Ok {
			l.journal.undone++
			l.wrong("edits of %s were lost or undone (%v): created as %+v\n%s", e.path(), result, e.first, told(history))
		}
	}
}

// told is the end of a history, for a person.
func told(history []porcupine.Operation) string {
	var b strings.Builder
	for _, op := range history[max(0, len(history)-40):] {
		do := op.Input.(edit)
		match := ""
		if do.match != nil {
			match = fmt.Sprintf(" if %+v", *do.match)
		}
		until := fmt.Sprintf("%.3f", float64(op.Return)/1e9)
		if !op.Output.(edited).known {
			until = "?"
		}
		fmt.Fprintf(&b, "  %.3f-%s desk %d %s %+v%s: %+v\n", float64(op.Call)/1e9, until, op.ClientId, do.verb, do.set, match, op.Output)
	}
	return b.String()
}
