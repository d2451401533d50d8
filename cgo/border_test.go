package cgo_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"plasticity/cgo"
)

// fixture holds valid arguments for every call.
type fixture struct {
	ids, x, y, cube, w, w16, gain, table, flat, grads, m, v, flat16, targets, scalar cgo.Tensor
	engine, decoder                                                                  cgo.Engine // the decoder is without Backward
	cache                                                                            cgo.EngineCache
}

// free frees everything in it.
func (f *fixture) free() {
	cgo.Free(f.all()...)
	f.cache.Free()
	f.engine.Free()
	f.decoder.Free()
}

func (f *fixture) all() []cgo.Tensor {
	return []cgo.Tensor{f.ids, f.x, f.y, f.cube, f.w, f.w16, f.gain, f.table, f.flat, f.grads, f.m, f.v, f.flat16, f.targets, f.scalar}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	must := func(r cgo.Result, err error) cgo.Tensor {
		if err != nil {
			t.Fatal(err)
		}
		return r.Tensor
	}
	ramp := func(n int) []float32 {
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(i%7) * 0.1
		}
		return data
	}
	engine, err := cgo.EngineNew(engineModel(), engineOptions(), engineOffsets())
	if err != nil {
		t.Fatal(err)
	}
	decoding := engineOptions()
	decoding.Backward = false
	decoder, err := cgo.EngineNew(engineModel(), decoding, engineOffsets())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := cgo.EngineCacheNew(decoder, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{
		engine:  engine,
		decoder: decoder,
		cache:   cache,
		ids:     must(cgo.FromIDs([]int32{0, 1, 2, 3}, 0, 4, []int64{1, 4})),
		targets: must(cgo.FromIDs([]int32{0, 1, 2, -1}, -1, 4, []int64{4})),
		x:       must(cgo.FromFloat32(ramp(16), []int64{4, 4})),
		y:       must(cgo.FromFloat32(ramp(16), []int64{4, 4})),
		cube:    must(cgo.FromFloat32(ramp(32), []int64{1, 4, 2, 4})),
		w:       must(cgo.FromFloat32(ramp(16), []int64{4, 4})),
		w16:     must(cgo.Zeros(cgo.BFloat16, []int64{4, 4})),
		gain:    must(cgo.FromFloat32(ramp(4), []int64{4})),
		table:   must(cgo.FromFloat32(ramp(8), []int64{4, 2})),
		flat:    must(cgo.Zeros(cgo.Float32, []int64{64})),
		grads:   must(cgo.Zeros(cgo.Float32, []int64{64})),
		m:       must(cgo.Zeros(cgo.Float32, []int64{64})),
		v:       must(cgo.Zeros(cgo.Float32, []int64{64})),
		flat16:  must(cgo.Zeros(cgo.BFloat16, []int64{64})),
		scalar:  must(cgo.FromFloat32([]float32{2}, []int64{1})),
	}
}

