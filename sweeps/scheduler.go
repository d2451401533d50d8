package sweeps

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"unicode/utf8"

	"plasticity/record"
)

// defaultTasks is how many machines a sweep asks a scheduler for when it is not told; they wait for a queue and may cost money.
const defaultTasks = 4

// tasksFor is how many tasks share so many cells, when so many are asked for; 0: the default.
func tasksFor(asked, cells int) int {
	if asked == 0 {
		asked = defaultTasks
	}
	return max(1, min(asked, cells))
}

// tool runs a program of a scheduler by its words, never through a shell, and gives what it prints. remedy says what to do where the
// program is missing.
func tool(ctx context.Context, remedy string, input []byte, name string, words ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, words...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaint
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", record.Fail(record.Failed, "%s is not on PATH: %s", name, remedy)
	case err != nil:
		return "", record.Fail(record.Failed, "%s: %w\n%s", name, err, strings.Join(lastLines(complaint.Bytes(), tailLines), "\n"))
	}
	return out.String(), nil
}

// checkWords refuses words that do not reach a task as they are.
func checkWords(words []string) error {
	for _, w := range words {
		if strings.ContainsAny(w, "\n\r\x00") || !utf8.ValidString(w) {
			return record.Fail(record.Usage, "%q cannot be handed to a scheduler: it has a line break or is not UTF-8; change it", w)
		}
	}
	return nil
}
