package answer_test

import (
	"fmt"
	"testing"

	"plasticity/eval/answer"
)

func TestKind_Words(t *testing.T) {
	for _, test := range []struct {
		kind answer.Kind
		a, b string
		want bool
	}{
		{answer.Letter, "B", "B", true},
		{answer.Letter, "b", "B", true},
		{answer.Letter, "(B)", "B", true},
		{answer.Letter, "B.", "B", true},
		{answer.Letter, "B) because it is so", "B", true},
		{answer.Letter, "( B )", "B", true},
		{answer.Letter, "**B**", "B", true},
		{answer.Letter, `\text{B}`, "B", true},
		{answer.Letter, `\text{(J)}`, "j", true},
		{answer.Letter, "A", "B", false},
		{answer.Letter, "K", "K", false},
		{answer.Letter, "Because", "B", false},
		{answer.Letter, "AB", "AB", false},
		{answer.Letter, "", "", false},
		{answer.Word, "yes", "Yes.", true},
		{answer.Word, "Yes, because", "yes", true},
		{answer.Word, "maybe", "MAYBE", true},
		{answer.Word, "\"no\"", "no", true},
		{answer.Word, "yes", "no", false},
		{answer.Word, "yes no", "no", false},
		{answer.Word, "nope", "no", false},
		{answer.Word, "", "", false},
		{answer.Word, "...", "...", false},
		{answer.Math, "", "", false},
		{answer.Math, "  ", "  ", false},
		{answer.Kind(7), "5", "5", false},
	} {
		if got := test.kind.Equal(test.a, test.b); got != test.want {
			t.Errorf("%v: Equal(%q, %q) is %v", test.kind, test.a, test.b, got)
		}
		if got := test.kind.Equal(test.b, test.a); got != test.want {
			t.Errorf("%v: Equal(%q, %q) is %v", test.kind, test.b, test.a, got)
		}
	}
}

func TestParseKind(t *testing.T) {
	for _, kind := range []answer.Kind{answer.Math, answer.Letter, answer.Word} {
		if got, err := answer.ParseKind(kind.String()); err != nil || got != kind {
			t.Errorf("ParseKind(%q) = %v, %v", kind, got, err)
		}
	}
	_, err := answer.ParseKind("number")
	if want := `kind of answers "number": want math, letter or word`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func Example() {
	response := `Half of the cake is left, so the answer is $\boxed{\frac{1}{2}}$.`
	got, ok := answer.Extract(response)
	fmt.Println(got, ok)
	fmt.Println(answer.Math.Equal(got, "0.5"), answer.Math.Equal(got, `50\%`), answer.Math.Equal(got, `\frac{1}{3}`))
	// Output:
	// \frac{1}{2} true
	// true true false
}
