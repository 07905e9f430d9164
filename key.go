package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"library-management/db"
	"library-management/library"
)

// keys are the words and flags of library key. It works on the database itself and needs no key: who has the database's password
// has everything.
type keys struct {
	verb, what    string // what is the role or the id
	name, expires string
	never         bool
}

func (k *keys) flags(f *flag.FlagSet) {
	f.StringVar(&k.name, "name", "", "")
	f.StringVar(&k.expires, "expires", "", "")
	f.BoolVar(&k.never, "never", false, "")
}

// words takes what is not a flag.
func (k *keys) words(words []string) error {
	var role library.Role
	if len(words) > 0 {
		k.verb = words[0]
	}
	if len(words) > 1 {
		k.what, role = words[1], library.Role(words[1])
	}
	flags := k.name != "" || k.expires != "" || k.never
	switch {
	case k.verb == "add" && (len(words) != 2 || !slices.Contains(library.Roles, role)):
		return fmt.Errorf("key add is followed by reader, desk or admin: %w", errUsage)
	case k.verb == "add" && strings.TrimSpace(k.name) == "":
		return fmt.Errorf("--name says whose key it is, and must be given: %w", errUsage)
	case k.verb == "add" && k.expires != "" && k.never:
		return fmt.Errorf("--expires and --never cannot be given together: %w", errUsage)
	case k.verb == "add":
		return nil
	case k.verb == "list" && len(words) == 1 && !flags, k.verb == "revoke" && len(words) == 2 && !flags:
		return nil
	}
	return fmt.Errorf("key is followed by add ROLE --name NAME, list, or revoke ID: %w", errUsage)
}

// days reads 90d.
func days(s string) (int, error) {
	number, ok := strings.CutSuffix(s, "d")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > library.MaxKeyDays {
		return 0, fmt.Errorf("--expires: %.40q is not a number of days from 1d to %dd: %w", s, library.MaxKeyDays, errUsage)
	}
	return n, nil
}

// run carries out library key.
func (k *keys) run(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	n := library.NewKey{Name: k.name, Role: library.Role(k.what), Never: k.never}
	if k.expires != "" {
		in, err := days(k.expires)
		if err != nil {
			return err
		}
		policy := s.policy()
		on := policy.Today(time.Now()).AddDays(in)
		n.ExpiresOn = &on
	}
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	ctx = library.WithCaller(ctx, library.Caller{KeyID: library.CallerCommand})
	store, err := db.Open(s.database(s.logger(stderr)))
	if err != nil {
		return err
	}
	defer store.Close()
	// A key made in another folder's file would be good nowhere.
	if _, err := fmt.Fprintf(stderr, "The database is %s.\n", store.Name()); err != nil {
		return err
	}
	if s.migrates() {
		if _, err := store.MigrateAtStart(ctx); err != nil {
			return err
		}
	}
	switch k.verb {
	case "add":
		return addKey(ctx, store, n, stdout, stderr)
	case "revoke":
		return revokeKey(ctx, store, k.what, stderr)
	}
	return listKeys(ctx, store, s.policy().Today(time.Now()), stdout)
}

// addKey writes nothing but the token to stdout, so that a script can keep it.
func addKey(ctx context.Context, store library.Keys, n library.NewKey, stdout, stderr io.Writer) error {
	key, token, err := store.CreateKey(ctx, n)
	if e, ok := errors.AsType[*library.Error](err); ok && len(e.Fields) > 0 {
		return fmt.Errorf("%s %s", e.Fields[0].Field, e.Fields[0].Message)
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, token); err != nil {
		return err
	}
	until := "and does not expire"
	if key.ExpiresOn != nil {
		until = "and is good through " + key.ExpiresOn.String()
	}
	_, err = fmt.Fprintf(stderr, "This is the %s key %s of %q, %s. It is not shown again.\n", key.Role, key.ID, key.Name, until)
	return err
}

// revokeKey takes an id, or the whole key, which is what there is of one that was found where it should not be.
func revokeKey(ctx context.Context, store library.Keys, id string, stderr io.Writer) error {
	if of, ok := library.ParseToken(id); ok {
		id = of
	}
	if err := store.RevokeKey(ctx, id); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stderr, "The key %s is revoked, and its sessions have ended. Instances that serve now refuse it within %s.\n", id, library.KeyFreshness)
	return err
}

func listKeys(ctx context.Context, store library.Keys, today library.Date, stdout io.Writer) error {
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tROLE\tNAME\tMADE\tBY\tGOOD THROUGH\tLAST USED\tSTATE")
	for page := (library.Page{Limit: library.MaxPageLimit}); ; {
		list, next, err := store.FindKeys(ctx, page)
		if err != nil {
			return err
		}
		for _, k := range list {
			until, used, state := "-", "-", "good"
			if k.ExpiresOn != nil {
				until = k.ExpiresOn.String()
				if *k.ExpiresOn < today {
					state = "expired"
				}
			}
			if k.LastUsedOn != nil {
				used = k.LastUsedOn.String()
			}
			if k.RevokedAt != nil {
				state = "revoked " + k.RevokedAt.Format(time.DateOnly)
			}
			by := k.CreatedBy
			if by == "" {
				by = "-"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Role, k.Name, k.CreatedAt.Format(time.DateOnly), by, until, used, state)
		}
		if next == 0 {
			return t.Flush()
		}
		page.After = next
	}
}
