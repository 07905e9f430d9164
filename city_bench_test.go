package main

import (
	"testing"

	"library-management/internal/dbtest"
)

func BenchmarkCity(b *testing.B) {
	_, city, school := dbtest.CityServer(b)
	_, _ = city, school
}
