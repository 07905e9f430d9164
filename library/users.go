package library

import "context"

// The limits of a user's fields, in characters after the space at both ends is cut.
const (
	MaxName       = 255
	MaxEmail      = 254 // RFC 5321, by its path of 256 with the brackets
	MaxCardNumber = 64
	MaxReason     = 500 // of a user's status, and of a line of the account
)

// User is a member of the library.
type User struct {
	ID int64
	// SourceID is as that of a Book.
	SourceID string `json:",omitempty"`
	// Name is never empty and need not be unique: a real library has several members of one name.
	Name string
	// Email is unique among users by its EmailKey, or "" where there is none.
	Email string
	// CardNumber is unique among users and compared exactly, or "" where there is none.
	CardNumber string
	// TotalFines is what the user owes, in whole units of money: the balance of the account.
	TotalFines int64
	// Status says whether the user may borrow, renew and place holds; "" is UserActive where a user is stored.
	Status UserStatus
	// StatusReason is why the user is blocked, or "". Who is active has none.
	StatusReason string
	// BorrowedBooks are the books that the user has out, in the order they were borrowed.
	BorrowedBooks []Book
}

// UserStatus says what a user may do.
type UserStatus string

// The statuses of users.
const (
	UserActive  UserStatus = "active"
	UserBlocked UserStatus = "blocked"
)

// Clean cuts the space off both ends of each text, composes its letters (NFC) and reports every field that is wrong at once.
// Refusals: ErrInvalid.
func (u *User) Clean() error {
	var c cleaner
	c.text("name", &u.Name, required, MaxName)
	c.email("email", &u.Email)
	c.identifier("source_id", &u.SourceID, MaxSourceID)
	c.identifier("card_number", &u.CardNumber, MaxCardNumber)
	c.text("status_reason", &u.StatusReason, optional, MaxReason)
	switch u.Status {
	case "", UserActive:
		u.Status, u.StatusReason = UserActive, ""
	case UserBlocked:
	default:
		c.refuse("status", "must be active or blocked")
	}
	return c.err("The user cannot be stored as it is.")
}

// EmailKey is the form in which email addresses are compared, in every database alike: two that differ only in case, or in how
// their letters are composed, are one. It is at most three times as long as the address, and "" for "".
func EmailKey(email string) string { return Fold(email) }

// The refusals about users.
var (
	ErrUserNotFound = &Error{Kind: NotFound, Code: "user_not_found", Title: "No such user", Message: "There is no such user."}
	// ErrEmailTaken and ErrCardNumberTaken name the field in Fields.
	ErrEmailTaken      = &Error{Kind: Conflict, Code: "email_taken", Title: "Email taken", Message: "Another user has this email address."}
	ErrCardNumberTaken = &Error{Kind: Conflict, Code: "card_number_taken", Title: "Card number taken", Message: "Another user has this card number."}
)

// Users is the part of a Store that keeps the members.
type Users interface {
	// CreateUser stores a new user and returns it with its id; ID, TotalFines and BorrowedBooks are ignored.
	// Refusals: ErrInvalid, ErrEmailTaken, ErrCardNumberTaken.
	CreateUser(ctx context.Context, u User) (User, error)
	// FindUser returns a user by id. Refusals: ErrUserNotFound.
	FindUser(ctx context.Context, id int64) (User, error)
	// FindUsers returns one page of users by id, and the id to go on after, 0 on the last page.
	FindUsers(ctx context.Context, p Page) (users []User, next int64, err error)
	// UpdateUser hands the stored user, locked and with the books that are out, to change and stores what that leaves; change
	// may be called more than once, and what it returns is returned. Changes to ID, TotalFines and BorrowedBooks are ignored.
	// Refusals: ErrUserNotFound, ErrInvalid, ErrEmailTaken, ErrCardNumberTaken, and what change returns.
	UpdateUser(ctx context.Context, id int64, change func(*User) error) (User, error)
	// DeleteUser forgets a user; returned loans stay as history without the name, card number and email are free again.
	// check is given the stored user, locked and with the books that are out, and may refuse; nil asks nothing.
	// Refusals: ErrUserNotFound, what check returns, and with all Reasons ErrHasOpenLoans, ErrHasHolds, ErrHasBalance.
	DeleteUser(ctx context.Context, id int64, check func(User) error) error
}
