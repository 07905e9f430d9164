package db

import "math"

// NoSweeps keeps old operations, for who counts statements.
func (s *Store) NoSweeps() { s.sweepEvery = math.MaxInt }

// InUse is how many connections are at work.
func (s *Store) InUse() int { return s.database.Reads.Stats().InUse + s.database.Writes.Stats().InUse }
