package library

// The limits of a user's fields, in characters after the space at both ends is cut.
const (
	MaxName       = 255
	MaxEmail      = 254 // RFC 5321, by its path of 256 with the brackets
	MaxCardNumber = 64
)

// User is a member of the library.
type User struct {
	ID int64
	// Name is never empty and need not be unique: a real library has several members of one name.
	Name string
	// Email is unique among users without regard to case, or "" where there is none.
	Email string
	// CardNumber is unique among users and compared exactly, or "" where there is none.
	CardNumber string
	// TotalFines is the sum of the fines charged at return, in whole units of money.
	TotalFines int64
	// BorrowedBooks are the books that the user has out, in the order they were borrowed.
	BorrowedBooks []Book
}

// Clean cuts the space off both ends of each text and reports every field that is wrong at once. Codes: CodeInvalid.
func (u *User) Clean() error {
	var c cleaner
	c.text("name", &u.Name, required, MaxName)
	c.email("email", &u.Email)
	c.text("card_number", &u.CardNumber, optional, MaxCardNumber)
	return c.err("The user cannot be stored as it is.")
}
