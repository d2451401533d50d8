package sweeps

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/record"
)

// descendants lays out a grid of three decays and two seeds with this list of fine-tunings.
func descendants(t *testing.T, finetune string) (*Plan, error) {
	t.Helper()
	dir := t.TempDir()
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "base.yaml"), []byte("model: {layers: 1, width: 32, heads: 2, ffn: 64, context: 64}\ndata: {train: train, val: val}\nbudget: {steps: 100}\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "tune.yaml"), []byte("budget: {steps: 7}\noptimizer: {weight_decay: 0}\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "grid.yaml"), []byte("name: g\nbase: base.yaml\naxes: {optimizer.weight_decay: [0, 0.1, 1]}\nseeds: [1, 2]\nevaluate: {samples: 3, problems: 20}\nanalyze: [rank, {name: probes, task: [party, decade]}, forgetting]\nfinetune: "+finetune+"\n"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	grid, err := config.LoadGrid(filepath.Join(dir, "grid.yaml"), "", []string{"threads=1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return New(grid, "runs", "tasks", someFacts())
}

func TestNew_Descends(t *testing.T) {
	p, err := descendants(t, "[{task: [sums, prose], config: tune.yaml}, {task: sums, config: tune.yaml, seeds: [5], axes: {optimizer.lr: [0.1, 0.2]}}]")
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	ids, labels := make(map[string]bool), make(map[string]bool)
	for i, c := range p.Cells {
		if c.Index != i || ids[c.ID] {
			t.Errorf("cell %d: index %d, id %s", i, c.Index, c.ID)
		}
		ids[c.ID] = true
		from := "base"
		if c.Base == none {
			from = "fresh"
		}
		counts[fmt.Sprint(c.Kind, " ", c.Task, " ", from, " ", c.Axes)]++
		if c.Kind == Pretrain {
			continue
		}
		need := p.Cells[c.Needs]
		if c.Kind == Analyze {
			of := filepath.Join(need.Dir, "analyze")
			out := map[string]string{"": of, "party": filepath.Join(of, "probes-party"), "decade": filepath.Join(of, "probes-decade")}[c.Task]
			if c.Analysis.Name == config.Forgetting {
				if need.Kind != Finetune || need.Run.Fresh || c.Analysis.Out != filepath.Join(of, "forgetting") || c.Base != need.Base || c.Parent != need.ID {
					t.Errorf("cell %d: %+v", i, c)
				}
				continue
			}
			if need.Kind != Pretrain || c.Analysis.Model != need.last() || c.Analysis.Out != out || filepath.Dir(c.Dir) != of || c.Parent != need.ID {
				t.Errorf("cell %d: %+v", i, c)
			}
			continue
		}
		switch {
		case c.Needs >= i:
			t.Errorf("cell %d needs cell %d, which comes later", i, c.Needs)
		case c.Kind == Finetune && (need.Kind != Pretrain || c.Run.Init != need.last() || c.Run.Data.Task != filepath.Join("tasks", c.Task) || c.Run.Threads != 1 || c.Steps != 7 || c.Parameters != need.Parameters):
			t.Errorf("cell %d: %+v", i, c)
		case c.Kind == Evaluate && (need.Kind != Finetune || c.Evaluation.Model != need.last() || filepath.Dir(filepath.Dir(c.Dir)) != need.Dir || c.Steps != 20 || c.Tokens != 20*4*10 || c.Parent != need.ID):
			t.Errorf("cell %d: %+v", i, c)
		}
		if fresh := c.Base == none; c.Kind == Finetune && (c.Run.Fresh != fresh || (c.Parent == "") != fresh) {
			t.Errorf("cell %d: fresh %v, parent %q", i, c.Run.Fresh, c.Parent)
		}
	}
	want := map[string]int{
		"pretrain  fresh [{optimizer.weight_decay 0}]": 2, "pretrain  fresh [{optimizer.weight_decay 0.1}]": 2, "pretrain  fresh [{optimizer.weight_decay 1}]": 2,
		"analyze  base []": 6, "analyze party base []": 6, "analyze decade base []": 6,
		"analyze sums base []": 6, "analyze prose base []": 6, "analyze sums base [{optimizer.lr 0.1}]": 6, "analyze sums base [{optimizer.lr 0.2}]": 6,
		"finetune sums base []": 6, "evaluate sums base []": 6, "finetune prose base []": 6,
		"finetune sums base [{optimizer.lr 0.1}]": 6, "evaluate sums base [{optimizer.lr 0.1}]": 6,
		"finetune sums base [{optimizer.lr 0.2}]": 6, "evaluate sums base [{optimizer.lr 0.2}]": 6,
		// One never-pretrained model for a seed of the base models, and one where the fine-tuning has its own.
		"finetune sums fresh []": 2, "evaluate sums fresh []": 2, "finetune prose fresh []": 2,
		"finetune sums fresh [{optimizer.lr 0.1}]": 1, "evaluate sums fresh [{optimizer.lr 0.1}]": 1,
		"finetune sums fresh [{optimizer.lr 0.2}]": 1, "evaluate sums fresh [{optimizer.lr 0.2}]": 1,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
	for _, c := range p.Cells {
		labels[c.Label()] = true
	}
	for _, label := range []string{
		"weight_decay=0.1 seed=2", "sums weight_decay=0 seed=1", "evaluate sums weight_decay=1 lr=0.1 seed=5",
		"analyze rank weight_decay=0.1 seed=2", "analyze probes-party weight_decay=0 seed=1", "analyze forgetting sums weight_decay=1 lr=0.1 seed=5", "prose never-pretrained seed=2", "evaluate sums never-pretrained lr=0.2 seed=5",
	} {
		if !labels[label] {
			t.Errorf("no cell has the label %q", label)
		}
	}
	if _, err := descendants(t, "[{task: sums, config: tune.yaml}, {task: sums, config: tune.yaml}]"); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "same run") {
		t.Errorf("the same fine-tuning twice: %v", err)
	}
}

// Fresh weights are never truncated: of all shares there is one never-pretrained model, that of the untruncated recipe.
func TestNew_TruncatesBaseModelsOnly(t *testing.T) {
	p, err := descendants(t, "[{task: sums, config: tune.yaml, axes: {init_truncate.query_key: [0.9, 0, 0.5]}}]")
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, c := range p.Cells {
		if c.Kind == Finetune {
			counts[fmt.Sprint(c.Base == none, " ", c.Axes, " ", c.Run.InitTruncate.QueryKey)]++
		}
	}
	want := map[string]int{
		"false [{init_truncate.query_key 0.9}] 0.9": 6, "false [{init_truncate.query_key 0}] 0": 6, "false [{init_truncate.query_key 0.5}] 0.5": 6,
		"true [{init_truncate.query_key 0}] 0": 2,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("fine-tunings (-want +got):\n%s", diff)
	}
}

// family are two base models with a fine-tuning and its evaluation each, and a never-pretrained one's, and a look into each base model.
func family(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, repeat("ok", 10)...)
	s.Needs, s.Fresh, s.Looks = []int{none, none, 0, 2, 1, 4, 0, 6, 0, 1}, 6, 2
	return s
}

func TestRun_DescendantsWaitForWhatTheyNeed(t *testing.T) {
	s := family(t)
	if summary := mustRun(t, s, s.options(), record.OK); summary.Done != 10 || summary.Starts != 10 || summary.Tokens != 5*2000 {
		t.Errorf("%+v", summary)
	}
	if n := s.counts(t, "early"); len(n) > 0 {
		t.Errorf("started before what they need: %v", n)
	}
	status, err := s.plan().Status()
	if err != nil || !status.Finished() || len(status.Problems) > 0 {
		t.Errorf("%v: %+v", err, status.Problems)
	}
	if best, _ := status.Best(); best.Cell.Kind == Finetune {
		t.Error("a fine-tuned model is not the best base model")
	}
}

// What descends from a failed cell is left alone; everything else is done, and a retry does the rest.
func TestRun_FailedParent(t *testing.T) {
	s := family(t)
	s.Does[1] = "nan"
	summary := mustRun(t, s, s.options(), record.Failed)
	if summary.Done != 6 || summary.Failed != 1 || summary.Unfinished != 3 {
		t.Errorf("%+v", summary)
	}
	if err := Watch(t.Context(), s.plan(), WatchOptions{Out: io.Discard, Ticks: make(chan time.Time)}); err != nil || t.Context().Err() != nil {
		t.Error(err) // watching ends, too
	}
	s.Does[1] = "ok"
	if cleared, err := s.plan().Retry(nil); err != nil || len(cleared) != 1 {
		t.Fatalf("%v %v", cleared, err)
	}
	if summary := mustRun(t, s, s.options(), record.OK); summary.Done != 10 || summary.Starts != 4 {
		t.Errorf("%+v", summary)
	}
}

func TestRun_DescendantsSurviveKills(t *testing.T) {
	pattern := *family(t)
	pattern.Pace = 2 * time.Millisecond
	began := time.Now()
	mustRun(t, &pattern, pattern.options(), record.OK)
	whole := time.Since(began)
	undisturbed := digests(t, pattern.plan())
	if len(undisturbed) != 10 {
		t.Fatalf("%d digests", len(undisturbed))
	}
	alive, life := pipe(t)
	random := rand.New(rand.NewPCG(3, 4))
	for killed := 0; killed < 5; {
		s := pattern
		s.Root = t.TempDir()
		for killed < 5 && s.killRunner(t, life, time.Duration(random.Int64N(int64(whole)))) {
			killed++
		}
		mustRun(t, &s, s.options(), record.OK)
		if diff := cmp.Diff(undisturbed, digests(t, s.plan())); diff != "" {
			t.Errorf("digests (-undisturbed +killed):\n%s", diff)
		}
		for _, what := range []string{"collision", "repeated", "early"} {
			if n := s.counts(t, what); len(n) > 0 {
				t.Errorf("%s of members: %v", what, n)
			}
		}
		leftovers(t, &s)
	}
	_ = life.Close()
	if _, err := io.ReadAll(alive); err != nil { // EOF: no orphan is left
		t.Fatal(err)
	}
}

// An analysis that its folder has from other settings, and that failed with the new ones, is done again once the change is taken back.
func TestStateOf_AnalysisOfOtherSettings(t *testing.T) {
	s := family(t)
	mustRun(t, s, s.options(), record.OK)
	before := s.plan().Cells[8]
	after := before
	after.ID = strings.Repeat("f", 16)
	if state, _ := stateOf(after); state != record.StatePlanned {
		t.Errorf("before it is started: %s", state)
	}
	fsys := record.OS()
	if err := errors.Join(clearMarks(fsys, after), markFailed(fsys, after, record.Mismatch, "about another measurement")); err != nil {
		t.Fatal(err)
	}
	if state, f := stateOf(after); state != record.StateFailed || f.end.code != record.Mismatch {
		t.Errorf("after it was refused: %s, %+v", state, f)
	}
	if state, _ := stateOf(before); state != record.StateDone {
		t.Errorf("taken back: %s", state)
	}
	if err := os.Remove(filepath.Join(before.Dir, record.DoneFile)); err != nil {
		t.Fatal(err)
	}
	if state, _ := stateOf(before); state != record.StatePlanned {
		t.Errorf("the failure of other settings is its own: %s", state)
	}
}

// An analysis is done when its result is there: one that ends well without is tried again and given up, one whose result was removed is
// made again, and nothing else is.
func TestRun_AnalysesHaveResults(t *testing.T) {
	s := family(t)
	s.Does[9] = "nothing"
	o := s.options()
	o.Retries = 1
	summary := mustRun(t, s, o, record.Failed)
	if summary.Done != 9 || len(summary.Failures) != 1 || !strings.Contains(summary.Failures[0].Cause, "no result") {
		t.Errorf("%+v", summary)
	}
	result := filepath.Join(s.plan().Cells[8].Dir, "gap.json")
	if err := os.Remove(result); err != nil {
		t.Fatal(err)
	}
	s.Does[9] = "ok"
	if cleared, err := s.plan().Retry(nil); err != nil || len(cleared) != 1 {
		t.Fatalf("%v %v", cleared, err)
	}
	if summary := mustRun(t, s, s.options(), record.OK); summary.Done != 10 || summary.Starts != 2 {
		t.Errorf("%+v", summary)
	}
	if _, err := os.Stat(result); err != nil {
		t.Error(err)
	}
}

func TestStatus_ShowsDescent(t *testing.T) {
	s := family(t)
	s.Does[1] = "nan"
	mustRun(t, s, s.options(), record.Failed)
	// The first evaluation is not finished, and one answer is there.
	evaluation := s.plan().Cells[3]
	if err := errors.Join(
		os.Remove(filepath.Join(evaluation.Dir, record.DoneFile)), os.Truncate(filepath.Join(evaluation.Dir, answersName), 40),
	); err != nil {
		t.Fatal(err)
	}
	status, err := s.plan().Status()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "descent.txt", func(w io.Writer) error { return status.Write(w) }, s.Root)
	golden(t, "descent-plan.txt", func(w io.Writer) error { return status.WritePlan(w) }, s.Root)
}
