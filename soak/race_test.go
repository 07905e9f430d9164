//go:build race

package soak

// underRace: everything takes several times as long.
const underRace = true
