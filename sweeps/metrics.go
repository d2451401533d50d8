package sweeps

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"plasticity/record"
)

// sweepMetrics is what the runner itself exposes; members expose their own.
type sweepMetrics struct {
	registry *prometheus.Registry
	runs     *prometheus.GaugeVec
	planned  prometheus.Gauge
	trained  prometheus.Gauge
	speed    prometheus.Gauge
	starts   prometheus.Counter
	retries  prometheus.Counter
	ends     *prometheus.CounterVec
}

// newSweepMetrics makes the metrics in a registry of their own, with the grid's
// name on each of them.
func newSweepMetrics(plan *Plan) *sweepMetrics {
	grid := prometheus.Labels{"grid": plan.Name}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "plasticity", Subsystem: "sweep", Name: name, Help: help, ConstLabels: grid,
		})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "plasticity", Subsystem: "sweep", Name: name, Help: help, ConstLabels: grid,
		})
	}
	m := &sweepMetrics{
		registry: prometheus.NewRegistry(),
		runs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "plasticity", Subsystem: "sweep", Name: "runs",
			Help: "Runs and evaluations of the grid by state.", ConstLabels: grid,
		}, []string{"state"}),
		planned: gauge("planned_tokens", "Tokens that all runs of the grid train on together."),
		trained: gauge("trained_tokens", "Tokens that the runs of the grid have been trained on."),
		speed:   gauge("tokens_per_second", "Tokens per second of all running members together."),
		starts:  counter("starts_total", "Member processes started by this runner."),
		retries: counter("retries_total", "Member processes started again after a failure."),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "plasticity", Subsystem: "sweep", Name: "ends_total",
			Help: "Ends of member processes by exit code.", ConstLabels: grid,
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.runs, m.planned, m.trained, m.speed, m.starts, m.retries, m.ends)
	for _, code := range record.Codes() {
		m.ended(code, 0) // from 0 on: an increase cannot be seen in a series that begins with it
	}
	planned := int64(0)
	for _, cell := range plan.Cells {
		if cell.trains() {
			planned += cell.Tokens
		}
	}
	m.planned.Set(float64(planned))
	return m
}

// ended counts n ends of members with an exit code.
func (m *sweepMetrics) ended(code record.Code, n float64) {
	m.ends.WithLabelValues(strconv.Itoa(int(code))).Add(n)
}

// set brings the gauges up to date. Every state is always there: a series that
// comes and goes cannot be alerted on.
func (m *sweepMetrics) set(jobs []*job, trained int64, speed float64) {
	counts := make(map[record.State]int)
	for _, j := range jobs {
		counts[stateOfPhase(j)]++
	}
	for _, state := range states() {
		m.runs.WithLabelValues(string(state)).Set(float64(counts[state]))
	}
	m.trained.Set(float64(trained))
	m.speed.Set(speed)
}

// states lists every state a cell can be in, in the order they are shown.
func states() []record.State {
	return []record.State{record.StateDone, record.StateRunning, record.StateStopped, record.StatePlanned, record.StateFailed}
}

// stateOfPhase is the state of a job as the runner knows it, without a look at
// the disk.
func stateOfPhase(j *job) record.State {
	switch {
	case j.phase == finished:
		return record.StateDone
	case j.phase == failed:
		return record.StateFailed
	case j.phase == running || j.blockedBy != "":
		return record.StateRunning
	case j.starts > 0 || j.tokensBefore > 0:
		return record.StateStopped
	}
	return record.StatePlanned
}

// metricsServer serves the metrics of a runner.
type metricsServer struct {
	server *http.Server
	done   chan struct{}
}

// serve starts to listen where the options say; without an address it gives a
// server that does nothing. An address that cannot be had is an error: who
// asked for metrics would miss them for the whole sweep.
func (r *runner) serve() (*metricsServer, error) {
	if r.o.Listen == "" {
		return nil, nil //nolint:nilnil // close works on nil
	}
	if _, _, err := net.SplitHostPort(r.o.Listen); err != nil {
		return nil, record.Fail(record.Usage, "--listen %s: %w: want host:port, such as 127.0.0.1:9463", r.o.Listen, err)
	}
	listener, err := net.Listen("tcp", r.o.Listen)
	if err != nil {
		return nil, record.Fail(record.NotPermitted, "--listen %s: %w: choose a free port, or 127.0.0.1:0 for any", r.o.Listen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.metrics.registry, promhttp.HandlerOpts{}))
	s := &metricsServer{
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       10 * time.Second,
			WriteTimeout:      10 * time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    16 << 10,
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			r.o.Log.Warn("metrics server", "error", err)
		}
	}()
	r.say("metrics on http://%s/metrics", listener.Addr())
	return s, nil
}

// close stops serving and waits for it.
func (s *metricsServer) close() {
	if s == nil {
		return
	}
	_ = s.server.Close() // connections may be cut: the sweep is over
	<-s.done
}
