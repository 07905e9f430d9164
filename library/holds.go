package library

import (
	"context"
	"slices"
)

// The refusals about holds.
var (
	ErrHoldNotFound = &Error{Kind: NotFound, Code: "hold_not_found", Title: "No such hold", Message: "The user has no hold on this book."}
	// ErrAvailable: what can be borrowed at once needs no hold.
	ErrAvailable = &Error{Kind: Conflict, Code: "available", Title: "A copy is free", Message: "A copy of the book is free: it can be borrowed at once."}
	// ErrAlreadyOnHold: a user has one place in the queue for a book.
	ErrAlreadyOnHold = &Error{Kind: Conflict, Code: "already_on_hold", Title: "Already on hold", Message: "The user has a hold on this book already."}
	// ErrHoldLimit: the user has Policy.HoldLimit active holds.
	ErrHoldLimit = &Error{Kind: Conflict, Code: "hold_limit", Title: "Hold limit reached", Message: "The user has as many holds as are allowed at once."}
	// ErrOnHold: no copy is free for this user, or for this loan to go on, since others wait for the book.
	ErrOnHold = &Error{Kind: Conflict, Code: "on_hold", Title: "On hold for others", Message: "Others wait for this book."}
	// ErrHasHolds: what somebody waits for, or who waits, cannot be deleted.
	ErrHasHolds = &Error{Kind: Conflict, Code: "has_holds", Title: "On hold", Message: "A book that is on hold, or a user who has a hold, cannot be deleted."}
	// ErrCopiesOnHold: more copies are out or set aside for holds than the book would have.
	ErrCopiesOnHold = &Error{Kind: Conflict, Code: "copies_on_hold", Title: "More copies are on hold", Message: "More copies of the book are out, or set aside for holds, than it would have.",
		Fields: []FieldError{{Field: "copies", Message: "must not be fewer than the copies that are out or set aside for holds"}}}
)

// Hold is a user's place in the queue for a book.
type Hold struct {
	ID        int64
	BookID    int64
	BookTitle string
	UserID    int64
	// UserName is "" once the user is deleted.
	UserName string
	PlacedOn Date
	Status   HoldStatus
	// Position counts who waits for the book, from 1 for who is next; 0 unless the hold waits.
	Position int
	// ReadyOn is since when a copy is or was set aside, and ReadyUntil the last day on which it can be picked up; both nil for what
	// waits or was never ready.
	ReadyOn, ReadyUntil *Date
	// ClosedOn is when the hold was fulfilled, cancelled, or expired: the day after ReadyUntil; nil while it is active.
	ClosedOn *Date
	// OpenedBy and ClosedBy are who placed it and who closed it; zero where nobody is known.
	OpenedBy, ClosedBy DoneBy
}

// HoldStatus is a state of a hold.
type HoldStatus string

// The states of holds. The first two are active.
const (
	HoldWaiting   HoldStatus = "waiting"
	HoldReady     HoldStatus = "ready"
	HoldFulfilled HoldStatus = "fulfilled"
	HoldExpired   HoldStatus = "expired"
	HoldCancelled HoldStatus = "cancelled"
)

// Queue is what is active of the holds of a book, in the order in which they were placed, and how many of its copies are not on loan.
// As many holds as there are such copies are ready, the first ones; the others wait.
type Queue struct {
	// Copies is how many of the book's copies are not on loan.
	Copies int
	// Holds are active, the ready ones first.
	Holds []QueuedHold
	// Unread is how many wait behind Holds of whom only the number is known. Where Settle needs them, it makes holds of them whose ID is 0.
	Unread int
	// Closed are the holds that have been closed since the queue was read.
	Closed []QueuedHold
}

// QueuedHold is a hold in a Queue.
type QueuedHold struct {
	ID, UserID int64
	// Ready says that a copy is, or was, set aside from ReadyOn to the end of ReadyUntil; both are 0 where it was not.
	Ready               bool
	ReadyOn, ReadyUntil Date
	// Changed says that it became ready, or no longer is, since the queue was read.
	Changed bool
	// Outcome and ClosedOn are those of Queue.Closed.
	Outcome  HoldStatus
	ClosedOn Date
}

// Ready is for how many holds a copy is set aside.
func (q *Queue) Ready() int {
	for i := range q.Holds {
		if !q.Holds[i].Ready {
			return i
		}
	}
	return len(q.Holds)
}

// Active is how many holds there are, ready or waiting.
func (q *Queue) Active() int { return len(q.Holds) + q.Unread }

// Waiting is for how many holds no copy is set aside.
func (q *Queue) Waiting() int { return q.Active() - q.Ready() }

// Free is how many copies anyone may borrow.
func (q *Queue) Free() int { return q.Copies - q.Ready() }

// Settle brings the queue, as the last write of the book has left it, to what it is today if nobody has done anything since: a hold
// that is not picked up expires on the day after its last one, the next is ready from that day, and so on. It is the only place where
// this is decided. On a queue that is settled it changes nothing; after a change of Copies or of the holds it brings the queue up to that.
func (q *Queue) Settle(p Policy, today Date) {
	places := q.Ready()
	for {
		lapsed, ok := q.firstLapse()
		if !ok || lapsed > today {
			break
		}
		q.Holds = slices.DeleteFunc(q.Holds, func(h QueuedHold) bool {
			expired := h.Ready && h.ReadyUntil < lapsed
			if expired {
				h.Outcome, h.ClosedOn = HoldExpired, lapsed
				q.Closed = append(q.Closed, h)
			}
			return expired
		})
		q.setAside(places, lapsed, p)
	}
	q.setAside(q.Copies, today, p)
}