// calls has one valid call for every function of tgo.h that returns a status.
func calls(f *fixture) map[string]func() error {
	drop := func(r cgo.Result, err error) error {
		cgo.Free(r.Tensor)
		return err
	}
	four := []int64{4}
	return map[string]func() error{
		"tgo_describe":             func() error { _, err := cgo.Describe(); return err },
		"tgo_set_threads":          func() error { return cgo.SetThreads(1) },
		"tgo_product_gflops":       func() error { _, err := cgo.ProductGFLOPS(cgo.Float32, 8, 1); return err },
		"tgo_zeros":                func() error { return drop(cgo.Zeros(cgo.Float32, four)) },
		"tgo_from_float32":         func() error { return drop(cgo.FromFloat32(make([]float32, 4), four)) },
		"tgo_from_ids":             func() error { return drop(cgo.FromIDs(make([]int32, 4), 0, 1, four)) },
		"tgo_to_float32":           func() error { return cgo.ToFloat32(f.gain, make([]float32, 4)) },
		"tgo_to_int64":             func() error { return cgo.ToInt64(f.ids, make([]int64, 4)) },
		"tgo_write_float32":        func() error { return cgo.WriteFloat32(f.flat, 1, make([]float32, 3)) },
		"tgo_read_float32":         func() error { return cgo.ReadFloat32(f.flat, 1, make([]float32, 3)) },
		"tgo_fill":                 func() error { return cgo.Fill(f.flat, 1) },
		"tgo_flat_view":            func() error { return drop(cgo.FlatView(f.flat, 4, []int64{2, 3})) },
		"tgo_flat_leaf":            func() error { return drop(cgo.FlatLeaf(f.flat, f.grads, 4, []int64{2, 3})) },
		"tgo_copy_slice":           func() error { return cgo.CopySlice(f.x, 0, 0, f.y) },
		"tgo_add":                  func() error { return drop(cgo.Add(true, f.x, f.y)) },
		"tgo_sub":                  func() error { return drop(cgo.Sub(true, f.x, f.y)) },
		"tgo_mul":                  func() error { return drop(cgo.Mul(true, f.x, f.y)) },
		"tgo_scale":                func() error { return drop(cgo.Scale(true, f.x, 2)) },
		"tgo_matmul":               func() error { return drop(cgo.MatMul(true, f.x, f.y)) },
		"tgo_reshape":              func() error { return drop(cgo.Reshape(true, f.x, []int64{2, 8})) },
		"tgo_transpose":            func() error { return drop(cgo.Transpose(true, f.x, 0, 1)) },
		"tgo_narrow":               func() error { return drop(cgo.Narrow(true, f.x, 0, 1, 2)) },
		"tgo_cat":                  func() error { return drop(cgo.Cat(true, []cgo.Tensor{f.x, f.y}, 0)) },
		"tgo_to_dtype":             func() error { return drop(cgo.ToDType(true, f.x, cgo.BFloat16)) },
		"tgo_sum":                  func() error { return drop(cgo.Sum(true, f.x)) },
		"tgo_softmax":              func() error { return drop(cgo.Softmax(true, f.x)) },
		"tgo_log_softmax":          func() error { return drop(cgo.LogSoftmax(true, f.x)) },
		"tgo_backward":             func() error { return backward(f) },
		"tgo_embedding":            func() error { return drop(cgo.Embedding(true, f.ids, f.table)) },
		"tgo_linear":               func() error { return drop(cgo.Linear(true, f.x, f.w, f.w16)) },
		"tgo_rms_norm":             func() error { return drop(cgo.RMSNorm(true, f.x, f.gain, 1e-5, cgo.BFloat16)) },
		"tgo_rope":                 func() error { return drop(cgo.Rope(true, f.cube, f.table, f.table, 0)) },
		"tgo_swiglu":               func() error { return drop(cgo.SwiGLU(true, f.x, f.y)) },
		"tgo_attention":            func() error { return drop(cgo.Attention(true, f.cube, f.cube, f.cube, 0)) },
		"tgo_linear_cross_entropy": func() error { return drop(cgo.LinearCrossEntropy(true, f.x, f.w, f.w16, f.targets, 0.1, 3)) },
		"tgo_flat_norm":            func() error { _, err := cgo.FlatNorm(f.flat); return err },
		"tgo_flat_round":           func() error { return cgo.FlatRound(f.flat, f.flat16) },
		"tgo_adamw_step": func() error {
			return cgo.AdamWStep(f.flat, f.grads, f.m, f.v, f.flat16, []cgo.Segment{{Length: 64}}, adamW())
		},
		"tgo_engine_new": func() error {
			e, err := cgo.EngineNew(engineModel(), engineOptions(), engineOffsets())
			e.Free()
			return err
		},
		"tgo_engine_bytes":     func() error { _, err := cgo.EngineBytes(engineModel(), engineOptions()); return err },
		"tgo_engine_load":      func() error { return cgo.EngineLoad(f.engine, f.flat) },
		"tgo_engine_gradients": func() error { _, err := cgo.EngineGradients(f.engine, f.flat, f.grads, engineBatch()); return err },
		"tgo_engine_loss":      func() error { _, err := cgo.EngineLoss(f.engine, f.flat, engineBatch()); return err },
		"tgo_engine_step": func() error {
			_, err := cgo.EngineStep(f.engine, f.flat, f.m, f.v, engineBatch(), adamW(), 1, make([]float64, engineParameters))
			return err
		},
		"tgo_cache_new": func() error {
			c, err := cgo.EngineCacheNew(f.decoder, 2, 4)
			c.Free()
			return err
		},
		"tgo_cache_begin": func() error { return cgo.EngineCacheBegin(f.cache, 0, -1, 0) },
		"tgo_engine_decode": func() error {
			if err := cgo.EngineCacheBegin(f.cache, 1, -1, 0); err != nil {
				return err
			}
			return cgo.EngineDecode(f.decoder, f.flat, f.cache, []cgo.Row{{Slot: 1, ID: 1, Wanted: 1}}, make([]float32, 2))
		},
		"tgo_engine_draw": func() error {
			if err := cgo.EngineCacheBegin(f.cache, 1, -1, 0); err != nil {
				return err
			}
			return cgo.EngineDraw(f.decoder, f.flat, f.cache, []cgo.Row{{Slot: 1, ID: 1, Wanted: 1}}, cgo.Drawing{Temperature: 1, Penalty: 1, Known: 2}, []float64{0.5}, make([]int32, 1))
		},
		"tgo_engine_trace": func() error { return cgo.EngineTrace(f.engine, 8) },
		"tgo_engine_spans": func() error { _, err := cgo.EngineSpans(f.engine, make([]cgo.Span, 8)); return err },
	}
}

