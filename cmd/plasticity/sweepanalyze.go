package main

import (
	"cmp"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"plasticity/analyze/label"
	"plasticity/analyze/noise"
	"plasticity/analyze/probe"
	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/sweeps"
)

// checkAnalyses refuses probes of tasks that there are not, before anything is trained.
func checkAnalyses(g config.Grid) error {
	for _, a := range g.Analyze {
		if a.Name == config.Probes && !slices.Contains(label.Tasks(), a.Task) {
			return record.Fail(record.Usage, "%s: analyze: %q is no task of probes: want one of %s", g.File, a.Task, strings.Join(label.Tasks(), ", "))
		}
	}
	return nil
}

// analysis builds the command of an analysis; what the grid leaves open has the default of the command analyze.
func (a *app) analysis(look *sweeps.Analysis, threads int) (*exec.Cmd, error) {
	switch look.Name {
	case config.Probes:
		r := defaultProbes()
		r.Model, r.Task, r.Data, r.Out, r.Threads, r.Quiet = look.Model, look.Task, look.Data, look.Out, threads, true
		r.Pool = cmp.Or(look.Pool, r.Pool)
		return a.workerCommand(request.CommandAnalyzeProbes, r)
	case config.Gap:
		r := defaultGap()
		r.Model, r.Out, r.Threads, r.Quiet = look.Model, look.Out, threads, true
		r.Tokens = cmp.Or(look.Tokens, r.Tokens)
		return a.workerCommand(request.CommandAnalyzeGap, r)
	case config.Noise:
		r := defaultNoise()
		r.Model, r.Out, r.Threads, r.Quiet = look.Model, look.Out, threads, true
		r.Tokens = cmp.Or(look.Tokens, r.Tokens)
		return a.workerCommand(request.CommandAnalyzeNoise, r)
	case config.Forgetting:
		r := defaultForgetting()
		r.Model, r.Out, r.Threads, r.Quiet = look.Model, look.Out, threads, true
		r.Tokens = cmp.Or(look.Tokens, r.Tokens)
		return a.workerCommand(request.CommandAnalyzeForgetting, r)
	}
	self, err := os.Executable() // ranks need no worker
	if err != nil {
		return nil, record.Fail(record.Internal, "find this program: %w", err)
	}
	arguments := []string{"analyze", look.Name, "--model", look.Model, "--out", look.Out, "--threads", strconv.Itoa(threads), "--quiet"}
	if look.All {
		arguments = append(arguments, "--all")
	}
	cmd := exec.Command(self, arguments...)
	cmd.Env = a.env
	return cmd, nil
}

// defaultProbes is what `analyze probes` measures when it is not told otherwise.
func defaultProbes() request.AnalyzeProbes {
	return request.AnalyzeProbes{Pool: probe.Last, Train: 2000, Val: 500, Test: 1000, Seed: 1}
}

// defaultNoise is what `analyze noise` measures when it is not told otherwise.
func defaultNoise() request.AnalyzeNoise {
	return request.AnalyzeNoise{Sigmas: noise.DefaultSigmas(), Draws: 4, Tokens: 1 << 17, Seed: 1}
}

// defaultForgetting is what `analyze forgetting` measures when it is not told otherwise.
func defaultForgetting() request.AnalyzeForgetting {
	return request.AnalyzeForgetting{Tokens: 1 << 20, Seed: 1}
}

// defaultGap is what `analyze gap` measures when it is not told otherwise.
func defaultGap() request.AnalyzeGap { return request.AnalyzeGap{Tokens: 1 << 20, Seed: 1} }
