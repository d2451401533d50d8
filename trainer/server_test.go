package trainer

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/record/recordtest"
)

var update = flag.Bool("update", false, "write the list of metrics in monitoring/ anew")

// visiting calls visit once, before the n-th update of a process.
type visiting struct {
	Stepper
	left  int
	visit func()
}

func (v *visiting) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	if v.left--; v.left == 0 {
		v.visit()
	}
	return v.Stepper.Step(ctx, b, u)
}

func visit(n int, f func()) func(*Options) {
	return func(o *Options) {
		o.NewStepper = func(c config.Resolved) (Stepper, error) {
			s, err := newStepper(c)
			return &visiting{s, n, f}, err
		}
	}
}

func get(t *testing.T, method, address, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestServer_Metrics(t *testing.T) {
	dir := filepath.Join(folder(t), "run")
	file := filepath.Join(dir, AddressFile)
	var page string
	sets := settings(corpus(t, 1), "metrics.listen=:0", "metrics.log_every_steps=1", "optimizer.weight_decay=0.25", "seed=7")
	result, err := train(t, dir, sets, visit(21, func() {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimSpace(string(text))
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("listening on %s, want loopback", address)
		}
		for _, c := range []struct {
			method, path string
			want         int
		}{{"GET", "/metrics", 200}, {"HEAD", "/metrics", 200}, {"POST", "/metrics", 405}, {"DELETE", "/metrics", 405}, {"GET", "/", 200}, {"GET", "/debug/pprof/", 404}, {"GET", "/etc/passwd", 404}} {
			code, body := get(t, c.method, address, c.path)
			if code != c.want {
				t.Errorf("%s %s: %d, want %d", c.method, c.path, code, c.want)
			}
			if c.path == "/metrics" && c.method == "GET" {
				page = body
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there after the run: %v", AddressFile, err)
	}
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	if tool, err := exec.LookPath("promtool"); err == nil {
		c := exec.Command(tool, "check", "metrics")
		c.Stdin = strings.NewReader(page)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool: %v: %s", err, out)
		}
	} else {
		t.Log("promtool is not installed: only promlint was run")
	}
	recordtest.CheckMetricList(t, page, "../monitoring/metrics-run.txt", *update)
	for _, want := range []string{
		"plasticity_steps_total 20", fmt.Sprint("plasticity_tokens_total ", 20*4*16), "plasticity_planned_steps 30", "plasticity_step_duration_seconds_count 20",
		"plasticity_weight_decay 0.25", "plasticity_loss_nats ", "plasticity_val_loss_nats ", "plasticity_learning_rate ", "plasticity_gradient_norm ",
		"plasticity_parameter_norm ", "plasticity_tokens_per_second ", "plasticity_flop_utilisation_ratio ", "plasticity_live_tensors ",
		"plasticity_checkpoints_total 4", "plasticity_disk_free_bytes ", `kind="pretrain"`, "plasticity_last_checkpoint_timestamp_seconds ", "plasticity_last_step_timestamp_seconds ",
		`run_id="` + result.ID + `"`, `seed="7"`, "process_resident_memory_bytes",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "plasticity_") && strings.Contains(line, "NaN") {
			t.Errorf("after 20 steps: %s", line)
		}
	}
}

// A port that is taken costs the metrics only.
func TestServer_PortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(folder(t), "run")
	var said strings.Builder
	_, err = train(t, dir, settings(corpus(t, 1), "budget.steps=2", "metrics.listen="+l.Addr().String()), func(o *Options) { o.Console = &said })
	if err != nil || !strings.Contains(said.String(), "without live metrics") {
		t.Errorf("error %v, said:\n%s", err, said.String())
	}
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	events, _, err := run.Events()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e record.Event) bool { return e.Kind == record.EventWarning }) {
		t.Errorf("no warning in the events: %v", events)
	}
}

// Hundreds of clients that never finish a request, or send rubbish, neither lock the scraper out nor
// outlive their time, nor hold the run.
func TestServer_SlowClients(t *testing.T) {
	const slow, hostile = 500, 50
	var clients []net.Conn
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	dir := filepath.Join(folder(t), "run")
	var worst, gone time.Duration
	begun := time.Now()
	_, err := train(t, dir, settings(corpus(t, 1), "metrics.listen=127.0.0.1:0"), visit(5, func() {
		text, err := os.ReadFile(filepath.Join(dir, AddressFile))
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimSpace(string(text))
		for i := range slow + hostile {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
			if i < slow {
				_, err = io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ")
			} else {
				_, _ = c.Write([]byte(strings.Repeat("\x00\xff{{%", 8<<10))) // refused half-way, perhaps
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			asked := time.Now()
			if code, _ := get(t, "GET", address, "/metrics"); code != 200 {
				t.Errorf("scrape: %d", code)
			}
			worst = max(worst, time.Since(asked))
		}
		opened := time.Now()
		for _, c := range clients {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.Copy(io.Discard, bufio.NewReader(c)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("a slow client is still served after 10 s")
			}
		}
		gone = time.Since(opened)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d slow and %d hostile clients: slowest of 20 scrapes %v, all gone after %v, run %v", slow, hostile, worst.Round(time.Millisecond), gone.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	if worst > time.Second || gone > 5*time.Second {
		t.Errorf("slowest scrape %v, clients gone after %v", worst, gone)
	}
}
