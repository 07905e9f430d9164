package handlers

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) copies() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/books/{book_id}/copies", ID: "list-copies", Tag: tagCopies, Success: 200, Role: reader,
			Summary: "List the copies of a book",
			Text:    "The volumes that have a barcode, or had one, by id. Volumes without one are only counted, in the book's copies.",
			Codes:   reads(library.ErrBookNotFound),
		}, a.listCopies),
		newRoute(operation{
			Method: "POST", Path: "/books/{book_id}/copies", ID: "create-copy", Tag: tagCopies, Success: 201, Role: desk,
			Summary: "Label a copy of a book",
			Text:    "The barcode goes to a volume that has none, while there is one; else it is a further one, and the book's copies are one more.",
			Example: map[string]any{"barcode": "30112044718", "note": "Coffee on page 12"},
			Codes:   writes(library.ErrBookNotFound, library.ErrBarcodeTaken),
		}, a.createCopy),
		newRoute(operation{
			Method: "GET", Path: "/copies/{copy_id}", ID: "get-copy", Tag: tagCopies, Success: 200, Role: reader,
			Summary: "Show a copy",
			Codes:   reads(library.ErrCopyNotFound),
		}, a.findCopy),
		newRoute(operation{
			Method: "PATCH", Path: "/copies/{copy_id}", ID: "update-copy", Tag: tagCopies, Success: 200, Role: desk,
			Summary: "Change a copy",
			Text: "A JSON merge patch (RFC 7396): what is absent stays, null clears. barcode null takes the label off, and leaves the volume. " +
				"A copy that is lost, damaged or withdrawn does not circulate and is not among the book's copies; one that is lost while it is on loan is among them until the loan is closed. " +
				"Where a loss leaves fewer copies than are set aside for holds, the last hold that was ready waits again.",
			Example: map[string]any{"note": "Coffee on page 12"},
			Codes:   writes(library.ErrCopyNotFound, library.ErrPreconditionFailed, library.ErrBarcodeTaken, library.ErrCopyOnLoan, library.ErrCopiesOnLoan, library.ErrCopiesOnHold),
		}, a.updateCopy),
		newRoute(operation{
			Method: "DELETE", Path: "/copies/{copy_id}", ID: "delete-copy", Tag: tagCopies, Success: 204, Role: admin,
			Summary: "Delete a copy",
			Text:    "Takes the volume out of the library, with its barcode, which is free again.",
			Codes:   writes(library.ErrCopyNotFound, library.ErrPreconditionFailed, library.ErrCopyOnLoan, library.ErrCopiesOnLoan, library.ErrCopiesOnHold),
		}, a.deleteCopy),
	}
}

// Copy is a copy on the wire. Clients read these names: they never change.
type Copy struct {
	ID      int64         `json:"id" minimum:"1" example:"1"`
	BookID  int64         `json:"book_id" minimum:"1" example:"1"`
	Barcode *string       `json:"barcode" example:"30112044718" doc:"Null once the label was taken off."`
	Status  string        `json:"status" enum:"available,on_loan,on_hold,lost,damaged,withdrawn" example:"available" doc:"on_loan where a loan names it, or every volume of the book is out; on_hold where all that are in are set aside for holds."`
	Note    string        `json:"note" example:"Coffee on page 12" doc:"For the staff: empty for readers."`
	AddedOn *library.Date `json:"added_on" format:"date" example:"2026-01-01" doc:"Null where it is not known."`
}

func wireCopy(ctx context.Context, c library.Copy) Copy {
	if !seesMembers(ctx) {
		c.Note = ""
	}
	return Copy{ID: c.ID, BookID: c.BookID, Barcode: orNull(&c.Barcode), Status: string(c.Status), Note: c.Note, AddedOn: c.AddedOn}
}

// NewCopy is a copy as a client adds it.
type NewCopy struct {
	Barcode text `json:"barcode" minLength:"1" maxLength:"64" doc:"Unique among copies." example:"30112044718"`
	Note    text `json:"note,omitempty" nullable:"true" maxLength:"1000" example:"Coffee on page 12"`
}

