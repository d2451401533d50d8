package trainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"plasticity/config"
	"plasticity/record"
)

// AddressFile holds host:port of a run's live metrics while it trains.
const AddressFile = "metrics.addr"

// Limits of the metrics server: whoever reaches the port can cost the run next to nothing.
const (
	headerTimeout = 2 * time.Second
	requestTime   = 3 * time.Second // to read a request, and to answer it
	maxHeader     = 16 << 10
	maxInFlight   = 8
	maxConns      = 1024 // slow clients must not lock the scraper out before their time-out
)

// server exposes a run to Prometheus, from a registry of its own. A nil server shows nothing.
type server struct {
	address string
	file    string
	fsys    record.FS
	http    *http.Server
	done    chan struct{} // the accepting goroutine has ended
	metrics *metrics
}

// newServer listens, and leaves its address in the run's folder. from is how far
// earlier processes came, gpu the step on a GPU, nil on a CPU.
func newServer(listen string, fsys record.FS, r *record.Run, c config.Resolved, from standing, gpu *graph) (*server, error) {
	if host, port, err := net.SplitHostPort(listen); err == nil && host == "" {
		listen = net.JoinHostPort("127.0.0.1", port) // every interface only for who says so: 0.0.0.0
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen %s: %w", listen, err)
	}
	registry := prometheus.NewRegistry()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxInFlight, Timeout: requestTime}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "plasticity: the metrics of this run are at /metrics")
	})
	s := &server{
		address: listener.Addr().String(), file: r.Path(AddressFile), fsys: fsys, done: make(chan struct{}),
		http: &http.Server{
			Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTime, WriteTimeout: 2 * requestTime,
			IdleTimeout: 20 * time.Second, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		},
	}
	if s.metrics, err = newMetrics(registry, r.Info, c, from, gpu); err == nil {
		maker{registry}.disk(fsys, r.Path(""))
		err = record.WriteFileAtomic(fsys, s.file, []byte(s.address+"\n"))
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(newLimited(listener, maxConns)) // ends with ErrServerClosed
	}()
	return s, nil
}

func (s *server) step(e StepEvent) error {
	s.metrics.step(e)
	return nil
}

// saved shows that a checkpoint is durable.
func (s *server) saved(took time.Duration) {
	if s == nil {
		return
	}
	s.metrics.checkpoints.Inc()
	s.metrics.saveSeconds.Set(took.Seconds())
	s.metrics.lastSave.SetToCurrentTime()
}

// close ends the server and takes its address back. A client that does not let go does not hold
// the run.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	if removeErr := s.fsys.Remove(s.file); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// limited accepts a bounded number of connections at a time.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func newLimited(l net.Listener, n int) *limited {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slot{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slot gives its place back when it is closed, once.
type slot struct {
	net.Conn
	free func()
}

func (s *slot) Close() error {
	s.free()
	return s.Conn.Close()
}
