package torch

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"plasticity/cgo"
	"plasticity/record"
)

// Scope owns the tensors made by its operations, and its goroutine's OS thread, until Close.
// It is used by one goroutine.
type Scope struct {
	grad    bool
	err     error
	tensors []*Tensor // made here and not kept, by Tensor.slot
	dead    *Tensor
	closed  bool
}

// Option sets how a scope's operations run.
type Option func(*Scope)

// NoGrad makes a scope whose operations autograd does not record.
func NoGrad(s *Scope) { s.grad = false }

// NewScope opens a scope. Its operations are recorded for [Scope.Backward] unless [NoGrad] is
// given. The caller closes it.
func NewScope(options ...Option) *Scope {
	// libtorch keeps per-thread state (its thread pool, the denormal flag): one scope, one thread.
	runtime.LockOSThread()
	s := &Scope{grad: true, dead: &Tensor{}}
	for _, o := range options {
		o(s)
	}
	return s
}

// Close frees every tensor of the scope that was not kept. It may be called more than once.
func (s *Scope) Close() {
	if s.closed {
		return
	}
	s.closed = true
	handles := make([]cgo.Tensor, 0, len(s.tensors))
	for _, t := range s.tensors {
		if t != nil {
			// Whoever still holds t holds a closed tensor, not a dangling handle.
			handles = append(handles, t.handle)
			t.handle, t.owner = cgo.Tensor{}, nil
		}
	}
	cgo.Free(handles...)
	s.tensors = nil
	runtime.UnlockOSThread()
}

// Err is the first failure of the scope's operations: a [record.Failure] that wraps an [OpError].
func (s *Scope) Err() error { return s.err }

// Keep takes t out of the scope: it lives until its own Close. After a failure it returns nil.
func (s *Scope) Keep(t *Tensor) *Tensor {
	if s.err != nil {
		return nil
	}
	if t == nil || t.owner != s {
		s.fail("Keep", errors.New("the tensor does not belong to this scope"), t)
		return nil
	}
	s.tensors[t.slot], t.owner = nil, nil
	return t
}

// OpError is a failed operation: which one, on what, and why.
type OpError struct {
	Op     string
	Inputs []string // type and shape of each input tensor
	Err    error
}

func (e *OpError) Error() string {
	return fmt.Sprintf("torch.%s(%s): %v", e.Op, strings.Join(e.Inputs, ", "), e.Err)
}

// Unwrap gives the cause: a [cgo.Error] when the native side refused.
func (e *OpError) Unwrap() error { return e.Err }

// fail records the scope's first error.
func (s *Scope) fail(op string, err error, inputs ...*Tensor) {
	if s.err != nil {
		return
	}
	shapes := make([]string, len(inputs))
	for i, t := range inputs {
		shapes[i] = t.String()
	}
	s.err = failure(&OpError{Op: op, Inputs: shapes, Err: err})
}

// failure gives a native error the exit code that fits it.
func failure(err error) error {
	code := record.Internal
	if native := (*cgo.Error)(nil); errors.As(err, &native) {
		switch native.Code {
		case cgo.OutOfMemory:
			code = record.OutOfMemory
		case cgo.DeviceLost:
			code = record.DeviceLost
		case cgo.Invalid, cgo.Internal:
		}
	}
	return record.Fail(code, "%w", err)
}

// ready reports whether an operation may run: no failure yet, scope open, inputs alive.
func (s *Scope) ready(op string, inputs ...*Tensor) bool {
	if s.err != nil {
		return false
	}
	if s.closed {
		s.fail(op, errors.New("the scope is closed"), inputs...)
		return false
	}
	for _, t := range inputs {
		if t == nil || t.handle.IsNil() {
			s.fail(op, errors.New("an input is closed or was never made"), inputs...)
			return false
		}
	}
	return true
}

// own takes the result of an operation into the scope.
func (s *Scope) own(op string, r cgo.Result, err error, inputs ...*Tensor) *Tensor {
	if err != nil {
		s.fail(op, err, inputs...)
		return s.dead
	}
	t := newTensor(r)
	t.owner, t.slot = s, len(s.tensors)
	s.tensors = append(s.tensors, t)
	return t
}
