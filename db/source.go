package db

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
)

// A record's source id is its id in the system that it comes from: source_id, which an import keeps, or for a record that was made
// here its own id behind the code of this installation. So ids of several libraries may meet in one, and an import of an own export
// finds the very records, also those with nothing else to know them by.

// origin writes and reads the source ids of records that were made here.
type origin struct{ prefix string }

// own is the source id of a record that was made here; "" for 0.
func (o origin) own(id int64) string {
	if id == 0 {
		return ""
	}
	return o.prefix + strconv.FormatInt(id, 10)
}

// of is the source id of a record that has sourceID in its row.
func (o origin) of(id int64, sourceID string) string {
	if sourceID != "" {
		return sourceID
	}
	return o.own(id)
}

// id is the record that own gives this source id; 0 where it is none of ours.
func (o origin) id(sourceID string) int64 {
	digits, ok := strings.CutPrefix(sourceID, o.prefix)
	id, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || o.own(id) != sourceID || id < 0 {
		return 0
	}
	return id
}

// stored is what belongs into a row as its source_id: "" for what own gives by itself.
func (o origin) stored(id int64, sourceID string) string {
	if sourceID == o.own(id) {
		return ""
	}
	return sourceID
}

// installation remembers the origin, which never changes.
type installation struct {
	mu     sync.Mutex
	origin origin
}

// origin is that of this database. The first that asks for it makes it.
func (s *Store) origin(ctx context.Context) (origin, error) {
	i := &s.installation
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.origin.prefix != "" {
		return i.origin, nil
	}
	code, err := s.installationCode(ctx)
	if err == nil && code == "" {
		// A letter before it, and a hyphen behind: no spreadsheet takes it for a number or a date.
		code = "L" + strings.ToLower(rand.Text()[:7])
		err = s.inTx(ctx, func(t *tx) error {
			_, err := t.exec(ctx, `INSERT INTO installation (id, code) VALUES (1, ?)`, code)
			if classOf(err) == duplicate {
				err = nil // another was first
			}
			return err
		})
		if err == nil {
			code, err = s.installationCode(ctx)
		}
	}
	if err != nil {
		return origin{}, err
	}
	i.origin = origin{prefix: code + "-"}
	return i.origin, nil
}

// installationCode is the code that is stored, "" where there is none.
func (s *Store) installationCode(ctx context.Context) (code string, err error) {
	err = s.read(ctx, func(q querier) error {
		codes, err := collect(ctx, q, func(scan func(...any) error) (code string, err error) {
			return code, scan(&code)
		}, `SELECT code FROM installation WHERE id = 1`, nil)
		if len(codes) > 0 {
			code = codes[0]
		}
		return err
	})
	return code, err
}
