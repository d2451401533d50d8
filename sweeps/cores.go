package sweeps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"plasticity/record"
)

// coresName is where the way the cores are shared out is kept.
const coresName = "cores.json"

// Sharing is how the cores are divided: Members at a time with Threads each.
type Sharing struct {
	Members int `json:"members"`
	Threads int `json:"threads"`
	// Cores is how many there were, Why what the choice rests on.
	Cores int    `json:"cores"`
	Why   string `json:"why"`
	// Jobs is the number of members that was asked for; 0: none was.
	Jobs int `json:"jobs,omitempty"`
	// Measured are the placements that were compared, none when nothing was measured, and Plan the cells they were
	// measured for.
	Measured []Placement `json:"measured,omitempty"`
	Plan     string      `json:"plan,omitempty"`
}

// String says it in one line for the console.
func (s Sharing) String() string {
	return fmt.Sprintf("%d at a time, %d thread(s) each, on %d core(s): %s", s.Members, s.Threads, s.Cores, s.Why)
}

// speed is what was measured for the chosen placement.
func (s Sharing) speed() (Placement, bool) {
	for _, p := range s.Measured {
		if p.Members == s.Members && p.Threads == s.Threads && p.FLOPS > 0 {
			return p, true
		}
	}
	return Placement{}, false
}

// worthNarrowing is how much sooner fewer members must end the grid: members with a thread each lose least when one of
// them has to wait or is started again.
const worthNarrowing = 1.02

// share decides how the cores are divided. It depends on the whole plan and
// never on what is left of it: a run that is continued later must get the
// threads it had, or its last bits may differ.
func (p *Plan) share(ctx context.Context, o Options) (Sharing, error) {
	cells, cores := len(p.Cells), o.Cores
	placements := Placements(cores, cells)
	why := "one thread each while there are cells for every core"
	if o.Jobs > 0 {
		members := min(o.Jobs, cells)
		placements = []Placement{{Members: members, Threads: max(1, cores/members)}}
		why = fmt.Sprintf("--jobs %d", o.Jobs)
	}
	byRule := Sharing{Members: placements[0].Members, Threads: placements[0].Threads, Cores: cores, Why: why, Jobs: o.Jobs}
	if o.Probe == nil {
		return byRule, nil
	}
	if known, ok := p.kept(); ok && known.Cores == cores && known.Jobs == o.Jobs {
		return known, nil
	}
	hidden := filepath.Join(p.Dir, hiddenDir)
	lock, err := record.Acquire(hidden)
	if err != nil {
		byRule.Why += " (another runner is measuring)"
		return byRule, nil
	}
	defer lock.Release() //nolint:errcheck // given back by the kernel in any case
	if _, err := lock.CleanTemp(o.FS); err != nil {
		return Sharing{}, err
	}
	measured, err := p.compare(ctx, o.Probe, placements)
	for record.CodeOf(err) == record.OutOfMemory && len(placements) > 1 {
		placements = placements[1:] // what has no room now has none later
		byRule.Members, byRule.Threads = placements[0].Members, placements[0].Threads
		measured, err = p.compare(ctx, o.Probe, placements)
	}
	if err != nil {
		if ctx.Err() != nil {
			return Sharing{}, err
		}
		byRule.Why = fmt.Sprintf("%s (measuring failed: %s)", byRule.Why, printable(err.Error(), 200))
		return byRule, nil
	}
	chosen := p.choose(byRule, measured)
	return chosen, p.writeSharing(o.FS, chosen)
}

// worthComparing is how many seconds a grid must take for its placements to be compared, which takes some itself.
const worthComparing = 60

// compare measures the placements; only the first when the grid is over soon in any case.
func (p *Plan) compare(ctx context.Context, probe ProbeFunc, placements []Placement) ([]Placement, error) {
	first, err := p.Measure(ctx, probe, placements[:1], MeasureOptions{Rounds: 1, Turn: time.Second})
	if err != nil || len(placements) == 1 || makespan(p.work(), first[0].Members, float64(first[0].FLOPS)) < worthComparing {
		return first, err
	}
	return p.Measure(ctx, probe, placements, MeasureOptions{Rounds: 2, Turn: time.Second})
}

// work is what each cell costs, in operations.
func (p *Plan) work() []float64 {
	out := make([]float64, len(p.Cells))
	for i, c := range p.Cells {
		out[i] = float64(c.Tokens) * c.flopsPerToken()
	}
	return out
}

// choose takes the placement that ends the whole grid first. The last wave is rarely full: its idle members count.
func (p *Plan) choose(wide Sharing, measured []Placement) Sharing {
	work, out := p.work(), wide
	out.Measured, out.Plan = measured, p.digest()
	best := makespan(work, measured[0].Members, float64(measured[0].FLOPS))
	words := []string{measured[0].String()}
	for _, at := range measured[1:] {
		words = append(words, at.String())
		if end := makespan(work, at.Members, float64(at.FLOPS)); end*worthNarrowing < best {
			best, out.Members, out.Threads = end, at.Members, at.Threads
		}
	}
	out.Why = "measured " + strings.Join(words, ", ")
	if wide.Why != "" && len(measured) == 1 {
		out.Why = wide.Why + ", " + out.Why
	}
	return out
}

// digest names the base models of the plan: another grid under the same name is measured anew.
func (p *Plan) digest() string {
	sum := sha256.New()
	for _, c := range p.bases() {
		fmt.Fprintln(sum, c.ID)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// kept gives an earlier measurement when it was made for these cells.
func (p *Plan) kept() (Sharing, bool) {
	var s Sharing
	text, err := readEnd(filepath.Join(p.Dir, hiddenDir, coresName), 16384)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return Sharing{}, false
	}
	ok := s.Plan == p.digest() && s.Cores > 0 && s.Members > 0 && s.Threads > 0 && s.Members <= len(p.Cells)
	s.Why = printable(s.Why, 400)
	return s, ok
}

func (p *Plan) writeSharing(fsys record.FS, s Sharing) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return record.WriteFileAtomic(fsys, filepath.Join(p.Dir, hiddenDir, coresName), append(text, '\n'))
}

// brief is how many seconds a cell may take and be bound by its start, which one thread does, rather than by its products.
const brief = 10

// isBrief says that a descendant is better done beside others with one thread than alone with all of them.
func (s Sharing) isBrief(c Cell) bool {
	at, ok := s.speed()
	return ok && c.Kind != Pretrain && float64(c.FLOPs) < brief*float64(at.FLOPS)
}

// threadsFor is what a cell gets: what its config asks for, else what it was
// started with the first time, else one when it is brief, else the share of a member.
func threadsFor(c Cell, s Sharing) int {
	if c.Run.Threads > 0 {
		return c.Run.Threads
	}
	share := s.Threads
	if s.isBrief(c) {
		share = 1
	}
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return share
	}
	if run, err := record.Open(c.Dir); err == nil && run.Info.Threads > 0 && run.Info.Threads <= s.Cores {
		return run.Info.Threads
	}
	return share
}
