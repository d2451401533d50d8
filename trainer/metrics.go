package trainer

import (
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
)

// Size and repeats of the product whose rate FLOP utilisation is a ratio to: a few milliseconds.
const (
	rateSize    = 512
	rateRepeats = 3
)

// metrics are the series of a run. Hyper-parameters are labels of one constant series.
type metrics struct {
	loss, valLoss, rate, lr, decay, gradNorm, paramNorm prometheus.Gauge
	flops, utilisation, lastStep, lastSave, saveSeconds prometheus.Gauge
	steps, tokens, checkpoints                          prometheus.Counter
	duration                                            prometheus.Histogram

	memory  *memory  // of the GPU; nil: there is none
	product float64  // FLOP/s of a matrix product in the run's precision
	seen    standing // counted so far
}

// standing is how far a run has come.
type standing struct{ steps, tokens int64 }

// newMetrics makes and registers the series, and times a matrix product where there is no GPU.
func newMetrics(registry *prometheus.Registry, i record.Info, c config.Resolved, from standing, gpu *graph) (*metrics, error) {
	made := maker{registry}
	m := &metrics{
		loss:        made.gauge("loss_nats", "Training loss of the last step, in nats per token."),
		valLoss:     made.gauge("val_loss_nats", "Validation loss of the last evaluation, in nats per token."),
		lr:          made.gauge("learning_rate", "Learning rate of the last step."),
		decay:       made.gauge("weight_decay", "Weight decay of the last step."),
		gradNorm:    made.gauge("gradient_norm", "Norm of the gradient of the last step, before clipping."),
		paramNorm:   made.gauge("parameter_norm", "Norm of all parameters, on logged steps."),
		rate:        made.gauge("tokens_per_second", "Tokens that the loss was over per second of the last step."),
		flops:       made.gauge("flops_per_second", "Floating-point operations per second of the last step, causal count, padding included."),
		utilisation: made.gauge("flop_utilisation_ratio", "Rate of the last step as a part of this CPU's rate of a large matrix product; NaN on a GPU."),
		lastStep:    made.gauge("last_step_timestamp_seconds", "Unix time of the last step."),
		lastSave:    made.gauge("last_checkpoint_timestamp_seconds", "Unix time of the last checkpoint that was stored; 0 before the first."),
		saveSeconds: made.gauge("checkpoint_save_seconds", "Time that the last checkpoint took to store."),
		steps:       made.counter("steps_total", "Optimizer steps done, those of earlier processes of the run included."),
		tokens:      made.counter("tokens_total", "Tokens that the loss was over, of a task those of its responses; those of earlier processes of the run included."),
		checkpoints: made.counter("checkpoints_total", "Checkpoints stored by this process."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "plasticity", Name: "step_duration_seconds", Help: "Wall time of a step, without evaluation and saving.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 18),
		}),
		seen: from,
	}
	if gpu != nil {
		m.product = math.NaN() // what its products reach is not timed
		m.memory = made.memory(gpu.deviceName(), func() (torch.CUDAInfo, error) { return torch.DescribeCUDA(gpu.device) })
	} else {
		product, err := torch.ProductGFLOPS(precision(c.Run), rateSize, rateRepeats)
		if err != nil {
			return nil, err
		}
		m.product = product * 1e9
	}
	for _, g := range []prometheus.Gauge{m.loss, m.valLoss, m.gradNorm, m.paramNorm} {
		g.Set(math.NaN())
	}
	m.steps.Add(float64(from.steps))
	m.tokens.Add(float64(from.tokens))
	made.gauge("planned_steps", "Optimizer steps of the whole run.").Set(float64(c.Steps))
	registry.MustRegister(m.duration, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "plasticity", Name: "live_tensors", Help: "Native tensor handles that have not been freed.",
	}, func() float64 { return float64(torch.Live()) }))
	made.info(i)
	return m, nil
}

// disk shows the room for checkpoints where the run folder dir lies: asked at each scrape, not a number where the system
// does not say.
func (m maker) disk(fsys record.FS, dir string) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "plasticity", Name: "disk_free_bytes", Help: "Bytes that this process can still write where the run's folder lies.",
	}, func() float64 {
		free, err := fsys.FreeBytes(dir)
		if err != nil {
			return math.NaN()
		}
		return float64(free)
	}))
}

// memory is that of a GPU. The goroutine that trains looks at it, between steps.
type memory struct {
	describe               func() (torch.CUDAInfo, error)
	allocated, used, total prometheus.Gauge
}

// memory shows what a device holds.
func (m maker) memory(device string, describe func() (torch.CUDAInfo, error)) *memory {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "plasticity", Subsystem: "device_memory", Name: name, Help: help, ConstLabels: prometheus.Labels{"device": device},
		})
		m.registry.MustRegister(g)
		return g
	}
	out := &memory{
		describe:  describe,
		allocated: gauge("allocated_bytes", "Bytes of the GPU's memory that this run's tensors take, on logged steps."),
		used:      gauge("used_bytes", "Bytes of the GPU's memory that all processes take together, on logged steps."),
		total:     gauge("total_bytes", "Bytes of the GPU's memory."),
	}
	out.look()
	return out
}

// look brings the series up to date; they are no numbers where the device does not say.
func (m *memory) look() {
	if m == nil {
		return
	}
	allocated, used, total := math.NaN(), math.NaN(), math.NaN()
	if i, err := m.describe(); err == nil {
		allocated, used, total = float64(i.Allocated), float64(i.Total-i.Free), float64(i.Total)
	}
	m.allocated.Set(allocated)
	m.used.Set(used)
	m.total.Set(total)
}

// maker makes registered series with the product's prefix.
type maker struct{ registry *prometheus.Registry }

func (m maker) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "plasticity", Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

func (m maker) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "plasticity", Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

// info is the one series that has the run's hyper-parameters, to be joined in queries.
func (m maker) info(i record.Info) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "plasticity", Name: "run_info", Help: "What the run is; always 1.",
		ConstLabels: prometheus.Labels{
			"run_id": i.ID, "name": i.Name, "grid": i.Grid, "model": i.Model, "seed": fmt.Sprint(i.Seed), "step": i.Step,
			"precision": i.Precision, "weight_decay": fmt.Sprint(float64(i.WeightDecay)), "tau": fmt.Sprint(float64(i.Tau)),
			"learning_rate": fmt.Sprint(float64(i.LearningRate)), "data": i.DataSource, "commit": i.Commit,
			"kind": i.Kind, "task": i.Task, "parent": strings.Join(i.Parents, ","),
		},
	})
	g.Set(1)
	m.registry.MustRegister(g)
}

// step shows one step.
func (m *metrics) step(e StepEvent) {
	m.loss.Set(e.Loss)
	m.lr.Set(e.LearningRate)
	m.decay.Set(e.WeightDecay)
	m.gradNorm.Set(e.GradNorm)
	if e.Logged {
		m.paramNorm.Set(e.ParamNorm)
		m.memory.look()
	}
	if v := e.Evaluation; v != nil {
		m.valLoss.Set(v.Loss)
	}
	m.rate.Set(e.TokensPerSecond)
	m.flops.Set(e.FLOPs / e.Seconds)
	m.utilisation.Set(e.FLOPs / e.Seconds / m.product)
	if e.Step > m.seen.steps { // not for a step that is shown again with its evaluation
		m.steps.Add(float64(e.Step - m.seen.steps))
		m.tokens.Add(float64(e.Tokens - m.seen.tokens))
		m.duration.Observe(e.Seconds)
		m.seen = standing{e.Step, e.Tokens}
	}
	m.lastStep.SetToCurrentTime()
}
