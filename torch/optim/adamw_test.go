package optim_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/optim"
	"plasticity/torch/torchtest"
)

func build(t *testing.T, precision torch.DType) *nn.Registry {
	t.Helper()
	torchtest.NoLeaks(t)
	r := nn.NewRegistry()
	r.Declare("embed.weight", nn.Init{Std: 1}, 7, 5)
	r.Declare("layers.0.q.weight", nn.Init{Std: 1}, 5, 5)
	r.Declare("layers.0.norm.weight", nn.Init{Constant: 1}, 5)
	r.Declare("head.weight", nn.Init{Std: 1}, 7, 5)
	if err := r.Build(precision, nn.Training); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if err := r.Initialize(3); err != nil {
		t.Fatal(err)
	}
	return r
}

// reference is AdamW in float64, one parameter at a time, from its definition.
type reference struct{ p, m, v []float64 }

func (a *reference) step(grads []float32, step int, lr, decay, scale float64) {
	for i, g32 := range grads {
		g := float64(g32) * scale
		a.m[i] = 0.9*a.m[i] + 0.1*g
		a.v[i] = 0.95*a.v[i] + 0.05*g*g
		mhat := a.m[i] / (1 - math.Pow(0.9, float64(step)))
		vhat := a.v[i] / (1 - math.Pow(0.95, float64(step)))
		a.p[i] -= lr*decay*a.p[i] + lr*mhat/(math.Sqrt(vhat)+1e-8)
	}
}

func TestAdamW_EqualsItsDefinition(t *testing.T) {
	r := build(t, torch.BFloat16)
	groups, err := optim.Assign(r.Params(), 4, []string{"*norm*"}, []optim.Rule{{Match: "embed*", WeightDecay: 1}})
	if err != nil {
		t.Fatal(err)
	}
	adam := optim.NewAdamW(r, groups, optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, ClipNorm: 1})
	decays := map[string]float64{"embed.weight": 0.5, "layers.0.q.weight": 2, "layers.0.norm.weight": 0, "head.weight": 2}
	want := map[string]*reference{}
	for _, p := range r.Params() {
		values, err := r.Read(nn.Params, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		a := &reference{p: make([]float64, len(values)), m: make([]float64, len(values)), v: make([]float64, len(values))}
		for i, x := range values {
			a.p[i] = float64(x)
		}
		want[p.Name] = a
	}
	for step := 1; step <= 50; step++ {
		all := map[string][]float32{}
		squares := 0.0
		for k, p := range r.Params() {
			g := make([]float32, p.Len())
			for i := range g {
				g[i] = float32(math.Sin(float64(step*31+k*7+i))) * 0.3
				squares += float64(g[i]) * float64(g[i])
			}
			all[p.Name] = g
			if err := r.Write(nn.Grads, p.Name, g); err != nil {
				t.Fatal(err)
			}
		}
		norm, err := adam.GradNorm()
		if err != nil || math.Abs(norm-math.Sqrt(squares)) > 1e-6*norm {
			t.Fatalf("norm %v, want %v, %v", norm, math.Sqrt(squares), err)
		}
		if err := adam.Step(1e-2, 0.5, norm); err != nil {
			t.Fatal(err)
		}
		for name, a := range want {
			a.step(all[name], step, 1e-2, decays[name], math.Min(1, 1/(norm+1e-6)))
		}
	}
	compare(t, r, want)
}

func compare(t *testing.T, r *nn.Registry, want map[string]*reference) {
	t.Helper()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	for name, a := range want {
		got, err := r.Read(nn.Params, name)
		if err != nil {
			t.Fatal(err)
		}
		exact := make([]float32, len(a.p))
		for i, x := range a.p {
			exact[i] = float32(x)
		}
		torchtest.Close(t, name, got, exact, 1e-5)
		torchtest.Close(t, name+" rounded", s.Float32s(r.Param(name).Weight().Compute), got, 1.0/256)
	}
}

func TestAdamW_RefusesANormThatIsNotFinite(t *testing.T) {
	r := build(t, torch.Float32)
	groups, err := optim.Assign(r.Params(), 1, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	adam := optim.NewAdamW(r, groups, optim.Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8})
	before, _ := r.ParamNorm()
	for _, norm := range []float64{math.NaN(), math.Inf(1)} {
		if err := adam.Step(1e-2, 0.1, norm); record.CodeOf(err) != record.NonFinite {
			t.Fatalf("norm %v gave %v", norm, err)
		}
	}
	if after, _ := r.ParamNorm(); after != before || adam.Updates() != 0 {
		t.Fatal("a refused update changed something")
	}
}

func TestAssign_EveryParameterIsInExactlyOneGroup(t *testing.T) {
	r := build(t, torch.Float32)
	groups, err := optim.Assign(r.Params(), 1, []string{"*norm*", "embed*"}, []optim.Rule{{Match: "embed*", WeightDecay: 3}, {Match: "*.q.*", WeightDecay: 4}})
	if err != nil && !strings.Contains(err.Error(), "embed*") {
		t.Fatal(err)
	}
	seen := map[string]int{}
	var text []string
	for _, g := range groups {
		for _, p := range g.Params {
			seen[p.Name]++
		}
		text = append(text, fmt.Sprintf("%s:%d", g.Name, len(g.Params)))
	}
	for _, p := range r.Params() {
		if seen[p.Name] != 1 {
			t.Errorf("%s is in %d groups", p.Name, seen[p.Name])
		}
	}
	if got := strings.Join(text, " "); got != "embed*:1 *.q.*:1 no_decay:1 default:1" {
		t.Errorf("groups %s", got)
	}
}

func TestAssign_AGlobWithoutAMatchIsAnError(t *testing.T) {
	r := build(t, torch.Float32)
	_, err := optim.Assign(r.Params(), 1, []string{"*bias*"}, []optim.Rule{{Match: "*.k.*", WeightDecay: 1}})
	if record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), "*bias*") || !strings.Contains(err.Error(), "*.k.*") {
		t.Fatalf("got %v", err)
	}
}
