package handlers

import (
	"cmp"
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) users() []route {
	return []route{
		newRoute(operation{
			Method: "GET", Path: "/users/", ID: "list-users", Tag: tagUsers, Success: 200, Role: desk, Shared: true,
			Summary: "List or search the users",
			Text:    "All of them by id, or those that are searched for or have a status, one page at a time, each with the books that it has out.",
			Codes:   reads(),
		}, a.listUsers),
		newRoute(operation{
			Method: "POST", Path: "/users/", ID: "create-user", Tag: tagUsers, Success: 201, Role: desk,
			Summary: "Add a user",
			Text:    "Names need not be unique; email and card number are, where given.",
			Example: map[string]any{"name": "Ada Lovelace"},
			Codes:   writes(library.ErrEmailTaken, library.ErrCardNumberTaken),
		}, a.createUser),
		newRoute(operation{
			Method: "GET", Path: "/users/{user_id}", ID: "get-user", Tag: tagUsers, Success: 200, Role: desk, Shared: true,
			Summary: "Show a user",
			Codes:   reads(library.ErrUserNotFound),
		}, a.findUser),
		newRoute(operation{
			Method: "PUT", Path: "/users/{user_id}", ID: "replace-user", Tag: tagUsers, Success: 200, Role: desk,
			Summary: "Replace a user",
			Text:    "Optional fields that are absent are cleared; status and its reason stay.",
			Example: map[string]any{"name": "Ada King"},
			Codes:   writes(library.ErrUserNotFound, library.ErrPreconditionFailed, library.ErrEmailTaken, library.ErrCardNumberTaken),
		}, a.replaceUser),
		newRoute(operation{
			Method: "PATCH", Path: "/users/{user_id}", ID: "update-user", Tag: tagUsers, Success: 200, Role: desk,
			Summary: "Change some fields of a user",
			Text:    "A JSON merge patch (RFC 7396): what is absent stays, null clears.",
			Example: map[string]any{"name": "Ada Lovelace"},
			Codes:   writes(library.ErrUserNotFound, library.ErrPreconditionFailed, library.ErrEmailTaken, library.ErrCardNumberTaken),
		}, a.updateUser),
		newRoute(operation{
			Method: "DELETE", Path: "/users/{user_id}", ID: "delete-user", Tag: tagUsers, Success: 204, Role: admin,
			Summary: "Delete a user",
			Text:    "Its returned loans stay as history without the name; email and card number are free again.",
			Codes:   writes(library.ErrUserNotFound, library.ErrPreconditionFailed, library.ErrHasOpenLoans, library.ErrHasHolds, library.ErrHasBalance),
		}, a.deleteUser),
	}
}

// User is a user on the wire. Clients read these names: they never change.
type User struct {
	ID            int64   `json:"id" minimum:"1" example:"1"`
	Name          string  `json:"name" example:"Ada Lovelace"`
	Email         *string `json:"email" example:"ada@example.org"`
	CardNumber    *string `json:"card_number" example:"2170001"`
	TotalFines    int64   `json:"total_fines" example:"0" doc:"What the user owes, in whole units of money: the balance of the account."`
	Status        string  `json:"status" enum:"active,blocked" example:"active" doc:"Who is blocked may return, but not borrow, renew or place holds."`
	StatusReason  *string `json:"status_reason" example:"moved away" doc:"Why the user is blocked."`
	BorrowedBooks []Book  `json:"borrowed_books" doc:"The books that the user has out, each with the due date of this user's loan."`
}

func wireUser(u library.User) User {
	return User{
		ID: u.ID, Name: u.Name, Email: orNull(&u.Email), CardNumber: orNull(&u.CardNumber),
		TotalFines: u.TotalFines, Status: string(cmp.Or(u.Status, library.UserActive)), // an answer that an older release kept under a key has none
		StatusReason: orNull(&u.StatusReason), BorrowedBooks: wireBooks(u.BorrowedBooks),
	}
}

// UserInput is a user as a client sends it.
type UserInput struct {
	Name         text `json:"name" minLength:"1" maxLength:"255" example:"Ada Lovelace"`
	Email        text `json:"email,omitempty" nullable:"true" maxLength:"254" doc:"Unique among users, without regard to case." example:"ada@example.org"`
	CardNumber   text `json:"card_number,omitempty" nullable:"true" maxLength:"64" doc:"Unique among users." example:"2170001"`
	Status       text `json:"status,omitempty" enum:"active,blocked" doc:"active where a new user does not say. PUT leaves it as it is where it is absent." example:"active"`
	StatusReason text `json:"status_reason,omitempty" nullable:"true" maxLength:"500" doc:"Why the user is blocked; it goes with the block." example:"moved away"`

	ID            readOnly `json:"id,omitempty"`
	TotalFines    readOnly `json:"total_fines,omitempty"`
	BorrowedBooks readOnly `json:"borrowed_books,omitempty"`
}

