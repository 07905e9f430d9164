package db

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"library-management/library"
)

// queueing is what a hold, or its end, is decided by.
type queueing struct {
	shelf
	userID  int64
	hasUser bool
	user    member
	hasLoan bool      // of the book, by the user
	holds   []holding // of the user, as stored: this one's among them
}

// holding is an active hold of a user as it is stored.
type holding struct {
	id, bookID int64
	readyUntil *library.Date
	changeOn   *library.Date // books.holds_change_on
}

const selectHoldings = `
	SELECT h.id, h.book_id, h.ready_until, b.holds_change_on FROM holds h JOIN books b ON b.id = h.book_id WHERE h.user_id = ? AND h.active_book_id > 0`

func scanHolding(scan func(...any) error) (h holding, err error) {
	return h, scan(&h.id, &h.bookID, &h.readyUntil, &h.changeOn)
}

// lockQueueing locks a user and a book and reads what decides about a hold, in one round trip; in two where the queue is long.
func (t *tx) lockQueueing(ctx context.Context, bookID, userID int64) (*queueing, error) {
	l := &queueing{shelf: t.newShelf(bookID), userID: userID}
	t.ask(&l.hasUser, selectMember+t.s.dialect.forUpdate, []any{userID}, l.user.columns()...)
	t.ask(&l.found, selectBookToLend+t.s.dialect.forUpdate, []any{bookID}, l.stored.columns()...)
	t.askAll(selectHoldings, []any{userID}, func(scan func(...any) error) error {
		h, err := scanHolding(scan)
		l.holds = append(l.holds, h)
		return err
	})
	var own openLoan
	t.ask(&l.hasLoan, selectOwnLoan, []any{userID, bookID}, own.columns()...)
	t.askQueue(&l.shelf)
	if _, err := t.send(ctx); err != nil {
		return l, err
	}
	return l, t.settled(ctx, &l.shelf)
}

// missing is whom and what there is not.
func (l *queueing) missing() (refusals []*library.Error) {
	if !l.hasUser {
		refusals = append(refusals, library.ErrUserNotFound)
	}
	if !l.found {
		refusals = append(refusals, library.ErrBookNotFound)
	}
	return refusals
}

// own is the user's hold on the book, nil where there is none or it has expired. One that is not known but in its number waits.
func (l *queueing) own() *library.QueuedHold {
	if h := l.queue.Of(l.userID); h != nil {
		return h
	}
	at := slices.IndexFunc(l.holds, func(h holding) bool { return h.bookID == l.id })
	if at < 0 || slices.ContainsFunc(l.queue.Closed, func(h library.QueuedHold) bool { return h.ID == l.holds[at].id }) {
		return nil
	}
	return &library.QueuedHold{ID: l.holds[at].id, UserID: l.userID}
}

// hold decides about a hold, with all reasons against it.
func (l *queueing) hold(atLimit bool) error {
	refusals := l.missing()
	if l.hasLoan {
		refusals = append(refusals, library.ErrAlreadyBorrowed)
	}
	if l.found && l.own() != nil {
		refusals = append(refusals, library.ErrAlreadyOnHold)
	}
	refusals = append(refusals, l.user.blocked()...)
	if l.found && l.queue.Free() > 0 {
		refusals = append(refusals, library.ErrAvailable)
	}
	if atLimit {
		refusals = append(refusals, library.ErrHoldLimit)
	}
	return library.Refuse(refusals...)
}

