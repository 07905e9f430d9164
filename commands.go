package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"library-management/handlers"
)

// version is set when a release is linked; otherwise it is what Go knows of the source.
var version string

func init() {
	if version != "" {
		return
	}
	version = "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
}

const usage = `library lends books: an API on a port, or on AWS Lambda where it finds itself there.

  library [serve]                      serve the API
  library migrate up|status            bring the database's schema up to date, or list its steps
  library migrate adopt                take over a database of the original project, which stays as it was under other names
  library import [--books FILE] [--copies FILE] [--users FILE] [--loans FILE] [--holds FILE]
                                       take in CSV files, each with a header; - is standard input
    --dry-run                          say what that would do, and change nothing
    --lenient                          take rows without the cells that are wrong where they can do without them
    --columns "barcode=Item No,..."    what the file's header calls a column
  library export [--books FILE] [--copies FILE] [--users FILE] [--loans FILE] [--holds FILE]
                                       write CSV files that library import reads; - is standard output
  library key add ROLE --name NAME     make a key for a reader, a desk or an admin, and print it once; it is good for a year
    --expires 90d, --never             for so many days, or for ever
  library key list                     list the keys
  library key revoke ID                have a key refused from now on
  library backup FILE                  copy the SQLite database into a new file, also while the API is served from it
  library healthcheck                  ask the server on this machine whether it lives, and see whether a SQLite file can be
                                       written: exit status 0 or 1, with the reason
  library openapi [--yaml]             print the API's OpenAPI document
  library version                      print the version
  library help                         print this, and the settings

`

// errUsage ends the process with status 2.
var errUsage = errors.New("see library help")

// realMain runs a subcommand and returns the exit status: 0 done, 1 failed, 2 not understood.
func realMain(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	err := runCommand(ctx, command, args, stdin, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "library %.100s: %v\n\n%s", command, err, usage)
		return 2
	}
	fmt.Fprintf(stderr, "library: %v\n", err)
	return 1
}

func runCommand(ctx context.Context, command string, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var imports imports
	var exports exports
	var keys keys
	var yaml bool
	var words []string
	switch command {
	case "key":
		keys.flags(flags)
		for len(args) > 0 && !strings.HasPrefix(args[0], "-") { // what comes before the flags
			words, args = append(words, args[0]), args[1:]
		}
	case "import":
		imports.flags(flags)
	case "export":
		exports.flags(flags)
	case "openapi":
		flags.BoolVar(&yaml, "yaml", false, "")
	case "help", "-h", "-help", "--help":
		return help(stdout)
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return help(stdout)
	} else if err != nil {
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	args = flags.Args()
	if command == "migrate" {
		if len(args) != 1 || args[0] != "up" && args[0] != "status" && args[0] != "adopt" {
			return fmt.Errorf("migrate is followed by up, status or adopt: %w", errUsage)
		}
	} else if command == "key" {
		if err := keys.words(append(words, args...)); err != nil {
			return err
		}
	} else if command == "backup" {
		if len(args) != 1 || args[0] == "" {
			return fmt.Errorf("backup is followed by the new file's name: %w", errUsage)
		}
	} else if len(args) > 0 {
		return fmt.Errorf("%.100q is not understood: %w", args[0], errUsage)
	}

	switch command {
	case "version":
		_, err := fmt.Fprintln(stdout, version)
		return err
	case "openapi":
		document := handlers.OpenAPI
		if yaml {
			document = handlers.OpenAPIYAML
		}
		text, err := document(version)
		if err == nil {
			_, err = stdout.Write(text)
		}
		return err
	case "serve", "migrate", "import", "export", "key", "backup", "healthcheck":
	default:
		return fmt.Errorf("there is no such subcommand: %w", errUsage)
	}

	s, err := readSettings()
	if err != nil {
		return err
	}
	switch command {
	case "serve":
		return serve(ctx, s, stderr)
	case "healthcheck":
		return healthcheck(ctx, s)
	case "backup":
		return backup(ctx, s, args[0], stdout, stderr)
	case "import":
		return imports.run(ctx, s, stdin, stdout, stderr)
	case "export":
		return exports.run(ctx, s, stdout, stderr)
	case "key":
		return keys.run(ctx, s, stdout, stderr)
	}
	return migrate(ctx, s, args[0], stdout, stderr)
}

func help(w io.Writer) error {
	fmt.Fprint(w, usage, "Settings, from the environment:\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range variables() {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", v.name, v.standard, v.desc)
	}
	return t.Flush()
}

// healthcheck is for a container that has no shell and no curl. A database server may be away without this program being ill; a
// volume that can't be written to is this container's own.
func healthcheck(ctx context.Context, s settings) error {
	host := s.Host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, strconv.Itoa(int(s.Port)))+"/livez", nil)
	if err != nil {
		return err
	}
	direct := http.Client{Transport: &http.Transport{}} // never by HTTP_PROXY, which knows another machine by this address
	answer, err := direct.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez answers %s", answer.Status)
	}
	return s.database(slog.New(slog.DiscardHandler)).CheckFile()
}
