package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
)

// AddressFile holds host:port of a run's live metrics while it trains.
const AddressFile = "metrics.addr"

// Limits of the metrics server: whoever reaches the port can cost the run next to nothing.
const (
	headerTimeout = 2 * time.Second
	requestTime   = 5 * time.Second
	maxHeader     = 16 << 10
	maxInFlight   = 4
	maxConns      = 64
)

// server exposes a run to Prometheus, from a registry of its own.
type server struct {
	address string
	file    string
	http    *http.Server
	metrics *metrics
}

// metrics are the series of a run. Hyper-parameters are labels of one constant series.
type metrics struct {
	loss, valLoss, lr, decay, gradNorm, paramNorm, rate prometheus.Gauge
	utilisation, lastStep                               prometheus.Gauge
	steps, tokens                                       prometheus.Counter
	duration                                            prometheus.Histogram
	flops                                               float64 // causal, of a token
	perStep                                             int64
	previous                                            int64 // tokens counted so far
}

func newServer(listen string, r *record.Run, c config.Resolved) (*server, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("metrics.listen %s: %w", listen, err)
	}
	registry := prometheus.NewRegistry()
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxInFlight, Timeout: requestTime})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "plasticity: the metrics of this run are at /metrics")
	})
	s := &server{
		address: listener.Addr().String(), file: r.Path(AddressFile), metrics: newMetrics(registry, r.Info, c),
		http: &http.Server{
			Handler: mux, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTime, WriteTimeout: 2 * requestTime,
			IdleTimeout: requestTime, MaxHeaderBytes: maxHeader,
		},
	}
	if err := record.WriteFileAtomic(record.OS(), s.file, []byte(s.address+"\n")); err != nil {
		_ = listener.Close()
		return nil, err
	}
	go func() { _ = s.http.Serve(&limited{Listener: listener, slots: make(chan struct{}, maxConns)}) }()
	return s, nil
}

func newMetrics(registry *prometheus.Registry, i record.Info, c config.Resolved) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "plasticity", Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	counter := func(name, help string) prometheus.Counter {
		n := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "plasticity", Name: name, Help: help})
		registry.MustRegister(n)
		return n
	}
	m := &metrics{
		loss:        gauge("loss_nats", "Training loss of the last step, in nats per token."),
		valLoss:     gauge("val_loss_nats", "Validation loss of the last evaluation, in nats per token."),
		lr:          gauge("learning_rate", "Learning rate of the last step."),
		decay:       gauge("weight_decay", "Weight decay of the last step."),
		gradNorm:    gauge("gradient_norm", "Norm of the gradient before clipping."),
		paramNorm:   gauge("parameter_norm", "Norm of all parameters."),
		rate:        gauge("tokens_per_second", "Tokens trained per second in the last step."),
		utilisation: gauge("flops_per_second", "Floating-point operations per second of the last step, causal count."),
		lastStep:    gauge("last_step_timestamp_seconds", "Unix time of the last step."),
		steps:       counter("steps_total", "Optimizer steps done, those of earlier processes of the run included."),
		tokens:      counter("tokens_total", "Tokens trained on, those of earlier processes of the run included."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "plasticity", Name: "step_duration_seconds", Help: "Wall time of a step.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18),
		}),
		perStep: c.TokensPerStep,
	}
	_, m.flops = c.Model.FLOPsPerToken()
	for _, g := range []prometheus.Gauge{m.loss, m.valLoss, m.paramNorm} {
		g.Set(math.NaN())
	}
	gauge("planned_steps", "Optimizer steps of the whole run.").Set(float64(c.Steps))
	registry.MustRegister(m.duration, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "plasticity", Name: "live_tensors", Help: "Native tensor handles that have not been freed.",
	}, func() float64 { return float64(torch.Live()) }))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "plasticity", Name: "run_info", Help: "What the run is; always 1.",
		ConstLabels: prometheus.Labels{
			"run_id": i.ID, "name": i.Name, "grid": i.Grid, "model": i.Model, "seed": fmt.Sprint(i.Seed), "step": i.Step, "precision": i.Precision,
			"weight_decay": fmt.Sprint(c.WeightDecay), "learning_rate": fmt.Sprint(c.Optimizer.LR), "data": i.DataSource, "commit": i.Commit,
		},
	})
	info.Set(1)
	registry.MustRegister(info)
	return m
}

func (s *server) step(e StepEvent) error {
	m := s.metrics
	m.loss.Set(e.Loss)
	m.lr.Set(e.LearningRate)
	m.decay.Set(e.WeightDecay)
	m.gradNorm.Set(e.GradNorm)
	if e.Logged {
		m.paramNorm.Set(e.ParamNorm)
	}
	if e.Evaluation != nil {
		m.valLoss.Set(e.Evaluation.Loss)
	}
	rate := float64(m.perStep) / e.Seconds
	m.rate.Set(rate)
	m.utilisation.Set(rate * m.flops)
	m.steps.Add(float64(e.Tokens-m.previous) / float64(m.perStep))
	m.tokens.Add(float64(e.Tokens - m.previous))
	m.previous = e.Tokens
	m.duration.Observe(e.Seconds)
	m.lastStep.SetToCurrentTime()
	return nil
}

// close ends the server and takes its address back.
func (s *server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a client that does not let go does not hold the run
	}
	if removeErr := os.Remove(s.file); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// limited accepts a bounded number of connections at a time.
type limited struct {
	net.Listener
	slots chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slot{Conn: c, slots: l.slots}, nil
}

// slot gives its place back when it is closed, once.
type slot struct {
	net.Conn
	slots chan struct{}
}

func (s *slot) Close() error {
	if s.slots != nil {
		<-s.slots
		s.slots = nil
	}
	return s.Conn.Close()
}
