package importer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxLine is how long one line of a file may be, in bytes: the rest of a longer one is passed over, not kept in memory.
const maxLine = 1 << 20

// line is one line of the file as an editor shows it, without its end.
type line struct {
	text   string
	number int // from 1
	long   bool
}

// lines reads a file line by line, whatever ends them (LF, CR LF or CR alone), and can look ahead. A byte-order mark at the
// start is passed over, and tells UTF-16 from UTF-8.
type lines struct {
	read    *counter
	r       *bufio.Reader
	n       int    // lines read so far
	waiting []line // read, and not taken yet
	space   []line // holds waiting while it is one line, as it nearly always is
	err     error  // that ended the reading
}

// newLines looks at the start of the file. Its errors are about the whole file.
func newLines(r io.Reader) (*lines, error) {
	l := &lines{read: &counter{r: r}}
	l.r = bufio.NewReaderSize(l.read, 64<<10)
	start, _ := l.r.Peek(4)
	switch {
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return nil, errors.New("is a spreadsheet's own file, not CSV: open it, and save it as CSV (UTF-8)")
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		l.r.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")):
		l.r.Discard(2)
		l.r = bufio.NewReaderSize(&utf16Reader{r: l.r, order: binary.LittleEndian}, 64<<10)
	case bytes.HasPrefix(start, []byte("\xfe\xff")):
		l.r.Discard(2)
		l.r = bufio.NewReaderSize(&utf16Reader{r: l.r, order: binary.BigEndian}, 64<<10)
	case bytes.IndexByte(start, 0) >= 0:
		return nil, errors.New("is not text in UTF-8, nor in UTF-16 with a byte-order mark: save it as CSV (UTF-8)")
	}
	return l, nil
}

// peek is the i-th line that was not taken yet, counted from 0; false where the file has no such line or cannot be read further.
func (l *lines) peek(i int) (line, bool) {
	for len(l.waiting) <= i {
		if l.err != nil {
			return line{}, false
		}
		var next line
		if next, l.err = l.next(); l.err == nil {
			if len(l.waiting) == 0 {
				l.space = append(l.space[:0], next)
				l.waiting = l.space
			} else {
				l.waiting = append(l.waiting, next)
			}
		}
	}
	return l.waiting[i], true
}

// take removes n lines that were peeked at.
func (l *lines) take(n int) {
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		clear(l.space)
		l.waiting = l.space[:0]
	}
}

// next reads a line. What comes before an error that is not io.EOF may be half a line, and is dropped.
func (l *lines) next() (line, error) {
	next := line{number: l.n + 1}
	var long strings.Builder // what did not fit into the buffer at once
	for {
		if l.r.Buffered() == 0 {
			if _, err := l.r.Peek(1); err == io.EOF && (long.Len() > 0 || next.long) {
				break
			} else if err != nil {
				return line{}, err
			}
		}
		chunk, _ := l.r.Peek(l.r.Buffered())
		end := bytes.IndexAny(chunk, "\r\n")
		if end < 0 {
			if long.Len()+len(chunk) > maxLine {
				next.long = true
			} else {
				long.Write(chunk)
			}
			l.r.Discard(len(chunk))
			continue
		}
		if long.Len() == 0 {
			next.text = string(chunk[:end])
		} else {
			long.Write(chunk[:end])
		}
		cr := chunk[end] == '\r'
		l.r.Discard(end + 1)
		if cr {
			if lf, _ := l.r.Peek(1); len(lf) > 0 && lf[0] == '\n' {
				l.r.Discard(1)
			}
		}
		break
	}
	if long.Len() > 0 {
		next.text = long.String()
	}
	if next.long || len(next.text) > maxLine {
		next.text, next.long = "", true
	}
	l.n++
	return next, nil
}

// counter counts the bytes of the file.
type counter struct {
	r     io.Reader
	total int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.total += int64(n)
	return n, err
}

// utf16Reader turns UTF-16 into UTF-8. Half a pair of surrogates, or half a unit at the end, becomes a byte that no UTF-8 has,
// so that its row is refused and not changed.
type utf16Reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	out   []byte
	high  rune // the first half of a pair; 0 where there is none
	err   error
}

const notUTF8 = 0xff

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		u.fill()
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *utf16Reader) fill() {
	var unit [2]byte
	u.out = make([]byte, 0, 8192)
	for len(u.out) < 8000 {
		n, err := io.ReadFull(u.r, unit[:])
		if err != nil {
			if u.high != 0 || n == 1 {
				u.out = append(u.out, notUTF8)
			}
			if u.high, u.err = 0, err; errors.Is(err, io.ErrUnexpectedEOF) {
				u.err = io.EOF
			}
			return
		}
		r := rune(u.order.Uint16(unit[:]))
		if u.high != 0 {
			if pair := utf16.DecodeRune(u.high, r); pair != utf8.RuneError {
				u.out, u.high = utf8.AppendRune(u.out, pair), 0
				continue
			}
			u.out, u.high = append(u.out, notUTF8), 0
		}
		switch {
		case r >= 0xd800 && r < 0xdc00:
			u.high = r
		case utf16.IsSurrogate(r):
			u.out = append(u.out, notUTF8)
		default:
			u.out = utf8.AppendRune(u.out, r)
		}
	}
}

var errLong = fmt.Errorf("is longer than %d bytes", maxLine)
