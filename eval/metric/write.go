package metric

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"plasticity/record"
)

// ResultsFile is the name of the file of results in its folder.
const ResultsFile = "results.json"

// SamplesFile is the name of the file with the samples of a task.
func SamplesFile(task string) string { return "samples_" + task + ".jsonl" }

// taskVersion is what results.json has in "versions". It goes up when the same responses would get other values of metrics.
const taskVersion = 1

// Report is what results.json says: the scores of a model on some tasks.
type Report struct {
	// Model says whose responses they are.
	Model string
	Tasks []Task
}

// Task is the score on a task.
type Task struct {
	Name string
	// Config says how the responses were made and judged: a struct or map, for the record.
	Config any
	Result Result
}

// Write writes results.json, in the shape of the lm-evaluation-harness, and the samples of each task into dir, which it
// makes. Each file appears whole or not at all, results.json last, so where it is everything is. Equal reports make equal
// bytes; unchanged is true when they are all there already. Another result in the folder is not replaced: the error is
// NotPermitted.
func Write(fsys record.FS, dir string, r Report) (unchanged bool, err error) {
	files, err := r.files()
	if err != nil {
		return false, err
	}
	return record.WriteResult(fsys, dir, files...)
}

// files returns the files of a report, results.json last.
func (r *Report) files() ([]record.ResultFile, error) {
	files := make([]record.ResultFile, 0, len(r.Tasks)+1)
	hashes := make([]string, len(r.Tasks))
	for i, t := range r.Tasks {
		if err := record.CheckName("task", t.Name); err != nil {
			return nil, err
		}
		data, err := t.Result.samples()
		if err != nil {
			return nil, err
		}
		hashes[i] = digest(data)
		files = append(files, record.ResultFile{Name: SamplesFile(t.Name), Data: data})
	}
	var b bytes.Buffer
	if err := encoder(&b, "  ").Encode(r.document(hashes)); err != nil {
		return nil, record.Fail(record.Internal, "write %s: %w", ResultsFile, err)
	}
	return append(files, record.ResultFile{Name: ResultsFile, Data: b.Bytes()}), nil
}

// digest is the SHA-256.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// encoder writes JSON in which < and & stand as they are.
func encoder(to io.Writer, indent string) *json.Encoder {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc
}

// samples returns a line of JSON for each problem.
func (r *Result) samples() ([]byte, error) {
	var b bytes.Buffer
	enc := encoder(&b, "")
	for i := range r.Samples {
		if err := enc.Encode(&r.Samples[i]); err != nil {
			return nil, record.Fail(record.Internal, "write samples: %w", err)
		}
	}
	return b.Bytes(), nil
}

// document is the content of results.json. The names are those of the lm-evaluation-harness, but for the metrics, which
// have no filter behind a comma and intervals instead of standard errors, and for task_hashes, which are those of the
// files of samples.
func (r *Report) document(hashes []string) object {
	var results, subtasks, configs, versions, higher, counts, sums object
	var seed int64
	for i, t := range r.Tasks {
		seed = t.Result.Seed
		better := make(object, 0, len(t.Result.Estimates))
		for _, e := range t.Result.Estimates {
			better = append(better, member{e.Name, e.HigherIsBetter})
		}
		results = append(results, member{t.Name, t})
		subtasks = append(subtasks, member{t.Name, []string{}})
		configs = append(configs, member{t.Name, t.Config})
		versions = append(versions, member{t.Name, taskVersion})
		higher = append(higher, member{t.Name, better})
		counts = append(counts, member{t.Name, object{{"original", t.Result.Problems}, {"effective", t.Result.Problems}}})
		sums = append(sums, member{t.Name, hashes[i]})
	}
	return object{
		{"results", results},
		{"group_subtasks", subtasks},
		{"configs", configs},
		{"versions", versions},
		{"n-shot", object{}},
		{"higher_is_better", higher},
		{"n-samples", counts},
		{"config", object{{"model", r.Model}, {"bootstrap_iters", resamples}, {"random_seed", seed}}},
		{"task_hashes", sums},
	}
}

// MarshalJSON returns the entry of the task in results.json: its metrics, each with its interval, the number of problems
// and of responses to each.
func (t Task) MarshalJSON() ([]byte, error) {
	entry := object{{"alias", t.Name}}
	for _, e := range t.Result.Estimates {
		entry = append(entry, member{e.Name, e.Value}, member{e.Name + "_ci95", e.CI95})
	}
	return json.Marshal(append(entry, member{"n", t.Result.Problems}, member{"samples", t.Result.Responses}))
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON returns the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := encoder(&b, "")
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
