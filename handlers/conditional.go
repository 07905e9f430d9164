package handlers

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"library-management/library"
)

// conditional gives what GET answers an ETag, and a client that has it already a 304; the rest it compresses for who asks. Fiber's own
// middlewares give a 304 to a POST after it took effect, know neither * nor lists, and give both forms of an answer one strong tag.
// What has a Cache-Control of its own is left as it is: no-store may be a secret's, and files are compressed beforehand.
func conditional(c *fiber.Ctx) error {
	err := c.Next()
	r, h := c.Response(), &c.Response().Header
	own := len(h.Peek("Cache-Control")) > 0
	if err != nil || r.IsBodyStream() || own && string(h.Peek("Cache-Control")) == "no-store" {
		return err
	}
	gzip := !own && negotiateGzip(c)
	if c.Method() == fiber.MethodGet && r.StatusCode() == http.StatusOK {
		if !own {
			h.Set("Cache-Control", "no-cache") // keep it, but ask each time
		}
		tag := string(h.Peek("ETag")) // of a shared answer
		if tag == "" {
			if tag = etag(r.Body()); gzip {
				tag = gzipTag(tag)
			}
			h.Set("ETag", tag)
		}
		if match := c.Get("If-None-Match"); match != "" && listed(match, weakly, tag) {
			h.Del("Content-Encoding")
			c.Status(http.StatusNotModified) // whose body the edge drops
			return nil
		}
	}
	if gzip {
		compress(r)
	}
	return nil
}

// etag is the strong validator of a representation (RFC 9110, 8.8.3), which is made of its bytes as GET sends them uncompressed.
func etag(representation []byte) string {
	sum := sha256.Sum256(representation)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
}

// gzipTag is the validator of a representation's compressed form, which is another one (RFC 9110, 8.8.3.3).
func gzipTag(tag string) string { return strings.TrimSuffix(tag, `"`) + `.gzip"` }

// The two comparisons of RFC 9110, 8.8.3.2: a weak tag is no match for a strong comparison.
const (
	weakly   = true
	strongly = false
)

// listed reports whether the value of If-Match or If-None-Match names one of the tags.
func listed(header string, weak bool, tags ...string) bool {
	for s := range strings.SplitSeq(header, ",") { // no tag of ours has a comma
		s = strings.TrimSpace(s)
		if weak {
			s = strings.TrimPrefix(s, "W/")
		}
		if s == "*" || slices.Contains(tags, s) {
			return true
		}
	}
	return false
}

// Preconditions have a write take effect only on what the client has seen (RFC 9110, 13.1). It is exported because huma
// skips unexported embedded structs.
type Preconditions struct {
	IfMatch     string `header:"If-Match" doc:"ETags that GET gave, or *: nothing is changed unless one of them is that of what is stored now." example:"\"gJ5u6b0cWvJGk0C1yUqYBQ\""`
	IfNoneMatch string `header:"If-None-Match" doc:"ETags that GET gave, or *: nothing is changed if one of them is that of what is stored now."`

	conditions map[string]string // what was sent, by the header's name: an empty one is sent, too, and names nothing
}

// Resolve reads headers that come in several lines, which are one list.
func (p *Preconditions) Resolve(ctx huma.Context) []error {
	p.conditions = map[string]string{}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if lines := humafiber.Unwrap(ctx).Request().Header.PeekAll(name); len(lines) > 0 {
			p.conditions[name] = string(bytes.Join(lines, []byte(",")))
		}
	}
	return nil
}

// check returns library.ErrPreconditionFailed unless the conditions hold of what is stored, as GET would send it.
func (p *Preconditions) check(stored any) error {
	if len(p.conditions) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := jsonFormat.Marshal(&b, stored); err != nil {
		return err
	}
	tag := etag(b.Bytes())
	tags := []string{tag, gzipTag(tag)} // whichever form the client was sent
	if match, sent := p.conditions["If-Match"]; sent && !listed(match, strongly, tags...) {
		return library.ErrPreconditionFailed
	}
	if match, sent := p.conditions["If-None-Match"]; sent && listed(match, weakly, tags...) {
		return library.ErrPreconditionFailed
	}
	return nil
}