// PlaceHold is library.Store's. Two round trips where the connection takes batches.
func (s *Store) PlaceHold(ctx context.Context, bookID, userID int64) (library.Hold, error) {
	placed, err := write(ctx, s, func(t *tx) (*library.Hold, error) {
		l, err := t.lockQueueing(ctx, bookID, userID)
		if err != nil {
			return nil, err
		}
		atLimit, err := t.bookView().active(ctx, l.holds, s.policy.HoldLimit)
		if err == nil {
			err = l.hold(atLimit)
		}
		if err != nil {
			return nil, err
		}
		h := &library.Hold{BookID: bookID, BookTitle: l.book.Title, UserID: userID, UserName: l.user.name, PlacedOn: t.today,
			Status: library.HoldWaiting, Position: l.queue.Waiting() + 1, OpenedBy: doneBy(ctx)}
		l.queue.Unread++
		t.change(`UPDATE users SET revision = revision + 1 WHERE id = ? AND deleted_at IS NULL`, userID)
		t.storeShelf(ctx, &l.shelf, sameFirstDue)
		by, who := doer(ctx)
		t.add(&h.ID, `INSERT INTO holds (book_id, user_id, placed_on, opened_by, opened_who) VALUES (?, ?, ?, ?, ?)`, bookID, userID, t.today, by, who)
		if _, keyed := library.IdempotencyKeyOf(ctx); keyed { // what is kept under the key has the id
			_, err = t.send(ctx)
		}
		return h, err
	})
	if err != nil {
		return library.Hold{}, err
	}
	if placed.ID == 0 { // the answer to the COMMIT was lost, and with it the id
		err = s.read(ctx, func(q querier) error {
			return one(ctx, q, `SELECT MAX(id) FROM holds WHERE user_id = ? AND book_id = ?`, []any{userID, bookID}, &placed.ID)
		})
	}
	return *placed, err
}

// CancelHold is library.Store's. Two round trips where the connection takes batches.
func (s *Store) CancelHold(ctx context.Context, bookID, userID int64) error {
	_, err := write(ctx, s, func(t *tx) (nothing struct{}, err error) {
		l, err := t.lockQueueing(ctx, bookID, userID)
		if err != nil {
			return nothing, err
		}
		if refusals := l.missing(); len(refusals) > 0 {
			return nothing, library.Refuse(refusals...)
		}
		own := l.own()
		if own == nil {
			return nothing, library.Refuse(library.ErrHoldNotFound)
		}
		l.queue.Close(*own, library.HoldCancelled, t.today)
		l.queue.Settle(l.policy, l.today)
		t.change(`UPDATE users SET revision = revision + 1 WHERE id = ? AND deleted_at IS NULL`, userID)
		t.storeShelf(ctx, &l.shelf, sameFirstDue)
		return nothing, nil
	})
	return err
}

// active reports whether at least so many of a user's holds are active today. Where a hold waits for a book whose queue has moved on
// since it was written, which may have made it ready and let it expire, that queue is read if it decides.
func (v bookView) active(ctx context.Context, holds []holding, atLeast int) (bool, error) {
	var unsure []holding
	n := 0
	for _, h := range holds {
		switch {
		case h.readyUntil != nil && *h.readyUntil < v.today:
		case h.readyUntil == nil && h.changeOn != nil && *h.changeOn <= v.today:
			unsure = append(unsure, h)
		default:
			n++
		}
	}
	if n >= atLeast || n+len(unsure) < atLeast {
		return n >= atLeast, nil
	}
	var books []any
	for _, h := range unsure {
		books = append(books, h.bookID)
	}
	shelves, err := v.shelves(ctx, books)
	for _, h := range unsure {
		if sh := shelves[h.bookID]; sh != nil && !sh.closed(h.id) {
			n++
		}
	}
	return n >= atLeast, err
}

// closed reports whether a hold that is stored as active is no longer.
func (sh *shelf) closed(id int64) bool {
	return slices.ContainsFunc(sh.queue.Closed, func(h library.QueuedHold) bool { return h.ID == id })
}

// hasHolds reports whether a user who is locked has an active hold.
func (t *tx) hasHolds(ctx context.Context, userID int64) (bool, error) {
	holds, err := collect(ctx, t, scanHolding, selectHoldings, []any{userID})
	if err != nil {
		return false, err
	}
	return t.bookView().active(ctx, holds, 1)
}

// shelvesRead is how many queues are read by one statement: SQLite joins no more than 500.
const shelvesRead = 100

