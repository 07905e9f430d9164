package handlers

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"library-management/library"
)

// BookList asks for a page of books: of all, by id, or of those that are searched for.
type BookList struct {
	ListQuery
	Q         string `query:"q" maxLength:"300" doc:"Words that all have to be in the title, the author, the category or the ISBN, the last one as a beginning. Case and accents do not count; operators and quotes are text." example:"left hand dark"`
	Title     string `query:"title" maxLength:"300" doc:"Words that all have to be in the title."`
	Author    string `query:"author" maxLength:"300" doc:"Words that all have to be in the author." example:"le guin"`
	ISBN      string `query:"isbn" maxLength:"40" doc:"ISBN-10 or ISBN-13, hyphens allowed."`
	Category  string `query:"category" maxLength:"300" doc:"The whole category."`
	Language  string `query:"language" maxLength:"300" doc:"The whole language."`
	Available string `query:"available" enum:"true,false" doc:"Whether a copy is free to borrow."`
	Sort      string `query:"sort" enum:"title,author,year,-id" doc:"Where it is absent, what q finds is sorted by how well it matches: the whole title is q, the title begins so, all words are in the title, the rest; in each, and without q, by id. Books whose year is not known come last."`

	query library.BookQuery
	after *library.Place
}

// Resolve adds the domain's refusals to huma's, and reads the cursor.
func (l *BookList) Resolve(ctx huma.Context) []error {
	l.query = library.BookQuery{Text: l.Q, Title: l.Title, Author: l.Author, ISBN: l.ISBN, Category: l.Category, Language: l.Language}
	if available, err := strconv.ParseBool(l.Available); err == nil {
		l.query.Available = &available
	}
	l.query.Sort = library.BookSort(l.Sort)
	errs := queryErrors(l.query.Clean(), "sort")
	var ok bool
	if l.after, ok = readPlace(l.Cursor, l.query); !ok {
		errs = append(errs, errCursor)
	}
	return append(errs, l.ListQuery.Resolve(ctx)...)
}

// isSearch reports whether anything but a page of all books by id is asked for.
func (l *BookList) isSearch() bool { return l.query != library.BookQuery{} }

// UserList asks for a page of users: of all, by id, or of those that are searched for.
type UserList struct {
	ListQuery
	Q      string `query:"q" maxLength:"300" doc:"Words that all have to be in the name, the email or the card number, the last one as a beginning. Those come first whose name is q, begins so, or has all words." example:"lovel"`
	Status string `query:"status" enum:"active,blocked" doc:"Only users of this status."`

	query library.UserQuery
	after *library.Place
}

// order is the query of books whose pages are in the same order.
func (l *UserList) order() library.BookQuery { return library.BookQuery{Text: l.query.Text} }

// Resolve is BookList's.
func (l *UserList) Resolve(ctx huma.Context) []error {
	l.query = library.UserQuery{Text: l.Q, Status: library.UserStatus(l.Status)}
	errs := queryErrors(l.query.Clean(), "status")
	var ok bool
	if l.after, ok = readPlace(l.Cursor, l.order()); !ok {
		errs = append(errs, errCursor)
	}
	return append(errs, l.ListQuery.Resolve(ctx)...)
}

// queryErrors are the parameters that a domain check refuses, but for one that huma has refused already.
func queryErrors(err error, refused string) (list []error) {
	e, ok := errors.AsType[*library.Error](err)
	if !ok {
		return nil
	}
	for _, f := range e.Fields {
		if f.Field != refused {
			list = append(list, &huma.ErrorDetail{Location: "query." + f.Field, Message: f.Message})
		}
	}
	return list
}

// nextPlace leads to the page behind a place of the list at path, with what was asked for; nil where there is none.
func (a *api) nextPlace(ctx context.Context, path string, limit int, q library.BookQuery, filters map[string]string, next *library.Place) NextPage {
	if next == nil {
		return NextPage{}
	}
	asked := url.Values{}
	for name, value := range filters {
		if value != "" {
			asked.Set(name, value)
		}
	}
	return a.nextPage(ctx, path, asked, limit, makePlace(*next, q))
}

// filters are what was asked for, by parameter.
func (l *BookList) filters() map[string]string {
	q := l.query
	filters := map[string]string{"q": q.Text, "title": q.Title, "author": q.Author, "isbn": q.ISBN, "category": q.Category, "language": q.Language, "sort": string(q.Sort)}
	if q.Available != nil {
		filters["available"] = strconv.FormatBool(*q.Available)
	}
	return filters
}

func (l *UserList) filters() map[string]string {
	return map[string]string{"q": l.query.Text, "status": string(l.query.Status)}
}

// placeKind says what the places of a query's pages are made of besides ids.
func placeKind(q library.BookQuery) (class, key bool) {
	switch q.Sort {
	case library.SortByMatch:
		return q.Text != "", false
	case library.SortByNewest:
		return false, false
	}
	return false, true
}

// makePlace is a cursor for a place among what a query finds; readPlace reads it for the same query, nil for the first page.
func makePlace(p library.Place, q library.BookQuery) string {
	switch class, key := placeKind(q); {
	case class:
		return makeCursor(int64(p.Class), p.ID)
	case key:
		return base64.RawURLEncoding.EncodeToString([]byte(p.Key)) + "." + makeCursor(p.ID)
	}
	return makeCursor(p.ID)
}

func readPlace(cursor string, q library.BookQuery) (*library.Place, bool) {
	if cursor == "" {
		return nil, true
	}
	switch class, key := placeKind(q); {
	case class:
		at, ok := readCursor(cursor, 2)
		return &library.Place{Class: library.Class(at[0]), ID: at[1]}, ok && at[0] >= 0 && at[0] <= int64(library.Elsewhere)
	case key:
		before, id, _ := strings.Cut(cursor, ".")
		text, err := base64.RawURLEncoding.DecodeString(before)
		at, ok := readCursor(id, 1)
		return &library.Place{Key: string(text), ID: at[0]}, ok && at[0] > 0 && err == nil && library.IsSortKey(string(text), q.Sort)
	}
	at, ok := readCursor(cursor, 1)
	return &library.Place{ID: at[0]}, ok
}
