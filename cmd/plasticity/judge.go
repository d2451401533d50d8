package main

import "plasticity/eval/answer"

// judge is a metric.Judge of answers of a kind.
type judge struct{ answer.Kind }

// Extract returns the answer that a response gives, and whether it gives one.
func (judge) Extract(response string) (string, bool) { return answer.Extract(response) }

// ExtractTail is Extract on the end of a response.
func (judge) ExtractTail(response string) (string, bool) { return answer.ExtractTail(response) }
