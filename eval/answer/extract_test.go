package answer_test

import (
	"strings"
	"testing"
	"time"

	"plasticity/eval/answer"
)

func TestExtract(t *testing.T) {
	for _, test := range []struct{ name, response, want string }{
		{"box", `So \boxed{5}.`, "5"},
		{"fbox", `So \fbox{5}.`, "5"},
		{"box with space", `So \boxed {5}.`, "5"},
		{"box without braces", `So \boxed 5.`, "5"},
		{"box without braces in dollars", `So $\boxed 5$ it is`, "5"},
		{"last box", `\boxed{1} and then \boxed{2}`, "2"},
		{"braces in a box", `\boxed{\frac{1}{2}}`, `\frac{1}{2}`},
		{"escaped braces in a box", `\boxed{\{1,2\}}`, `\{1,2\}`},
		{"a lone escaped brace", `\boxed{\left\{x}`, `\left\{x`},
		{"spaces in a box", `\boxed{ 5 }`, "5"},
		{"a box in a box", `\boxed{x=\fbox{5}}`, "5"},
		{"box before phrase", `\boxed{5}. The answer is 6.`, "5"},
		{"an unclosed box after a closed one", `\boxed{5} \boxed{6`, "5"},
		{"only an unclosed box", `\boxed{6`, ""},
		{"an unclosed box and the phrase", `\boxed{6 so the answer is 7.`, "7"},
		{"an empty box", `\boxed{}`, ""},
		{"an empty box after a full one", `\boxed{5}\boxed{}`, "5"},
		{"another command", `\boxedtext{5}`, ""},
		{"unbalanced braces before", `}}} {{ \boxed{5}`, "5"},

		{"phrase", "The answer is 5", "5"},
		{"phrase in capitals", "THE ANSWER IS 5", "5"},
		{"final period", "The answer is 5.", "5"},
		{"text after it", "The answer is 3.5. Then we stop.", "3.5"},
		{"decimals", "The answer is 3.5", "3.5"},
		{"no other words", "The answer: 5", ""},
		{"last phrase", "The answer is 1. No, the answer is 2.", "2"},
		{"colon", "The answer is: 5", "5"},
		{"last colon", "The answer is as follows: x: 5", "5"},
		{"a colon in the next sentence", "The answer is 5. Note: this is easy.", "5"},
		{"next line", "The answer is 5\nHuman: more", "5"},
		{"answer in the next line", "The answer is:\n\n 5\n", "5"},
		{"answer in the next line without a colon", "The answer is\n5", "5"},
		{"period in braces", `The answer is \text{a. b}. Then`, `\text{a. b}`},
		{"Markdown", "**The answer is 5.**", "5"},
		{"Markdown around it", "The answer is **B**.", "B"},
		{"nothing after it", "The answer is", ""},
		{"nothing but spaces", "The answer is   \n\n", ""},
		{"label", "Therefore, the answer is yes.", "yes"},
		{"option", "The answer is (B).", "(B)"},
		{"no answer", "I do not know.", ""},
		{"empty", "", ""},
	} {
		got, ok := answer.Extract(test.response)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: Extract(%q) = %q, %v; want %q", test.name, test.response, got, ok, test.want)
		}
	}
}

func TestExtractTail(t *testing.T) {
	far := strings.Repeat("é", 128)
	for _, test := range []struct{ name, response, want string }{
		{"short", `\boxed{5}`, "5"},
		{"at the end", far + ` the answer is 5.`, "5"},
		{"too far", `\boxed{5}` + far, ""},
		{"just near enough", `\boxed{5}` + far[:2*119], "5"},
		{"cut in the command", `\boxed{5}` + far[:2*120], ""},
		{"not UTF-8", strings.Repeat("\xff", 1000) + `\boxed{5}`, "5"},
	} {
		got, ok := answer.ExtractTail(test.response)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("%s: got %q, %v; want %q", test.name, got, ok, test.want)
		}
	}
}

// Long responses cost their length, whatever is in them.
func TestExtract_Long(t *testing.T) {
	start := time.Now()
	for _, piece := range []string{`\boxed{`, `}`, `\boxed `, "answer is", "answer is:\n", `\`, `{`, "a. ", `\boxed{1}`} {
		response := strings.Repeat(piece, 1<<20/len(piece))
		answer.Extract(response)
		answer.ExtractTail(response)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("nine megabytes took %v", d)
	}
}
