package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"library-management/db"
	"library-management/importer"
	"library-management/library"
)

// imports are the arguments of library import.
type imports struct {
	books, copies, users, loans, holds string
	columns                            string
	lenient, dryRun                    bool
}

func (i *imports) flags(f *flag.FlagSet) {
	f.StringVar(&i.books, "books", "", "")
	f.StringVar(&i.copies, "copies", "", "")
	f.StringVar(&i.users, "users", "", "")
	f.StringVar(&i.loans, "loans", "", "")
	f.StringVar(&i.holds, "holds", "", "")
	f.StringVar(&i.columns, "columns", "", "")
	f.BoolVar(&i.lenient, "lenient", false, "")
	f.BoolVar(&i.dryRun, "dry-run", false, "")
}

// errRefused makes the exit status 1 where some rows did not go in.
var (
	errRefused     = errors.New("some rows were refused; the rest went in")
	errWouldRefuse = errors.New("some rows would be refused; nothing was changed")
)

func (i imports) run(ctx context.Context, s settings, stdin io.Reader, stdout, stderr io.Writer) error {
	parts := []*importPart{{what: "books", name: i.books}, {what: "copies", name: i.copies}, {what: "users", name: i.users}, {what: "loans", name: i.loans}, {what: "holds", name: i.holds}}
	given, standard := 0, 0
	for _, p := range parts {
		if p.name != "" {
			given++
		}
		if p.name == "-" {
			standard++
		}
	}
	if given == 0 || standard > 1 {
		return fmt.Errorf("name one file or more, and - for one of them at the most: %w", errUsage)
	}
	columns, err := parseColumns(i.columns)
	if err == nil && columns != nil && given > 1 {
		err = errors.New("--columns is about one file: import the others by a command of their own")
	}
	for _, p := range parts {
		if err == nil && p.name != "" {
			err = importer.CheckColumns(p.what, columns)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	for _, p := range parts { // before anything is changed
		if err := p.open(stdin); err != nil {
			return err
		}
		defer p.close()
	}
	store, err := db.Open(s.database(s.logger(stderr)))
	if err != nil {
		return err
	}
	defer store.Close()
	// A file imported in another folder would be in another library.
	fmt.Fprintf(stderr, "The database is %s.\n", store.Name())
	before := ""
	if i.dryRun {
		if store, err = store.Copy(ctx); err != nil {
			return err
		}
		defer store.Close()
		before = "dry run, nothing is changed: "
	} else if s.migrates() {
		if _, err := store.MigrateAtStart(ctx); err != nil {
			return err
		}
	}
	// What an import remembers of its rows is large and holds no pointers: more frequent collections cost little and save half of it.
	defer debug.SetGCPercent(debug.SetGCPercent(40))
	ctx = library.WithCaller(ctx, library.Caller{KeyID: library.CallerImport})
	m := &importer.Import{Store: store, Columns: columns, Lenient: i.lenient, Refused: stderr}
	refused := 0
	for _, p := range parts {
		if p.file == nil {
			continue
		}
		done := func() {}
		if isTerminal(stderr) {
			bar := importer.NewBar(stderr, p.size)
			m.Progress, m.Refused, done = bar.Show, bar, bar.Clear
		}
		take := map[string]func(context.Context, string, io.Reader) (importer.Summary, error){"books": m.Books, "copies": m.Copies, "users": m.Users, "loans": m.Loans, "holds": m.Holds}[p.what]
		summary, err := take(ctx, p.name, p.file)
		done()
		if summary.Rows() > 0 || err == nil {
			fmt.Fprintf(stdout, "%s%s: %s\n", before, p.what, summary)
		}
		if err != nil {
			return err
		}
		refused += summary.Refused
	}
	if refused > 0 && i.dryRun {
		return errWouldRefuse
	} else if refused > 0 {
		return errRefused
	}
	return nil
}

// parseColumns reads column=Name,column=Name; a pair with a comma in its name stands in quotes, as in CSV.
func parseColumns(s string) (map[string]string, error) {
	if s == "" {
		return nil, nil
	}
	pairs, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, fmt.Errorf("--columns: %w", err)
	}
	columns := map[string]string{}
	for _, pair := range pairs {
		column, name, ok := strings.Cut(pair, "=")
		column, name = strings.TrimSpace(column), strings.TrimSpace(name)
		if !ok || column == "" || name == "" {
			return nil, fmt.Errorf("--columns: %.100q is not of the form column=Name in the file", pair)
		}
		if columns[column] != "" {
			return nil, fmt.Errorf("--columns names %.100s twice", column)
		}
		columns[column] = name
	}
	return columns, nil
}

// importPart is one file of an import.
type importPart struct {
	what, name string
	file       io.Reader // nil where none is named
	size       int64     // 0 where it is not known
	close      func()
}

// open opens the file that is named; - is standard input.
func (p *importPart) open(stdin io.Reader) error {
	p.close = func() {}
	switch p.name {
	case "":
		return nil
	case "-":
		p.file = stdin
		return nil
	}
	file, err := os.Open(p.name)
	if err != nil {
		return err
	}
	p.file, p.close = file, func() { file.Close() }
	if info, err := file.Stat(); err == nil {
		p.size = info.Size()
	}
	return nil
}
