package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkStop counts the requests that are lost in one stop under load, with and without the filter that refuses new
// connections: 24 clients on loopback, each connecting anew for each request.
func BenchmarkStop(b *testing.B) {
	for name, stop := range map[string]func(*listener){"filter": (*listener).stop, "no_filter": (*listener).acceptLast} {
		b.Run(name, func(b *testing.B) {
			var lost, answered int64
			for b.Loop() {
				l, a := stopUnderLoad(b, stop)
				lost, answered = lost+l, answered+a
			}
			b.ReportMetric(float64(lost)/float64(b.N), "lost/stop")
			b.ReportMetric(float64(answered)/float64(b.N), "answered/stop")
		})
	}
}

func stopUnderLoad(b *testing.B, stop func(*listener)) (lost, answered int64) {
	ln, err := listen(context.Background(), "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var done, broken atomic.Int64
	enough := make(chan struct{})
	s := &fasthttp.Server{CloseOnShutdown: true, Handler: func(*fasthttp.RequestCtx) {
		if done.Add(1) == 500 {
			close(enough)
		}
	}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(ln)
	}()
	var clients sync.WaitGroup
	for range 24 {
		clients.Go(func() {
			for {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						broken.Add(1)
					}
					return
				}
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				if answer, err := io.ReadAll(c); err != nil || len(answer) == 0 {
					broken.Add(1)
				}
				c.Close()
			}
		})
	}
	<-enough
	stop(ln)
	<-served
	s.Shutdown()
	clients.Wait()
	return broken.Load(), done.Load()
}
