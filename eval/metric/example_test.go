package metric_test

import (
	"fmt"
	"strings"

	"plasticity/eval/metric"
)

// From a file of responses to its metrics.
func Example() {
	const file = `{"id":"q1","problem":"1 + 1?","answer":"2","responses":["so =2","=3","=2"],"greedy":"=2"}
{"id":"q2","problem":"2 + 3?","answer":"5","responses":["=6","=5","I give up"],"greedy":"=4"}`

	scorer := metric.NewScorer(fakeJudge{}, 1)
	for problem, err := range metric.Read(strings.NewReader(file), "responses.jsonl", nil) {
		if err == nil {
			err = scorer.Add(problem)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	result, err := scorer.Result()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range result.Estimates {
		fmt.Printf("%-13s %.2f [%.2f, %.2f]\n", e.Name, e.Value, e.CI95[0], e.CI95[1])
	}
	// Output:
	// greedy        0.50 [0.09, 0.91]
	// maj@3         0.50 [0.09, 0.91]
	// pass@3        1.00 [0.34, 1.00]
	// correct_ratio 0.50 [0.33, 0.67]
}
