package db

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"library-management/library"
)

// shelf is a book that is locked, with its queue as it is today. Whoever writes about a book's loans, holds or copies brings the queue
// up to today first and stores that, too.
type shelf struct {
	id     int64
	found  bool
	policy library.Policy
	today  library.Date
	stored bookRow
	// known are the first of the active holds, as stored, and waiter tells more of each by its id. All of them where whole is set.
	known  []library.QueuedHold
	waiter map[int64]waiter
	whole  bool

	// book is as it is today.
	book library.Book
	// queue is settled.
	queue library.Queue
	// out is how many copies are out.
	out int
}

// waiter is what a hold that becomes ready is announced with.
type waiter struct {
	name     string
	placedOn library.Date
}

// queueRead is how many active holds of a book are read together with the locks, and queueMore how many in each further trip.
const (
	queueRead = 20
	queueMore = 500
)

// selectQueue reads a part of a queue, from the index that holds it in its order.
func (d dialect) selectQueue() string {
	return `SELECT h.book_id, h.id, h.user_id, h.ready_on, h.ready_until, h.placed_on, u.name FROM holds h` + d.indexed(`holds_queue`) + d.join + `users u ON u.id = h.user_id
		WHERE h.active_book_id = ? AND h.id > ? ORDER BY h.id LIMIT ?`
}

// nextPart are the arguments of selectQueue for what is not known yet.
func (sh *shelf) nextPart() []any {
	if n := len(sh.known); n > 0 {
		return []any{sh.id, sh.known[n-1].ID, queueMore}
	}
	return []any{sh.id, 0, queueRead}
}

// take takes a row of selectQueue.
func (sh *shelf) take(scan func(...any) error) error {
	var h library.QueuedHold
	var w waiter
	var readyOn, readyUntil *library.Date
	if err := scan(&sh.id, &h.ID, &h.UserID, &readyOn, &readyUntil, &w.placedOn, &w.name); err != nil {
		return err
	}
	if readyUntil != nil {
		h.Ready, h.ReadyOn, h.ReadyUntil = true, *readyOn, *readyUntil
	}
	if sh.waiter == nil {
		sh.waiter = map[int64]waiter{}
	}
	sh.known, sh.waiter[h.ID] = append(sh.known, h), w
	return nil
}

// askQueue queues the SELECT of the next part of the queue.
func (t *tx) askQueue(sh *shelf) {
	part := sh.nextPart()
	before := len(sh.known)
	t.askAll(t.s.dialect.selectQueue(), part, sh.take)
	ask := &t.pending[len(t.pending)-1]
	take := ask.read
	ask.read = func(rows *sql.Rows) error {
		err := take(rows)
		sh.whole = len(sh.known)-before < part[2].(int)
		return err
	}
	ask.unless = func() bool { return !sh.found || sh.stored.SetAside+sh.stored.HoldsWaiting == 0 }
}

// readQueue reads the next part of the queue without a lock.
func (sh *shelf) readQueue(ctx context.Context, q querier, d dialect) error {
	part := sh.nextPart()
	before := len(sh.known)
	_, err := collect(ctx, q, func(scan func(...any) error) (none struct{}, err error) { return none, sh.take(scan) }, d.selectQueue(), part)
	sh.whole = len(sh.known)-before < part[2].(int)
	return err
}

// settle brings the queue, as far as it is known, up to today. It reports false where more of it has to be read first: holds that are
// ready or have expired, or who is next.
func (sh *shelf) settle() (enough bool) {
	q := sh.stored.queue(slices.Clone(sh.known))
	if sh.whole {
		q.Unread = 0
	}
	allReady := q.Ready() == sh.stored.SetAside
	q.Settle(sh.policy, sh.today)
	sh.queue, sh.out, sh.book = q, sh.stored.OpenLoans(), sh.stored.Book
	count(&sh.book, q)
	return q.Known() && (q.Unread == 0 || allReady && q.Ready() < len(q.Holds))
}

