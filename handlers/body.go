package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

const (
	// mergePatch is RFC 7396's media type.
	mergePatch = "application/merge-patch+json"
	// maxNesting is far above what any body needs: a user with its books has 3.
	maxNesting = 32
	// maxValues is how many values a body may have, its objects and lists among them; a book has ten. 32 KiB hold thousands,
	// each of which would take memory many times its length, and a message of its own about what is wrong with it.
	maxValues = 200
)

// jsonFormat reads bodies strictly: encoding/json would turn invalid UTF-8 and halves of surrogate pairs into U+FFFD
// and let the last of two fields of one name win, all without a word.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	},
	// huma calls it twice: into an any, which it validates, then into the input.
	Unmarshal: func(data []byte, v any) error {
		data = bytes.TrimPrefix(data, []byte("\ufeff")) // a byte order mark, which RFC 8259 lets a reader ignore
		tree, ok := v.(*any)
		if !ok {
			return json.Unmarshal(data, v)
		}
		parsed, err := parseJSON(data)
		*tree = parsed
		return err
	},
}

// parseJSON reads one JSON value, with the space at both ends of each text cut so that huma counts what will be kept.
func parseJSON(data []byte) (any, error) {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if !utf8.Valid(data) {
		return nil, errors.New("must be valid UTF-8")
	}
	if err := json.Unmarshal(data, &raw); errors.As(err, &syntax) {
		return nil, fmt.Errorf("must be valid JSON; it goes wrong at byte %d", syntax.Offset)
	} else if err != nil {
		return nil, errors.New("must be valid JSON")
	}
	if loneSurrogate(data) {
		return nil, errors.New("must not contain half of a surrogate pair")
	}
	values := 0
	return parseValue(json.NewDecoder(bytes.NewReader(data)), 0, &values)
}

// parseValue reads one value of JSON that is known to be well-formed, and adds it to values.
func parseValue(dec *json.Decoder, depth int, values *int) (any, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("must not be nested more than %d deep", maxNesting)
	}
	if *values++; *values > maxValues {
		return nil, fmt.Errorf("must not have more than %d values", maxValues)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, errors.New("must not contain numbers beyond the range of a double") // all else has been checked
	}
	switch t := t.(type) {
	case string:
		return strings.TrimSpace(t), nil
	case json.Delim:
		if t == '[' {
			list := []any{}
			for dec.More() {
				v, err := parseValue(dec, depth+1, values)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err = dec.Token()
			return list, err
		}
		object := map[string]any{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if depth == 0 && strings.ContainsAny(key, ".[") { // no field of ours has them, and huma would name its neighbours wrongly
				return nil, fmt.Errorf("must not have a field %q", clip(key))
			}
			if _, ok := object[key]; ok {
				return nil, fmt.Errorf("must not name %q twice", clip(key))
			}
			if object[key], err = parseValue(dec, depth+1, values); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return object, err
	}
	return t, nil
}

// loneSurrogate reports whether valid JSON holds an escaped half of a surrogate pair without its other half.
func loneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return false
		}
		r, n := escaped(data[i:]), 6
		switch {
		case r < 0:
			n = 2
		case r >= 0xDC00 && r < 0xE000:
			return true
		case r >= 0xD800 && r < 0xDC00:
			if low := escaped(data[i+6:]); low < 0xDC00 || low >= 0xE000 {
				return true
			}
			n = 12
		}
		data = data[i+n:]
	}
}

// escaped is the code unit of a \uXXXX that b begins with, or -1.
func escaped(b []byte) int {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// checkMediaType says what is wrong with the body's type, nil where nothing is. No Content-Type means JSON.
func checkMediaType(ctx huma.Context, body *huma.RequestBody) error {
	// Fiber would inflate a body without a limit: 32 KiB of gzip hold 32 MiB.
	if e := ctx.Header("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return &huma.ErrorDetail{Location: "header.Content-Encoding", Message: "must be absent: bodies are taken as they are"}
	}
	sent := ctx.Header("Content-Type")
	if sent == "" {
		return nil
	}
	// Whatever parameters come with it: they mean nothing to JSON, which is UTF-8 (RFC 8259, 11).
	mediaType, _, _ := strings.Cut(sent, ";")
	if _, known := body.Content[strings.ToLower(strings.TrimSpace(mediaType))]; known {
		return nil
	}
	want := "application/json"
	if _, ok := body.Content[mergePatch]; ok {
		want = mergePatch + " or " + want
	}
	return &huma.ErrorDetail{Location: "header.Content-Type", Message: "must be " + want}
}
