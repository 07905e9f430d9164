package handlers

import (
	"context"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) holds() []route {
	return []route{
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/holds/{user_id}", ID: "place-hold", Tag: tagHolds, Success: 201, Role: desk,
			Summary: "Place a hold on a book",
			Text:    "Puts the user at the end of the queue for the book. As soon as a copy is set aside the hold is ready, until ready_until.",
			Codes: writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrAlreadyBorrowed, library.ErrAlreadyOnHold, library.ErrBlocked,
				library.ErrAvailable, library.ErrHoldLimit),
		}, a.placeHold),
		newRoute(operation{
			Method: "DELETE", Path: "/books/{book_id}/holds/{user_id}", ID: "cancel-hold", Tag: tagHolds, Success: 204, Role: desk,
			Summary: "Cancel a hold",
			Text:    "If a copy was set aside for it, that is now for who is next.",
			Codes:   writes(library.ErrBookNotFound, library.ErrUserNotFound, library.ErrHoldNotFound),
		}, a.cancelHold),
		newRoute(operation{
			Method: "GET", Path: "/books/{book_id}/holds", ID: "list-book-holds", Tag: tagHolds, Success: 200, Role: desk,
			Summary: "List the holds on a book",
			Text:    "Those that are active, in the order of the queue: the ready ones, then who waits.",
			Codes:   reads(library.ErrBookNotFound),
		}, a.listBookHolds),
		newRoute(operation{
			Method: "GET", Path: "/users/{user_id}/holds", ID: "list-user-holds", Tag: tagHolds, Success: 200, Role: desk,
			Summary: "List the holds of a user",
			Text:    "Those that are active, in the order in which they were placed.",
			Codes:   reads(library.ErrUserNotFound),
		}, a.listUserHolds),
		newRoute(operation{
			Method: "GET", Path: "/holds/", ID: "list-holds", Tag: tagHolds, Success: 200, Role: desk,
			Summary: "List the holds",
			Text: "Those that are active, by book and in the order of its queue. With status=ready they are the holds shelf: what lapses first comes first. " +
				"With status=expired they are those that were not picked up, the latest first: the copy is for who is next, or goes back to its ordinary place.",
			Codes: reads(),
		}, a.listHolds),
	}
}

// Hold is a hold on the wire. Clients read these names: they never change.
type Hold struct {
	ID         int64         `json:"id" minimum:"1" example:"1"`
	Book       LoanBook      `json:"book"`
	User       LoanUser      `json:"user"`
	Status     string        `json:"status" enum:"waiting,ready,expired" example:"waiting"`
	Position   *int          `json:"position" minimum:"1" example:"1" doc:"The place among those who wait, 1 for who is next; null unless the hold waits."`
	PlacedOn   library.Date  `json:"placed_on" format:"date" example:"2026-01-01"`
	ReadyOn    *library.Date `json:"ready_on" format:"date" example:"2026-01-10" doc:"Since when a copy is or was set aside; null while the hold waits."`
	ReadyUntil *library.Date `json:"ready_until" format:"date" example:"2026-01-13" doc:"The last day on which the copy is or was set aside; null while the hold waits."`
	PlacedBy   *DoneBy       `json:"placed_by" doc:"Who placed it; null where nobody is known."`
}

func wireHold(ctx context.Context, h library.Hold) Hold {
	out := Hold{
		ID: h.ID, Book: LoanBook{ID: h.BookID, Title: h.BookTitle}, User: LoanUser{ID: h.UserID, Name: orNull(&h.UserName)}, Status: string(h.Status),
		PlacedOn: h.PlacedOn, ReadyOn: h.ReadyOn, ReadyUntil: h.ReadyUntil, PlacedBy: wireDoneBy(ctx, h.OpenedBy),
	}
	if h.Position != 0 {
		out.Position = &h.Position
	}
	return out
}

// SetAside says for which hold a copy that has come back is set aside.
type SetAside struct {
	HoldID     int64        `json:"hold_id" minimum:"1" example:"1"`
	User       LoanUser     `json:"user"`
	ReadyUntil library.Date `json:"ready_until" format:"date" example:"2026-01-13" doc:"The last day on which it can be picked up."`
}