// shelves reads books with the beginning of their queues, without a lock, and settles them.
func (v bookView) shelves(ctx context.Context, ids []any) (map[int64]*shelf, error) {
	shelves := map[int64]*shelf{}
	for some := range slices.Chunk(ids, shelvesRead) {
		_, err := collect(ctx, v, func(scan func(...any) error) (none struct{}, err error) {
			sh := &shelf{found: true, policy: v.policy, today: v.today}
			err = scan(sh.stored.columns()...)
			sh.id = sh.stored.ID
			shelves[sh.id] = sh
			return none, err
		}, selectBookAlone+` WHERE b.id IN (`+marks(len(some))+`)`, some)
		if err != nil {
			return nil, err
		}
		var parts []string
		var args []any
		for _, id := range some {
			if sh := shelves[id.(int64)]; sh != nil {
				parts = append(parts, `SELECT * FROM (`+v.dialect.selectQueue()+`) q`)
				args = append(args, sh.nextPart()...)
			}
		}
		if len(parts) == 0 {
			continue
		}
		_, err = collect(ctx, v, func(scan func(...any) error) (none struct{}, err error) {
			var sh shelf
			if err = sh.take(scan); err == nil {
				shelves[sh.id].known = append(shelves[sh.id].known, sh.known...)
			}
			return none, err
		}, strings.Join(parts, ` UNION ALL `), args)
		if err != nil {
			return nil, err
		}
	}
	for _, sh := range shelves {
		slices.SortFunc(sh.known, func(a, b library.QueuedHold) int { return cmp.Compare(a.ID, b.ID) })
		sh.whole = len(sh.known) < queueRead
		for !sh.settle() {
			if err := sh.readQueue(ctx, v, v.dialect); err != nil {
				return nil, err
			}
		}
	}
	return shelves, nil
}

// holdRow is a hold as it is stored, with the counters of its book.
type holdRow struct {
	library.Hold
	book bookRow
	// before is how many wait up to this one, itself among them, as stored.
	before int
}

const (
	selectHold = `
		SELECT h.id, h.book_id, b.title, h.user_id, u.name, h.placed_on, h.ready_on, h.ready_until, h.closed_on, h.outcome,
		       h.opened_by, opener.name, h.opened_who, h.closed_by, closer.name, h.closed_who,
		       b.copies - b.on_loan, b.set_aside, b.holds - b.set_aside, b.holds_change_on`
	// joinHold is what selectHold needs besides h.
	joinHold = `
		JOIN books b ON b.id = h.book_id JOIN users u ON u.id = h.user_id
		LEFT JOIN access_keys opener ON opener.key_id = h.opened_by LEFT JOIN access_keys closer ON closer.key_id = h.closed_by`
	// countBefore is holdRow.before, for few holds.
	countBefore = `(SELECT COUNT(*) FROM holds w WHERE w.active_book_id = h.book_id AND w.ready_until IS NULL AND w.id <= h.id)`
)

func scanHold(scan func(...any) error) (h holdRow, err error) {
	var outcome text
	err = scan(&h.ID, &h.BookID, &h.BookTitle, &h.UserID, &h.UserName, &h.PlacedOn, &h.ReadyOn, &h.ReadyUntil, &h.ClosedOn, &outcome,
		(*text)(&h.OpenedBy.KeyID), (*text)(&h.OpenedBy.KeyName), (*text)(&h.OpenedBy.Who),
		(*text)(&h.ClosedBy.KeyID), (*text)(&h.ClosedBy.KeyName), (*text)(&h.ClosedBy.Who),
		&h.book.CopiesAvailable, &h.book.SetAside, &h.book.HoldsWaiting, &h.book.changeOn, &h.before)
	h.book.ID, h.Status = h.BookID, library.HoldStatus(outcome)
	switch {
	case h.Status != "":
	case h.ReadyUntil != nil:
		h.Status = library.HoldReady
	default:
		h.Status = library.HoldWaiting
	}
	return h, err
}

// holdsToday brings holds up to today: each has the status and, where before is set, the position that it has now. Those that have expired
// are left out.
func (v bookView) holdsToday(ctx context.Context, rows []holdRow) ([]holdRow, error) {
	var lapsed []any
	for _, r := range rows {
		if id := any(r.BookID); r.book.lapsed(v.today) && !slices.Contains(lapsed, id) {
			lapsed = append(lapsed, id)
		}
	}
	shelves := map[int64]*shelf{}
	if len(lapsed) > 0 {
		var err error
		if shelves, err = v.shelves(ctx, lapsed); err != nil {
			return nil, err
		}
	}
	var list []holdRow
	for _, r := range rows {
		sh := shelves[r.BookID]
		if r.ClosedOn != nil || sh != nil && sh.closed(r.ID) {
			continue
		}
		if sh != nil {
			moved := func(h library.QueuedHold) bool { return h.Changed && h.ID <= r.ID }
			for _, h := range sh.queue.Closed { // those that have waited and, meanwhile, no longer do
				if moved(h) {
					r.before--
				}
			}
			for _, h := range sh.queue.Holds {
				if moved(h) {
					r.before--
				}
				if h.ID == r.ID && h.Ready {
					r.Status, r.ReadyOn, r.ReadyUntil = library.HoldReady, &h.ReadyOn, &h.ReadyUntil
				}
			}
		}
		if r.Status == library.HoldWaiting {
			r.Position = r.before
		}
		list = append(list, r)
	}
	return list, nil
}

