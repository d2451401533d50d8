package plasticity_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// skips lists every place where a test may skip: how many there are in a file, and what runs there instead. A skip is a hole in
// `make test`, so each is named here with what closes it.
func skips() map[string]skip {
	const (
		oracle = "make oracle, in CI; a skip fails it"
		gpu    = "make gpu-check; a skip fails it"
	)
	return map[string]skip{
		"analyze/label/fetched_test.go":               {1, "PLASTICITY_FETCH=1, with registries of npm and Debian"},
		"analyze/rank/oracle_test.go":                 {1, oracle},
		"cmd/plasticity-worker/analyzeprobes_test.go": {1, oracle},
		"cmd/plasticity-worker/verifier_test.go":      {1, oracle},
		"eval/answer/oracle_test.go":                  {1, oracle},
		"eval/oracle_test.go":                         {1, oracle},
		"trainer/finetune_test.go":                    {1, oracle},
		"trainer/oracle_test.go":                      {1, oracle},
		"torch/torchtest/torchtest.go":                {1, gpu},
		"trainer/graph_test.go":                       {1, "CI, which has no GPU: it is about machines without one"},
		"trainer/graph_shape_test.go":                 {1, "CI, which has no GPU: it is about machines without one"},
		"cgo/border_test.go":                          {1, "CI, where make cuda comes first"},
		"cmd/plasticity/script_test.go":               {1, "Linux, and so CI: other systems have no death signal"},
		"plots/report_test.go":                        {1, "make test; the race detector and -short would spoil its times"},
		"plots/tuned_test.go":                         {1, "make test; the race detector and -short would spoil its times"},
		"trainer/learning_test.go":                    {1, "make learning, a quarter of an hour"},
		"analyze/rank/large_test.go":                  {1, "PLASTICITY_LARGE=1, which writes 3 GB"},
		"monitoring_test.go":                          {1, "make monitor-check, which gets Prometheus"},
		"monitoring_live_test.go":                     {1, "make monitor-check, which gets Prometheus"},
	}
}

// skip is how often a file skips, and where that runs.
type skip struct {
	Places int
	RunBy  string
}

func TestSkips_AreListed(t *testing.T) {
	found := make(map[string]skip)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || slices.Contains([]string{"build", "bundle", "runs", "reports"}, path)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") && filepath.Dir(path) != filepath.Join("torch", "torchtest") || filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) {
				at := found[filepath.ToSlash(path)]
				at.Places++
				found[filepath.ToSlash(path)] = at
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]skip)
	for path, s := range skips() {
		if s.RunBy == "" {
			t.Errorf("%s: nothing runs what it skips", path)
		}
		listed[path] = skip{Places: s.Places}
	}
	if diff := cmp.Diff(listed, found); diff != "" {
		t.Errorf("places that skip (-listed +found):\n%s", diff)
	}
}
