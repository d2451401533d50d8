package sweeps

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"plasticity/record"
)

// Probe is a process that trains a cell when told to, for its speed only. It leaves nothing in the cell's folder.
type Probe interface {
	// Train makes steps and says how many tokens they had and how long they took.
	Train(steps int) (tokens int64, seconds float64, err error)
	Close()
}

// ProbeFunc starts a probe of a cell. Several live at once; the end of ctx ends them.
type ProbeFunc func(ctx context.Context, c Cell, at Slot) (Probe, error)

// Slot is the part of the machine that a member gets. A pinned one stays on Threads cores from First on, counted among
// those that this process may use.
type Slot struct {
	Threads int
	Pinned  bool
	First   int
}

// Placement is a way to fill the cores, and what it reaches.
type Placement struct {
	Members int `json:"members"`
	Threads int `json:"threads"`
	// Pinned members stay on cores of their own. Run never asks for it.
	Pinned bool `json:"pinned,omitempty"`
	// TokensPerSecond of all members together, each at its own speed.
	TokensPerSecond record.Float `json:"tokens_per_second"`
	// FLOPS are the operations a second that belong to them: what counts when the cells of a grid differ in size.
	FLOPS record.Float `json:"flops"`
	// Rounds are the tokens a second of each look.
	Rounds []record.Float `json:"rounds,omitempty"`
}

// String says it in few words.
func (p Placement) String() string {
	return fmt.Sprintf("%s tokens/s for %s", countText(int64(p.TokensPerSecond)), p.Label())
}

// Label names the placement without its speed.
func (p Placement) Label() string {
	pinned := ""
	if p.Pinned {
		pinned = ", pinned"
	}
	return fmt.Sprintf("%d × %d thread(s)%s", p.Members, p.Threads, pinned)
}

// Placements lists the ways to fill the cores with at most this many members, the widest first: as many members as
// possible, then every divisor of the cores down to one member with all of them.
func Placements(cores, members int) []Placement {
	var out []Placement
	for m := min(cores, members); m >= 1; m-- {
		if cores%m == 0 || len(out) == 0 {
			out = append(out, Placement{Members: m, Threads: max(1, cores/m)})
		}
	}
	return out
}

// MeasureOptions say how long Measure takes.
type MeasureOptions struct {
	// Rounds is how often each placement is looked at; at least 1.
	Rounds int
	// Turn is how long a look trains, at least one step.
	Turn time.Duration
}

// Measure trains cells for a moment in each placement and fills in what it reaches. The placements take turns, forth and
// back, so that whatever else the machine does reaches all of them; the members of one start together once all are ready,
// so that each has the others beside it. Their cells are spread over the base models of the plan.
func (p *Plan) Measure(ctx context.Context, start ProbeFunc, placements []Placement, o MeasureOptions) ([]Placement, error) {
	out := append([]Placement{}, placements...)
	for round := range max(1, o.Rounds) {
		for i := range out {
			if round%2 == 1 {
				i = len(out) - 1 - i
			}
			if err := p.look(ctx, start, &out[i], o.Turn); err != nil {
				return nil, fmt.Errorf("%s: %w", out[i].Label(), err)
			}
		}
	}
	for i := range out {
		looks := record.Float(max(1, o.Rounds))
		out[i].TokensPerSecond /= looks
		out[i].FLOPS /= looks
	}
	return out, nil
}

// look adds one measurement to a placement.
func (p *Plan) look(ctx context.Context, start ProbeFunc, at *Placement, turn time.Duration) error {
	probes, cells := make([]Probe, at.Members), make([]Cell, at.Members)
	defer func() {
		for _, probe := range probes {
			if probe != nil {
				probe.Close()
			}
		}
	}()
	if err := together(at.Members, func(i int) (err error) {
		bases := p.bases()
		cells[i] = bases[i*len(bases)/at.Members]
		probes[i], err = start(ctx, cells[i], Slot{Threads: at.Threads, Pinned: at.Pinned, First: i * at.Threads})
		return err
	}); err != nil {
		return err
	}
	// The first step sets up what later ones reuse; the second says how many fit into a turn.
	steps := 1
	for _, final := range []bool{false, false, true} {
		tokens, flops, slowest, err := trainTogether(probes, cells, steps)
		if err != nil {
			return err
		}
		steps = min(1000, max(1, int(turn.Seconds()/slowest)))
		if final {
			at.TokensPerSecond += record.Float(tokens)
			at.FLOPS += record.Float(flops)
			at.Rounds = append(at.Rounds, record.Float(tokens))
		}
	}
	return nil
}

// trainTogether lets all probes train at once and adds up their speeds. slowest are the seconds of a step of the slowest.
func trainTogether(probes []Probe, cells []Cell, steps int) (tokens, flops, slowest float64, err error) {
	type speed struct{ tokens, seconds float64 }
	speeds := make([]speed, len(probes))
	err = together(len(probes), func(i int) error {
		n, seconds, err := probes[i].Train(steps)
		if err == nil && !(n > 0 && seconds > 0) {
			err = errors.New("the probe measured no tokens")
		}
		speeds[i] = speed{float64(n), seconds}
		return err
	})
	if err != nil {
		return 0, 0, 0, err
	}
	for i, s := range speeds {
		rate := s.tokens / s.seconds
		tokens += rate
		flops += rate * cells[i].flopsPerToken()
		slowest = max(slowest, s.seconds/float64(steps))
	}
	return tokens, flops, slowest, nil
}

// together runs n functions at once.
func together(n int, f func(i int) error) error {
	var group errgroup.Group
	for i := range n {
		group.Go(func() error { return f(i) })
	}
	return group.Wait()
}

// flopsPerToken is the cost of training a token; 1 when the plan does not say, so that tokens count.
func (c Cell) flopsPerToken() float64 {
	if f := float64(c.FLOPs) / float64(c.Tokens); f > 0 {
		return f
	}
	return 1
}