// firstLapse is the day on which the first of the ready holds expires, the day after its last one.
func (q *Queue) firstLapse() (first Date, ok bool) {
	for _, h := range q.Holds {
		if !h.Ready {
			break
		}
		if lapse := h.ReadyUntil + 1; !ok || lapse < first {
			first, ok = lapse, true
		}
	}
	return first, ok
}

// setAside makes the first holds ready, as many as there are copies, and no others.
func (q *Queue) setAside(copies int, today Date, p Policy) {
	ready := q.Ready()
	for ; ready > max(copies, 0); ready-- { // a copy was lost: the last one waits again, at its place
		h := &q.Holds[ready-1]
		h.Ready, h.ReadyOn, h.ReadyUntil, h.Changed = false, 0, 0, true
	}
	for ; ready < copies; ready++ {
		if ready == len(q.Holds) {
			if q.Unread == 0 {
				return
			}
			q.Unread--
			q.Holds = append(q.Holds, QueuedHold{})
		}
		h := &q.Holds[ready]
		h.Ready, h.ReadyOn, h.ReadyUntil, h.Changed = true, today, p.PickUpUntil(today), true
	}
}

// Of is the user's hold, nil where there is none among Holds.
func (q *Queue) Of(userID int64) *QueuedHold {
	for i := range q.Holds {
		if q.Holds[i].UserID == userID {
			return &q.Holds[i]
		}
	}
	return nil
}

// Close takes a hold out of the queue; Settle then has others move up.
func (q *Queue) Close(h QueuedHold, outcome HoldStatus, today Date) {
	h.Outcome, h.ClosedOn = outcome, today
	q.Closed = append(q.Closed, h)
	before := len(q.Holds)
	if q.Holds = slices.DeleteFunc(q.Holds, func(o QueuedHold) bool { return o.ID == h.ID }); len(q.Holds) == before {
		q.Unread--
	}
}

// Known reports whether every hold that Settle has made ready or let expire is known, and not only counted.
func (q *Queue) Known() bool {
	unknown := func(h QueuedHold) bool { return h.ID == 0 }
	return !slices.ContainsFunc(q.Holds, unknown) && !slices.ContainsFunc(q.Closed, unknown)
}

// ChangeOn is the first day on which a settled queue is no longer as it is, if nothing else happens; nil: it stays so.
func (q *Queue) ChangeOn() *Date {
	if first, ok := q.firstLapse(); ok && first <= lastDate {
		return &first
	}
	return nil
}

// FreeFrom is the first day on which anyone may borrow one of the copies that are set aside in a settled queue, if nothing else
// happens; nil where none is set aside, or a copy is free now.
func (q *Queue) FreeFrom(p Policy) *Date {
	if q.Ready() == 0 || q.Free() > 0 {
		return nil
	}
	later := Queue{Copies: q.Copies, Holds: slices.Clone(q.Holds[:q.Ready()]), Unread: q.Waiting()}
	for later.Free() == 0 {
		first, ok := later.firstLapse()
		if !ok || first > lastDate {
			return nil
		}
		later.Settle(p, first)
		later.Closed = later.Closed[:0]
		if later.Free() > 0 {
			return &first
		}
	}
	return nil
}

// HoldFilter says which holds a list has; what is zero does not matter.
type HoldFilter struct {
	BookID, UserID int64
	// Status is HoldReady or HoldWaiting; "" is both. HoldExpired is for a list of all books and all users only.
	Status HoldStatus
}

// Shelf reports whether the list is what stands on the holds shelf, or should stand there no longer, in the order in which it lapses: of
// all books and all users.
func (f HoldFilter) Shelf() bool {
	return (f.Status == HoldReady || f.Status == HoldExpired) && f.BookID == 0 && f.UserID == 0
}

// HoldPlace is the place of a hold in a list: BookID counts where the list is in the order of the queues, ReadyUntil where it is
// the shelf's.
type HoldPlace struct {
	BookID     int64
	ReadyUntil Date
	ID         int64
}

// HoldPage asks for one page of a list of holds.
type HoldPage struct {
	// After is the place that the page begins behind; zero for the first page.
	After HoldPlace
	// Limit is how many holds the page holds at the most: 1 to MaxPageLimit.
	Limit int
}

// Holds is the part of a Store that keeps the queues. What is ready, and what has expired, is decided by the date in every call;
// nothing has to run in between.
type Holds interface {
	// PlaceHold puts a user at the end of the queue for a book. What it refuses, it refuses with all Reasons.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrAlreadyBorrowed, ErrAlreadyOnHold, ErrAvailable, ErrBlocked, ErrHoldLimit.
	PlaceHold(ctx context.Context, bookID, userID int64) (Hold, error)
	// CancelHold gives up a user's place in the queue for a book. If a copy was set aside for it, it is now for who is next.
	// Refusals: ErrUserNotFound, ErrBookNotFound, ErrHoldNotFound.
	CancelHold(ctx context.Context, bookID, userID int64) error
	// FindHolds returns one page of the holds that f says, the active ones unless it says HoldExpired: by book and then in the order of the
	// queue, those of one user in the order in which they were placed, the shelf by what lapses first, and what has expired by what did so
	// last. next is the place to go on after, zero on the last page.
	// Refusals: ErrBookNotFound or ErrUserNotFound for the one that f names.
	FindHolds(ctx context.Context, f HoldFilter, p HoldPage) (holds []Hold, next HoldPlace, err error)
}
