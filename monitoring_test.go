package plasticity_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

// board is what the tests need of a Grafana dashboard.
type board struct {
	UID, Title  string
	Panels      []panel
	Annotations struct {
		List []struct {
			Datasource source
			Target     query
		}
	}
	Templating struct {
		List []struct {
			Name       string
			Datasource source
			Query      struct{ Query string }
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               source
	Targets                  []query
}

type source struct{ Type, UID string }

type query struct{ RefID, Expr string }

// ruleFile is monitoring/alerts.yml.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

func boards(t *testing.T) map[string]board {
	t.Helper()
	files, err := filepath.Glob("monitoring/grafana/dashboards/*.json")
	if err != nil || len(files) != 2 {
		t.Fatalf("dashboards %v, %v: want two", files, err)
	}
	out := map[string]board{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[file] = b
	}
	return out
}

func readYAML(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// expressions are all that Prometheus will be asked, by where it stands.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for file, b := range boards(t) {
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				out[file+": "+p.Title+" "+q.RefID] = q.Expr
			}
		}
		for _, a := range b.Annotations.List {
			out[file+": annotations"] = a.Target.Expr
		}
		for _, v := range b.Templating.List {
			metric, _, _ := strings.Cut(strings.TrimPrefix(v.Query.Query, "label_values("), ",")
			out[file+": $"+v.Name] = metric
		}
	}
	var rules ruleFile
	readYAML(t, "monitoring/alerts.yml", &rules)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			out["alert "+r.Alert] = r.Expr
		}
	}
	return out
}

// exposed lists the metrics of our programs, as the tests of trainer and sweeps found them at their ports, and their labels;
// Prometheus' own are among them.
func exposed(t *testing.T) (metrics, labels map[string]bool) {
	t.Helper()
	metrics = map[string]bool{"up": true, "ALERTS": true}
	labels = map[string]bool{"job": true, "instance": true, "run_id": true, "grid": true, "le": true, "alertstate": true}
	for _, file := range []string{"monitoring/metrics-run.txt", "monitoring/metrics-gpu.txt", "monitoring/metrics-sweep.txt"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			metrics[words[0]] = true
			if words[1] == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					metrics[words[0]+suffix] = true
				}
			}
			for _, label := range strings.Split(strings.Trim(words[2], "{}"), ",") {
				labels[label] = true
			}
		}
	}
	return metrics, labels
}

var (
	selector  = regexp.MustCompile(`\{([^}]*)\}`)
	matcher   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	duration  = regexp.MustCompile(`\[[^\]]*\]|\boffset\s+\w+`)
	called    = regexp.MustCompile(`\b[a-z_]+\s*\(`)
	operators = regexp.MustCompile(`\b(?:and|or|unless|bool|Inf|NaN|by|on)\b`)
	name      = regexp.MustCompile(`\b[a-zA-Z_:][\w:]*`)
)

// unknown lists the metrics and labels of a PromQL expression that nobody exposes, and states and exit codes that there are not.
func unknown(expr string, metrics, labels map[string]bool) []string {
	var bad []string
	check := func(what string, known map[string]bool) {
		if what = strings.TrimSpace(what); what != "" && !known[what] {
			bad = append(bad, what)
		}
	}
	states, codes := map[string]bool{}, map[string]bool{}
	for _, s := range []record.State{record.StateDone, record.StateRunning, record.StateStopped, record.StatePlanned, record.StateFailed} {
		states[string(s)] = true
	}
	for _, c := range record.Codes() {
		codes[strconv.Itoa(int(c))] = true
	}
	for _, block := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(block[1], -1) {
			check(m[1], labels)
			if known, ok := map[string]map[string]bool{"state": states, "code": codes}[m[1]]; ok {
				for _, value := range strings.Split(m[2], "|") {
					check(value, known)
				}
			}
		}
	}
	expr = selector.ReplaceAllString(expr, "")
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(g[1], ",") {
			check(label, labels)
		}
	}
	for _, gone := range []*regexp.Regexp{grouping, duration, operators, called} {
		expr = gone.ReplaceAllString(expr, " ")
	}
	for _, word := range name.FindAllString(expr, -1) {
		check(word, metrics)
	}
	return bad
}

