package sweeps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/record"
)

// machine is a fake one: what a member with so many threads reaches, and what was started on it.
type machine struct {
	speed map[int]float64 // tokens a second by threads
	err   error

	mu      sync.Mutex
	alive   int
	most    int      // members alive at once
	started []string // "cell × threads"
}

type fakeProbe struct {
	of    *machine
	speed float64
}

func (m *machine) start(_ context.Context, c Cell, at Slot) (Probe, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	m.alive++
	m.most = max(m.most, m.alive)
	m.started = append(m.started, fmt.Sprintf("%d × %d", c.Index, at.Threads))
	return &fakeProbe{m, m.speed[at.Threads]}, nil
}

func (p *fakeProbe) Train(steps int) (tokens int64, seconds float64, err error) {
	return int64(steps) * 100, float64(steps) * 100 / p.speed, nil
}

func (p *fakeProbe) Close() {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.of.alive--
}

func TestPlacements(t *testing.T) {
	for _, c := range []struct {
		cores, members int
		want           string
	}{
		{1, 1, "1×1"}, {2, 8, "2×1 1×2"}, {4, 8, "4×1 2×2 1×4"}, {8, 3, "3×2 2×4 1×8"}, {6, 6, "6×1 3×2 2×3 1×6"}, {2, 1, "1×2"}, {7, 4, "4×1 1×7"},
	} {
		var words []string
		for _, p := range Placements(c.cores, c.members) {
			words = append(words, fmt.Sprintf("%d×%d", p.Members, p.Threads))
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%d cores, %d members: %s, want %s", c.cores, c.members, got, c.want)
		}
	}
}

