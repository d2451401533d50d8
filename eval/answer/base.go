package answer

import "strings"

// factor reads a base with its sign and what follows it.
func (p *parser) factor() *node {
	p.enter()
	defer func() { p.depth-- }()
	if p.failed {
		return integer(0)
	}
	if minus, ok := p.sign(); ok {
		n := p.factor()
		if minus {
			n = apply(opNegative, n)
		}
		return n
	}
	if p.peek().kind == tokenFunc {
		return p.function()
	}
	return p.postfix(p.base())
}

// postfix reads powers, subscripts, factorials and percent signs after n.
func (p *parser) postfix(n *node) *node {
	start := p.depth
	defer func() { p.depth = start }()
	for !p.failed {
		switch {
		case p.accept("^"):
			n = apply(opPower, n, p.argument())
		case p.accept("!"):
			n = call("!", n)
		case p.accept("%"):
			n = apply(opPercent, n)
		case p.accept("_"):
			n = p.subscript(n)
		default:
			return n
		}
		p.enter()
	}
	return n
}

// subscript reads what stands below: the base of a number, a part of the name of a variable.
func (p *parser) subscript(n *node) *node {
	start := p.at
	p.argument()
	var text strings.Builder
	for _, t := range p.tokens[start:p.at] {
		switch {
		case t.kind == tokenNumber:
			text.WriteString(t.value.RatString())
		case !t.is("{") && !t.is("}"):
			text.WriteString(t.text)
		}
	}
	switch n.op {
	case opNumber:
		based := *n
		based.base = text.String()
		return &based
	case opName:
		return name(n.name + "_" + text.String())
	default:
		return p.fail()
	}
}

// argument reads an exponent or a subscript: a group or one sign with its number, since 2^10 and 2^-1 mean what they say.
func (p *parser) argument() *node {
	if p.peek().is("{") || p.peek().is("(") {
		return p.base()
	}
	p.enter()
	defer func() { p.depth-- }()
	if p.failed {
		return integer(0)
	}
	if minus, ok := p.sign(); ok {
		n := p.argument()
		if minus {
			n = apply(opNegative, n)
		}
		return n
	}
	return p.base()
}

// base reads what needs no sign to be whole.
func (p *parser) base() *node {
	p.enter()
	defer func() { p.depth-- }()
	t := p.peek()
	if p.failed || p.at >= len(p.tokens) {
		return p.fail()
	}
	p.at++
	switch t.kind {
	case tokenNumber:
		n := number(t.value)
		n.decimal = t.decimal
		return n
	case tokenName:
		return name(t.text)
	case tokenFunc:
		p.at--
		return p.function()
	case tokenCommand:
		return p.command(t.text)
	case tokenOp:
		return p.bracket(t.text)
	default:
		return p.fail()
	}
}

func (p *parser) bracket(open string) *node {
	bars := p.bars
	p.bars = 0
	defer func() { p.bars = bars }()
	switch open {
	case "{":
		elements := p.elements()
		p.expect("}")
		if len(elements) == 1 {
			return elements[0]
		}
		return apply(opSet, elements...)
	case "(", "[":
		return p.tuple(open[0])
	case `\{`:
		set := apply(opSet)
		if p.accept(`\}`) {
			return set
		}
		set.args = p.elements()
		p.expect(`\}`)
		return set
	case "|":
		p.bars = 1
		n := p.sum()
		p.expect("|")
		return call("abs", n)
	case "lfloor":
		n := p.sum()
		p.expect("rfloor")
		return call("floor", n)
	case "lceil":
		n := p.sum()
		p.expect("rceil")
		return call("ceil", n)
	default:
		return p.fail()
	}
}

// elements reads what stands between brackets, separated by commas.
func (p *parser) elements() []*node {
	elements := []*node{p.item()}
	for p.accept(",") || p.accept(";") {
		elements = append(elements, p.item())
	}
	return elements
}

// tuple reads what follows an opening bracket: a group if it has one element, else a tuple or an interval.
func (p *parser) tuple(open byte) *node {
	elements := p.elements()
	shut := p.peek().text
	if !p.accept(")") && !p.accept("]") {
		return p.fail()
	}
	if len(elements) == 1 {
		return elements[0]
	}
	n := apply(opTuple, elements...)
	n.open, n.shut = open, shut[0]
	return n
}

func (p *parser) command(text string) *node {
	switch text {
	case "frac":
		above := p.base()
		below := p.base()
		return apply(opProduct, above, apply(opInverse, below))
	case "binom":
		above := p.base()
		return apply(opBinomial, above, p.base())
	case "sqrt":
		index := integer(2)
		if p.accept("[") {
			index = p.item()
			p.expect("]")
		}
		return apply(opRoot, p.base(), index)
	case "emptyset":
		return apply(opSet)
	case "begin pmatrix", "begin bmatrix", "begin matrix", "begin smallmatrix", "begin array":
		return p.matrix("end " + strings.TrimPrefix(text, "begin "))
	default:
		return p.fail()
	}
}

// matrix reads rows up to \end; brackets around a matrix are those of \left and \right, which group it.
func (p *parser) matrix(end string) *node {
	matrix := apply(opMatrix)
	row := apply(opTuple)
	for !p.failed {
		row.args = append(row.args, p.item())
		if p.accept("&") {
			continue
		}
		matrix.args = append(matrix.args, row)
		row = apply(opTuple)
		broken := p.accept(`\\`)
		if t := p.peek(); t.kind == tokenCommand && t.text == end {
			p.at++
			return matrix
		}
		if !broken {
			return p.fail()
		}
	}
	return matrix
}

// function reads sin x, sin^2 x, log_2 8 and ln(x). Without parentheses the argument is the product that follows.
func (p *parser) function() *node {
	f := p.peek().text
	p.at++
	args := []*node{nil}
	if f == "log" && p.accept("_") {
		args = append(args, p.argument())
	} else if f == "log" {
		args = append(args, integer(10))
	}
	var power *node
	if p.accept("^") {
		power = p.argument()
	}
	if p.peek().is("(") {
		args[0] = p.base()
	} else {
		args[0] = p.functionArgument()
	}
	n := call(f, args...)
	if power != nil {
		n = apply(opPower, n, power)
	} else if args[0].op != opProduct {
		n = p.postfix(n)
	}
	return n
}

func (p *parser) functionArgument() *node {
	factors := []*node{p.factor()}
	for !p.failed && p.startsFactor() && p.peek().kind != tokenFunc {
		factors = append(factors, p.factor())
	}
	if len(factors) == 1 {
		return factors[0]
	}
	return apply(opProduct, factors...)
}
