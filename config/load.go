package config

import (
	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"plasticity/record"
)

// LoadOptions is where the layers of a configuration come from.
type LoadOptions struct {
	File string   // YAML; empty: no file
	Sets []string // key=value of --set flags
	Env  []string // as of os.Environ; nil: none
	Base []byte   // YAML of a layer right below the file
}

// Load reads a configuration. The error is a record.Failure: Usage with an Error inside when something is wrong with
// it, another code when the file cannot be read.
func Load(o LoadOptions) (Run, error) {
	t, problems := newTable(), &problemList{}
	base := t.fileLayer("base", o.Base, problems)
	file := layer{}
	if o.File != "" {
		data, err := readFile(o.File)
		if err != nil {
			return Run{}, err
		}
		file = t.fileLayer(o.File, data, problems)
	}
	env := t.envLayer(o.Env, problems)
	flags := t.setLayer(o.Sets, problems)
	return t.build(problems, base, file, env, flags)
}

// Defaults returns the configuration without any file, preset or override.
func Defaults() Run {
	run, err := newTable().build(&problemList{})
	if err != nil {
		panic("config: the defaults contradict each other: " + err.Error()) // unreachable: a test loads them
	}
	return run
}

func (t table) fileLayer(name string, data []byte, problems *problemList) layer {
	out := layer{}
	r := &reader{table: t, problems: problems, source: name, inFile: true}
	if top := r.document(data); top != nil {
		r.fromMapping(out, top, "", false)
		r.contradictions(out)
	}
	return out
}

func (t table) envLayer(env []string, problems *problemList) layer {
	out := fromEnv(t, env, problems)
	(&reader{table: t, problems: problems}).contradictions(out)
	return out
}

func (t table) setLayer(sets []string, problems *problemList) layer {
	r := &reader{table: t, problems: problems, source: "--set"}
	out := r.fromSets(sets)
	r.contradictions(out)
	return out
}

func (t table) defaultLayer() layer {
	out := layer{}
	for _, f := range t {
		if f.def != nil {
			out[f.path] = setting{f.def, origin{source: "default"}}
		}
	}
	return out
}

// presetLayer is the shape that the layers name, empty without one.
func (t table) presetLayer(layers []layer) layer {
	out := layer{}
	named, _ := top(layers, "model.preset")
	name, _ := named.value.(string)
	preset, ok := PresetByName(name)
	if !ok {
		return out
	}
	run := Run{Model: preset.Model}
	for _, f := range modelFields() {
		out[f.path] = setting{f.value(&run), origin{source: "preset " + name}}
	}
	return out
}

// build merges the layers (the lowest first) over preset and defaults, checks the whole and returns it.
func (t table) build(problems *problemList, layers ...layer) (Run, error) {
	layers = stack(append([]layer{t.defaultLayer(), t.presetLayer(layers)}, layers...)...)
	run, err := t.decode(layers)
	if err != nil {
		return Run{}, err
	}
	if run.Model.KVHeads == 0 {
		run.Model.KVHeads = run.Model.Heads
	}
	t.check(&run, layers, problems)
	if err := problems.err(); err != nil {
		return Run{}, err
	}
	t.settle(&run)
	return run, nil
}

// decode merges the layers with viper into a Run. The values are typed already: a failure here is a bug.
func (t table) decode(layers []layer) (Run, error) {
	v := viper.New()
	for _, l := range layers {
		if err := v.MergeConfigMap(t.nested(l)); err != nil {
			return Run{}, record.Fail(record.Internal, "merge the configuration: %w", err)
		}
	}
	var run Run
	err := v.UnmarshalExact(&run, func(d *mapstructure.DecoderConfig) {
		d.TagName = "yaml"
		d.WeaklyTypedInput = false
		d.DecodeHook = nil
	})
	if err != nil {
		return Run{}, record.Fail(record.Internal, "decode the configuration: %w", err)
	}
	return run, nil
}
