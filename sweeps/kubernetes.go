package sweeps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

const (
	// podRetries is how often a pod is started again after a failure that may pass: a lost device, memory, a disk.
	podRetries = 3
	// podGrace is how many seconds a pod has to stop where its template does not say: members have 60 to save, see Options.Grace.
	podGrace = 90
)

// KubernetesOptions says what a Job runs.
type KubernetesOptions struct {
	// Grid and Root are the name of the grid and the folder of the runs; the name of the Job follows from them, so that a sweep has one Job.
	Grid, Root string
	// Cells is how many there are, Pods how many share them; 0: 4, and never more than there are cells.
	Cells, Pods int
	// Arguments are those of plasticity: `sweep run --executor=local`.
	Arguments []string
	// Dir is the folder that pods run in, and Command the program, where the template has none.
	Dir, Command string
	// Env are variables that the configuration is read from, as of os.Environ.
	Env []string
	// Template is a PodTemplateSpec of one container, in YAML, and File where it comes from.
	Template []byte
	File     string
}

type (
	kubernetesJob struct {
		APIVersion string             `yaml:"apiVersion"`
		Kind       string             `yaml:"kind"`
		Metadata   kubernetesMetadata `yaml:"metadata"`
		Spec       kubernetesSpec     `yaml:"spec"`
	}
	kubernetesMetadata struct {
		Name string `yaml:"name"`
	}
	kubernetesSpec struct {
		CompletionMode       string        `yaml:"completionMode"`
		Completions          int           `yaml:"completions"`
		Parallelism          int           `yaml:"parallelism"`
		BackoffLimitPerIndex int           `yaml:"backoffLimitPerIndex"`
		PodFailurePolicy     failurePolicy `yaml:"podFailurePolicy"`
		Template             *yaml.Node    `yaml:"template"`
	}
	failurePolicy struct {
		Rules []failureRule `yaml:"rules"`
	}
	failureRule struct {
		Action          string         `yaml:"action"`
		OnPodConditions []podCondition `yaml:"onPodConditions,omitempty"`
		OnExitCodes     *exitCodes     `yaml:"onExitCodes,omitempty"`
	}
	podCondition struct {
		Type string `yaml:"type"`
	}
	exitCodes struct {
		Operator string        `yaml:"operator"`
		Values   []record.Code `yaml:"values"`
	}
)

// KubernetesManifest is a Job whose pods share the cells of a grid as any runners do. A pod that was stopped (exit code 75) or whose node went away is
// replaced, however often; one that ended in a way that would come again is not; the others are, podRetries times.
func KubernetesManifest(o KubernetesOptions) ([]byte, error) {
	if err := checkWords(slices.Concat(o.Arguments, o.Env, []string{o.Dir})); err != nil {
		return nil, err
	}
	template, err := podTemplate(o)
	if err != nil {
		return nil, record.Fail(record.Usage, "--pod-template %s: %w", o.File, err)
	}
	pods := tasksFor(o.Pods, o.Cells)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err = errors.Join(encoder.Encode(kubernetesJob{
		APIVersion: "batch/v1", Kind: "Job", Metadata: kubernetesMetadata{Name: jobName(o.Grid, o.Root)},
		Spec: kubernetesSpec{
			CompletionMode: "Indexed", Completions: pods, Parallelism: pods, BackoffLimitPerIndex: podRetries,
			PodFailurePolicy: podFailures(), Template: template,
		},
	}), encoder.Close())
	return out.Bytes(), err
}

// podFailures is the policy of the local executor for members, told to Kubernetes for pods.
func podFailures() failurePolicy {
	final := []record.Code{record.Failed} // cells have failed, and no pod tries them again
	for _, rule := range Rules() {
		if rule.Action == Abandon {
			final = append(final, rule.Code)
		}
	}
	slices.Sort(final)
	return failurePolicy{[]failureRule{
		{Action: "Ignore", OnPodConditions: []podCondition{{"DisruptionTarget"}}},
		{Action: "Ignore", OnExitCodes: &exitCodes{"In", []record.Code{record.Stopped}}},
		{Action: "FailIndex", OnExitCodes: &exitCodes{"In", final}},
	}}
}

