package trainer

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"plasticity/config"
	"plasticity/record"
	"plasticity/record/recordtest"
	"plasticity/torch"
)

// scraped is the page that Prometheus sees.
func scraped(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	page := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	return page.Body.String()
}

func checkPage(t *testing.T, page string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

// The memory of a GPU is that of the last logged step, and no number where the device does not say.
func TestMetrics_MemoryOfAGPU(t *testing.T) {
	registry := prometheus.NewRegistry()
	info, err := torch.CUDAInfo{Total: 80, Free: 60, Allocated: 10}, error(nil)
	m := maker{registry}.memory("cuda:1", func() (torch.CUDAInfo, error) { return info, err })
	page := scraped(t, registry)
	recordtest.CheckMetricList(t, page, "../monitoring/metrics-gpu.txt", *update)
	if problems, err := promlint.New(strings.NewReader(page)).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	checkPage(t, page, `plasticity_device_memory_total_bytes{device="cuda:1"} 80`,
		`plasticity_device_memory_used_bytes{device="cuda:1"} 20`, `plasticity_device_memory_allocated_bytes{device="cuda:1"} 10`)
	info.Free, info.Allocated = 50, 15
	m.look()
	checkPage(t, scraped(t, registry), `plasticity_device_memory_used_bytes{device="cuda:1"} 30`, `plasticity_device_memory_allocated_bytes{device="cuda:1"} 15`)
	err = errors.New("the device is lost")
	m.look()
	checkPage(t, scraped(t, registry), `plasticity_device_memory_total_bytes{device="cuda:1"} NaN`)
	(*memory)(nil).look() // on a CPU
}

// Tokens are counted as they come, an operation's work as it is done; a step that is shown again with its evaluation counts once.
func TestMetrics_CountTokensAndWork(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry, record.Info{}, config.Resolved{Run: config.Defaults(), Steps: 9}, standing{steps: 4, tokens: 70}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.step(StepEvent{Step: 5, Tokens: 81, Seconds: 0.5, TokensPerSecond: 22, FLOPs: 3000})
	m.step(StepEvent{Step: 6, Tokens: 84, Seconds: 0.25, TokensPerSecond: 12, FLOPs: 3000})
	m.step(StepEvent{Step: 6, Tokens: 84, Seconds: 0.25, TokensPerSecond: 12, FLOPs: 3000, Evaluation: &Evaluation{Loss: 2}})
	page := scraped(t, registry)
	checkPage(t, page, "plasticity_steps_total 6", "plasticity_tokens_total 84", "plasticity_tokens_per_second 12", "plasticity_flops_per_second 12000",
		"plasticity_planned_steps 9", "plasticity_step_duration_seconds_count 2", "plasticity_val_loss_nats 2")
	if strings.Contains(page, "device_memory") || !strings.Contains(page, "process_resident_memory_bytes ") {
		t.Error("without a GPU the memory is that of the process")
	}
}
