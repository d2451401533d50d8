package answer

import "math/big"

// The limits that bound the work of a comparison. Answers of real tasks stay far below all of them.
const (
	maxLength   = 4096    // bytes of an answer that is parsed
	maxTokens   = 1024    // of an answer
	maxDepth    = 40      // of brackets, powers, roots and signs in each other
	maxElements = 64      // of a set whose elements are compared
	maxTerms    = 400     // of a polynomial
	maxBits     = 1 << 13 // of a numerator or denominator
	maxExponent = 1000
	maxAtoms    = 64
	maxSteps    = 100_000 // of a comparison; a step is about one operation on a term
)

const infinity = `\infty`

// An op says what a node is.
type op uint8

const (
	opNumber   op = iota
	opName        // a variable or a constant
	opSum         // of args
	opProduct     // of args
	opInverse     // of args[0]
	opNegative    // of args[0]
	opPower       // args[0] to args[1]
	opRoot        // of args[0], the args[1]-th
	opFunction    // name of args[0]; log has its base in args[1]
	opBinomial    // args[0] over args[1]
	opPercent     // of args[0]
	opTuple       // args in order, in the brackets of open and shut
	opSet         // args without order
	opUnion       // of args; opMeet and opMinus are beside it
	opMeet
	opMinus
	opMatrix // args are rows, which are opTuples
	opChain  // args with relations between them
)

// A node is a part of an answer.
type node struct {
	op        op
	args      []*node
	name      string
	value     *big.Rat
	decimal   bool     // the number was written with a decimal point
	base      string   // of a number with a subscript
	open      byte     // ( or [
	shut      byte     // ) or ]
	relations []string // of a chain: = < > <= >= !=
}

func number(v *big.Rat) *node { return &node{op: opNumber, value: v} }

func integer(v int64) *node { return number(new(big.Rat).SetInt64(v)) }

func name(s string) *node { return &node{op: opName, name: s} }

func apply(o op, args ...*node) *node { return &node{op: o, args: args} }

func call(name string, args ...*node) *node { return &node{op: opFunction, name: name, args: args} }

// isInteger reports whether n is a number without a decimal point that is whole.
func (n *node) isInteger() bool { return n.op == opNumber && !n.decimal && n.value.IsInt() }

// isDecimal reports whether n is a number with a decimal point, perhaps with a sign or a percent sign.
func (n *node) isDecimal() bool {
	for n.op == opNegative || n.op == opPercent {
		n = n.args[0]
	}
	return n.op == opNumber && n.decimal
}

// isWhole reports whether n is an integer, perhaps with a sign.
func (n *node) isWhole() bool {
	for n.op == opNegative {
		n = n.args[0]
	}
	return n.isInteger()
}

// isEquation reports whether n is one or more equations in a row: a = b = c.
func (n *node) isEquation() bool {
	if n.op != opChain {
		return false
	}
	for _, r := range n.relations {
		if r != "=" {
			return false
		}
	}
	return true
}

func (n *node) last() *node { return n.args[len(n.args)-1] }
