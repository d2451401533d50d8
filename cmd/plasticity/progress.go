package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// lineEvery is the pause between two lines of progress without a terminal.
const lineEvery = 5 * time.Second

// bytesProgress shows how far a job over bytes is: a bar with the time left on a terminal, a line now and then without
// one. report is called with the bytes done and in all; a smaller done than before begins a new pass. Call finish at the
// end.
func (a *app) bytesProgress(name string) (report func(done, total int64), finish func()) {
	switch {
	case a.quiet:
		return func(int64, int64) {}, func() {}
	case a.live():
		return a.bar(name)
	}
	lines := &progressLines{a: a, name: name, next: time.Now().Add(lineEvery)}
	return lines.report, func() {}
}

func (a *app) bar(name string) (report func(done, total int64), finish func()) {
	pool := mpb.New(mpb.WithOutput(a.err), mpb.WithWidth(60))
	var mu sync.Mutex
	var bar *mpb.Bar
	var last int64
	report = func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if bar == nil || done < last {
			if bar != nil {
				bar.Abort(true)
			}
			bar = pool.AddBar(total,
				mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
				mpb.AppendDecorators(decor.CountersKibiByte("% .1f of % .1f"), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
		}
		last = done
		bar.SetTotal(total, false)
		bar.SetCurrent(done)
	}
	finish = func() {
		mu.Lock()
		defer mu.Unlock()
		if bar != nil {
			bar.Abort(true)
		}
		pool.Wait()
	}
	return report, finish
}

// progressLines prints a line of progress now and then.
type progressLines struct {
	a    *app
	name string

	mu   sync.Mutex
	next time.Time
}

func (p *progressLines) report(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) || total <= 0 {
		return
	}
	p.next = now.Add(lineEvery)
	p.a.say("%s: %s", p.name, portion(done, total))
}

// portion says "12.3 of 45.6 MiB (27 %)".
func portion(done, total int64) string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f of %.1f MiB (%.0f %%)", float64(done)/mib, float64(total)/mib, 100*float64(done)/float64(total))
}
