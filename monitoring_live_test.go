package plasticity_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// console keeps what programs print, for a test that looks at it while they run.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(b)
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// background starts a program, and stops it at the end of the test if it has not ended by then.
func background(t *testing.T, cmd *exec.Cmd) (said *console, stop func() error) {
	t.Helper()
	said = &console{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceValue(func() error {
		late := time.AfterFunc(20*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return cmd.Wait()
	})
	t.Cleanup(func() { _ = stop() })
	return said, stop
}

// until asks again and again, for half a minute at most.
func until(t *testing.T, what string, said *console, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after half a minute still not: %s\n%s", what, said)
		}
	}
}

// server is a Prometheus.
type server string

// ask returns the data of an answer, or what is wrong with it.
func (s server) ask(path string, to any) error {
	response, err := http.Get("http://" + string(s) + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s %v", answer.Error, answer.Warnings)
	}
	return json.Unmarshal(answer.Data, to)
}

// count asks an expression and returns how many series answer.
func (s server) count(expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := s.ask("query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), err
}

// A real Prometheus, started by tools/monitor.sh over a sweep that runs, answers every query of both dashboards with series
// and every alert with none.
func TestMonitoring_PrometheusOverASweep(t *testing.T) {
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("Prometheus is not installed, so no query was asked: apt install prometheus, or make monitor-check")
	}
	s := newSandbox(t)
	// At a rate of next to nothing the loss stays where it is, so that no alert has a reason to fire.
	if err := os.WriteFile(s.path("long.yaml"), []byte("name: g\nbase: base.yaml\naxes: {optimizer.weight_decay: [0, 1]}\nseeds: [1]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	sweep, stopSweep := background(t, s.command("sweep", "run", "--grid", "long.yaml", "--out", "runs", "--measure=false", "--jobs", "2", "--listen", "127.0.0.1:0",
		"--set", "threads=1", "--set", "optimizer.lr=1e-6", "--set", "budget.steps=2000000", "--set", "eval.every_steps=200", "--set", "eval.tokens=512", "--set", "checkpoint.every_steps=500"))
	address := regexp.MustCompile(`metrics on http://([\d.:]+)/`)
	until(t, "the sweep listens", sweep, func() bool { return address.MatchString(sweep.String()) })
	at, monitor, stopMonitor := s.monitor(t, address.FindStringSubmatch(sweep.String())[1])

	until(t, "both members have been evaluated and saved, and all rules were asked", monitor, func() bool {
		members, _ := at.count(`rate(plasticity_tokens_total[5s]) > 0 and plasticity_val_loss_nats > 0 and plasticity_last_checkpoint_timestamp_seconds > 0`)
		sweeps, _ := at.count(`plasticity_sweep_tokens_per_second > 0 and increase(plasticity_sweep_retries_total[5m]) == 0`) // an increase needs two samples
		var rules struct {
			Groups []struct{ LastEvaluation time.Time }
		}
		_ = at.ask("rules", &rules)
		asked := len(rules.Groups) == 2
		for _, g := range rules.Groups {
			asked = asked && g.LastEvaluation.After(time.Unix(0, 0))
		}
		return members == 2 && sweeps == 1 && asked
	})
	s.askAll(t, at)

	if err := stopSweep(); err == nil || !strings.Contains(sweep.String(), "asking 2 members to save and stop") {
		t.Errorf("the sweep: %v\n%s", err, sweep)
	}
	if err := stopMonitor(); err != nil {
		t.Errorf("the monitor: %v\n%s", err, monitor)
	}
	if _, err := net.Dial("tcp", string(at)); err == nil {
		t.Error("Prometheus goes on after the monitor's end")
	}
}

// monitor starts tools/monitor.sh over a copy of monitoring/ that asks every second, and the sweep at its own address.
func (s *sandbox) monitor(t *testing.T, sweep string) (server, *console, func() error) {
	t.Helper()
	if err := os.CopyFS(s.path("monitoring"), os.DirFS("monitoring")); err != nil {
		t.Fatal(err)
	}
	file := s.path("monitoring/prometheus.yml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("127.0.0.1:9463", sweep, "127.0.0.1:9464", "127.0.0.1:1", "interval: 5s", "interval: 1s", "timeout: 4s", "timeout: 1s", "interval: 15s", "interval: 1s").Replace(string(text))
	script, err := os.ReadFile("tools/monitor.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.path("tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{file: changed, s.path("tools/monitor.sh"): string(script)} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	_ = free.Close()
	_, port, _ := net.SplitHostPort(at)
	cmd := exec.Command("tools/monitor.sh")
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "PROMETHEUS_PORT="+port, "GRAFANA_PORT=0", "GRAFANA=")
	said, stop := background(t, cmd)
	return server(at), said, stop
}

// askAll asks for everything in dashboards and alerts.
func (s *sandbox) askAll(t *testing.T, at server) {
	t.Helper()
	runs, err := filepath.Glob(s.path("runs/g/*/run.json"))
	if err != nil || len(runs) != 2 {
		t.Fatalf("runs %v, %v", runs, err)
	}
	fill := strings.NewReplacer("$run", filepath.Base(filepath.Dir(runs[0])), "$grid", "g", "$__rate_interval", "5s")
	// What a healthy sweep of base models on a CPU does not show.
	empty := regexp.MustCompile(`^alert |annotations$|: ends and retries A$|: training loss of fine-tunings |: memory of the GPU `)
	asked := 0
	for where, expr := range expressions(t) {
		n, err := at.count(fill.Replace(expr))
		if err != nil {
			t.Errorf("%s: %v\n%s", where, err, expr)
		}
		if n == 0 != empty.MatchString(where) {
			t.Errorf("%s: %d series answer\n%s", where, n, expr)
		}
		asked++
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	if err := at.ask("rules", &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" || r.State != "inactive" {
				t.Errorf("alert %s: health %s, state %s, %s", r.Name, r.Health, r.State, r.LastError)
			}
		}
	}
	t.Logf("%d expressions answered", asked)
}
