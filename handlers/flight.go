package handlers

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// Reads that are the same share one answer, so that a page that everybody asks for costs the database one query at a time. Of each
// distinct read one is running at the most, and one waiting. Whoever comes while one runs joins the one that starts after they
// came: unlike a cache, no answer is older than the request that it is given to.

// flights are the reads under way, by what they ask for. The zero value is ready.
type flights struct {
	mu   sync.Mutex
	asks map[string]*ask
}

// ask is one distinct read.
type ask struct {
	running, waiting *flight // nil: none
}

// flight is one execution of a read.
type flight struct {
	ended chan struct{}
	// followers is how many wait for its answer. None joins once it runs.
	followers int
	// answer is nil until it has ended, and where there was none to share.
	answer *sharedAnswer
}

// sharedAnswer is what the followers of a flight are given. Nobody changes it any more.
type sharedAnswer struct {
	contentType, contentEncoding, link, nextCursor, etag string
	body                                                 []byte
}

// share answers a request for what key names: by running read, or with the answer of another that starts from now on. Only a success
// is shared: what else came of the leader's request is of that request alone, and each follower then reads for itself.
func (f *flights) share(c *fiber.Ctx, key string, read fiber.Handler) error {
	ctx := c.UserContext()
	own, joined := f.board(key)
	if own != nil {
		if err := f.takeOff(ctx, key, own); err != nil {
			return err
		}
		return f.fly(key, own, c, read)
	}
	select {
	case <-joined.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if joined.answer == nil {
		return read(c)
	}
	joined.answer.write(c)
	return nil
}

// board gives the caller a flight of their own, or lets them join the one that waits.
func (f *flights) board(key string) (own, joined *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.asks[key]
	switch {
	case a == nil:
		if f.asks == nil {
			f.asks = map[string]*ask{}
		}
		own = &flight{ended: make(chan struct{})}
		f.asks[key] = &ask{running: own}
	case a.waiting == nil:
		own = &flight{ended: make(chan struct{})}
		a.waiting = own
	default:
		a.waiting.followers++
		return nil, a.waiting
	}
	return own, nil
}

// takeOff waits until own is the one that runs: from then on nobody joins it. An error ends own, and its followers read for themselves.
func (f *flights) takeOff(ctx context.Context, key string, own *flight) error {
	f.mu.Lock()
	a := f.asks[key]
	before := a.running
	f.mu.Unlock()
	if before == own {
		return nil
	}
	var err error
	if before != nil {
		select {
		case <-before.ended:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a.waiting = nil
	if err == nil {
		a.running = own
		return nil
	}
	if a.running == nil {
		delete(f.asks, key)
	}
	close(own.ended)
	return err
}

// fly runs own, and leaves its answer to the followers where it has one for them.
func (f *flights) fly(key string, own *flight, c *fiber.Ctx, read fiber.Handler) error {
	defer func() { // after a panic, too
		f.mu.Lock()
		defer f.mu.Unlock()
		a := f.asks[key]
		if a.running = nil; a.waiting == nil {
			delete(f.asks, key)
		}
		close(own.ended)
	}()
	err := read(c)
	if response := c.Response(); err == nil && own.followers > 0 && response.StatusCode() == http.StatusOK {
		tag := etag(response.Body())
		if compressible(response) && acceptsGzip(c) { // as all who share it do
			tag = gzipTag(tag)
			compress(response)
		}
		own.answer = &sharedAnswer{
			contentType:     string(response.Header.ContentType()),
			contentEncoding: string(response.Header.ContentEncoding()),
			link:            string(response.Header.Peek("Link")),
			nextCursor:      string(response.Header.Peek("Next-Cursor")),
			etag:            tag,
			body:            bytes.Clone(response.Body()),
		}
		c.Set("ETag", own.answer.etag)
	}
	return err
}

func (a *sharedAnswer) write(c *fiber.Ctx) {
	c.Set("ETag", a.etag)
	c.Response().Header.SetContentType(a.contentType)
	if a.contentEncoding != "" {
		c.Response().Header.SetContentEncoding(a.contentEncoding)
	}
	if a.link != "" {
		c.Set("Link", a.link)
		c.Set("Next-Cursor", a.nextCursor)
	}
	c.Response().SetBodyRaw(a.body)
}
