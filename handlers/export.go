package handlers

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"library-management/library"
)

func (a *api) exports() []route {
	var list []route
	for _, f := range []struct {
		file library.ExportFile
		role role
		text string
	}{
		{library.ExportBooks, desk, ""},
		{library.ExportCopies, desk, ""},
		{library.ExportUsers, admin, ""},
		{library.ExportLoans, admin, "Those of deleted books and of deleted users are left out: there is nothing to import them for. "},
		{library.ExportHolds, admin, "The active ones, in the order of the queues. "},
	} {
		list = append(list, newRoute(operation{
			Method: "GET", Path: exportPath(f.file), ID: "export-" + string(f.file), Tag: tagReports, Success: 200, Role: f.role, NoStore: true, Produces: csvType,
			Summary: "Export the " + string(f.file),
			Text: "As CSV. " + f.text + "The columns are those that an import reads. With limit or cursor it is a page, and the Link header with rel=next leads to the next one; " +
				"only the first has the line with the columns' names, so that the pages one behind the other are the file. Without, it is the whole file, " +
				"but on AWS Lambda, whose answers are limited, it is always a page. A whole file that breaks off ends without its last chunk, which clients report.",
			Codes: reads(),
		}, func(ctx context.Context, in *ExportQuery) (*exportOutput, error) { return a.export(ctx, f.file, in) }))
	}
	return list
}

func exportPath(f library.ExportFile) string { return "/export/" + string(f) + ".csv" }

const csvType = "text/csv; charset=utf-8"

// exportBytes is where a page ends that has long rows, in bytes: also as JSON, with each quote escaped, it fits into the 1 MB that a
// balancer takes from Lambda.
const exportBytes = 400 << 10

// ExportQuery asks for a page of an export, or for all of it.
type ExportQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"A page of so many records at the most."`
	Cursor string `query:"cursor" maxLength:"200" doc:"Where the page before ended: its Next-Cursor header has it."`
}

// after is the place that the cursor is of.
func (q *ExportQuery) after(f library.ExportFile) (p library.ExportPlace, err error) {
	parts := 1
	if f.ByBook() {
		parts = 2
	}
	at, ok := readCursor(q.Cursor, parts)
	if !ok {
		return p, humaProblem(http.StatusUnprocessableEntity, "", errCursor)
	}
	if p.ID = at[parts-1]; f.ByBook() {
		p.BookID = at[0]
	}
	return p, nil
}

// exportCursor is the cursor of a place.
func exportCursor(f library.ExportFile, p library.ExportPlace) string {
	if f.ByBook() {
		return makeCursor(p.BookID, p.ID)
	}
	return makeCursor(p.ID)
}

type exportOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition" doc:"Has browsers save the file by its name."`
	NextPage           // absent, too, where the answer is the whole file
	Body        func(huma.Context)
}

// export answers with a page of a file, or with a stream of its pages. The first page is read before the answer begins, so that a
// library that cannot be reached is a problem document as everywhere.
func (a *api) export(ctx context.Context, f library.ExportFile, in *ExportQuery) (*exportOutput, error) {
	out := &exportOutput{ContentType: csvType, Disposition: `attachment; filename="` + string(f) + `.csv"`}
	if in.Limit == 0 && in.Cursor == "" && !a.config.PagedExports {
		r, err := library.NewExportReader(context.Background(), a.store, f, requestTimeout) // it outlives the request's context
		if err != nil {
			return nil, err
		}
		s := &exportStream{ExportReader: r, file: f, log: a.config.Logger, began: time.Now()}
		s.requestID, _ = ctx.Value(requestIDKey).(string)
		out.Body = func(ctx huma.Context) {
			c := humafiber.Unwrap(ctx)
			var stream io.Reader = s
			c.Vary("Accept-Encoding")
			if acceptsGzip(c) {
				c.Response().Header.SetContentEncoding("gzip")
				stream = newGzipStream(s)
			}
			c.Context().SetBodyStream(stream, -1)
		}
		return out, nil
	}
	limit := cmp.Or(in.Limit, library.MaxPageLimit)
	after, err := in.after(f)
	if err != nil {
		return nil, err
	}
	rows, next, err := a.store.Export(ctx, f, after, limit)
	if err != nil {
		return nil, err
	}
	var text []byte
	if in.Cursor == "" {
		text = library.AppendCSV(text, f.Columns())
	}
	for i, r := range rows {
		text = library.AppendCSV(text, r.Cells)
		if len(text) >= exportBytes && i+1 < len(rows) {
			next = r.Place
			break
		}
	}
	if next != (library.ExportPlace{}) {
		out.NextPage = a.nextPage(ctx, exportPath(f), nil, limit, exportCursor(f, next))
	}
	out.Body = func(ctx huma.Context) {
		_, _ = ctx.BodyWriter().Write(text)
		if c := humafiber.Unwrap(ctx); negotiateGzip(c) { // though caches may not keep it: it holds no secret
			compress(c.Response())
		}
	}
	return out, nil
}

// exportStream logs what comes of an export. An error of its Read cuts the connection without the last chunk, so that no client takes
// what it has for the whole file.
type exportStream struct {
	*library.ExportReader
	file      library.ExportFile
	log       *slog.Logger
	requestID string
	began     time.Time
	ended     bool
}

// Read is io.Reader's.
func (s *exportStream) Read(p []byte) (int, error) {
	n, err := s.ExportReader.Read(p)
	switch {
	case err == io.EOF:
		s.end("export sent", slog.LevelInfo)
	case err != nil:
		s.end("export broken off", slog.LevelError, slog.String("error", err.Error()))
	}
	return n, err
}

// Close is called by the server when the answer has ended, or the connection has.
func (s *exportStream) Close() error {
	s.end("export not taken to its end", slog.LevelInfo)
	return nil
}

// end logs what came of the export, once.
func (s *exportStream) end(message string, level slog.Level, more ...slog.Attr) {
	if s.ended {
		return
	}
	s.ended = true
	s.log.LogAttrs(context.Background(), level, message, append([]slog.Attr{slog.String("request_id", s.requestID), slog.String("file", string(s.file)),
		slog.Int("rows", s.Rows), slog.Float64("duration_ms", float64(time.Since(s.began).Microseconds())/1000)}, more...)...)
}