// graphCalls has the graph section's; without a GPU most can only fail, those of needsGPU.
func graphCalls() map[string]func() error {
	o := cgo.GraphOptions{Layers: 1, Width: 4, Heads: 2, KVHeads: 1, FFN: 4, Vocab: 4, Context: 4, Sequences: 1, MicroSequences: 1, Parameters: 64}
	var none cgo.Graph
	return map[string]func() error{
		"tgo_cuda_open":      func() error { _, err := cgo.CUDAOpen(); return err },
		"tgo_cuda_describe":  func() error { _, err := cgo.CUDADescribe(0); return err },
		"tgo_cuda_zeros":     func() error { _, err := cgo.CUDAZeros(0, cgo.Float32, []int64{4}); return err },
		"tgo_graph_plan":     func() error { _, err := cgo.GraphPlan(o); return err },
		"tgo_graph_new":      func() error { _, err := cgo.NewGraph(o, cgo.GraphState{}, make([]cgo.GraphLayer, 1), nil); return err },
		"tgo_graph_describe": func() error { _, _, err := none.Describe(); return err },
		"tgo_graph_launch":   func() error { return none.Launch(make([]int32, 4), make([]int32, 4), 1, 1, 1) },
		"tgo_graph_wait":     func() error { _, err := none.Wait(); return err },
		"tgo_graph_loss":     func() error { _, err := none.Loss(make([]int32, 4), make([]int32, 4)); return err },
	}
}

// needsGPU are the functions whose call above fails where there is no GPU, and the code that it gives.
func needsGPU() map[string]cgo.Code {
	return map[string]cgo.Code{
		"tgo_cuda_describe": cgo.DeviceLost, "tgo_cuda_zeros": cgo.DeviceLost, "tgo_graph_new": cgo.DeviceLost,
		"tgo_graph_describe": cgo.Invalid, "tgo_graph_launch": cgo.Invalid, "tgo_graph_wait": cgo.Invalid, "tgo_graph_loss": cgo.Invalid,
	}
}

// backward runs the pass from a leaf's sum; only the call to tgo_backward may be the armed one.
func backward(f *fixture) error { return cgo.Backward(f.scalar) }

// infallible are the functions of tgo.h without a status.
func infallible() []string {
	return []string{"tgo_stamp", "tgo_live", "tgo_tensors_free", "tgo_status_free", "tgo_fail_after", "tgo_engine_free", "tgo_engine_isa", "tgo_engine_part", "tgo_graph_free", "tgo_cache_free"}
}

func headerFunctions(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("tgo.h")
	if err != nil {
		t.Fatal(err)
	}
	return names(regexp.MustCompile(`TGO_API [^;]*?\b(tgo_\w+)\(`), string(text))
}