// patch changes what was sent.
func (in *UserInput) patch(u *library.User) {
	assign(in.Name, &u.Name)
	assign(in.Email, &u.Email)
	assign(in.CardNumber, &u.CardNumber)
	assign(in.StatusReason, &u.StatusReason)
	if in.Status.sent {
		u.Status = library.UserStatus(in.Status.value)
	}
}

// Resolve adds the domain's refusals to huma's, so that a client learns all at once.
func (in *UserInput) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	u := library.User{Name: "-"} // what is absent is huma's to judge
	in.patch(&u)
	return fieldErrors(u.Clean(), at)
}

// UserPatch is a JSON merge patch of a user.
type UserPatch UserInput

// TransformSchema lets everything be absent.
func (UserPatch) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = nil
	return s
}

// Resolve is UserInput's.
func (in *UserPatch) Resolve(ctx huma.Context, at *huma.PathBuffer) []error {
	return (*UserInput)(in).Resolve(ctx, at)
}

// UserPath names a user.
type UserPath struct {
	UserID int64 `path:"user_id" minimum:"1" doc:"The user's id." example:"1"`
}

type userOutput struct{ Body User }

func (a *api) listUsers(ctx context.Context, in *UserList) (*pageOutput[User], error) {
	list, next, err := a.pageOfUsers(ctx, in)
	if err != nil {
		return nil, err
	}
	out := make([]User, len(list)) // never nil: an empty list is [], not null
	for i, u := range list {
		out[i] = wireUser(u)
	}
	return &pageOutput[User]{NextPage: a.nextPlace(ctx, "/users/", in.Limit, in.order(), in.filters(), next), Body: out}, nil
}

func (a *api) pageOfUsers(ctx context.Context, in *UserList) (list []library.User, next *library.Place, err error) {
	if in.query != (library.UserQuery{}) {
		return a.store.SearchUsers(ctx, in.query, in.after, in.Limit)
	}
	list, after, err := a.store.FindUsers(ctx, in.after.Page(in.Limit))
	return list, library.PlaceOf(after), err
}

func (a *api) createUser(ctx context.Context, in *struct {
	Idempotency
	Body UserInput
}) (*createdOutput[User], error) {
	var u library.User
	in.Body.patch(&u)
	u, err := a.store.CreateUser(in.withKey(ctx), u)
	if err != nil {
		return nil, err
	}
	return &createdOutput[User]{Location: a.prefix(ctx) + "/users/" + strconv.FormatInt(u.ID, 10), Body: wireUser(u)}, nil
}

func (a *api) findUser(ctx context.Context, in *UserPath) (*userOutput, error) {
	u, err := a.store.FindUser(ctx, in.UserID)
	return &userOutput{wireUser(u)}, err
}

func (a *api) replaceUser(ctx context.Context, in *struct {
	UserPath
	Idempotency
	Preconditions
	Body UserInput
}) (*userOutput, error) {
	u, err := a.store.UpdateUser(in.withKey(ctx), in.UserID, func(u *library.User) error {
		if err := in.check(wireUser(*u)); err != nil {
			return err
		}
		kept := library.User{ID: u.ID, Status: u.Status, StatusReason: u.StatusReason}
		if in.Body.Status.sent {
			kept.StatusReason = ""
		}
		*u = kept
		in.Body.patch(u)
		return nil
	})
	return &userOutput{wireUser(u)}, err
}

func (a *api) updateUser(ctx context.Context, in *struct {
	UserPath
	Idempotency
	Preconditions
	Body UserPatch
}) (*userOutput, error) {
	u, err := a.store.UpdateUser(in.withKey(ctx), in.UserID, func(u *library.User) error {
		if err := in.check(wireUser(*u)); err != nil {
			return err
		}
		(*UserInput)(&in.Body).patch(u)
		return nil
	})
	return &userOutput{wireUser(u)}, err
}

func (a *api) deleteUser(ctx context.Context, in *struct {
	UserPath
	Idempotency
	Preconditions
}) (*struct{}, error) {
	return nil, a.store.DeleteUser(in.withKey(ctx), in.UserID, func(u library.User) error { return in.check(wireUser(u)) })
}
