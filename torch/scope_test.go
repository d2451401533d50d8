package torch_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"plasticity/cgo"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/torchtest"
)

func TestScope_FirstErrorSticksAndNamesTheShapes(t *testing.T) {
	torchtest.NoLeaks(t)
	s := torch.NewScope()
	defer s.Close()
	x := s.Zeros(torch.Float32, 2, 3)
	bad := s.MatMul(x, x)
	s.Add(bad, x)
	err := s.Err()
	var op *torch.OpError
	if !errors.As(err, &op) || op.Op != "MatMul" || !strings.Contains(err.Error(), "f32[2 3]") {
		t.Fatalf("got %v", err)
	}
	if record.CodeOf(err) != record.Internal {
		t.Fatalf("code %d", record.CodeOf(err))
	}
}

func TestScope_KeptTensorOutlivesItAndOthersDoNot(t *testing.T) {
	torchtest.NoLeaks(t)
	s := torch.NewScope()
	kept := s.FromFloat32([]float32{1, 2}, 2)
	lost := s.FromFloat32([]float32{3, 4}, 2)
	if s.Keep(kept) == nil {
		t.Fatal(s.Err())
	}
	s.Close()
	defer kept.Close()
	later := torch.NewScope()
	defer later.Close()
	if got := later.Float32s(kept); len(got) != 2 || got[1] != 2 {
		t.Fatalf("kept tensor reads %v, %v", got, later.Err())
	}
	if later.Float32s(lost); later.Err() == nil {
		t.Fatal("a tensor of a closed scope was read")
	}
}

func TestScope_KeepOfAStrangerFails(t *testing.T) {
	torchtest.NoLeaks(t)
	a, b := torch.NewScope(), torch.NewScope()
	defer a.Close()
	defer b.Close()
	if b.Keep(a.Zeros(torch.Float32, 1)); b.Err() == nil {
		t.Fatal("kept a tensor of another scope")
	}
}

func TestScope_NothingLeaksWhicheverCallFails(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := newLeaf(t, 1, true, 8, 8)
	body := func(s *torch.Scope) {
		x := s.FromFloat32(randoms(2, 32), 4, 8)
		h := s.SwiGLU(s.Linear(x, w.weight()), s.Linear(x, w.weight()))
		s.Backward(s.LinearCrossEntropy(h, w.weight(), s.FromInt32([]int32{0, 1, 2, 3}, 4), 0, 4))
	}
	before := torch.Live()
	failures := 0
	for n := int64(0); ; n++ {
		s := torch.NewScope()
		cgo.FailAfter(n, cgo.OutOfMemory)
		body(s)
		cgo.FailAfter(-1, cgo.OutOfMemory)
		err := s.Err()
		s.Close()
		if live := torch.Live(); live != before {
			t.Fatalf("call %d failed: %d handles live, %d before", n, live, before)
		}
		if err == nil {
			break
		}
		if record.CodeOf(err) != record.OutOfMemory {
			t.Fatalf("call %d: %v has code %d", n, err, record.CodeOf(err))
		}
		failures++
	}
	if failures != 7 {
		t.Fatalf("%d calls failed, the body makes 7", failures)
	}
}

func TestFromInt32_RefusesWhatIsNoTarget(t *testing.T) {
	s := torch.NewScope()
	defer s.Close()
	if s.FromInt32([]int32{-2}, 1); s.Err() == nil {
		t.Fatal("−2 was taken")
	}
}

func TestShapes_WrongLengthsAreRefusedBeforeTheBorder(t *testing.T) {
	for name, f := range map[string]func(s *torch.Scope){
		"too few values": func(s *torch.Scope) { s.FromFloat32(make([]float32, 5), 2, 3) },
		"negative":       func(s *torch.Scope) { s.Zeros(torch.Float32, -1) },
		"overflow":       func(s *torch.Scope) { s.Zeros(torch.Float32, 1<<31, 1<<31, 1<<31) },
		"rank":           func(s *torch.Scope) { s.Zeros(torch.Float32, 1, 1, 1, 1, 1, 1, 1) },
		"reshape":        func(s *torch.Scope) { s.Reshape(s.Zeros(torch.Float32, 4), 3) },
		"item":           func(s *torch.Scope) { s.Item(s.Zeros(torch.Float32, 4)) },
		"linear": func(s *torch.Scope) {
			s.Linear(s.Zeros(torch.Float32, 4, 3), torch.Weight{Value: s.Zeros(torch.Float32, 2, 4)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := torch.NewScope()
			defer s.Close()
			if f(s); s.Err() == nil {
				t.Fatal("accepted")
			}
		})
	}
}
