package trainer

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"plasticity/config"
)

// How often progress is shown: on a terminal and in a log.
const (
	redrawEvery = 100 * time.Millisecond
	printEvery  = 10 * time.Second
)

// console shows progress to people: one line that is redrawn on a terminal, a plain line now and
// then elsewhere. A nil console is silent.
type console struct {
	out     io.Writer
	tty     bool
	config  config.Resolved
	from    int64 // steps done before this process
	read    int64 // tokens that the loss was over in them
	started time.Time
	shown   time.Time
	val     float64
	width   int        // of the line on the terminal
	columns func() int // of the terminal now; 0: not known
}

func newConsole(out io.Writer, tty bool, c config.Resolved) *console {
	if out == nil {
		return nil
	}
	return &console{out: out, tty: tty, config: c, val: math.NaN(), columns: func() int { return columnsOf(out) }}
}

// columnsOf is the width of the terminal behind out, 0 when there is none.
func columnsOf(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// start says what is about to be trained, and after which steps and tokens.
func (c *console) start(dir string, from, read int64, how string) {
	if c == nil {
		return
	}
	c.started, c.from, c.read = time.Now(), from, read
	m := c.config.Model
	c.message("%s: %s parameters, %s tokens in %d steps, %s, %s, in %s", modelName(m),
		count(m.Parameters()), count(c.config.TokensTotal), c.config.Steps, decayText(c.config), how, dir)
	if c.from > 0 {
		c.message("going on from step %d", c.from)
	}
}

// stepText says which step trains, on what: engine (amx, bf16, 2 threads).
func stepText(name, isa, precision string, threads int) string {
	parts := []string{precision, fmt.Sprintf("%d threads", threads)}
	if threads == 1 {
		parts[1] = "1 thread"
	}
	if isa != "" {
		parts = append([]string{isa}, parts...)
	}
	return fmt.Sprintf("%s (%s)", name, strings.Join(parts, ", "))
}

// decayText is the weight decay with its timescale.
func decayText(c config.Resolved) string {
	if c.WeightDecay == 0 {
		return "no weight decay"
	}
	return fmt.Sprintf("weight decay %g (τ %.3g)", c.WeightDecay, c.Tau)
}

// message prints a line of its own.
func (c *console) message(format string, args ...any) {
	if c == nil {
		return
	}
	c.clear()
	fmt.Fprintf(c.out, format+"\n", args...)
}

func (c *console) clear() {
	if c.width > 0 {
		fmt.Fprintf(c.out, "\r%*s\r", c.width, "")
		c.width = 0
	}
}

func (c *console) step(e StepEvent) error {
	if c == nil {
		return nil
	}
	if e.Evaluation != nil {
		c.val = e.Evaluation.Loss
	}
	every := printEvery
	if c.tty {
		every = redrawEvery
	}
	now := time.Now()
	if now.Sub(c.shown) < every && e.Step != c.config.Steps {
		return nil
	}
	c.shown = now
	line := c.line(e, now)
	if !c.tty {
		fmt.Fprintln(c.out, line)
		return nil
	}
	c.clear()
	// A line that wraps could not be taken back.
	if columns := c.columns(); columns > 0 && len(line) >= columns {
		line = line[:columns-1]
	}
	fmt.Fprint(c.out, line)
	c.width = len(line)
	return nil
}

// line is progress in one line: how far, the losses, the rate, what is left.
func (c *console) line(e StepEvent, now time.Time) string {
	seconds := now.Sub(c.started).Seconds()
	left := durationText(float64(c.config.Steps-e.Step) / float64(e.Step-c.from) * seconds)
	val := ""
	if !math.IsNaN(c.val) {
		val = fmt.Sprintf("  val %.4f", c.val)
	}
	return fmt.Sprintf("step %d/%d %3.0f%%  loss %.4f%s  |g| %.2f  lr %.2e  %s tok/s  left %s", e.Step, c.config.Steps,
		100*float64(e.Step)/float64(c.config.Steps), e.Loss, val, e.GradNorm, e.LearningRate,
		count(int64(float64(e.Tokens-c.read)/seconds)), left)
}

// done sums a finished run up.
func (c *console) done(e StepEvent, took time.Duration, dir string) {
	val := ""
	if v := e.Evaluation; v != nil {
		val = fmt.Sprintf(", validation loss %.4f nats per token (%.4f bits per byte)", v.Loss, v.BitsPerByte)
	}
	c.message("done: %d steps in %s, loss %.4f%s, in %s", e.Step, durationText(took.Seconds()), e.Loss, val, dir)
}

func (c *console) close() error {
	if c != nil && c.width > 0 {
		fmt.Fprintln(c.out)
		c.width = 0
	}
	return nil
}

// durationText writes seconds as people say them: 340ms, 4.1s, 2m10s, 3h20m, 12d4h.
func durationText(seconds float64) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second))
	switch {
	case math.IsNaN(seconds) || seconds < 0:
		return "?"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	default:
		hours := int64(d.Round(time.Hour).Hours())
		return fmt.Sprintf("%dd%dh", hours/24, hours%24)
	}
}

// count writes a number with three digits and a unit: 171 k, 3.32 M.
func count(n int64) string {
	x := float64(n)
	for _, unit := range []string{"", " k", " M", " G"} {
		if x < 999.5 {
			if unit == "" {
				return fmt.Sprintf("%.0f", x)
			}
			return fmt.Sprintf("%.3g%s", x, unit)
		}
		x /= 1000
	}
	return fmt.Sprintf("%.3g T", x)
}
