package serve

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"plasticity/plots"
	"plasticity/record"
)

//go:embed page.css live.js *.tmpl
var files embed.FS

// site is the pages of one folder of runs.
type site struct {
	runs    *reader
	figures *drawer
	pages   *template.Template
}

// Handler shows the runs below root: a folder of grids, one grid, or one run. name is the host that it is reached by, besides
// localhost and addresses that are numbers; requests for any other host are refused, so that a page from elsewhere
// cannot reach it through a name of its own that leads here. The error is a Failure with Usage when root is not a folder of
// runs.
func Handler(root, name string) (http.Handler, error) {
	s := &site{runs: &reader{root: root}, figures: &drawer{kept: make(map[string]*album)}}
	var err error
	if s.pages, err = template.New("").ParseFS(files, "*.tmpl"); err != nil {
		return nil, record.Fail(record.Internal, "templates: %w", err)
	}
	if _, err := s.runs.look(context.Background()); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /grid/{grid}", s.grid)
	mux.HandleFunc("GET /grid/{grid}/{figure}", s.gridFigure)
	mux.HandleFunc("GET /run/{id}", s.run)
	mux.HandleFunc("GET /run/{id}/"+curves+".svg", s.runCurves)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for path, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := files.ReadFile(path)
			answer(w, kind, text, err)
		})
	}
	return guarded(mux, name), nil
}

// policy lets a page load what comes from here and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guarded refuses foreign hosts and sets what browsers need to know.
func guarded(next http.Handler, name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !ours(r.Host, name) {
			http.Error(w, "this host is not served here: use the address that `plasticity serve` printed", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours tells whether a Host header is localhost, a number, or the name given.
func ours(host, name string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || name != "" && strings.EqualFold(host, name)
}

// answer sends a whole body or an error.
func answer(w http.ResponseWriter, kind string, body []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(body) //nolint:gosec // escaped by templates and figures; a client that has gone misses nothing
}

// page fills a template; a half page is never sent.
func (s *site) page(w http.ResponseWriter, name string, view any) {
	var b bytes.Buffer
	err := s.pages.ExecuteTemplate(&b, name, view)
	answer(w, "text/html; charset=utf-8", b.Bytes(), err)
}

// look gives what is known of the runs, or answers why not.
func (s *site) look(w http.ResponseWriter, r *http.Request) *snapshot {
	now, err := s.runs.look(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil
	}
	return now
}

func (s *site) index(w http.ResponseWriter, r *http.Request) {
	if now := s.look(w, r); now != nil {
		s.page(w, "index", now.index())
	}
}

// named gives what is known by the name in an address, or answers that there is nothing.
func named[T any](s *site, w http.ResponseWriter, r *http.Request, part string, of func(*snapshot) map[string]T) (now *snapshot, found T, ok bool) {
	if now = s.look(w, r); now == nil {
		return nil, found, false
	}
	if found, ok = of(now)[r.PathValue(part)]; !ok {
		http.NotFound(w, r)
	}
	return now, found, ok
}

func (s *site) namedGrid(w http.ResponseWriter, r *http.Request) (*snapshot, gridRecords, bool) {
	return named(s, w, r, "grid", func(now *snapshot) map[string]gridRecords { return now.grids })
}

func (s *site) namedRun(w http.ResponseWriter, r *http.Request) (*snapshot, plots.Record, bool) {
	return named(s, w, r, "id", func(now *snapshot) map[string]plots.Record { return now.byID })
}

func (s *site) grid(w http.ResponseWriter, r *http.Request) {
	if now, g, ok := s.namedGrid(w, r); ok {
		s.page(w, "grid", now.gridPage(g, s.figures.grid(g)))
	}
}

func (s *site) gridFigure(w http.ResponseWriter, r *http.Request) {
	name, svg := strings.CutSuffix(r.PathValue("figure"), ".svg")
	if !svg {
		http.NotFound(w, r)
		return
	}
	if _, g, ok := s.namedGrid(w, r); ok {
		picture(w, r, s.figures.grid(g), name)
	}
}

func (s *site) run(w http.ResponseWriter, r *http.Request) {
	if now, rec, ok := s.namedRun(w, r); ok {
		s.page(w, "run", now.runPage(rec, s.figures.run(rec)))
	}
}

func (s *site) runCurves(w http.ResponseWriter, r *http.Request) {
	if _, rec, ok := s.namedRun(w, r); ok {
		picture(w, r, s.figures.run(rec), curves)
	}
}

// picture answers with a figure of an album.
func picture(w http.ResponseWriter, r *http.Request, from *album, name string) {
	svg, ok := from.pictures[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	answer(w, "image/svg+xml", svg, nil)
}

// Limits of a server: whoever reaches the port can cost the runs next to nothing.
const (
	readTime  = 5 * time.Second
	writeTime = 30 * time.Second // a figure of many runs takes seconds
	maxHeader = 16 << 10
)

// Serve answers at a listener until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(l); ctx.Err() == nil {
		return record.Fail(record.IO, "serve: %w", err)
	}
	return nil
}

// address is a path below this site with a name in it.
func address(room, name string) string { return "/" + room + "/" + url.PathEscape(name) }
