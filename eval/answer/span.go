package answer

import (
	"math"
	"slices"
)

// An end is where a set of real numbers begins or ends: just before a number, or just after it. [1,2) goes from before 1 to
// before 2.
type end struct {
	at    float64
	after bool
}

func (e end) less(f end) bool {
	finite := !math.IsInf(e.at, 0) && !math.IsInf(f.at, 0)
	if e.at == f.at || finite && near(complex(e.at, 0), complex(f.at, 0)) {
		return !e.after && f.after
	}
	return e.at < f.at
}

// spans is a set of real numbers: ends in ascending order, at each of which it begins or, alternately, ends.
type spans []end

// sameSpans compares sets of real numbers: intervals, their unions, intersections and differences, finite sets, and
// inequalities in one variable. It is false for what is none of these.
func (j *judge) sameSpans(m, n *node) bool {
	x, v, ok1 := j.spans(m)
	y, w, ok2 := j.spans(n)
	if !ok1 || !ok2 || len(x) != len(y) || v != "" && w != "" && v != w {
		return false
	}
	for i := range x {
		if x[i].less(y[i]) || y[i].less(x[i]) {
			return false
		}
	}
	return true
}

// spans returns the set that a tree is, and the variable if it is an inequality in one.
func (j *judge) spans(n *node) (out spans, variable string, ok bool) {
	switch n.op {
	case opTuple:
		if len(n.args) != 2 {
			return nil, "", false
		}
		out, ok = j.between(n.args[0], n.args[1], n.open == '(', n.shut == ')')
		return out, "", ok
	case opSet:
		out, ok = j.isolated(n.args)
		return out, "", ok
	case opName:
		return everything(), "", n.name == `\mathbbR`
	case opUnion, opMeet, opMinus:
		out, ok = j.combined(n)
		return out, "", ok
	case opChain:
		return j.solved(n)
	default:
		return nil, "", false
	}
}

func everything() spans { return spans{{math.Inf(-1), true}, {math.Inf(1), false}} }

// isolated returns the set of some numbers and inequalities.
func (j *judge) isolated(args []*node) (out spans, ok bool) {
	for _, arg := range args {
		var next spans
		if arg.op == opChain {
			next, _, ok = j.spans(arg)
		} else {
			next, ok = j.between(arg, arg, false, false)
		}
		if !ok || len(args) > maxElements {
			return nil, false
		}
		out = union(out, next)
	}
	return out, true
}

// combined returns a union, an intersection or a difference.
func (j *judge) combined(n *node) (out spans, ok bool) {
	out, _, ok = j.spans(n.args[0])
	for _, arg := range n.args[1:] {
		next, _, also := j.spans(arg)
		if ok = ok && also && j.spend(len(out)+len(next)); !ok {
			return nil, false
		}
		switch n.op {
		case opUnion:
			out = union(out, next)
		case opMeet:
			out = meet(out, next)
		default:
			out = meet(out, complement(next))
		}
	}
	return out, ok
}

// solved returns the set of an inequality that has a variable alone on one side or in the middle.
func (j *judge) solved(n *node) (out spans, variable string, ok bool) {
	if len(n.args) == 2 && n.args[1].op == opName && hasVariable(n.args[1]) {
		n = turn(n)
	}
	if len(n.args) == 3 && n.relations[0][0] == '>' {
		n = turn(n)
	}
	low, high := apply(opNegative, name(infinity)), name(infinity)
	openLow, openHigh := true, true
	relation := n.relations[len(n.relations)-1]
	variable = n.args[len(n.args)-2].name
	switch {
	case len(n.args) == 3 && n.relations[0][0] == '<' && relation[0] == '<':
		low, high = n.args[0], n.args[2]
		openLow, openHigh = n.relations[0] == "<", relation == "<"
	case len(n.args) != 2:
		return nil, "", false
	case relation[0] == '<':
		high, openHigh = n.args[1], relation == "<"
	case relation[0] == '>':
		low, openLow = n.args[1], relation == ">"
	case relation == "!=" && variable != "":
		point, ok := j.between(n.args[1], n.args[1], false, false)
		return meet(everything(), complement(point)), variable, ok
	default:
		return nil, "", false
	}
	if variable == "" || !hasVariable(name(variable)) {
		return nil, "", false
	}
	out, ok = j.between(low, high, openLow, openHigh)
	return out, variable, ok
}

// between returns the interval from low to high.
func (j *judge) between(low, high *node, openLow, openHigh bool) (out spans, ok bool) {
	from, ok1 := j.realValue(low)
	to, ok2 := j.realValue(high)
	if !ok1 || !ok2 || from > to {
		return nil, false
	}
	begin, finish := end{from, openLow}, end{to, !openHigh}
	if !begin.less(finish) {
		return nil, true
	}
	return spans{begin, finish}, true
}

// realValue returns the value of an end of an interval, which may be infinite.
func (j *judge) realValue(n *node) (v float64, ok bool) {
	if n.op == opName && n.name == infinity {
		return math.Inf(1), true
	}
	if n.op == opNegative {
		v, ok = j.realValue(n.args[0])
		return -v, ok
	}
	if hasVariable(n) {
		return 0, false
	}
	x, ok := j.value(n, 0)
	return real(x), ok && imag(x) == 0
}

func complement(s spans) spans {
	lowest, highest := end{math.Inf(-1), false}, end{math.Inf(1), true}
	out := append(spans{lowest}, s...)
	out = append(out, highest)
	if len(s) > 0 && s[0] == lowest {
		out = out[2:]
	}
	if n := len(out); len(s) > 0 && s[len(s)-1] == highest {
		out = out[:n-2]
	}
	return out
}

func union(s, t spans) spans { return complement(meet(complement(s), complement(t))) }

// meet returns what is in both: walking along all ends, it keeps those at which being in both changes.
func meet(s, t spans) spans {
	var out spans
	i, k := 0, 0
	for i < len(s) || k < len(t) {
		before := i%2 == 1 && k%2 == 1
		var at end
		if k == len(t) || i < len(s) && s[i].less(t[k]) {
			at = s[i]
			i++
		} else if i == len(s) || t[k].less(s[i]) {
			at = t[k]
			k++
		} else {
			at = s[i]
			i, k = i+1, k+1
		}
		if before != (i%2 == 1 && k%2 == 1) {
			out = append(out, at)
		}
	}
	return slices.Clip(out)
}
