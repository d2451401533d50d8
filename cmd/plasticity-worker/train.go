package main

import (
	"context"
	"encoding/json"
	"os"
	"runtime/debug"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/trainer"
)

// train is one pretraining run, or the plan of one.
func train(ctx context.Context, r request.Train, s streams) error {
	c, given, err := load(r)
	if err != nil {
		return err
	}
	if r.DryRun {
		return dryRun(c, r, s)
	}
	stop, done := signals(s.errs)
	defer done()
	result, err := trainer.Train(ctx, trainer.Options{
		Config: c, Given: given, Out: r.Out, Resume: trainer.Resume(r.Resume), ID: r.ID, Grid: r.Grid, Axes: r.Axes,
		Program: program(), Console: s.progress(r.Quiet), TTY: s.tty(), Signals: stop,
	})
	if err != nil || !r.JSON {
		return err
	}
	return reply(s, struct {
		Dir         string       `json:"dir"`
		ID          string       `json:"id"`
		Steps       int64        `json:"steps"`
		Tokens      int64        `json:"tokens"`
		Loss        record.Float `json:"loss"`
		ValLoss     record.Float `json:"val_loss"`
		BitsPerByte record.Float `json:"val_bits_per_byte"`
		Seconds     record.Float `json:"seconds"`
	}{
		result.Dir, result.ID, result.Steps, result.Tokens, record.Float(result.Loss), record.Float(result.ValLoss),
		record.Float(result.BitsPerByte), record.Float(result.Seconds),
	})
}

// load reads the config of a request and its text as given.
func load(r request.Train) (config.Run, []byte, error) {
	sets := r.Sets
	if r.Init != "" {
		sets = append(sets[:len(sets):len(sets)], "init="+r.Init)
	}
	if r.Listen != "" {
		sets = append(sets[:len(sets):len(sets)], "metrics.listen="+r.Listen)
	}
	c, err := config.Load(config.LoadOptions{File: r.Config, Sets: sets, Env: r.Env})
	if err != nil {
		return config.Run{}, nil, err
	}
	var given []byte
	if r.Config != "" {
		if given, err = os.ReadFile(r.Config); err != nil {
			return config.Run{}, nil, record.Fail(record.IO, "%w", err)
		}
	}
	return c, given, nil
}

func dryRun(c config.Run, r request.Train, s streams) error {
	plan, err := trainer.MakePlan(c, r.Out)
	if err != nil {
		return err
	}
	if r.JSON {
		return reply(s, plan)
	}
	return plan.Write(s.out)
}

// program is the version of this binary, as the build recorded it.
func program() trainer.Program {
	p := trainer.Program{Version: "plasticity"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return p
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			p.Commit = s.Value
		case "vcs.modified":
			p.Dirty = s.Value == "true"
		}
	}
	return p
}

// reply writes a result as one line of JSON.
func reply(s streams, v any) error {
	encoder := json.NewEncoder(s.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return record.Fail(record.IO, "write the result: %w", err)
	}
	return nil
}
