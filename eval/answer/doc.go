// Package answer reads the answer out of a model's response and judges whether two answers are the same.
//
// It is a leaf of the pure side: it imports nothing of ours and builds without cgo.
//
//	got, ok := answer.Extract(response)
//	right := ok && answer.Math.Equal(got, gold)
//
// # Two answers are the same
//
// A [Kind] says how: Letter and Word look at one word, Math at what a LaTeX answer means. Its rules are those that the
// math-verify library documents, tried in both directions; testdata/pairs.txt shows each with examples, and the oracle test
// compares all of them with the library itself. In short:
//
//   - Integers, fractions and roots are exact. Where one side is a decimal number and the other no integer, both are rounded to
//     six places, so 0.333333 is 1/3 and 0.33 is not.
//   - 50% is 1/2, and it is 50 as well, since people write either; 12.5% is 1/8 alone.
//   - Units, currencies and degrees at the end say nothing: 5 cm is 5 and 5 m.
//   - An equation counts as its right side, unless both sides are equations: x = 5 is 5 and is not y = 5.
//   - Sets and lists have no order, tuples have; an interval is its ends and their brackets; (1,2) may be either a tuple or an
//     open interval. x > 1 is (1,∞).
//   - Letters are variables, in either case, and e, i, π are numbers. Expressions are equal if they are equal for all values.
//   - What is not mathematics is compared as text, without case, spaces and \text.
//
// # How
//
// An answer becomes tokens, then a tree, then one of: a quotient of polynomials with rational coefficients over variables,
// constants and prime roots, compared exactly; or, where that form does not decide (sin, logarithms, nested roots, variable
// exponents), values at fixed points, compared to nine digits.
//
// # What is refused
//
// Every answer is taken for hostile: it comes from a model. Length, nesting, the size of numbers and the number of terms are
// limited, and a budget of steps bounds the work of a comparison whatever the strings. What exceeds a limit is compared as
// text, so the worst that a bad answer can be is wrong.
package answer
