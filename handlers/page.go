package handlers

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

// PageQuery asks for a page of a list. It is exported, like the paths, because huma skips unexported embedded structs.
type PageQuery struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many at the most."`
	Cursor string `query:"cursor" maxLength:"200" doc:"Where the page before ended: follow the Link header instead of making one up."`

	after int64
}

// Resolve reads the cursor, and holds readers and the public to smaller pages.
func (p *PageQuery) Resolve(ctx huma.Context) (errs []error) {
	var ok bool
	if p.after, ok = readCursor(p.Cursor); !ok {
		errs = append(errs, &huma.ErrorDetail{Location: "query.cursor", Message: "must be one that a Link header gave"})
	}
	if p.Limit > maxReaderPage && !seesMembers(ctx.Context()) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.limit", Message: fmt.Sprintf("must be at most %d without the role desk", maxReaderPage)})
	}
	return errs
}

func (p PageQuery) page() library.Page { return library.Page{After: p.after, Limit: p.Limit} }

// pageOutput is one page of a list.
type pageOutput[T any] struct {
	Link string `header:"Link" doc:"The next page, with rel=next; absent on the last."`
	Body []T
}

// next is the Link header (RFC 8288) to the page of the list at path that begins after an id, "" where there is none.
func (a *api) next(ctx context.Context, path string, p PageQuery, after int64) string {
	if after == 0 {
		return ""
	}
	return fmt.Sprintf(`<%s%s?limit=%d&cursor=%s>; rel="next"`, a.prefix(ctx), path, p.Limit, url.QueryEscape(makeCursor(after)))
}

// makeCursor is an opaque string for the place in a list behind an id. It is the id itself as long as releases may run beside this
// one that read nothing else: a list is then read on by whichever instance comes next.
func makeCursor(after int64) string { return strconv.FormatInt(after, 10) }

// readCursor is the id in a cursor, 0 in an empty one.
func readCursor(s string) (after int64, ok bool) {
	if s == "" {
		return 0, true
	}
	after, err := strconv.ParseInt(s, 10, 64)
	return after, err == nil && after > 0 && s[0] != '+'
}
