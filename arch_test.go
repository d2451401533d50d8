package plasticity_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "plasticity"

// A rule says which packages of this module a package may import. Its tests may import, besides,
// the packages in testHelpers and what is in tests.
type rule struct {
	pkg     string
	imports []string
	tests   []string
}

// The table of docs/architecture.md. A package that is not in it, and a row without a package, both fail.
var (
	rules = []rule{
		{pkg: "record"},
		{pkg: "record/recordtest", imports: []string{"record"}},
		{pkg: "config", imports: []string{"record"}},
		{pkg: "eval/answer"},
		{pkg: "data", imports: []string{"record"}},
		{pkg: "data/task", imports: []string{"config", "data", "record"}},
		{pkg: "sweeps", imports: []string{"config", "data", "data/task", "record"}},
		{pkg: "plots", imports: []string{"config", "record"}},
		{pkg: "serve", imports: []string{"plots", "record"}},
		{pkg: "eval/metric", imports: []string{"record"}},
		{pkg: "model/source", imports: []string{"config", "data", "record", "torch/safetensors"}},
		{pkg: "analyze/rank", imports: []string{"config", "model/source", "record", "torch/safetensors"}},
		{pkg: "analyze/lowrank", imports: []string{"record"}},
		{pkg: "analyze/window", imports: []string{"data", "record"}},
		{pkg: "analyze/gap", imports: []string{"analyze/window", "data", "record"}},
		{pkg: "analyze/forgetting", imports: []string{"analyze/window", "record"}, tests: []string{"data"}},
		{pkg: "analyze/noise", imports: []string{"record"}},
		{pkg: "analyze/label", imports: []string{"data", "record"}},
		{pkg: "analyze/probe", imports: []string{"analyze/window", "eval/metric", "record"}},
		{pkg: "cmd/internal/request", imports: []string{"record"}},
		{
			pkg: "cmd/plasticity",
			imports: []string{
				"analyze/label", "analyze/noise", "analyze/probe", "analyze/rank", "cmd/internal/request", "config", "data", "data/task", "eval/answer",
				"eval/metric", "model/source", "plots", "record", "serve", "sweeps",
			},
			tests: []string{"torch/safetensors"},
		},

		{pkg: "cgo"},
		{pkg: "torch", imports: []string{"cgo", "record"}},
		{pkg: "torch/safetensors", imports: []string{"record"}},
		{pkg: "torch/torchtest", imports: []string{"torch"}},
		{pkg: "torch/nn", imports: []string{"torch", "record"}},
		{pkg: "torch/optim", imports: []string{"torch", "torch/nn", "record"}},
		{
			pkg:     "model",
			imports: []string{"model/source", "torch", "torch/nn", "torch/safetensors", "config", "data", "record"},
			tests:   []string{"torch/optim"},
		},
		{
			pkg:     "eval",
			imports: []string{"model", "torch", "torch/nn", "config", "data", "data/task", "eval/metric", "record"},
			tests:   []string{"torch/safetensors"},
		},
		{
			pkg: "trainer",
			imports: []string{
				"analyze/lowrank", "eval", "model", "torch", "torch/nn", "torch/optim", "torch/safetensors", "config", "data", "data/task", "record",
			},
		},
		{
			pkg: "cmd/plasticity-worker",
			imports: []string{
				"cmd/internal/request", "analyze/forgetting", "analyze/gap", "analyze/label", "analyze/noise", "analyze/probe", "analyze/window", "trainer", "eval", "eval/answer", "eval/metric", "model", "torch", "torch/nn", "torch/safetensors", "config",
				"data", "data/task", "record",
			},
		},
	}
	testHelpers = []string{"record/recordtest", "torch/torchtest"}
	// What must build and run without C, with everything under it.
	pure = []string{
		"analyze/forgetting", "analyze/gap", "analyze/label", "analyze/lowrank", "analyze/noise", "analyze/probe", "analyze/rank", "analyze/window", "cmd/plasticity", "config", "data", "data/task", "eval/answer", "eval/metric",
		"model/source", "plots", "record", "serve", "sweeps", "torch/safetensors",
	}
)

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Name, Doc, Dir         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// list asks `go list` for all packages of the module.
func list(t *testing.T, env ...string) map[string]listed {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(run(t, env, "go", "list", "-json", "./...")))
	packages := map[string]listed{}
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath != module { // the front page
			packages[strings.TrimPrefix(p.ImportPath, module+"/")] = p
		}
	}
}