func (in *NewCopy) copy() library.Copy {
	return library.Copy{Barcode: in.Barcode.value, Note: in.Note.value, Status: library.CopyAvailable}
}

// Resolve adds the domain's refusals to huma's, so that a client learns all at once.
func (in *NewCopy) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	c := in.copy()
	errs := fieldErrors(c.Clean(), at)
	if in.Barcode.sent && len(errs) == 0 && c.Barcode == "" {
		errs = append(errs, &huma.ErrorDetail{Location: at.With("barcode"), Message: "must not be empty"})
	}
	return errs
}

// CopyPatch is a JSON merge patch of a copy.
type CopyPatch struct {
	Barcode text `json:"barcode,omitempty" nullable:"true" maxLength:"64" doc:"Unique among copies; null takes the label off." example:"30112044718"`
	Status  text `json:"status,omitempty" enum:"available,lost,damaged,withdrawn" example:"lost"`
	Note    text `json:"note,omitempty" nullable:"true" maxLength:"1000" example:"Coffee on page 12"`

	ID      readOnly `json:"id,omitempty"`
	BookID  readOnly `json:"book_id,omitempty"`
	AddedOn readOnly `json:"added_on,omitempty"`
}

func (in *CopyPatch) patch(c *library.Copy) {
	assign(in.Barcode, &c.Barcode)
	assign(in.Note, &c.Note)
	if in.Status.sent {
		c.Status = library.CopyStatus(in.Status.value)
	}
}

// Resolve is NewCopy's.
func (in *CopyPatch) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	c := library.Copy{Status: library.CopyAvailable}
	in.patch(&c)
	return fieldErrors(c.Clean(), at)
}

// CopyPath names a copy.
type CopyPath struct {
	CopyID int64 `path:"copy_id" minimum:"1" doc:"The copy's id." example:"1"`
}

type copyOutput struct{ Body Copy }

func (a *api) listCopies(ctx context.Context, in *struct {
	BookPath
	PageQuery
}) (*pageOutput[Copy], error) {
	list, next, err := a.store.FindCopies(ctx, in.BookID, in.page())
	if err != nil {
		return nil, err
	}
	out := make([]Copy, len(list)) // never nil: an empty list is [], not null
	for i, c := range list {
		out[i] = wireCopy(ctx, c)
	}
	return &pageOutput[Copy]{NextPage: a.next(ctx, "/books/"+positive(in.BookID)+"/copies", in.PageQuery, next), Body: out}, nil
}

func (a *api) createCopy(ctx context.Context, in *struct {
	BookPath
	Idempotency
	Body NewCopy
}) (*createdOutput[Copy], error) {
	c, err := a.store.CreateCopy(in.withKey(ctx), in.BookID, in.Body.copy())
	if err != nil {
		return nil, err
	}
	return &createdOutput[Copy]{Location: a.prefix(ctx) + "/copies/" + strconv.FormatInt(c.ID, 10), Body: wireCopy(ctx, c)}, nil
}

func (a *api) findCopy(ctx context.Context, in *CopyPath) (*copyOutput, error) {
	c, err := a.store.FindCopy(ctx, in.CopyID)
	return &copyOutput{wireCopy(ctx, c)}, err
}

func (a *api) updateCopy(ctx context.Context, in *struct {
	CopyPath
	Idempotency
	Preconditions
	Body CopyPatch
}) (*copyOutput, error) {
	c, err := a.store.UpdateCopy(in.withKey(ctx), in.CopyID, func(c *library.Copy) error {
		if err := in.check(wireCopy(ctx, *c)); err != nil {
			return err
		}
		in.Body.patch(c)
		return nil
	})
	return &copyOutput{wireCopy(ctx, c)}, err
}

func (a *api) deleteCopy(ctx context.Context, in *struct {
	CopyPath
	Idempotency
	Preconditions
}) (*struct{}, error) {
	return nil, a.store.DeleteCopy(in.withKey(ctx), in.CopyID, func(c library.Copy) error { return in.check(wireCopy(ctx, c)) })
}
