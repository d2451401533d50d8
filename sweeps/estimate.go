package sweeps

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// makespan is how many seconds jobs take that are started in this order by members at once, which have this much speed
// together: work is in the unit of speed. A member keeps its share of the speed when others have nothing to do any more.
func makespan(work []float64, members int, speed float64) float64 {
	if !(speed > 0) || members < 1 {
		return math.Inf(1)
	}
	free := make([]float64, members) // when each member is free, in work
	for _, w := range work {
		i := slices.Index(free, slices.Min(free))
		free[i] += w
	}
	return slices.Max(free) * float64(members) / speed
}

// left is how many seconds of a member the jobs still need, those that run first; each is the speed of a member, in operations a second.
func (r *runner) left(now time.Time, each float64) []float64 {
	analysis := r.analysisSeconds()
	var first, then []float64
	for _, j := range r.jobs {
		var seconds float64
		switch work := float64(max(0, j.cell.Tokens-j.tokens)) * j.cell.flopsPerToken(); {
		case j.phase.ended():
			continue
		case j.cell.Kind == Analyze:
			seconds = max(0, analysis(j.cell.Analysis.Folder())-j.busy(now).Seconds())
		case work > 0:
			seconds = work / max(0, each) // infinite when nothing tells
		}
		if j.phase == running {
			first = append(first, seconds)
		} else {
			then = append(then, seconds)
		}
	}
	return append(first, then...)
}

// analysisSeconds tells how long the analyses of a name have taken in this runner; before one has ended, as long as those of other names.
func (r *runner) analysisSeconds() func(name string) float64 {
	type sum struct{ seconds, n float64 }
	all, own := sum{}, make(map[string]sum)
	for _, j := range r.jobs {
		if j.cell.Kind == Analyze && j.phase == finished && j.starts > 0 {
			name, seconds := j.cell.Analysis.Folder(), j.spent.Seconds()
			all = sum{all.seconds + seconds, all.n + 1}
			own[name] = sum{own[name].seconds + seconds, own[name].n + 1}
		}
	}
	return func(name string) float64 {
		if s := own[name]; s.n > 0 {
			return s.seconds / s.n
		}
		return all.seconds / max(1, all.n)
	}
}

// flops is the speed of all members together, by the best witness there is: what those that train have reached so far with their
// starts, evaluations and checkpoints, once a cell has been finished; what running members say; the measurement.
func (r *runner) flops(now time.Time) float64 {
	done, busy, said, saying := 0.0, 0.0, 0.0, 0
	ended := false
	for _, j := range r.jobs {
		if j.starts == 0 || j.cell.Kind == Analyze {
			continue
		}
		done += float64(max(0, j.tokens-j.tokensBefore)) * j.cell.flopsPerToken()
		busy += j.busy(now).Seconds()
		ended = ended || j.phase == finished
		if j.phase == running && j.speed > 0 {
			said += j.speed * j.cell.flopsPerToken()
			saying++
		}
	}
	switch {
	case ended && done > 0 && busy > 0:
		return done / busy * float64(r.members())
	case saying > 0: // those that have not said anything yet are as fast as the others
		return said / float64(saying) * float64(r.members())
	}
	at, _ := r.sharing.speed()
	return float64(at.FLOPS)
}

// members is how many run at once while there is enough to do.
func (r *runner) members() int { return min(max(1, r.sharing.Members), max(1, r.open())) }

// secondsLeft is the time until the grid ends; infinite when nothing tells how fast it goes.
func (r *runner) secondsLeft(now time.Time) float64 {
	members := float64(r.members())
	return makespan(r.left(now, r.flops(now)/members), r.members(), members)
}

// etaText says when the grid ends; "" when nothing tells.
func (r *runner) etaText(now time.Time) string {
	left := r.secondsLeft(now)
	if math.IsInf(left, 0) || left > 1e9 {
		return ""
	}
	return fmt.Sprintf("%s left, ends %s", durationText(left), clockText(now, left))
}

// clockText is the time of day in some seconds, with the date when it is another day.
func clockText(now time.Time, seconds float64) string {
	end := now.Add(time.Duration(seconds * float64(time.Second)))
	if end.YearDay() == now.YearDay() && end.Year() == now.Year() {
		return end.Format("15:04")
	}
	return end.Format("2006-01-02 15:04")
}

// startText is what a run says of the whole grid before it trains.
func (r *runner) startText(now time.Time) string {
	tokens := int64(0)
	for _, j := range r.jobs {
		if !j.phase.ended() && j.cell.trains() {
			tokens += max(0, j.cell.Tokens-j.tokens)
		}
	}
	at, ok := r.sharing.speed()
	if !ok {
		return fmt.Sprintf("%s tokens to train; the speed is known when members have begun", countText(tokens))
	}
	return fmt.Sprintf("%s tokens to train, %s tokens/s in total as measured: about %s", countText(tokens), countText(int64(at.TokensPerSecond)), r.etaText(now))
}

// doneText is what a finished cell means for the grid.
func (r *runner) doneText() string {
	if r.open() == 0 || r.stopping {
		return ""
	}
	text := fmt.Sprintf("; %d of %d cells left", r.open(), len(r.jobs))
	if eta := r.etaText(time.Now()); eta != "" {
		text += ", " + eta
	}
	return text
}