// FindHolds is library.Store's.
func (s *Store) FindHolds(ctx context.Context, f library.HoldFilter, p library.HoldPage) (holds []library.Hold, next library.HoldPlace, err error) {
	err = s.read(ctx, func(q querier) (err error) {
		v := s.bookView(q)
		var rows []holdRow
		next = library.HoldPlace{}
		switch {
		case f.UserID != 0:
			rows, err = v.holdsOfUser(ctx, f, p)
		case f.Shelf() && f.Status == library.HoldExpired:
			rows, next, err = v.expiredHolds(ctx, p)
		case f.Shelf():
			rows, next, err = v.readyHolds(ctx, p)
		default:
			rows, err = v.queues(ctx, f, p)
		}
		if err == nil && len(rows) == 0 {
			err = v.exist(ctx, f)
		}
		if len(rows) > p.Limit {
			rows = rows[:p.Limit]
			next.BookID, next.ID = rows[p.Limit-1].BookID, rows[p.Limit-1].ID
		}
		holds = make([]library.Hold, len(rows))
		for i := range rows {
			holds[i] = rows[i].Hold
		}
		return err
	})
	return holds, next, err
}

// exist refuses a list of what there is not.
func (v bookView) exist(ctx context.Context, f library.HoldFilter) error {
	for _, of := range []struct {
		id      int64
		table   string
		refusal *library.Error
	}{{f.UserID, `users`, library.ErrUserNotFound}, {f.BookID, `books`, library.ErrBookNotFound}} {
		if of.id == 0 {
			continue
		}
		err := one(ctx, v, `SELECT id FROM `+of.table+` WHERE id = ? AND deleted_at IS NULL`, []any{of.id}, &of.id)
		if errors.Is(err, sql.ErrNoRows) {
			return of.refusal
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holdsOfUser reads all active holds of a user, who has few.
func (v bookView) holdsOfUser(ctx context.Context, f library.HoldFilter, p library.HoldPage) ([]holdRow, error) {
	rows, err := collect(ctx, v, scanHold, selectHold+`, `+countBefore+` FROM holds h`+joinHold+` WHERE h.user_id = ? AND h.active_book_id > 0`, []any{f.UserID})
	if err == nil {
		rows, err = v.holdsToday(ctx, rows)
	}
	rows = slices.DeleteFunc(rows, func(h holdRow) bool {
		return h.ID <= p.After.ID || f.BookID != 0 && h.BookID != f.BookID || f.Status != "" && h.Status != f.Status
	})
	slices.SortFunc(rows, func(a, b holdRow) int { return cmp.Compare(a.ID, b.ID) })
	return rows[:min(len(rows), p.Limit+1)], err
}

// queues reads active holds by book and in the order of the queues, from the index that holds them so.
func (v bookView) queues(ctx context.Context, f library.HoldFilter, p library.HoldPage) (list []holdRow, err error) {
	after := p.After
	for len(list) <= p.Limit {
		type source struct {
			where string
			args  []any
		}
		var sources []source
		switch {
		case f.BookID != 0:
			sources = []source{{`h.active_book_id = ? AND h.id > ?`, []any{f.BookID, after.ID}}}
		case after.ID == 0:
			sources = []source{{`h.active_book_id > 0`, nil}}
		default: // as two ranges, which every optimizer knows how to begin in the middle of a queue
			sources = []source{{`h.active_book_id = ? AND h.id > ?`, []any{after.BookID, after.ID}}, {`h.active_book_id > ?`, []any{after.BookID}}}
		}
		size := p.Limit + 1
		var rows []holdRow
		for _, s := range sources {
			if len(rows) >= size {
				break
			}
			if f.Status == library.HoldWaiting { // none that is stored as ready waits
				s.where += ` AND h.ready_until IS NULL`
			}
			some, err := collect(ctx, v, scanHold, selectHold+`, 0 FROM (SELECT h.id FROM holds h`+v.dialect.indexed(`holds_queue`)+`
				WHERE `+s.where+` ORDER BY h.active_book_id, h.id LIMIT ?) page JOIN holds h ON h.id = page.id`+joinHold, append(s.args, size))
			if err != nil {
				return nil, err
			}
			rows = append(rows, some...)
		}
		slices.SortFunc(rows, func(a, b holdRow) int { return cmp.Or(cmp.Compare(a.BookID, b.BookID), cmp.Compare(a.ID, b.ID)) })
		rows = rows[:min(len(rows), size)]
		if err := v.countWaiting(ctx, after, rows); err != nil {
			return nil, err
		}
		last := len(rows) < size
		if len(rows) > 0 {
			after.BookID, after.ID = rows[len(rows)-1].BookID, rows[len(rows)-1].ID
		}
		if rows, err = v.holdsToday(ctx, rows); err != nil {
			return nil, err
		}
		for _, r := range rows {
			if f.Status == library.HoldReady && r.Status == library.HoldWaiting { // of one book: those that are ready come first
				return list, nil
			}
			if f.Status == "" || r.Status == f.Status {
				list = append(list, r)
			}
		}
		if last {
			break
		}
	}
	return list[:min(len(list), p.Limit+1)], nil
}

// countWaiting sets before in holds that follow each other in their queues, behind a place that may be in the middle of one.
func (v bookView) countWaiting(ctx context.Context, after library.HoldPlace, rows []holdRow) error {
	before := 0
	for i := range rows {
		r := &rows[i]
		if i == 0 && after.ID != 0 {
			err := one(ctx, v, `SELECT COUNT(*) FROM holds w WHERE w.active_book_id = ? AND w.ready_until IS NULL AND w.id < ?`, []any{r.BookID, r.ID}, &before)
			if err != nil {
				return err
			}
		} else if i > 0 && r.BookID != rows[i-1].BookID {
			before = 0
		}
		if r.ReadyUntil == nil {
			before++
		}
		r.before = before
	}
	return nil
}

// readyHolds reads the shelf: what is stored as ready and has not lapsed, from its index, and what has become ready since in the queues
// of books whose ready holds have lapsed. The queues are read first: what a write takes out of them meanwhile is then in the index.
func (v bookView) readyHolds(ctx context.Context, p library.HoldPage) (rows []holdRow, next library.HoldPlace, err error) {
	shelves, err := v.lapsedQueues(ctx)
	if err != nil {
		return nil, next, err
	}
	places, err := v.shelfPlaces(ctx, `shelf_until`, `holds_shelf`, `
		h.shelf_until >= ? AND (h.shelf_until > ? OR h.id > ?) ORDER BY h.shelf_until, h.id LIMIT ?`,
		max(p.After.ReadyUntil, v.today), p.After.ReadyUntil, p.After.ID, p.Limit+1)
	if err != nil {
		return nil, next, err
	}
	for _, sh := range shelves {
		for _, h := range sh.queue.Holds {
			if at := (library.HoldPlace{ID: h.ID, ReadyUntil: h.ReadyUntil}); h.Ready && h.Changed && byLapse(at, p.After) > 0 {
				places = append(places, at)
			}
		}
	}
	slices.SortFunc(places, byLapse)
	places, next = shelfPage(places, p.Limit)
	if rows, err = v.holdsAt(ctx, places); err == nil {
		rows, err = v.holdsToday(ctx, rows)
	}
	rows = slices.DeleteFunc(rows, func(h holdRow) bool { return h.Status != library.HoldReady }) // what was picked up meanwhile
	slices.SortFunc(rows, func(a, b holdRow) int { return byLapse(a.place(), b.place()) })
	return rows, next, err
}

// shelfPage is the first of the places, and the one that the next page is behind. A hold whose place was read twice has one.
func shelfPage(places []library.HoldPlace, limit int) (page []library.HoldPlace, next library.HoldPlace) {
	if page = slices.Compact(places); len(page) > limit {
		page, next = page[:limit], page[limit-1]
	}
	return page, next
}

// expiredHolds reads what was not picked up, what has expired last first: what is stored so, what is stored as ready and has lapsed
// since, and of the queues behind that who was next, and has let it lapse, too. What is stored is read last: a write stores all.
func (v bookView) expiredHolds(ctx context.Context, p library.HoldPage) (rows []holdRow, after library.HoldPlace, err error) {
	before := p.After
	if before.ID == 0 || before.ReadyUntil >= v.today {
		before = library.HoldPlace{ReadyUntil: v.today}
	}
	args := []any{before.ReadyUntil, before.ReadyUntil, before.ID, p.Limit + 1}
	shelves, err := v.lapsedQueues(ctx)
	if err != nil {
		return nil, after, err
	}
	lapsed, err := v.shelfPlaces(ctx, `shelf_until`, `holds_shelf`, `
		h.shelf_until <= ? AND (h.shelf_until < ? OR h.id < ?) ORDER BY h.shelf_until DESC, h.id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, after, err
	}
	places, err := v.shelfPlaces(ctx, `ready_until`, `holds_expired`, `
		h.outcome = 'expired' AND h.ready_until <= ? AND (h.ready_until < ? OR h.id < ?) ORDER BY h.ready_until DESC, h.id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, after, err
	}
	next := map[int64]library.QueuedHold{} // those that are stored as waiting
	for _, sh := range shelves {
		for _, h := range sh.queue.Closed {
			if at := (library.HoldPlace{ID: h.ID, ReadyUntil: h.ReadyUntil}); h.Changed && byLapse(at, before) < 0 {
				next[h.ID], lapsed = h, append(lapsed, at)
			}
		}
	}
	places = append(places, lapsed...)
	slices.SortFunc(places, func(a, b library.HoldPlace) int { return byLapse(b, a) })
	places, after = shelfPage(places, p.Limit)
	if rows, err = v.holdsAt(ctx, places); err != nil {
		return nil, after, err
	}
	for i := range rows {
		r := &rows[i]
		if h, ok := next[r.ID]; ok {
			r.ReadyOn, r.ReadyUntil = &h.ReadyOn, &h.ReadyUntil
		}
		if r.ClosedOn == nil && r.ReadyUntil != nil {
			closedOn := *r.ReadyUntil + 1
			r.Status, r.ClosedOn = library.HoldExpired, &closedOn
		}
	}
	rows = slices.DeleteFunc(rows, func(h holdRow) bool { return h.Status != library.HoldExpired }) // what was closed otherwise meanwhile
	slices.SortFunc(rows, func(a, b holdRow) int { return byLapse(b.place(), a.place()) })
	return rows, after, nil
}

// byLapse compares by the last day on which a copy is set aside.
func byLapse(a, b library.HoldPlace) int {
	return cmp.Or(cmp.Compare(a.ReadyUntil, b.ReadyUntil), cmp.Compare(a.ID, b.ID))
}

// place is where a hold for which a copy is or was set aside is in the order of byLapse.
func (r holdRow) place() library.HoldPlace {
	return library.HoldPlace{ID: r.ID, ReadyUntil: *r.ReadyUntil}
}

// shelfPlaces reads the places of holds from an index that begins with day.
func (v bookView) shelfPlaces(ctx context.Context, day, index, where string, args ...any) ([]library.HoldPlace, error) {
	return collect(ctx, v, func(scan func(...any) error) (h library.HoldPlace, err error) { return h, scan(&h.ID, &h.ReadyUntil) },
		`SELECT h.id, h.`+day+` FROM holds h`+v.dialect.indexed(index)+` WHERE `+where, args)
}

// lapsedQueues are the queues in which somebody waits behind a hold that has lapsed, and nobody has written since.
func (v bookView) lapsedQueues(ctx context.Context) (map[int64]*shelf, error) {
	books, err := collect(ctx, v, scanID, `
		SELECT DISTINCT h.book_id FROM holds h`+v.dialect.indexed(`holds_shelf`)+` JOIN books b ON b.id = h.book_id WHERE h.shelf_until < ? AND b.holds > b.set_aside`, []any{v.today})
	if err != nil {
		return nil, err
	}
	return v.shelves(ctx, books)
}

// holdsAt reads the holds of places.
func (v bookView) holdsAt(ctx context.Context, places []library.HoldPlace) ([]holdRow, error) {
	if len(places) == 0 {
		return nil, nil
	}
	var ids []any
	for _, h := range places {
		ids = append(ids, h.ID)
	}
	return collect(ctx, v, scanHold, selectHold+`, 0 FROM holds h`+joinHold+` WHERE h.id IN (`+marks(len(ids))+`)`, ids)
}