func TestMonitoring_AsksForWhatIsExposed(t *testing.T) {
	metrics, labels := exposed(t)
	for where, expr := range expressions(t) {
		if bad := unknown(expr, metrics, labels); len(bad) > 0 || expr == "" {
			t.Errorf("%s: nobody exposes %v:\n%s", where, bad, expr)
		}
	}
	for expr, want := range map[string]int{
		`plasticity_loss_nats and on (instance) plasticity_run_info{run_id="x"}`: 0,
		`rate(plasticity_steps_total[5m] offset 15m) > 2e9`:                      0,
		`plasticity_losses`: 1, `up{task="x"} or up{sample="x"}`: 1, `sum by (state, colour) (up)`: 1,
		`plasticity_sweep_runs{state=~"done|ended"}`: 1, `plasticity_sweep_ends_total{code!="2"}`: 1, `up offset 5m + down`: 1,
	} {
		if bad := unknown(expr, metrics, labels); len(bad) != want {
			t.Errorf("%s: found %v, want %d", expr, bad, want)
		}
	}
}

// Panels have names of their own and do not lie upon each other; everything asks the data source that is provisioned.
func TestMonitoring_DashboardsAreWhole(t *testing.T) {
	var provisioned struct {
		Datasources []struct{ Type, UID string }
	}
	readYAML(t, "monitoring/grafana/provisioning/datasources/prometheus.yml", &provisioned)
	want := source{provisioned.Datasources[0].Type, provisioned.Datasources[0].UID}
	uids := map[string]bool{}
	for file, b := range boards(t) {
		if b.UID == "" || uids[b.UID] || b.Title == "" {
			t.Errorf("%s: uid %q, title %q", file, b.UID, b.Title)
		}
		uids[b.UID] = true
		sources := []source{}
		ids, taken := map[int]bool{}, map[[2]int]string{}
		for _, p := range b.Panels {
			sources = append(sources, p.Datasource)
			g := p.GridPos
			if ids[p.ID] || p.Title == "" || p.Type == "" || len(p.Targets) == 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s: panel %d %q of type %q, %d queries, at %+v", file, p.ID, p.Title, p.Type, len(p.Targets), g)
			}
			ids[p.ID] = true
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, there := taken[[2]int{x, y}]; there {
						t.Fatalf("%s: %q lies upon %q", file, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || q.RefID == "" {
					t.Errorf("%s: %q has two queries %q", file, p.Title, q.RefID)
				}
				refs[q.RefID] = true
			}
		}
		for _, a := range b.Annotations.List {
			sources = append(sources, a.Datasource)
		}
		for _, v := range b.Templating.List {
			sources = append(sources, v.Datasource)
		}
		for _, s := range sources {
			if s != want {
				t.Errorf("%s asks %+v, provisioned is %+v", file, s, want)
			}
		}
	}
}

// Each alert says what is wrong and how bad it is, and has a planted fault that it finds and a case that it leaves alone.
func TestMonitoring_AlertsAreComplete(t *testing.T) {
	var rules ruleFile
	readYAML(t, "monitoring/alerts.yml", &rules)
	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "monitoring/alerts_test.yml", &tests)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				fires[c.Alertname] = true
			} else {
				silent[c.Alertname] = true
			}
		}
	}
	alerts := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			alerts[r.Alert] = true
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
				t.Errorf("alert %s: severity %q, %v", r.Alert, r.Labels["severity"], r.Annotations)
			}
		}
	}
	if !maps.Equal(alerts, fires) || !maps.Equal(alerts, silent) {
		t.Errorf("alerts %v, found in tests %v, left alone in %v", alerts, fires, silent)
	}
}

func TestMonitoring_Promtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed, so config, rules and their tests were not run: apt install prometheus, or make monitor-check")
	}
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(tool, args...)
		cmd.Dir = "monitoring"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