func run(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &complaint)
	}
	return out
}

// ours keeps the packages of this module, without the module's name.
func ours(imports ...[]string) []string {
	var out []string
	for _, path := range slices.Concat(imports...) {
		if name, ok := strings.CutPrefix(path, module+"/"); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestImports_GoDown(t *testing.T) {
	packages := list(t)
	known := map[string]bool{}
	for _, rule := range rules {
		known[rule.pkg] = true
		p, ok := packages[rule.pkg]
		if !ok {
			t.Errorf("package %s is gone: correct the table here and in docs/architecture.md", rule.pkg)
			continue
		}
		for _, imported := range ours(p.Imports) {
			if !slices.Contains(rule.imports, imported) {
				t.Errorf("%s imports %s, which the table does not allow", rule.pkg, imported)
			}
		}
		allowed := slices.Concat(rule.imports, rule.tests, testHelpers, []string{rule.pkg})
		for _, imported := range ours(p.TestImports, p.XTestImports) {
			if !slices.Contains(allowed, imported) {
				t.Errorf("a test of %s imports %s, which the table does not allow", rule.pkg, imported)
			}
		}
	}
	for name := range packages {
		if !known[name] {
			t.Errorf("package %s is new: say in the table here and in docs/architecture.md what it may import", name)
		}
	}
}

func TestPureSide_BuildsWithoutC(t *testing.T) {
	packages := list(t, "CGO_ENABLED=0")
	native := []string{"C", "runtime/cgo", "cgo", "torch", "torch/nn", "torch/optim", "model", "trainer", "eval"}
	args := []string{"build"}
	for _, name := range pure {
		args = append(args, module+"/"+name)
		for _, dep := range packages[name].Deps {
			if slices.Contains(native, strings.TrimPrefix(dep, module+"/")) {
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
	run(t, []string{"CGO_ENABLED=0"}, "go", args...)
}

func TestViper_StaysInConfig(t *testing.T) {
	for name, p := range list(t) {
		if name != "config" && slices.Contains(p.Imports, "github.com/spf13/viper") {
			t.Errorf("%s imports viper: use config.Run", name)
		}
	}
}

func TestPackages_AreDocumented(t *testing.T) {
	for name, p := range list(t) {
		if p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" ") {
			t.Errorf("%s has no package comment that starts with %q", name, "Package "+p.Name)
		}
		if p.Name == "main" && p.Doc == "" {
			t.Errorf("%s has no package comment", name)
		}
	}
}

// A text that may stand only in some places.
type confined struct {
	what    *regexp.Regexp
	allowed func(path string) bool
	reason  string
}

func TestSources_KeepToTheirRooms(t *testing.T) {
	under := func(dirs ...string) func(string) bool {
		return func(path string) bool {
			return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(path, dir) })
		}
	}
	rules := []confined{
		{regexp.MustCompile(`(?m)^(import\s+|\s+)"C"$`), under("cgo/"), `import "C" is for package cgo`},
		{regexp.MustCompile(`(?m)^(import\s+|\s+)"unsafe"$`), under("cgo/", "data/map"), "unsafe is for package cgo"},
		{regexp.MustCompile(`\bos\.Exit\(`), under("cmd/"), "only a program ends its process"},
		{regexp.MustCompile(`\blog\.(Fatal|Panic|Print)`), under(), "return an error, or log to the slog.Logger passed in"},
		{regexp.MustCompile(`\bruntime\.(SetFinalizer|GC)\(`), under("cgo/", "torch/"), "memory is owned, not collected"},
		{regexp.MustCompile(`(?m)^func init\(\)`), under(), "no effects at import"},
		{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`), under(), "do it, or write it down in docs"},
	}
	for path, text := range sources(t) {
		for _, rule := range rules {
			if found := rule.what.FindString(text); found != "" && !rule.allowed(path) {
				t.Errorf("%s has %q: %s", path, strings.TrimSpace(found), rule.reason)
			}
		}
	}
}

// sources reads the Go files of the module, without tests.
func sources(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "bin", "build", "bundle", "runs", "tools"}, path) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		texts[filepath.ToSlash(path)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts) < 50 {
		t.Fatalf("only %d Go files found: does the test run in the module's root?", len(texts))
	}
	return texts
}
