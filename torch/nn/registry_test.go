package nn_test

import (
	"math"
	"slices"
	"testing"

	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

func TestRegistry_ParametersAreViewsOfOneBuffer(t *testing.T) {
	torchtest.NoLeaks(t)
	r := nn.NewRegistry()
	a, b := r.Declare("a", nn.Init{Std: 1}, 2, 3), r.Declare("b", nn.Init{Constant: 1}, 4)
	if err := r.Build(torch.BFloat16, nn.Training); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.NumParams() != 10 || a.Offset != 0 || b.Offset != 6 {
		t.Fatalf("%d parameters, offsets %d and %d", r.NumParams(), a.Offset, b.Offset)
	}
	if err := r.Initialize(1); err != nil {
		t.Fatal(err)
	}
	all := make([]float32, 10)
	if err := r.Flat(nn.Params).Read(0, all); err != nil {
		t.Fatal(err)
	}
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	torchtest.Close(t, "view of a", s.Float32s(a.Value()), all[:6], 0)
	torchtest.Close(t, "view of b", s.Float32s(b.Value()), []float32{1, 1, 1, 1}, 0)
	torchtest.Close(t, "rounded copy", s.Float32s(a.Weight().Compute), all[:6], 1.0/256)
}

func TestRegistry_GradientsAddUpInTheBuffer(t *testing.T) {
	torchtest.NoLeaks(t)
	r := nn.NewRegistry()
	table := r.Declare("table", nn.Init{Std: 1}, 3, 2)
	if err := r.Build(torch.Float32, nn.Training); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		s := torch.NewScope()
		s.Backward(s.Sum(nn.Embedding{Table: table}.Forward(s, s.FromInt32([]int32{1, 1}, 1, 2))))
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	grads, err := r.Read(nn.Grads, "table")
	if err != nil {
		t.Fatal(err)
	}
	if want := []float32{0, 0, 4, 4, 0, 0}; !slices.Equal(grads, want) {
		t.Fatalf("gradients %v, want %v", grads, want)
	}
	if norm, err := r.GradNorm(); err != nil || math.Abs(norm-math.Sqrt(32)) > 1e-12 {
		t.Fatalf("norm %v, %v", norm, err)
	}
	if err := r.ZeroGrad(); err != nil {
		t.Fatal(err)
	}
	if norm, err := r.GradNorm(); err != nil || norm != 0 {
		t.Fatalf("norm after zeroing %v, %v", norm, err)
	}
}

func TestRegistry_MistakesAreReportedByBuild(t *testing.T) {
	for name, declare := range map[string]func(r *nn.Registry){
		"twice": func(r *nn.Registry) { r.Declare("a", nn.Init{}, 1); r.Declare("a", nn.Init{}, 1) },
		"shape": func(r *nn.Registry) { r.Declare("a", nn.Init{}, 0, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			torchtest.NoLeaks(t)
			r := nn.NewRegistry()
			declare(r)
			if r.Build(torch.Float32, nn.Training) == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestInitialize_DependsOnSeedAndNameAlone(t *testing.T) {
	torchtest.NoLeaks(t)
	read := func(seed int64, names ...string) []float32 {
		r := nn.NewRegistry()
		for _, name := range names {
			r.Declare(name, nn.Init{Std: 0.02, Truncate: 3}, 5000)
		}
		if err := r.Build(torch.Float32, nn.Training); err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Initialize(seed); err != nil {
			t.Fatal(err)
		}
		data, err := r.Read(nn.Params, "w")
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	w := read(1, "w")
	if !slices.Equal(w, read(1, "other", "w")) {
		t.Error("the order of declaration reached the values")
	}
	if slices.Equal(w, read(2, "w")) {
		t.Error("the seed did not reach the values")
	}
	var sum, squares, top float64
	for _, x := range w {
		sum += float64(x)
		squares += float64(x) * float64(x)
		top = max(top, math.Abs(float64(x)))
	}
	mean, std := sum/5000, math.Sqrt(squares/5000)
	t.Logf("mean %.5f, standard deviation %.5f, largest %.4f", mean, std, top)
	if math.Abs(mean) > 1e-3 || math.Abs(std-0.0197) > 6e-4 || top > 0.06 {
		t.Error("not a normal of standard deviation 0.02 cut off at 3")
	}
}

// A registry has the buffers of its use and no others; asking for those that it lacks is an error, not a crash.
func TestRegistry_HasWhatItsUseNeeds(t *testing.T) {
	torchtest.NoLeaks(t)
	for _, c := range []struct {
		use     nn.Use
		has     []nn.Buffer
		rounded bool
	}{
		{nn.Training, []nn.Buffer{nn.Params, nn.Grads, nn.ExpAvg, nn.ExpAvgSq}, true},
		{nn.Inference, []nn.Buffer{nn.Params}, true},
		{nn.Stepping, []nn.Buffer{nn.Params, nn.ExpAvg, nn.ExpAvgSq}, false},
	} {
		r := nn.NewRegistry()
		w := r.Declare("w", nn.Init{Std: 1}, 3, 2)
		if err := r.Build(torch.BFloat16, c.use); err != nil {
			t.Fatal(err)
		}
		if err := r.Initialize(1); err != nil {
			t.Fatal(err)
		}
		for _, b := range []nn.Buffer{nn.Params, nn.Grads, nn.ExpAvg, nn.ExpAvgSq} {
			has := slices.Contains(c.has, b)
			_, errRead := r.Read(b, "w")
			errWrite := r.Write(b, "w", make([]float32, 6))
			if (r.Flat(b) != nil) != has || (errRead == nil) != has || (errWrite == nil) != has {
				t.Errorf("use %d, buffer %d: there %v, read %v, write %v; want it there: %v", c.use, b, r.Flat(b) != nil, errRead, errWrite, has)
			}
		}
		_, errNorm := r.GradNorm()
		if errZero := r.ZeroGrad(); (errZero == nil) != (c.use == nn.Training) || (errNorm == nil) != (c.use == nn.Training) {
			t.Errorf("use %d: gradients zeroed %v, their norm %v", c.use, errZero, errNorm)
		}
		if (r.Copy16() != nil) != c.rounded {
			t.Errorf("use %d: rounded copy %v, want %v", c.use, r.Copy16() != nil, c.rounded)
		}
		// Prepare makes the copy of what is there now, and renews it.
		for _, x := range []float32{1, 2} {
			if err := r.Write(nn.Params, "w", []float32{x, x, x, x, x, x}); err != nil {
				t.Fatal(err)
			}
			if err := r.Prepare(); err != nil {
				t.Fatal(err)
			}
			s := torch.NewScope(torch.NoGrad)
			torchtest.Close(t, "rounded copy", s.Float32s(w.Weight().Compute), []float32{x, x, x, x, x, x}, 0)
			s.Close()
		}
		r.Close()
	}
}
