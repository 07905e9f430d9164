//go:build !linux

package db_test

import (
	"errors"
	"testing"
)

func mount(string, string) error { return errors.New("not on this system") }

func unmount(*testing.T, string) {}
