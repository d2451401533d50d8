package sweeps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

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
}

// String says it in one line for the console.
func (s Sharing) String() string {
	return fmt.Sprintf("%d at a time, %d thread(s) each, on %d core(s): %s", s.Members, s.Threads, s.Cores, s.Why)
}

// ProbeFunc trains a cell for a moment with this many threads and gives its
// speed in tokens per second. It is called for several members at once and
// must leave nothing in the cell's folder.
type ProbeFunc func(ctx context.Context, c Cell, threads int) (tokensPerSecond float64, err error)

// share decides how the cores are divided. It depends on the whole plan and
// never on what is left of it: a run that is continued later must get the
// threads it had, or its last bits may differ.
func (p *Plan) share(ctx context.Context, o Options) (Sharing, error) {
	cells, cores := len(p.Cells), o.Cores
	if o.Jobs > 0 {
		members := min(o.Jobs, cells)
		return Sharing{members, max(1, cores/members), cores, fmt.Sprintf("--jobs %d", o.Jobs)}, nil
	}
	members := min(cores, cells)
	byRule := Sharing{members, max(1, cores/members), cores, "one thread each while there are cells for every core"}
	if o.Probe == nil || cores < 2 || cells < 2 {
		return byRule, nil
	}
	if known, ok := p.readSharing(cores); ok {
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
	chosen, err := p.measure(ctx, o.Probe, byRule)
	if err != nil {
		if ctx.Err() != nil {
			return Sharing{}, err
		}
		byRule.Why = fmt.Sprintf("%s (measuring failed: %s)", byRule.Why, printable(err.Error(), 200))
		return byRule, nil
	}
	return chosen, p.writeSharing(o.FS, chosen)
}

// measure compares many members with one thread against one with all.
func (p *Plan) measure(ctx context.Context, probe ProbeFunc, wide Sharing) (Sharing, error) {
	many, err := p.speed(ctx, probe, wide.Members, wide.Threads)
	if err != nil {
		return Sharing{}, err
	}
	one, err := p.speed(ctx, probe, 1, wide.Cores)
	if err != nil {
		return Sharing{}, err
	}
	// The last wave is rarely full: its idle members count against many.
	cells := len(p.Cells)
	waves := (cells + wide.Members - 1) / wide.Members
	filled := many * float64(cells) / float64(waves*wide.Members)
	why := fmt.Sprintf("measured %.0f tokens/s for %d × %d thread(s), %.0f for 1 × %d", many, wide.Members, wide.Threads, one, wide.Cores)
	if one > filled {
		return Sharing{1, wide.Cores, wide.Cores, why}, nil
	}
	return Sharing{wide.Members, wide.Threads, wide.Cores, why}, nil
}

// speed probes members at once and adds up their tokens per second.
func (p *Plan) speed(ctx context.Context, probe ProbeFunc, members, threads int) (float64, error) {
	speeds := make([]float64, members)
	group, ctx := errgroup.WithContext(ctx)
	for i := range speeds {
		group.Go(func() (err error) {
			speeds[i], err = probe(ctx, p.Cells[i], threads)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	total := 0.0
	for _, speed := range speeds {
		total += speed
	}
	if !(total > 0) {
		return 0, errors.New("the probe measured no tokens")
	}
	return total, nil
}

// readSharing gives an earlier measurement when it was made for these cores
// and for a plan of this size.
func (p *Plan) readSharing(cores int) (Sharing, bool) {
	var s Sharing
	text, err := readEnd(filepath.Join(p.Dir, hiddenDir, coresName), 4096)
	if err != nil || json.Unmarshal(text, &s) != nil {
		return Sharing{}, false
	}
	ok := s.Cores == cores && s.Members > 0 && s.Threads > 0 && s.Members <= len(p.Cells) && s.Members*s.Threads <= cores
	s.Why = printable(s.Why, 200)
	return s, ok
}

func (p *Plan) writeSharing(fsys record.FS, s Sharing) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return record.WriteFileAtomic(fsys, filepath.Join(p.Dir, hiddenDir, coresName), append(text, '\n'))
}

// threadsFor is what a cell gets: what its config asks for, else what it was
// started with the first time, else the share of a member.
func threadsFor(c Cell, s Sharing) int {
	if c.Run.Threads > 0 {
		return c.Run.Threads
	}
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return s.Threads
	}
	if run, err := record.Open(c.Dir); err == nil && run.Info.Threads > 0 && run.Info.Threads <= s.Cores {
		return run.Info.Threads
	}
	return s.Threads
}
