package db

import "math"

// ClassOf names the class of an error, and says whether it leaves open what came of a COMMIT.
func ClassOf(err error) (class string, unknown bool) {
	return [...]string{unforeseen: "unforeseen", duplicate: "duplicate", retryable: "retryable", unavailable: "unavailable", storageFull: "storage full"}[classOf(err)], outcomeUnknown(err)
}

// NoSweeps keeps old operations, for who counts statements.
func (s *Store) NoSweeps() { s.sweepEvery = math.MaxInt }

// InUse is how many connections are at work.
func (s *Store) InUse() int { return s.database.Reads.Stats().InUse + s.database.Writes.Stats().InUse }
