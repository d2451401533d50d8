package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

// The states of a finding.
const (
	stateOK      = "ok"
	stateNote    = "note"    // good to know, nothing to do
	stateWarning = "warning" // works, but not as well as it could
	stateMissing = "missing" // nothing works until it is there
)

// finding is one line of what doctor found.
type finding struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok | note | warning | missing
	Value  string `json:"value"`
	Remedy string `json:"remedy,omitempty"`
}

// diagnosis is what `doctor --json` prints.
type diagnosis struct {
	OK       bool             `json:"ok"`
	Version  string           `json:"version"`
	Findings []finding        `json:"findings"`
	Native   *request.Machine `json:"native,omitempty"`
}

func newDoctor(a *app) *cobra.Command {
	var asJSON, products bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what is installed, what is missing and how to get it",
		Long: `Say what is installed, what is missing and how to get it, and time matrix products against what this CPU should reach.
Exits with 1 when something is missing that training needs.`,
		Example: `  plasticity doctor
  plasticity doctor --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := a.examine(cmd.Context(), products)
			var err error
			if asJSON {
				err = a.printJSON(d)
			} else {
				err = a.print(d.table())
			}
			if err == nil && !d.OK {
				err = record.Fail(record.Failed, "something is missing: see the remedies above")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	cmd.Flags().BoolVar(&products, "products", true, "time matrix products (takes a few seconds)")
	return cmd
}

// examine looks at everything.
func (a *app) examine(ctx context.Context, products bool) diagnosis {
	d := diagnosis{OK: true, Version: version()}
	cpu := readCPU()
	program := finding{Name: "plasticity", State: stateOK, Value: d.Version}
	if commit, _ := build(); commit == "" {
		program.State, program.Remedy = stateWarning, record.NoCommit
	}
	d.Findings = append(d.Findings, program)
	d.Findings = append(d.Findings, a.examineNative(ctx, products, cpu, &d)...)
	d.Findings = append(d.Findings, cpu.findings()...)
	d.Findings = append(d.Findings, memoryFinding(), a.diskFinding("disk here", "."), a.diskFinding("disk of the cache", a.cacheDir()))
	d.Findings = append(d.Findings, a.toolFindings()...)
	d.Findings = append(d.Findings, gpuFinding(d.Native))
	for _, f := range d.Findings {
		d.OK = d.OK && f.State != stateMissing
	}
	return d
}

// examineNative asks the worker; without it nothing can be trained.
func (a *app) examineNative(ctx context.Context, products bool, cpu cpuFacts, d *diagnosis) []finding {
	path, err := a.workerPath()
	if err != nil {
		return []finding{{Name: "worker", State: stateMissing, Value: err.Error(), Remedy: "make build"}}
	}
	machine, err := a.askWorker(ctx, products)
	if err != nil {
		return []finding{{
			Name: "worker", State: stateMissing, Value: path + ": " + err.Error(),
			Remedy: "make build; it finds libtorch in $LIBTORCH, the active Python or the cache, or installs it into the cache",
		}}
	}
	d.Native = &machine
	findings := []finding{{Name: "worker", State: stateOK, Value: path}}
	where := machine.Libtorch
	if machine.LibtorchPath != "" {
		where += " in " + machine.LibtorchPath
	}
	findings = append(findings, finding{Name: "libtorch", State: stateOK, Value: where + ", dispatches to " + machine.CPU})
	shim := finding{Name: "native library", State: stateOK, Value: "stamp " + shortStamp(machine.Shim) + ", as built"}
	if machine.Shim != machine.ShimBuilt {
		shim.State, shim.Remedy = stateMissing, "make build"
		shim.Value = fmt.Sprintf("stamp %s, but the worker was built with %s", shortStamp(machine.Shim), shortStamp(machine.ShimBuilt))
	}
	findings = append(findings, shim, engineFinding(machine))
	if products {
		findings = append(findings, cpu.productFindings(machine)...)
	}
	return findings
}

// engineFinding says which implementation of the training step runs here.
func engineFinding(m request.Machine) finding {
	if m.Engine == "" {
		return finding{
			Name: "training step", State: stateWarning, Value: "reference: the engine's kernels need a CPU with AVX2",
			Remedy: "train on a CPU with AVX2, AVX-512 or AMX: several times faster",
		}
	}
	return finding{Name: "training step", State: stateOK, Value: "engine, with kernels for " + m.Engine}
}

func shortStamp(s string) string { return s[:min(12, len(s))] }

// askWorker lets the worker look at its side. It takes the first line of a complaint as the cause.
func (a *app) askWorker(ctx context.Context, products bool) (request.Machine, error) {
	cmd, err := a.workerCommand(request.CommandDoctor, request.Doctor{Products: products})
	if err != nil {
		return request.Machine{}, err
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := supervise(ctx, cmd); err != nil {
		if line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n"); line != "" {
			return request.Machine{}, fmt.Errorf("%s", strings.TrimPrefix(line, "error: "))
		}
		return request.Machine{}, err
	}
	var machine request.Machine
	if err := json.Unmarshal(out.Bytes(), &machine); err != nil {
		return request.Machine{}, fmt.Errorf("its reply cannot be read: %w", err)
	}
	return machine, nil
}

// table lays the findings out for people, with the remedies below.
func (d diagnosis) table() string {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	t.SetStyle(style)
	var remedies strings.Builder
	for _, f := range d.Findings {
		t.AppendRow(table.Row{f.State, f.Name, f.Value})
		if f.Remedy != "" {
			fmt.Fprintf(&remedies, "\n%s (%s): %s", f.Name, f.State, f.Remedy)
		}
	}
	text := t.Render()
	if remedies.Len() > 0 {
		text += "\n\nWhat to do:" + remedies.String()
	}
	return text
}
