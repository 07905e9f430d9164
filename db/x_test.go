package db_test

import (
	"testing"
	"time"
	_ "time/tzdata"
)

const childEnv = "LIBRARY_TEST_CHILD"

func child() {}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