func wireSetAside(h *library.Hold) *SetAside {
	if h == nil {
		return nil
	}
	return &SetAside{HoldID: h.ID, User: LoanUser{ID: h.UserID, Name: orNull(&h.UserName)}, ReadyUntil: *h.ReadyUntil}
}

func (a *api) placeHold(ctx context.Context, in *LoanInput) (*struct{ Body Hold }, error) {
	h, err := a.store.PlaceHold(in.withKey(ctx), in.BookID, in.UserID)
	return &struct{ Body Hold }{wireHold(ctx, h)}, err
}

func (a *api) cancelHold(ctx context.Context, in *LoanInput) (*struct{}, error) {
	return nil, a.store.CancelHold(in.withKey(ctx), in.BookID, in.UserID)
}

// HoldQuery asks for a page of the active holds of a book or a user.
type HoldQuery struct {
	HoldPageQuery
	Status string `query:"status" enum:"ready,waiting" doc:"Only holds for which a copy is set aside, or that wait for one."`
}

// HoldsQuery asks for a page of the holds of all.
type HoldsQuery struct {
	HoldPageQuery
	Status string `query:"status" enum:"ready,waiting,expired" doc:"Only holds for which a copy is set aside, that wait for one, or that were not picked up."`
}

// HoldPageQuery asks for a page of holds.
type HoldPageQuery struct {
	ListQuery

	after [2]int64
}

// Resolve reads the cursor.
func (q *HoldPageQuery) Resolve(ctx huma.Context) []error { return q.resolve(ctx, false) }

// Resolve reads the cursor, in which a day stands where the list is the shelf's.
func (q *HoldsQuery) Resolve(ctx huma.Context) []error {
	return q.resolve(ctx, library.HoldFilter{Status: library.HoldStatus(q.Status)}.Shelf())
}

func (q *HoldPageQuery) resolve(ctx huma.Context, byDay bool) []error {
	errs := q.ListQuery.Resolve(ctx)
	at, ok := readCursor(q.Cursor, 2)
	if _, isDay := dayOf(at[0]); !ok || byDay && !isDay || !byDay && at[0] < 0 {
		return append(errs, errCursor)
	}
	q.after = [2]int64(at)
	return errs
}

// listed answers with one page of a list at path. What it is in the order of stands in the cursor before the id.
func (q HoldPageQuery) listed(ctx context.Context, a *api, path string, f library.HoldFilter) (*pageOutput[Hold], error) {
	p := library.HoldPage{Limit: q.Limit, After: library.HoldPlace{ID: q.after[1], BookID: q.after[0]}}
	if f.Shelf() {
		p.After = library.HoldPlace{ID: q.after[1], ReadyUntil: library.Date(q.after[0])}
	}
	list, next, err := a.store.FindHolds(ctx, f, p)
	if err != nil {
		return nil, err
	}
	out := &pageOutput[Hold]{Body: make([]Hold, len(list))} // never nil: an empty list is [], not null
	for i, h := range list {
		out.Body[i] = wireHold(ctx, h)
	}
	if next.ID == 0 {
		return out, nil
	}
	filters := url.Values{}
	if f.Status != "" {
		filters.Set("status", string(f.Status))
	}
	cursor := makeCursor(next.BookID, next.ID)
	if f.Shelf() {
		cursor = makeCursor(int64(next.ReadyUntil), next.ID)
	}
	out.NextPage = a.nextPage(ctx, path, filters, q.Limit, cursor)
	return out, nil
}

func (a *api) listHolds(ctx context.Context, in *HoldsQuery) (*pageOutput[Hold], error) {
	return in.listed(ctx, a, "/holds/", library.HoldFilter{Status: library.HoldStatus(in.Status)})
}

func (a *api) listBookHolds(ctx context.Context, in *struct {
	HoldQuery
	BookPath
}) (*pageOutput[Hold], error) {
	return in.listed(ctx, a, "/books/"+positive(in.BookID)+"/holds", library.HoldFilter{BookID: in.BookID, Status: library.HoldStatus(in.Status)})
}

func (a *api) listUserHolds(ctx context.Context, in *struct {
	HoldQuery
	UserPath
}) (*pageOutput[Hold], error) {
	return in.listed(ctx, a, "/users/"+positive(in.UserID)+"/holds", library.HoldFilter{UserID: in.UserID, Status: library.HoldStatus(in.Status)})
}
