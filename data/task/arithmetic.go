package task

import (
	"fmt"
	"strings"
)

// drawArithmetic draws a sum: level 1 of two numbers below 200, 2 of three below 100, 3 of four below 200. The response
// adds them one after the other, digit by digit.
func drawArithmetic(d dice, level int) problem {
	high := 199
	if level == 2 {
		high = 99
	}
	numbers := make([]int, level+1)
	for i := range numbers {
		numbers[i] = d.between(10, high)
	}
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	last := len(words) - 1
	var steps strings.Builder
	sum := numbers[0]
	for _, n := range numbers[1:] {
		steps.WriteString(addition(sum, n))
		sum += n
	}
	fmt.Fprintf(&steps, "The answer is %d.", sum)
	return problem{
		instruction: "Add " + strings.Join(words[:last], ", ") + " and " + words[last] + ".",
		response:    steps.String(), answer: fmt.Sprint(sum), content: sorted(words...),
	}
}

// addition works out a sum from the last digit on: "27+48: 7+8=15, carry 1, 2+4+1=7, so 75. ".
func addition(a, b int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d+%d: ", a, b)
	carry := 0
	for x, y := a, b; x > 0 || y > 0; x, y = x/10, y/10 {
		column := x%10 + y%10 + carry
		fmt.Fprintf(&s, "%d+%d", x%10, y%10)
		if carry > 0 {
			fmt.Fprintf(&s, "+%d", carry)
		}
		fmt.Fprintf(&s, "=%d, ", column)
		carry = column / 10
		if carry > 0 && (x >= 10 || y >= 10) {
			fmt.Fprintf(&s, "carry %d, ", carry)
		}
	}
	fmt.Fprintf(&s, "so %d. ", a+b)
	return s.String()
}
