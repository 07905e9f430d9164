package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"library-management/db"
	"library-management/importer"
	"library-management/library"
)

// exports are the arguments of library export: the files' names, by what they hold.
type exports struct{ books, copies, users, loans, holds string }

func (e *exports) flags(f *flag.FlagSet) {
	f.StringVar(&e.books, "books", "", "")
	f.StringVar(&e.copies, "copies", "", "")
	f.StringVar(&e.users, "users", "", "")
	f.StringVar(&e.loans, "loans", "", "")
	f.StringVar(&e.holds, "holds", "", "")
}

// exportPageWithin is how long a page may take: a command has more time than a request.
const exportPageWithin = 30 * time.Second

// run carries out library export. Each file appears under its name when it is whole, and not before. A signal ends it, and leaves
// nothing behind.
func (e exports) run(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	type part struct {
		file library.ExportFile
		name string
	}
	// Holds and loans come first: whoever has one by then is in the file of users that is read after it.
	var parts []part
	standard := 0
	for _, p := range []part{
		{library.ExportHolds, e.holds}, {library.ExportLoans, e.loans}, {library.ExportCopies, e.copies}, {library.ExportBooks, e.books}, {library.ExportUsers, e.users},
	} {
		if p.name != "" {
			parts = append(parts, p)
		}
		if p.name == "-" {
			standard++
		}
	}
	if len(parts) == 0 || standard > 1 {
		return fmt.Errorf("name one file or more, and - for one of them at the most: %w", errUsage)
	}
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	store, err := db.Open(s.database(s.logger(stderr)))
	if err != nil {
		return err
	}
	defer store.Close()
	if s.migrates() {
		if _, err := store.MigrateAtStart(ctx); err != nil {
			return err
		}
	}
	said := stdout
	if standard > 0 {
		said = stderr
	}
	for _, p := range parts {
		start := time.Now()
		progress, done := func(int64, int) {}, func() {}
		if isTerminal(stderr) {
			bar := importer.NewBar(stderr, 0)
			progress, done = func(bytes int64, rows int) { bar.Show(p.name, bytes, rows) }, bar.Clear
		}
		rows := 0
		write := func(w io.Writer) (err error) {
			rows, err = writeExport(ctx, store, p.file, w, progress)
			return err
		}
		if p.name == "-" {
			err = write(stdout)
		} else {
			err = writeWhole(p.name, write)
		}
		done()
		if err != nil {
			return fmt.Errorf("export the %s: %w", p.file, err)
		}
		took := time.Since(start)
		fmt.Fprintf(said, "%s: %d rows in %.1f s (%.0f rows a second)\n", p.file, rows, took.Seconds(), float64(rows)/max(took.Seconds(), 1e-3))
	}
	return nil
}

// writeExport writes a file and returns how many rows it has.
func writeExport(ctx context.Context, store library.Exporter, f library.ExportFile, w io.Writer, progress func(bytes int64, rows int)) (int, error) {
	r, err := library.NewExportReader(ctx, store, f, exportPageWithin)
	if err != nil {
		return 0, err
	}
	buffer := make([]byte, 64<<10)
	for total := int64(0); ; {
		n, err := r.Read(buffer)
		if _, failed := w.Write(buffer[:n]); failed != nil {
			return r.Rows, failed
		}
		total += int64(n)
		progress(total, r.Rows)
		if err == io.EOF {
			return r.Rows, nil
		}
		if err != nil {
			return r.Rows, err
		}
	}
}

// writeWhole writes a file under another name, in the same folder, and gives it its name when all of it is on the disk: what is there
// before stays as it is until then.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		file.Close()
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
