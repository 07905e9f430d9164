package db

import (
	"context"
	"database/sql"
	"math"
	"time"

	"library-management/library"
)

// ClassOf names the class of an error, and says whether it leaves open what came of a COMMIT.
func ClassOf(err error) (class string, unknown bool) {
	return [...]string{unforeseen: "unforeseen", duplicate: "duplicate", retryable: "retryable", unavailable: "unavailable", storageFull: "storage full"}[classOf(err)], outcomeUnknown(err)
}

// NoSweeps keeps old operations, for who counts statements.
func (s *Store) NoSweeps() { s.sweepEvery = math.MaxInt }

// SweepAlways does with each write what is done now and then.
func (s *Store) SweepAlways() { s.sweepEvery = 1 }

// InUse is how many connections are at work.
func (s *Store) InUse() int { return s.database.Reads.Stats().InUse + s.database.Writes.Stats().InUse }

// RandomID is the id of an operation without a key that begins at t.
func (s *Store) RandomID(t time.Time) string { return s.randomFrom(t) + "0123456789abcdef" }

// SweepOperations is what a write does now and then.
func (s *Store) SweepOperations(ctx context.Context) error { return s.sweepOperations(ctx) }

// RefuseTooLate is a write that changes the book before it refuses with refusal, which no write should.
func (s *Store) RefuseTooLate(ctx context.Context, book int64, refusal *library.Error) error {
	_, err := write(ctx, s, func(t *tx) (nothing struct{}, err error) {
		if _, err := t.exec(ctx, `UPDATE books SET title = 'changed' WHERE id = ?`, book); err != nil {
			return nothing, err
		}
		return nothing, refusal
	})
	return err
}

// ChangeNoRow is a write of a row that it holds to be locked, and that is not there.
func (s *Store) ChangeNoRow(ctx context.Context) error {
	_, err := write(ctx, s, func(t *tx) (nothing struct{}, err error) {
		t.change(`UPDATE books SET title = 'changed' WHERE id = ?`, 0)
		return nothing, nil
	})
	return err
}

// Beside waits for what goes on beside the answers that were given.
func (s *Store) Beside() { s.besides.Wait() }

// Known reports whether a key's token is answered without a question.
func (s *Store) Known(token string) bool {
	s.callers.mu.Lock()
	defer s.callers.mu.Unlock()
	k, ok := s.callers.known[library.TokenHash(token)]
	return ok && s.fresh(k)
}

// Asked reports whether it is being asked whose a token is.
func (s *Store) Asked(token string) bool {
	s.callers.mu.Lock()
	defer s.callers.mu.Unlock()
	return s.callers.asking[library.TokenHash(token)] != nil
}

// SpoilCommit makes the COMMIT of SQLite's open transaction fail: called from within an operation.
func (s *Store) SpoilCommit() error {
	_, err := s.group.conn.ExecContext(context.Background(), `
		PRAGMA defer_foreign_keys = ON;
		INSERT INTO loans (book_id, user_id, borrowed_on, due_on) VALUES (-1, -1, '2026-01-01', '2026-01-02')`)
	return err
}

// BreakOff ends SQLite's open transaction, as a full disk can: called from within an operation.
func (s *Store) BreakOff() error {
	_, err := s.group.conn.ExecContext(context.Background(), `ROLLBACK`)
	return err
}

// LoanListSQL is the statement that reads a page of loans.
func (s *Store) LoanListSQL(f library.LoanFilter, p library.LoanPage) (query string, args []any) {
	return s.loanView(nil).page(f, p)
}

// Now is the store's clock.
func (s *Store) Now() time.Time { return s.now() }

// SearchStatements are the statements of a search, with their arguments.
func (s *Store) SearchStatements(ctx context.Context, q library.BookQuery, limit int) (statements []string, args [][]any, err error) {
	err = s.read(ctx, func(r querier) error {
		f := s.bookView(recorder{r, &statements, &args}).finder(q)
		_, err := f.page(ctx, library.Place{}, limit, sortColumns[q.Sort])
		return err
	})
	return statements, args, err
}

type recorder struct {
	querier
	statements *[]string
	args       *[][]any
}

func (r recorder) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*r.statements, *r.args = append(*r.statements, query), append(*r.args, args)
	return r.querier.QueryContext(ctx, query, args...)
}

// SmallSearches has searches find at a few records what they find at thousands, until the test ends, for pages of maxPage at the most.
func SmallSearches(t interface{ Cleanup(func()) }, maxPage int) {
	a, b, c, d, e := rangeable, rangeableTitles, sortable, sampled, maxElsewhere
	rangeable, rangeableTitles, sortable, sampled, maxElsewhere = 30, 3, 10, 4, maxPage
	t.Cleanup(func() { rangeable, rangeableTitles, sortable, sampled, maxElsewhere = a, b, c, d, e })
}
