package importer

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Bar shows how far an import is, in the last line of a terminal; what is written to it appears above that line.
type Bar struct {
	w     io.Writer
	size  int64
	start time.Time
	last  time.Time
}

// NewBar is a bar for a file of size bytes, 0 where that is not known.
func NewBar(w io.Writer, size int64) *Bar { return &Bar{w: w, size: size, start: time.Now()} }

// Show draws the bar, ten times a second at most. It is an Import.Progress.
func (b *Bar) Show(_ string, bytes int64, rows int) {
	if time.Since(b.last) < 100*time.Millisecond {
		return
	}
	b.last = time.Now()
	rate := float64(rows) / max(time.Since(b.start).Seconds(), 1e-3)
	if b.size == 0 {
		fmt.Fprintf(b.w, "\r\x1b[K%d rows, %.0f a second", rows, rate)
		return
	}
	const width = 30
	share := min(float64(bytes)/float64(b.size), 1)
	filled := int(share * width)
	fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %3.0f %%  %d rows, %.0f a second", strings.Repeat("#", filled), strings.Repeat(".", width-filled), 100*share, rows, rate)
}

// Clear takes the bar off the terminal.
func (b *Bar) Clear() { fmt.Fprint(b.w, "\r\x1b[K") }

func (b *Bar) Write(p []byte) (int, error) {
	b.Clear()
	return b.w.Write(p)
}