// jobName makes of a grid a name that Kubernetes takes for a Job and, with a number, for the host of a pod: 63 characters of a–z, 0–9 and -.
func jobName(grid, root string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(grid))
	sum := sha256.Sum256([]byte(root + "\x00" + grid))
	return "plasticity-" + safe[:min(len(safe), 35)] + "-" + hex.EncodeToString(sum[:4])
}

// podTemplate puts the command into the template of the user, who owns the rest: image, volumes, resources. The text is kept as it is otherwise.
func podTemplate(o KubernetesOptions) (*yaml.Node, error) {
	template, err := parseTemplate(o.Template)
	if err != nil {
		return nil, err
	}
	spec := value(template, "spec")
	container, err := onlyContainer(spec)
	if err != nil {
		return nil, err
	}
	if policy := value(spec, "restartPolicy"); policy != nil && policy.Value != "Never" {
		return nil, fmt.Errorf("line %d: restartPolicy %s: leave it out, the Job replaces pods", policy.Line, policy.Value)
	}
	if args := value(container, "args"); args != nil {
		return nil, fmt.Errorf("line %d: the container has args: leave them out, the sweep gives its own; a container's command, if it has one, is plasticity", args.Line)
	}
	return template, errors.Join(
		unlessSet(spec, "restartPolicy", "Never"), unlessSet(spec, "terminationGracePeriodSeconds", podGrace),
		unlessSet(container, "command", []string{o.Command}), unlessSet(container, "args", o.Arguments), unlessSet(container, "workingDir", o.Dir),
		addEnv(container, o.Env),
	)
}

// parseTemplate reads one document with a spec and, maybe, metadata.
func parseTemplate(text []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("no YAML: %w", err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("has more than one document, or a broken one: want one PodTemplateSpec")
	}
	top := document.Content[0]
	if value(top, "spec") == nil {
		return nil, errors.New("has no spec: want a PodTemplateSpec, the metadata and spec of a pod")
	}
	for i := 0; i < len(top.Content); i += 2 {
		if key := top.Content[i]; key.Value != "metadata" && key.Value != "spec" {
			return nil, fmt.Errorf("line %d: %s: want a PodTemplateSpec, which has metadata and spec only", key.Line, key.Value)
		}
	}
	return top, nil
}

// onlyContainer is the one container of a pod.
func onlyContainer(spec *yaml.Node) (*yaml.Node, error) {
	list := value(spec, "containers")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) != 1 || list.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("spec.containers: want one container, the one that runs plasticity")
	}
	return list.Content[0], nil
}

// value is what a mapping has under a key; nil: nothing.
func value(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// unlessSet gives a key of a mapping a value where it has none.
func unlessSet(mapping *yaml.Node, key string, to any) error {
	if value(mapping, key) != nil {
		return nil
	}
	var k, v yaml.Node
	err := errors.Join(k.Encode(key), v.Encode(to))
	mapping.Content = append(mapping.Content, &k, &v)
	return err
}

// addEnv appends variables to those of a container.
func addEnv(container *yaml.Node, env []string) error {
	if len(env) == 0 {
		return nil
	}
	if err := unlessSet(container, "env", []string{}); err != nil {
		return err
	}
	list := value(container, "env")
	if list.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: env is not a list", list.Line)
	}
	list.Style = 0 // an empty list is written in brackets
	for _, entry := range env {
		name, text, _ := strings.Cut(entry, "=")
		var v yaml.Node
		if err := v.Encode(struct{ Name, Value string }{name, text}); err != nil {
			return err
		}
		list.Content = append(list.Content, &v)
	}
	return nil
}

// CreateKubernetesJob hands a manifest to kubectl, in the namespace of its present context, and gives the name of what it made. A Job that is
// there already is refused (record.NotPermitted).
func CreateKubernetesJob(ctx context.Context, manifest []byte) (string, error) {
	out, err := tool(ctx, "install it, or print the manifest with --dry-run", manifest, "kubectl", "create", "--filename=-", "--output=name")
	if err != nil && strings.Contains(err.Error(), "AlreadyExists") {
		return "", record.Fail(record.NotPermitted, "the sweep has a Job already: wait for it, or take it away first (`kubectl delete job`, which lets its pods save and stop): %w", err)
	}
	return strings.TrimSpace(out), err
}
