package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressLines_NowAndThen(t *testing.T) {
	var out bytes.Buffer
	p := &progressLines{a: &app{err: &out}, name: "prepare", next: time.Now().Add(-time.Second)}
	p.report(1<<20, 4<<20)
	p.report(2<<20, 4<<20) // too soon after the first
	if got, want := out.String(), "prepare: 1.0 of 4.0 MiB (25 %)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBytesProgress_QuietSaysNothing(t *testing.T) {
	var out bytes.Buffer
	report, finish := (&app{err: &out, quiet: true}).bytesProgress("x")
	report(1, 2)
	finish()
	if out.Len() != 0 {
		t.Error(out.String())
	}
}

func TestBar_EndsAfterSeveralPassesAndHalfWay(t *testing.T) {
	var out bytes.Buffer
	report, finish := (&app{err: &out}).bar("prepare")
	for _, done := range []int64{1, 5, 10, 2, 7} {
		report(done, 10)
	}
	finish()
	if strings.Contains(out.String(), "panic") {
		t.Error(out.String())
	}
	_, unused := (&app{err: &out}).bar("unused")
	unused()
}
