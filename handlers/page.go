package handlers

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

// ListQuery asks for a page of a list whose own query reads the cursor. It is exported, like the paths, because huma skips
// unexported embedded structs.
type ListQuery struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"How many at the most."`
	Cursor string `query:"cursor" maxLength:"200" doc:"Where the page before ended: its Next-Cursor header has it."`
}

// Resolve holds readers and the public to smaller pages.
func (l *ListQuery) Resolve(ctx huma.Context) (errs []error) {
	if l.Limit > maxReaderPage && !seesMembers(ctx.Context()) {
		errs = append(errs, &huma.ErrorDetail{Location: "query.limit", Message: fmt.Sprintf("must be at most %d without the role desk", maxReaderPage)})
	}
	return errs
}

var errCursor = &huma.ErrorDetail{Location: "query.cursor", Message: "must be one that a Next-Cursor header gave"}

// PageQuery asks for a page of a list that is ordered by id.
type PageQuery struct {
	ListQuery

	after int64
}

// Resolve reads the cursor.
func (p *PageQuery) Resolve(ctx huma.Context) (errs []error) {
	at, ok := readCursor(p.Cursor, 1)
	if !ok {
		errs = append(errs, errCursor)
	}
	p.after = at[0]
	return append(errs, p.ListQuery.Resolve(ctx)...)
}

func (p PageQuery) page() library.Page { return library.Page{After: p.after, Limit: p.Limit} }

// NextPage are the headers that lead to the next page of a list; the last page has neither. It is exported because huma skips
// unexported embedded structs.
type NextPage struct {
	Link       string `header:"Link" doc:"The next page, as a path with rel=next (RFC 8288); absent on the last page."`
	NextCursor string `header:"Next-Cursor" doc:"The next page, as the value that cursor has there, all other parameters being the same; absent on the last page."`
}

// pageOutput is one page of a list.
type pageOutput[T any] struct {
	NextPage
	Body []T
}

// next leads to the page of the list at path that begins after an id, 0 where there is none.
func (a *api) next(ctx context.Context, path string, p PageQuery, after int64) NextPage {
	if after == 0 {
		return NextPage{}
	}
	return a.nextPage(ctx, path, nil, p.Limit, makeCursor(after))
}

// nextPage leads to the page of the list at path, as filtered, that the cursor is the place of.
func (a *api) nextPage(ctx context.Context, path string, filters url.Values, limit int, cursor string) NextPage {
	query := fmt.Sprintf("limit=%d&cursor=%s", limit, url.QueryEscape(cursor))
	if len(filters) > 0 {
		query = filters.Encode() + "&" + query
	}
	return NextPage{Link: fmt.Sprintf(`<%s%s?%s>; rel="next"`, a.prefix(ctx), path, query), NextCursor: cursor}
}

// makeCursor is an opaque string for the place in a list behind an item: what the list is ordered by, the id at last. It is the id
// itself for a list by id, as long as releases may run beside this one that read nothing else: a list is then read on by whichever
// instance comes next.
func makeCursor(at ...int64) string {
	parts := make([]string, len(at))
	for i, n := range at {
		parts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(parts, ".")
}

// dayOf is the day that a number in a cursor stands for; false where it is none that a date can be, which MySQL would refuse.
func dayOf(n int64) (library.Date, bool) {
	d := library.Date(n)
	_, err := library.ParseDate(d.String())
	return d, int64(d) == n && err == nil
}

// readCursor is what a cursor was made of, as many numbers as given; zeroes for an empty one.
func readCursor(s string, parts int) (at []int64, ok bool) {
	at = make([]int64, parts)
	if s == "" {
		return at, true
	}
	for i, part := range strings.SplitN(s, ".", parts) {
		var err error
		if at[i], err = strconv.ParseInt(part, 10, 64); err != nil || strconv.FormatInt(at[i], 10) != part {
			return at, false
		}
	}
	return at, at[parts-1] > 0
}
