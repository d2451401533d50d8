package answer

// A parser makes a tree of tokens by recursive descent. Its error is sticky: after the first one all methods return at once,
// and what they return is of no use.
//
//	list     = item { ("," | ";") item }
//	item     = sets { relation sets }
//	sets     = sum { ("cup" | "cap" | "setminus") sum }
//	sum      = [sign] product { sign product }
//	product  = implicit { ("*" | "/") implicit }
//	implicit = factor { factor }              1/2x is 1/(2x), as math-verify reads it
//	factor   = sign factor | base { "^" exponent | "_" subscript | "!" | "%" }
type parser struct {
	tokens    []token
	at        int
	depth     int
	bars      int  // open |
	lower     bool // ± is - now
	plusMinus bool // a ± was seen
	failed    bool
}

// parse returns the tree of an answer, or nil if it is not mathematics.
func parse(s string) *node {
	tokens, ok := tokenize(s)
	if !ok {
		return nil
	}
	p := &parser{tokens: tokens}
	n := p.list()
	if p.failed || p.at < len(p.tokens) {
		return nil
	}
	return n
}

func (p *parser) peek() token {
	if p.failed || p.at >= len(p.tokens) {
		return token{}
	}
	return p.tokens[p.at]
}

func (p *parser) accept(op string) bool {
	if !p.peek().is(op) {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(op string) {
	if !p.accept(op) {
		p.failed = true
	}
}

func (p *parser) fail() *node {
	p.failed = true
	return integer(0)
}

// enter counts how deep the descent is; the caller leaves by p.depth--.
func (p *parser) enter() {
	p.depth++
	if p.depth > maxDepth {
		p.failed = true
	}
}

// list reads a whole answer: one item, or several as a set. An item with ± is two. "x = 1, 2" is a list of two as well,
// whose elements are compared each.
func (p *parser) list() *node {
	var items []*node
	for {
		start := p.at
		p.plusMinus, p.lower = false, false
		items = append(items, p.item())
		if p.plusMinus && !p.failed {
			p.at, p.lower = start, true
			items = append(items, p.item())
		}
		if !p.accept(",") && !p.accept(";") {
			break
		}
	}
	if len(items) == 1 {
		return items[0]
	}
	return apply(opSet, items...)
}

func (p *parser) item() *node {
	p.enter()
	defer func() { p.depth-- }()
	chain := &node{op: opChain, args: []*node{p.sets()}}
	for {
		t := p.peek()
		if t.kind != tokenOp {
			break
		}
		switch t.text {
		case "=", "<", ">", "<=", ">=", "!=":
			p.at++
			chain.relations = append(chain.relations, t.text)
			chain.args = append(chain.args, p.sets())
			continue
		}
		break
	}
	if len(chain.args) == 1 {
		return chain.args[0]
	}
	return chain
}

func (p *parser) sets() *node {
	left := p.sum()
	for !p.failed {
		kind := opUnion
		switch {
		case p.accept("cup"):
		case p.accept("cap"):
			kind = opMeet
		case p.accept("setminus"):
			kind = opMinus
		default:
			return left
		}
		right := p.sum()
		if left.op == kind && kind != opMinus {
			left.args = append(left.args, right)
		} else {
			p.depth++ // a row of different operators is as deep as it is long
			p.failed = p.failed || p.depth > maxDepth
			left = apply(kind, left, right)
		}
	}
	return left
}

// sign reads + - ± ∓ and returns whether it stands for a minus.
func (p *parser) sign() (minus, ok bool) {
	switch {
	case p.accept("+"):
		return false, true
	case p.accept("-"):
		return true, true
	case p.accept("pm"):
		p.plusMinus = true
		return p.lower, true
	case p.accept("mp"):
		p.plusMinus = true
		return !p.lower, true
	default:
		return false, false
	}
}

func (p *parser) sum() *node {
	terms := []*node{p.product()}
	for !p.failed {
		minus, ok := p.sign()
		if !ok {
			break
		}
		term := p.product()
		if minus {
			term = apply(opNegative, term)
		}
		terms = append(terms, term)
	}
	if len(terms) == 1 {
		return terms[0]
	}
	return apply(opSum, terms...)
}

func (p *parser) product() *node {
	factors := []*node{p.implicit()}
	for !p.failed {
		if p.accept("*") {
			factors = append(factors, p.implicit())
		} else if p.accept("/") {
			factors = append(factors, apply(opInverse, p.implicit()))
		} else {
			break
		}
	}
	if len(factors) == 1 {
		return factors[0]
	}
	return apply(opProduct, factors...)
}

// implicit reads factors side by side: 2x(x+1). An integer before a fraction of integers is a mixed number.
func (p *parser) implicit() *node {
	first := p.at
	factors := []*node{p.factor()}
	for !p.failed && p.startsFactor() {
		next := p.at
		if p.slashFraction(first, next) {
			whole := factors[0]
			fraction := apply(opProduct, number(p.tokens[next].value), apply(opInverse, number(p.tokens[next+2].value)))
			factors[0] = mixed(whole, fraction)
			p.at += 3
			continue
		}
		isFraction := p.peek().text == "frac"
		factor := p.factor()
		if isFraction && len(factors) == 1 && wholeNumber(factors[0]) && integerFraction(factor) {
			factors[0] = mixed(factors[0], factor)
			continue
		}
		factors = append(factors, factor)
	}
	if len(factors) == 1 {
		return factors[0]
	}
	return apply(opProduct, factors...)
}

// slashFraction reports whether "1/2" in "3 1/2" comes next: an integer, apart, with a slash and an integer, after one integer.
func (p *parser) slashFraction(first, next int) bool {
	if next != first+1 || next+2 >= len(p.tokens) || !p.tokens[next].spaced || !p.tokens[next+1].is("/") {
		return false
	}
	for _, i := range []int{first, next, next + 2} {
		if t := p.tokens[i]; t.kind != tokenNumber || t.decimal || !t.value.IsInt() {
			return false
		}
	}
	return true
}

func wholeNumber(n *node) bool {
	return n.isInteger() || n.op == opNegative && n.args[0].isInteger()
}

func integerFraction(n *node) bool {
	return n.op == opProduct && len(n.args) == 2 && n.args[0].isInteger() && n.args[1].op == opInverse && n.args[1].args[0].isInteger()
}

// mixed adds a fraction to an integer, away from zero.
func mixed(whole, fraction *node) *node {
	if whole.op == opNegative {
		return apply(opNegative, apply(opSum, whole.args[0], fraction))
	}
	return apply(opSum, whole, fraction)
}

// startsFactor reports whether what comes next multiplies without a sign.
func (p *parser) startsFactor() bool {
	t := p.peek()
	switch t.kind {
	case tokenNumber, tokenName, tokenFunc:
		return true
	case tokenCommand:
		return t.text == "frac" || t.text == "sqrt" || t.text == "binom"
	case tokenOp:
		return t.text == "(" || t.text == "{" || t.text == "lfloor" || t.text == "lceil" || t.text == "|" && p.bars == 0
	default:
		return false
	}
}
