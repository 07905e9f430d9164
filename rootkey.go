package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"library-management/db/connect"
	"library-management/library"
)

// The length of a root key, in characters: it has to be beyond guessing, and to fit into a header.
const (
	minRootKey = 32
	maxRootKey = 1000
)

// rootKey is what handlers ask whether a token is the root key of the settings; nil where there is none. It reads a file at each use
// and a secret when it is old, so that either may be replaced while the program runs. Errors name the setting, and never the key.
func (s settings) rootKey(logger *slog.Logger) (func(ctx context.Context, token string) (bool, error), error) {
	first := ""
	for _, way := range []struct{ name, value string }{{"ADMIN_KEY", string(s.AdminKey)}, {"ADMIN_KEY_FILE", s.AdminKeyFile}, {"ADMIN_KEY_SECRET_ARN", s.AdminKeySecretARN}} {
		if way.value != "" && first != "" {
			return nil, fmt.Errorf("%s: cannot be set together with %s", way.name, first)
		}
		if way.value != "" {
			first = way.name
		}
	}
	var read func(context.Context) (string, error)
	switch first {
	case "":
		return nil, nil
	case "ADMIN_KEY":
		key := string(s.AdminKey)
		if err := checkRootKey(first, key); err != nil {
			return nil, err
		}
		read = func(context.Context) (string, error) { return key, nil }
	case "ADMIN_KEY_FILE":
		read = func(context.Context) (string, error) { return rootKeyFile(s.AdminKeyFile) }
		if _, err := read(context.Background()); err != nil {
			return nil, err
		}
	default:
		secret, err := connect.NewSecret(first, s.AdminKeySecretARN, "root key", func(key string) error { return checkRootKey(first, key) }, logger)
		if err != nil {
			return nil, err
		}
		read = secret.Text
	}
	return func(ctx context.Context, token string) (bool, error) {
		key, err := read(ctx)
		if err != nil {
			return false, err
		}
		// By their hashes, which are of one length whatever is sent.
		want, got := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(token))
		return subtle.ConstantTimeCompare(want[:], got[:]) == 1, nil
	}, nil
}

func rootKeyFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return "", fmt.Errorf("ADMIN_KEY_FILE: %.200q: %w", path, err)
	}
	key := string(bytes.TrimSpace(text))
	return key, checkRootKey("ADMIN_KEY_FILE", key)
}

// checkRootKey refuses what could be guessed, or what a header could not carry.
func checkRootKey(setting, key string) error {
	switch {
	case len(key) < minRootKey || len(key) > maxRootKey:
		return fmt.Errorf("%s: the key must have from %d to %d characters", setting, minRootKey, maxRootKey)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }): // a comma stands between two headers
		return fmt.Errorf("%s: the key must be of letters, digits and signs of ASCII, without spaces and commas", setting)
	case strings.HasPrefix(key, library.TokenPrefix):
		return fmt.Errorf("%s: the key must not begin with %s, as keys that the library makes do", setting, library.TokenPrefix)
	}
	return nil
}