// names collects the first group of every match, sorted and unique.
func names(re *regexp.Regexp, text string) []string {
	set := map[string]bool{}
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		set[m[1]] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func TestBorder_HeaderBindingsAndSymbolsAgree(t *testing.T) {
	header := headerFunctions(t)
	var text strings.Builder
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	if bound := names(regexp.MustCompile(`C\.(tgo_\w+)\(`), text.String()); !slices.Equal(bound, header) {
		t.Errorf("bound in Go:  %v\nin the header: %v", bound, header)
	}
	if exported := exportedSymbols(t); !slices.Equal(exported, header) {
		t.Errorf("exported:     %v\nin the header: %v", exported, header)
	}
	t.Logf("%d functions in the header, in the bindings and in the library", len(header))
}

func exportedSymbols(t *testing.T) []string {
	t.Helper()
	library, err := elf.Open(filepath.Join("..", "build", "lib", "libtgo.so"))
	if err != nil {
		t.Fatalf("%v: run make build", err)
	}
	defer library.Close()
	symbols, err := library.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range symbols {
		if strings.HasPrefix(s.Name, "tgo_") && s.Section != elf.SHN_UNDEF {
			out = append(out, s.Name)
		}
	}
	slices.Sort(out)
	return out
}

func TestBorder_EveryFunctionReturnsWhatIsThrownInIt(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := newFixture(t)
	defer f.free()
	table := calls(f)
	maps.Copy(table, graphCalls())
	tested := slices.Sorted(maps.Keys(table))
	if want := slices.DeleteFunc(headerFunctions(t), func(n string) bool { return slices.Contains(infallible(), n) }); !slices.Equal(tested, want) {
		t.Fatalf("tested: %v\nin the header: %v", tested, want)
	}
	for _, name := range tested {
		before := cgo.Live()
		for _, code := range []cgo.Code{cgo.Invalid, cgo.OutOfMemory, cgo.DeviceLost, cgo.Internal} {
			cgo.FailAfter(0, code)
			err := table[name]()
			cgo.FailAfter(-1, code)
			var native *cgo.Error
			if !errors.As(err, &native) || native.Code != code || native.Message == "" {
				t.Errorf("%s, thrown code %d: got %v", name, code, err)
			}
		}
		// A plain tensor has nothing to differentiate.
		if code, fails := needsGPU()[name]; fails {
			refusedWithoutGPU(t, name, table[name](), code)
		} else if err := table[name](); name != "tgo_backward" && err != nil {
			t.Errorf("%s after the failures: %v", name, err)
		}
		if after := cgo.Live(); after != before {
			t.Errorf("%s: %d handles before, %d after", name, before, after)
		}
	}
	t.Logf("%d functions × 4 kinds of failure", len(tested))
}

// refused checks the error of a call that cannot succeed without a GPU.
func refusedWithoutGPU(t *testing.T, name string, err error, code cgo.Code) {
	t.Helper()
	if devices, _ := cgo.CUDAOpen(); devices.Count > 0 {
		return // the trainer's tests use it in earnest
	}
	var native *cgo.Error
	if !errors.As(err, &native) || native.Code != code {
		t.Errorf("%s without a GPU: %v", name, err)
	}
}

// Where CUDA was compiled, the library exports its table and nothing else, and has code for the devices it claims.
func TestCUDALibrary(t *testing.T) {
	path := filepath.Join("..", "build", "lib", "libtgo_cuda.so")
	library, err := elf.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the CUDA side is not compiled: make cuda")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer library.Close()
	symbols, err := library.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range symbols {
		found = found || (s.Name == "tgo_cuda_table" && s.Section != elf.SHN_UNDEF)
	}
	if !found {
		t.Error("tgo_cuda_table is not exported")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), cgo.Stamp) {
		t.Error("the library was built for another libtgo: make cuda")
	}
	devices, err := cgo.CUDAOpen()
	if err != nil {
		t.Fatal(err)
	}
	if devices.Count == 0 && devices.Reason == "" {
		t.Error("no device, and no reason")
	}
	t.Logf("%d devices; %s", devices.Count, devices.Reason)
}

func TestBorder_EveryMessageReachesItsCaller(t *testing.T) {
	const goroutines, each = 16, 500
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				width := int64(g*each + i + 2)
				_, err := cgo.Zeros(cgo.Float32, []int64{1, 1, 1, 1, 1, 1, width}[:7])
				var native *cgo.Error
				if !errors.As(err, &native) || native.Code != cgo.Invalid {
					t.Errorf("rank 7 gave %v", err)
					return
				}
				_, err = cgo.FromIDs([]int32{int32(width)}, 0, 1, []int64{1})
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("id %d at", width)) {
					t.Errorf("id %d gave %v", width, err)
					return
				}
				runtime.Gosched()
			}
		})
	}
	group.Wait()
	t.Logf("%d distinct failures, each with its own message", goroutines*each)
}

func TestCheck_StampMatches(t *testing.T) {
	if err := cgo.Check(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkCrossing(b *testing.B) {
	for b.Loop() {
		cgo.Live()
	}
}