// settled reads as much of the queue as is needed.
func (t *tx) settled(ctx context.Context, sh *shelf) error {
	for sh.found && !sh.settle() {
		t.askQueue(sh)
		if _, err := t.send(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settledWhole reads the whole queue.
func (t *tx) settledWhole(ctx context.Context, sh *shelf) error {
	for sh.found && !sh.whole {
		t.askQueue(sh)
		if _, err := t.send(ctx); err != nil {
			return err
		}
	}
	sh.settle()
	return nil
}

func (t *tx) newShelf(id int64) shelf {
	return shelf{id: id, policy: t.s.policy, today: t.today}
}

// lockBook locks a book; the book that it returns in it names the loan that is due first where no copy is free.
func (t *tx) lockBook(ctx context.Context, id int64) (*shelf, error) {
	sh := t.newShelf(id)
	const tail = ` WHERE b.id = ? AND b.deleted_at IS NULL`
	rows, err := t.bookView().stored(ctx, selectBook, 1, tail+t.s.dialect.forUpdate, []any{id})
	if err == nil && len(rows) == 0 {
		err = library.ErrBookNotFound
	}
	if err != nil {
		return &sh, err
	}
	sh.found, sh.stored = true, rows[0]
	if err := t.settled(ctx, &sh); err != nil {
		return &sh, err
	}
	now := sh.stored
	now.Book = sh.book
	if now.namesNoLoan() {
		if rows, err = t.bookView().stored(ctx, selectBookByLoans, 1, tail, []any{id}); err != nil {
			return &sh, err
		}
		now.BorrowedByID, now.DueDate = rows[0].BorrowedByID, rows[0].DueDate
	}
	sh.book = now.shown()
	return &sh, nil
}

// setCopies changes how many copies circulate, which the caller stores in books.copies: a further one is set aside for who waits.
// Fewer than are out are refused; fewer than are out or set aside, too, unless a copy was lost: then the last one for whom a copy is
// set aside waits again, at the same place. storeQueue stores what comes of it.
func (t *tx) setCopies(ctx context.Context, sh *shelf, copies int, lost bool) error {
	switch {
	case copies < sh.out:
		return library.ErrCopiesOnLoan
	case copies < sh.out+sh.queue.Ready() && !lost:
		return library.ErrCopiesOnHold
	}
	for {
		sh.queue.Copies = copies - sh.out
		sh.queue.Settle(sh.policy, sh.today)
		if sh.queue.Known() {
			return nil
		}
		t.askQueue(sh) // so many copies are new that not all are known for whom they are
		if _, err := t.send(ctx); err != nil {
			return err
		}
		sh.settle()
	}
}

// serve fulfils a user's hold that is ready. It reports false where there is none and no copy is free for anyone.
func (sh *shelf) serve(userID int64) bool {
	if hold := sh.queue.Of(userID); hold != nil && hold.Ready {
		sh.queue.Close(*hold, library.HoldFulfilled, sh.today)
		return true
	}
	return sh.queue.Free() > 0
}

// lend notes that n more copies are out, and settles what that means for the queue.
func (sh *shelf) lend(n int) {
	sh.out += n
	sh.queue.Copies -= n
	sh.queue.Settle(sh.policy, sh.today)
	count(&sh.book, sh.queue)
}

// setFirstDue is for storeShelf by what knows which loan is due first.
const setFirstDue = `first_due_user_id = ?, first_due_on = ?, first_due_stale_since = NULL`

// sameFirstDue is for storeShelf by what changes no loan.
const sameFirstDue = `first_due_stale_since = first_due_stale_since`

// storeQueue is storeShelf for what changes no loan and no hold. Where nobody has waited there is nothing to store.
func (t *tx) storeQueue(ctx context.Context, sh *shelf) {
	if sh.stored.SetAside+sh.stored.HoldsWaiting > 0 {
		t.storeShelf(ctx, sh, sameFirstDue)
	}
}

// storeShelf queues what has become of the queue, and the book's counters. set says what the row repeats of the book's loans.
func (t *tx) storeShelf(ctx context.Context, sh *shelf, set string, args ...any) {
	args = append(args, sh.out+sh.queue.Ready(), sh.queue.Ready(), sh.queue.Active(), sh.queue.ChangeOn(), sh.queue.FreeFrom(sh.policy),
		sh.id, sh.stored.OpenLoans()+sh.stored.SetAside)
	t.change(`
		UPDATE books SET `+set+`, on_loan = ?, set_aside = ?, holds = ?, holds_change_on = ?, free_from = ?, revision = revision + 1
		WHERE id = ? AND deleted_at IS NULL AND on_loan = ?`, args...)
	for _, h := range sh.queue.Closed {
		t.closeHold(ctx, h)
	}
	for _, h := range sh.queue.Holds { // few are read beyond those that change
		if h.Changed {
			on, until := readyOf(h)
			t.change(`UPDATE holds SET ready_on = ?, ready_until = ? WHERE id = ? AND closed_on IS NULL`, on, until, h.ID)
		}
	}
}

// closeHold queues what is stored of a hold of Queue.Closed.
func (t *tx) closeHold(ctx context.Context, h library.QueuedHold) {
	by, who := doer(ctx)
	if h.Outcome == library.HoldExpired {
		by, who = nil, nil
	}
	on, until := readyOf(h)
	t.change(`
		UPDATE holds SET ready_on = ?, ready_until = ?, closed_on = ?, outcome = ?, closed_by = ?, closed_who = ? WHERE id = ? AND closed_on IS NULL`,
		on, until, h.ClosedOn, string(h.Outcome), by, who, h.ID)
}

// readyOf is how a hold's days are stored.
func readyOf(h library.QueuedHold) (on, until any) {
	if !h.Ready {
		return nil, nil
	}
	return h.ReadyOn, h.ReadyUntil
}

// announced is a hold of the queue that has become ready.
func (sh *shelf) announced(h library.QueuedHold) *library.Hold {
	w := sh.waiter[h.ID]
	return &library.Hold{ID: h.ID, BookID: sh.id, BookTitle: sh.book.Title, UserID: h.UserID, UserName: w.name, PlacedOn: w.placedOn,
		Status: library.HoldReady, ReadyOn: &h.ReadyOn, ReadyUntil: &h.ReadyUntil}
}

// settleQueues stores what has become of the queues of books that nobody has written since a hold has lapsed, and of what an older
// release, which knows no holds, has passed by: it has taken a copy back for which somebody waits, lent one to somebody who has waited,
// or deleted who waits, or the book.
func (s *Store) settleQueues(ctx context.Context) error {
	const (
		whoHasIt = `FROM holds h JOIN loans l ON l.user_id = h.user_id AND l.open_book_id = h.active_book_id WHERE h.active_book_id `
		whoIsNot = `FROM holds h JOIN users u ON u.id = h.user_id WHERE u.deleted_at IS NOT NULL AND h.active_book_id `
	)
	var books []any
	err := s.read(ctx, func(q querier) (err error) {
		books, err = collect(ctx, q, scanID, `
			SELECT h.active_book_id FROM holds h JOIN books b ON b.id = h.active_book_id
			WHERE h.active_book_id > 0 AND (b.holds_change_on <= ? OR b.holds > b.set_aside AND b.copies > b.on_loan OR b.deleted_at IS NOT NULL)
			UNION SELECT h.active_book_id `+whoHasIt+`> 0 UNION SELECT h.active_book_id `+whoIsNot+`> 0`, []any{s.today()})
		return err
	})
	for _, id := range books {
		if err != nil {
			return err
		}
		err = s.inTx(ctx, func(t *tx) error {
			sh, err := t.lockBook(ctx, id.(int64))
			if errors.Is(err, library.ErrBookNotFound) { // nobody could cancel them any more
				t.later(`UPDATE holds SET closed_on = ?, outcome = ? WHERE active_book_id = ?`, t.today, string(library.HoldCancelled), id)
				t.later(`UPDATE books SET holds = 0, `+sameFirstDue+` WHERE id = ? AND deleted_at IS NOT NULL`, id)
				return nil
			}
			if err == nil {
				err = t.settledWhole(ctx, sh)
			}
			for _, over := range []struct {
				from    string
				outcome library.HoldStatus
			}{{whoHasIt, library.HoldFulfilled}, {whoIsNot, library.HoldCancelled}} {
				var ids []any
				if err == nil {
					ids, err = collect(ctx, t, scanID, `SELECT h.id `+over.from+`= ?`, []any{id})
				}
				for _, h := range slices.Clone(sh.queue.Holds) {
					if slices.Contains(ids, any(h.ID)) {
						sh.queue.Close(h, over.outcome, t.today)
					}
				}
			}
			if err != nil {
				return err
			}
			sh.queue.Settle(sh.policy, sh.today)
			t.storeQueue(ctx, sh)
			return nil
		})
	}
	return err
}
