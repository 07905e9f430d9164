package db_test

import (
	"testing"

	"library-management/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
