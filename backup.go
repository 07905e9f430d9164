package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"library-management/db"
)

// backup carries out library backup. A signal ends it, and leaves nothing behind.
func backup(ctx context.Context, s settings, file string, stdout, stderr io.Writer) error {
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	store, err := db.Open(s.database(s.logger(stderr)))
	if err != nil {
		return err
	}
	defer store.Close()
	size, err := store.Backup(ctx, file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %d bytes\n", file, size)
	return err
}
