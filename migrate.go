package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"library-management/db"
)

// migrate carries out library migrate, whose verb is up, status or adopt. SIGTERM and SIGINT let the statement under way finish,
// and a second one does not.
func migrate(ctx context.Context, s settings, verb string, stdout, stderr io.Writer) error {
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, release) // and not when it is done: until the process has ended, a first signal takes nothing from it
	store, err := db.Open(s.database(s.logger(stderr)))
	if err != nil {
		return err
	}
	defer store.Close()
	switch verb {
	case "up":
		if _, err := store.Migrate(ctx); err != nil {
			return err
		}
	case "adopt":
		a, err := store.Adopt(ctx)
		for _, note := range a.Notes { // also of what was adopted before an error
			fmt.Fprintln(stdout, note)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "adopted %d users, %d books and %d open loans, with %d in fines; the old tables are original_users and original_books\n", a.Users, a.Books, a.Loans, a.Fines)
		return nil
	}
	steps, err := store.Migrations(ctx)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, m := range steps {
		applied := "pending"
		if !m.Applied.IsZero() {
			applied = "applied " + m.Applied.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\n", m.Version, strings.TrimSuffix(m.Name, ".sql"), applied)
	}
	return t.Flush()
}
