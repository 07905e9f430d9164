package handlers

import (
	"context"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

func (a *api) users() {
	const tag = "Users"
	taken := []string{library.ErrEmailTaken.Code, library.ErrCardNumberTaken.Code}
	changed := append(taken, library.ErrUserNotFound.Code)

	route(a, "GET", "/users/", doc{"list-users", tag, "List the users", "By id, one page at a time, each with the books that it has out.", 200, nil}, a.listUsers)
	route(a, "POST", "/users/", doc{"create-user", tag, "Add a user", "Names need not be unique; email and card number are, where given.", 201, taken}, a.createUser)
	route(a, "GET", "/users/{user_id}", doc{"get-user", tag, "Show a user", "", 200, []string{library.ErrUserNotFound.Code}}, a.findUser)
	route(a, "PUT", "/users/{user_id}", doc{"replace-user", tag, "Replace a user", "Optional fields that are absent are cleared.", 200, changed}, a.replaceUser)
	route(a, "PATCH", "/users/{user_id}", doc{"update-user", tag, "Change some fields of a user", "A JSON merge patch (RFC 7396): what is absent stays, null clears.", 200, changed}, a.updateUser)
	route(a, "DELETE", "/users/{user_id}", doc{"delete-user", tag, "Delete a user", "Its returned loans stay as history without the name; email and card number are free again.", 204, []string{library.ErrUserNotFound.Code, library.ErrHasOpenLoans.Code}}, a.deleteUser)
}

// User is a user on the wire. Clients read these names: they never change.
type User struct {
	ID            int64   `json:"id" minimum:"1" example:"1"`
	Name          string  `json:"name" example:"Ada Lovelace"`
	Email         *string `json:"email" example:"ada@example.org"`
	CardNumber    *string `json:"card_number" example:"2170001"`
	TotalFines    int64   `json:"total_fines" example:"0" doc:"The sum of the fines charged, in whole units of money."`
	BorrowedBooks []Book  `json:"borrowed_books" doc:"The books that the user has out, each with the due date of this user's loan."`
}

func wireUser(u library.User) User {
	return User{
		ID: u.ID, Name: u.Name, Email: orNull(&u.Email), CardNumber: orNull(&u.CardNumber),
		TotalFines: u.TotalFines, BorrowedBooks: wireBooks(u.BorrowedBooks),
	}
}

// UserInput is a user as a client sends it.
type UserInput struct {
	Name       text `json:"name" minLength:"1" maxLength:"255" example:"Ada Lovelace"`
	Email      text `json:"email,omitempty" nullable:"true" maxLength:"254" doc:"Unique among users, without regard to case." example:"ada@example.org"`
	CardNumber text `json:"card_number,omitempty" nullable:"true" maxLength:"64" doc:"Unique among users." example:"2170001"`

	ID            readOnly `json:"id,omitempty"`
	TotalFines    readOnly `json:"total_fines,omitempty"`
	BorrowedBooks readOnly `json:"borrowed_books,omitempty"`
}

// patch changes what was sent.
func (in *UserInput) patch(u *library.User) {
	put(in.Name, &u.Name)
	put(in.Email, &u.Email)
	put(in.CardNumber, &u.CardNumber)
}

// Resolve adds the domain's refusals to huma's, so that a client learns all at once.
func (in *UserInput) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	u := library.User{Name: "-"} // what is absent is huma's to judge
	in.patch(&u)
	return faults(u.Clean(), at)
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

func (a *api) listUsers(ctx context.Context, in *struct{ PageQuery }) (*struct {
	Link string `header:"Link" doc:"The next page, with rel=next; absent on the last."`
	Body []User
}, error) {
	list, next, err := a.store.FindUsers(ctx, library.Page{After: in.Cursor, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := make([]User, len(list))
	for i, u := range list {
		out[i] = wireUser(u)
	}
	return &struct {
		Link string `header:"Link" doc:"The next page, with rel=next; absent on the last."`
		Body []User
	}{a.next(ctx, "/users/", in.PageQuery, next), out}, nil
}

type createdUser struct {
	Location string `header:"Location" doc:"The path of the new user."`
	Body     User
}

func (a *api) createUser(ctx context.Context, in *struct {
	Idempotency
	Body UserInput
}) (*createdUser, error) {
	var u library.User
	in.Body.patch(&u)
	u, err := a.store.CreateUser(in.under(ctx), u)
	if err != nil {
		return nil, err
	}
	return &createdUser{a.prefix(ctx) + "/users/" + strconv.FormatInt(u.ID, 10), wireUser(u)}, nil
}

func (a *api) findUser(ctx context.Context, in *UserPath) (*userOutput, error) {
	u, err := a.store.FindUser(ctx, in.UserID)
	return &userOutput{wireUser(u)}, err
}

func (a *api) replaceUser(ctx context.Context, in *struct {
	UserPath
	Body UserInput
}) (*userOutput, error) {
	u, err := a.store.UpdateUser(ctx, in.UserID, func(u *library.User) error {
		*u = library.User{ID: u.ID}
		in.Body.patch(u)
		return nil
	})
	return &userOutput{wireUser(u)}, err
}

func (a *api) updateUser(ctx context.Context, in *struct {
	UserPath
	Body UserPatch
}) (*userOutput, error) {
	u, err := a.store.UpdateUser(ctx, in.UserID, func(u *library.User) error {
		(*UserInput)(&in.Body).patch(u)
		return nil
	})
	return &userOutput{wireUser(u)}, err
}

func (a *api) deleteUser(ctx context.Context, in *UserPath) (*struct{}, error) {
	return nil, a.store.DeleteUser(ctx, in.UserID, nil)
}
