package sweeps

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"plasticity/record"
)

const podYAML = `# ours
metadata:
  annotations: {on: "yes"}
spec:
  containers:
    - name: main
      image: registry/plasticity:1
      resources: {limits: {cpu: 8, nvidia.com/gpu: "1"}}
      volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, persistentVolumeClaim: {claimName: shared}}]
`

func podOptions(template string) KubernetesOptions {
	return KubernetesOptions{
		Grid: "Weights_1.5-laptop", Root: "runs", Cells: 24, Pods: 8, Arguments: []string{"sweep", "run", "--grid=g.yaml"}, Dir: "/shared/work",
		Command: "plasticity", Template: []byte(template), File: "pod.yaml",
	}
}

func TestKubernetesManifest(t *testing.T) {
	got, err := KubernetesManifest(podOptions(podYAML))
	if err != nil {
		t.Fatal(err)
	}
	want := `apiVersion: batch/v1
kind: Job
metadata:
  name: plasticity-weights-1-5-laptop-b3bf4761
spec:
  completionMode: Indexed
  completions: 8
  parallelism: 8
  backoffLimitPerIndex: 3
  podFailurePolicy:
    rules:
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
      - action: Ignore
        onExitCodes:
          operator: In
          values:
            - 75
      - action: FailIndex
        onExitCodes:
          operator: In
          values:
            - 1
            - 64
            - 65
            - 76
            - 77
            - 78
  template:
    # ours
    metadata:
      annotations: {on: "yes"}
    spec:
      containers:
        - name: main
          image: registry/plasticity:1
          resources: {limits: {cpu: 8, nvidia.com/gpu: "1"}}
          volumeMounts: [{name: shared, mountPath: /shared}]
          command:
            - plasticity
          args:
            - sweep
            - run
            - --grid=g.yaml
          workingDir: /shared/work
      volumes: [{name: shared, persistentVolumeClaim: {claimName: shared}}]
      restartPolicy: Never
      terminationGracePeriodSeconds: 90
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// What the template says of its own stays.
func TestKubernetesManifest_TemplateGoesFirst(t *testing.T) {
	got, err := KubernetesManifest(podOptions(`spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 20
  containers: [{name: main, command: [/opt/plasticity], workingDir: /w, env: []}]
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"terminationGracePeriodSeconds: 20\n", "command: [/opt/plasticity]", "workingDir: /w"} {
		if !strings.Contains(string(got), want) || strings.Count(string(got), want[:10]) != 1 {
			t.Errorf("no %q, or more, in\n%s", want, got)
		}
	}
}

func TestKubernetesManifest_WordsArriveAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := podOptions(podYAML)
		o.Dir = "/" + hostile(t, "folder", "")
		o.Arguments = []string{"sweep", hostile(t, "word", ""), rapid.SampledFrom([]string{"", "yes", "null", "~", "1e3", "0x1F", "012", "1:30", "<<", "- a", "# a", "a: b"}).Draw(t, "tricky")}
		o.Env = []string{"PLASTICITY_A=" + hostile(t, "value", "") + "=", "PLASTICITY_B=1e-3"}
		text, err := KubernetesManifest(o)
		if err != nil {
			t.Fatal(err)
		}
		type variable struct{ Name, Value string }
		type container struct {
			Args       []string
			WorkingDir string `yaml:"workingDir"`
			Env        []variable
		}
		var got struct {
			Spec struct {
				Template struct {
					Spec struct{ Containers []container }
				}
			}
		}
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		_, value, _ := strings.Cut(o.Env[0], "=")
		want := []container{{o.Arguments, o.Dir, []variable{{"PLASTICITY_A", value}, {"PLASTICITY_B", "1e-3"}}}}
		if diff := cmp.Diff(want, got.Spec.Template.Spec.Containers); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestKubernetesManifest_Refuses(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"", "no YAML"},
		{"{", "no YAML"},
		{"a: b", "has no spec"},
		{"[]", "has no spec"},
		{"apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}", "line 1: apiVersion: want a PodTemplateSpec"},
		{"spec: {containers: [{name: a}]}\n---\nspec: {}", "more than one document"},
		{"spec: {}", "want one container"},
		{"spec: {containers: [{name: a}, {name: b}]}", "want one container"},
		{"spec: {containers: [a]}", "want one container"},
		{"spec: {restartPolicy: OnFailure, containers: [{name: a}]}", "restartPolicy OnFailure: leave it out"},
		{"spec: {containers: [{name: a, args: [b]}]}", "has args: leave them out"},
		{"spec: {containers: [{name: a, env: {}}]}", "env is not a list"},
	} {
		o := podOptions(c.template)
		o.Env = []string{"PLASTICITY_SEED=1"}
		_, err := KubernetesManifest(o)
		if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "--pod-template pod.yaml: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want a word on %q", c.template, err, c.want)
		}
	}
	o := podOptions(podYAML)
	o.Arguments = append(o.Arguments, "--set=a\nb")
	if _, err := KubernetesManifest(o); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "line break") {
		t.Error(err)
	}
}

func TestJobName(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	rapid.Check(t, func(t *rapid.T) {
		grid := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._=-]{0,63}`).Draw(t, "grid")
		name := jobName(grid, "runs")
		if host := name + "-4095"; !valid.MatchString(host) || len(host) > 63 {
			t.Fatalf("%q is no name of a host", host)
		}
		if name == jobName(grid, "other") || name == jobName(grid+"x", "runs") {
			t.Fatalf("%q is the name of two", name)
		}
	})
}

func TestCreateKubernetesJob(t *testing.T) {
	dir := stubs(t, map[string]string{"kubectl": keepWords("kubectl") + `
cat >"$STUBS/manifest"
[ ! -e "$STUBS/there" ] || { echo 'Error from server (AlreadyExists): error when creating "STDIN": jobs.batch "a" already exists' >&2; exit 1; }
echo job.batch/a`})
	name, err := CreateKubernetesJob(context.Background(), []byte("kind: Job\n"))
	if err != nil || name != "job.batch/a" {
		t.Errorf("%q %v", name, err)
	}
	if diff := cmp.Diff([]string{"create", "--filename=-", "--output=name"}, words(t, dir, "kubectl")); diff != "" {
		t.Errorf("kubectl (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "manifest")); err != nil || string(text) != "kind: Job\n" {
		t.Errorf("the manifest is %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateKubernetesJob(context.Background(), nil); record.CodeOf(err) != record.NotPermitted || !strings.Contains(err.Error(), "has a Job already") {
		t.Error(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := CreateKubernetesJob(context.Background(), nil); record.CodeOf(err) != record.Failed || !strings.Contains(err.Error(), "kubectl is not on PATH: install it, or print the manifest with --dry-run") {
		t.Error(err)
	}
}
