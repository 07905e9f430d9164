//go:build race

package main

// underRace: SQLite, which is Go here, takes some twenty times as long.
const underRace = true