func TestMakespan(t *testing.T) {
	for _, c := range []struct {
		name    string
		work    []float64
		members int
		speed   float64
		want    float64
	}{
		{"full waves", []float64{10, 10, 10, 10}, 2, 2, 20},
		{"a last wave with one", []float64{10, 10, 10}, 2, 2, 20},
		{"one member", []float64{10, 10, 10}, 1, 2, 15},
		{"a long one last", []float64{1, 1, 1, 1, 10}, 2, 2, 12},
		{"nothing to do", nil, 2, 2, 0},
		{"no speed", []float64{1}, 2, 0, math.Inf(1)},
		{"speed is not a number", []float64{1}, 2, math.NaN(), math.Inf(1)},
	} {
		if got := makespan(c.work, c.members, c.speed); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Every placement is looked at in each round, with its members alive together and nobody else's; the order turns round.
func TestMeasure_PlacementsTakeTurns(t *testing.T) {
	m := &machine{speed: map[int]float64{1: 1000, 2: 1500, 4: 2000}}
	p := newScene(t, repeat("ok", 8)...).plan()
	got, err := p.Measure(context.Background(), m.start, Placements(4, 8), MeasureOptions{Rounds: 2, Turn: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var speeds []float64
	for _, at := range got {
		if len(at.Rounds) != 2 {
			t.Errorf("%+v", at)
		}
		speeds = append(speeds, float64(at.TokensPerSecond))
	}
	if want := []float64{4000, 3000, 2000}; !slices.Equal(speeds, want) {
		t.Errorf("tokens/s %v, want %v", speeds, want)
	}
	if m.most != 4 || m.alive != 0 {
		t.Errorf("%d members at once and %d left over, want 4 and 0", m.most, m.alive)
	}
	threads := make([]string, 0, len(m.started))
	for _, s := range m.started {
		_, n, _ := strings.Cut(s, " × ")
		threads = append(threads, n)
	}
	if got, want := strings.Join(slices.Compact(threads), " "), "1 2 4 2 1"; got != want {
		t.Errorf("order of threads %s, want %s", got, want)
	}
	slices.Sort(m.started)
	if diff := cmp.Diff([]string{"0 × 1", "0 × 2", "0 × 4", "2 × 1", "4 × 1", "4 × 2", "6 × 1"}, slices.Compact(m.started)); diff != "" {
		t.Errorf("cells are spread over the plan (-want +got):\n%s", diff)
	}
}

// A member that fails ends the measurement and leaves nobody behind.
func TestMeasure_FailureClosesTheOthers(t *testing.T) {
	m := &machine{speed: map[int]float64{1: 1000}} // 0 with two threads: no time that passes
	p := newScene(t, repeat("ok", 4)...).plan()
	m.speed[2] = math.Inf(1)
	_, err := p.Measure(context.Background(), m.start, Placements(4, 4), MeasureOptions{Rounds: 1, Turn: time.Second})
	if err == nil || !strings.Contains(err.Error(), "2 × 2 thread(s): the probe measured no tokens") {
		t.Errorf("error %v", err)
	}
	if m.alive != 0 {
		t.Errorf("%d members are left over", m.alive)
	}
}

func TestShare_MeasuresOnceAndRemembers(t *testing.T) {
	for _, c := range []struct {
		name    string
		cells   int
		speed   map[int]float64 // of a member, by threads
		err     error
		members int
	}{
		{"many are faster", 8, map[int]float64{1: 10, 2: 12, 4: 15}, nil, 4},
		{"one is faster", 8, map[int]float64{1: 10, 2: 22, 4: 50}, nil, 1},
		{"the middle is faster", 8, map[int]float64{1: 10, 2: 30, 4: 50}, nil, 2},
		{"a tie goes to many", 8, map[int]float64{1: 10, 2: 20, 4: 40}, nil, 4},
		{"a little is not enough", 8, map[int]float64{1: 10, 2: 20, 4: 40.4}, nil, 4},
		{"the last wave counts", 5, map[int]float64{1: 10, 2: 11, 4: 35}, nil, 1},
		{"too short to compare", 8, map[int]float64{1: 100, 2: 1000, 4: 9000}, nil, 4},
		{"probe fails", 8, nil, errors.New("no"), 4},
		{"probe measures nothing", 8, map[int]float64{}, nil, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newScene(t, repeat("ok", c.cells)...).plan()
			if err := os.MkdirAll(filepath.Join(p.Dir, hiddenDir), 0o755); err != nil {
				t.Fatal(err)
			}
			m := &machine{speed: c.speed, err: c.err}
			if c.speed != nil && len(c.speed) == 0 {
				m.speed = map[int]float64{1: math.Inf(1), 2: math.Inf(1), 4: math.Inf(1)}
			}
			o := Options{Cores: 4, Probe: m.start, FS: record.OS()}
			got, err := p.share(context.Background(), o)
			if err != nil || got.Members != c.members || got.Threads != 4/c.members {
				t.Fatalf("share: %+v %v", got, err)
			}
			if len(c.speed) == 0 {
				return
			}
			o.Probe = func(context.Context, Cell, Slot) (Probe, error) { return nil, errors.New("asked twice") }
			again, err := p.share(context.Background(), o)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("second time (-first +second): %v\n%s", err, diff)
			}
			// Another grid under the same name is not taken for the measured one.
			p.Cells = p.Cells[1:]
			if other, err := p.share(context.Background(), o); err != nil || !strings.Contains(other.Why, "asked twice") {
				t.Errorf("another grid: %+v %v", other, err)
			}
		})
	}
}

// Members that do not fit into memory together are not run together.
func TestShare_NarrowerWhenMemoryRunsOut(t *testing.T) {
	p := newScene(t, repeat("ok", 8)...).plan()
	if err := os.MkdirAll(filepath.Join(p.Dir, hiddenDir), 0o755); err != nil {
		t.Fatal(err)
	}
	m := &machine{speed: map[int]float64{1: 50, 2: 20, 4: 10}}
	probe := func(ctx context.Context, c Cell, at Slot) (Probe, error) {
		if at.Threads == 1 {
			return nil, record.Fail(record.OutOfMemory, "killed")
		}
		return m.start(ctx, c, at)
	}
	got, err := p.share(context.Background(), Options{Cores: 4, Probe: probe, FS: record.OS()})
	if err != nil || got.Members != 2 || got.Threads != 2 || len(got.Measured) != 2 {
		t.Errorf("%+v %v", got, err)
	}
}

// A number of members that was asked for is measured, too, for the estimate, and does not replace itself.
func TestShare_JobsAreMeasured(t *testing.T) {
	p := newScene(t, repeat("ok", 8)...).plan()
	if err := os.MkdirAll(filepath.Join(p.Dir, hiddenDir), 0o755); err != nil {
		t.Fatal(err)
	}
	m := &machine{speed: map[int]float64{1: 100, 2: 1000, 4: 5000}}
	got, err := p.share(context.Background(), Options{Cores: 4, Jobs: 3, Probe: m.start, FS: record.OS()})
	if err != nil || got.Members != 3 || got.Threads != 1 || !strings.HasPrefix(got.Why, "--jobs 3, measured 300 tokens/s") {
		t.Errorf("%+v %v", got, err)
	}
	// The next run, which is not told how many, is free again.
	got, err = p.share(context.Background(), Options{Cores: 4, Probe: m.start, FS: record.OS()})
	if err != nil || got.Members != 4 || got.Threads != 1 || got.Jobs != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// A run says at its start how long the grid takes, at every end of a cell what is left, and at its end what it reached;
// the plan knows the estimate from then on.
func TestRun_TellsThroughputAndEnd(t *testing.T) {
	s := newScene(t, repeat("ok", 4)...)
	var console bytes.Buffer
	o := s.options()
	o.Console = &console
	o.Probe = (&machine{speed: map[int]float64{1: 100, 2: 150}}).start
	summary := mustRun(t, s, o, record.OK)
	text := console.String()
	for _, want := range []string{
		"8.0k tokens to train, 200 tokens/s in total as measured: about 40s left, ends ",
		"; 3 of 4 cells left, ", " tokens/s (200 while it was measured); ended ",
	} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.Replace(want, "8.0k", "8k", 1)) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if summary.Sharing.Members != 2 || len(summary.Sharing.Measured) != 1 || summary.Tokens != 4*100*s.Steps {
		t.Errorf("%+v", summary)
	}
	p := s.plan()
	if err := os.RemoveAll(p.Cells[0].Dir); err != nil {
		t.Fatal(err)
	}
	status, err := p.Status()
	if err != nil || status.Measured == nil || float64(status.SecondsEstimated) != 20 { // one cell at half of 200 tokens/s
		t.Fatalf("%v %+v", err, status)
	}
	var plan bytes.Buffer
	if err := status.WritePlan(&plan); err != nil || !strings.Contains(plan.String(), "estimated 20s for what is left, at the 200 tokens/s for 2 × 1 thread(s) that the last run measured") {
		t.Errorf("%v\n%s", err, plan.String())
	}
	if _, err := json.Marshal(status); err != nil {
		t.Error(err)
	}
}

// The estimate follows the best witness: the measurement, then what members say, then what this run has reached.
func TestRunner_FLOPSFollowsTheBestWitness(t *testing.T) {
	p := newScene(t, repeat("ok", 3)...).plan()
	now := time.Now()
	r := newRunner(p, Options{}.withDefaults())
	r.sharing = Sharing{Members: 2, Threads: 1, Measured: []Placement{{Members: 2, Threads: 1, FLOPS: 7000}}}
	cost := p.Cells[0].flopsPerToken()
	if got := r.flops(now); got != 7000 {
		t.Errorf("measured: %v", got)
	}
	r.jobs[0].phase, r.jobs[0].starts, r.jobs[0].speed, r.jobs[0].tokens = running, 1, 50, 500
	r.jobs[1].phase, r.jobs[1].starts, r.jobs[1].began = running, 1, now.Add(-10*time.Second)
	if got, want := r.flops(now), 100*cost; got != want {
		t.Errorf("said: %v, want %v", got, want)
	}
	r.jobs[0].phase, r.jobs[0].tokens, r.jobs[0].spent = finished, 2000, 10*time.Second
	if got, want := r.flops(now), 200*cost; got != want {
		t.Errorf("reached: %v, want %v", got, want)
	}
	if got, want := r.secondsLeft(now), 20.0; math.Abs(got-want) > 1e-9 { // two cells of 2,000 tokens, both members at 100 each
		t.Errorf("left %v, want %v", got, want)
	}
}

// Analyses train nothing: they last as long as those that have ended, and their time says nothing of the speed of training.
func TestRunner_EstimatesAnalyses(t *testing.T) {
	p := newScene(t, repeat("ok", 3)...).plan()
	now := time.Now()
	r := newRunner(p, Options{}.withDefaults())
	r.sharing = Sharing{Members: 2, Threads: 1, Measured: []Placement{{Members: 2, Threads: 1, FLOPS: 7000}}}
	cost := p.Cells[0].flopsPerToken()
	for i := range r.jobs { // 2,000 tokens each in ten seconds
		r.jobs[i].phase, r.jobs[i].starts, r.jobs[i].tokens, r.jobs[i].spent = finished, 1, 2000, 10*time.Second
	}
	analysis := func(name string, phase phase, spent time.Duration) *job {
		c := p.Cells[0]
		c.Kind, c.Tokens, c.FLOPs, c.Analysis = Analyze, 0, 0, &Analysis{Analysis: config.Analysis{Name: name}}
		return &job{cell: c, phase: phase, starts: 1, spent: spent, began: now.Add(-spent)}
	}
	r.jobs = append(r.jobs, analysis("gap", finished, 4*time.Second), analysis("gap", finished, 6*time.Second), analysis("noise", finished, 20*time.Second))
	running := analysis("noise", running, 0)
	running.began = now.Add(-8 * time.Second)
	r.jobs = append(r.jobs, running, analysis("gap", waiting, 0), analysis("gap", waiting, 0), analysis("gap", waiting, 0), analysis("rank", waiting, 0))
	if got, want := r.flops(now), 2*200*cost; got != want {
		t.Errorf("speed %v, want %v", got, want)
	}
	// One member has 12 of 20 seconds left, the other three of 5; a rank is thought to take 10, the mean of all.
	if got := r.secondsLeft(now); math.Abs(got-22) > 1e-9 {
		t.Errorf("left %v, want 22", got)
	}
}

// Where one member with all cores is best for base models, descendants that take seconds still go side by side.
func TestSharing_BriefDescendants(t *testing.T) {
	alone := Sharing{Members: 1, Threads: 2, Cores: 2, Measured: []Placement{{Members: 1, Threads: 2, FLOPS: 100}}}
	cell := func(kind Kind, flops float64) Cell {
		return Cell{Kind: kind, Needs: none, FLOPs: record.Float(flops), Dir: filepath.Join(t.TempDir(), "none")}
	}
	for _, test := range []struct {
		sharing Sharing
		cell    Cell
		threads int
	}{
		{alone, cell(Pretrain, 10), 2},
		{alone, cell(Finetune, 999), 1},
		{alone, cell(Evaluate, 999), 1},
		{alone, cell(Finetune, 1001), 2},
		{Sharing{Members: 1, Threads: 2, Cores: 2}, cell(Finetune, 10), 2}, // nothing was measured
	} {
		if got := threadsFor(test.cell, test.sharing); got != test.threads {
			t.Errorf("%s of %v FLOPs: %d threads, want %d", test.cell.Kind, test.cell.FLOPs, got, test.threads)
		}
	}
	going := cell(Finetune, 10)
	going.Threads = 1
	r := &runner{sharing: alone, jobs: []*job{{phase: running, cell: going}}}
	for kind, want := range map[Kind]bool{Finetune: true, Evaluate: true, Pretrain: false} {
		if got := r.room(&job{cell: cell(kind, 10)}); got != want {
			t.Errorf("room for another %s: %v", kind, got)
		}
	}
	r.jobs = append(r.jobs, &job{phase: running, cell: going})
	if r.room(&job{cell: cell(Finetune, 10)}) {
		t.Error("room for a third member on two cores")
	}
}
