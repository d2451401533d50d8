package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"plasticity/cmd/internal/request"
	"plasticity/eval/metric"
	"plasticity/record"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"plasticity":        main,
		"plasticity-worker": fakeWorker,
	})
}

// fakeWorker stands in for plasticity-worker. What it does is in FAKE:
//
//	echo      print command, request and environment that matters
//	exit N    exit with N
//	kill N    die of signal N
//	panic     break down
//	signals   print ready, then each signal; SIGTERM ends with 75
//	doctor, doctor-stale   reply like the real one
//	run       train like the real one: write a run folder and finish it
//	eval      write results of a task like the real one, but for the task that FAIL names, whose evaluation is stopped
func fakeWorker() {
	what, number := os.Getenv("FAKE"), 0
	if n, err := fmt.Sscanf(what, "exit %d", &number); n == 1 && err == nil {
		fmt.Fprintln(os.Stderr, "error: the worker's own words")
		os.Exit(number)
	}
	if n, err := fmt.Sscanf(what, "kill %d", &number); n == 1 && err == nil {
		// Go would turn some signals into a dump and an exit code of its own.
		err := syscall.Exec("/bin/sh", []string{"sh", "-c", fmt.Sprintf("kill -%d $$", number)}, os.Environ())
		fmt.Fprintln(os.Stderr, err)
	}
	switch what {
	case "echo":
		fmt.Println(os.Args[1], os.Args[2])
	case "panic":
		panic("planted")
	case "signals":
		fakeSignals()
	case "doctor", "doctor-stale":
		fakeDoctor(what == "doctor-stale")
	case "run":
		fakeRun()
	case "eval":
		fakeEval()
	default:
		fmt.Fprintln(os.Stderr, "error: FAKE is not set")
		os.Exit(70)
	}
}

// fakeSignals says who it is and which signals come, in lines that a test waits for.
func fakeSignals() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP)
	fmt.Println("ready", os.Getpid(), syscall.Getpgrp())
	for s := range signals {
		fmt.Println("signal", int(s.(syscall.Signal)))
		if s == syscall.SIGTERM {
			os.Exit(int(record.Stopped))
		}
	}
}

func fakeDoctor(stale bool) {
	machine := map[string]any{
		"libtorch": "2.11.0", "libtorch_path": "/somewhere/lib", "shim": "aaaabbbbccccdddd", "shim_built": "aaaabbbbccccdddd",
		"cpu": "AVX512", "engine": "avx512", "threads": runtime.GOMAXPROCS(0), "product_size": 1024, "f32_gflops": 1e6, "bf16_gflops": 1.0,
	}
	if stale {
		machine["shim"], machine["engine"] = "0000000000000000", ""
	}
	text, err := json.Marshal(machine)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// fakeRun trains in no time.
func fakeRun() {
	if os.Args[1] == request.CommandBench {
		fakeBench()
		return
	}
	err := fakeTrain(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	os.Exit(int(record.CodeOf(err)))
}

// fakeEval answers a task in no time.
func fakeEval() {
	r, err := request.Decode[request.EvalTask](os.Args[2])
	name := filepath.Base(r.Task)
	if err == nil && name == os.Getenv("FAIL") {
		err = record.Fail(record.Stopped, "stopped")
	}
	if err == nil {
		scores := metric.Task{Name: name, Config: map[string]int{"samples": r.Samples}, Result: metric.Result{Problems: 1, Responses: r.Samples, Seed: r.Seed}}
		_, err = metric.Write(record.OS(), r.Out, metric.Report{Model: r.Model, Tasks: []metric.Task{scores}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(int(record.CodeOf(err)))
	}
	fmt.Println(name, r.Task, r.Out)
}

// fakeBench serves turns of steps that take ten milliseconds, and generations.
func fakeBench() {
	r, err := request.Decode[request.Bench](os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(int(record.Usage))
	}
	out := json.NewEncoder(os.Stdout)
	say := func(v any) {
		if err := out.Encode(v); err != nil {
			panic(err)
		}
	}
	say(request.BenchReady{Name: "fake", Step: "fake", Precision: "f32", CPU: "NONE", Threads: 2, Parameters: 1000, TokensPerStep: 10, FLOPsFull: 8e6, FLOPsCausal: 7e6})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var word string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &word, &n); err != nil {
			return
		}
		ms := slices.Repeat([]record.Float{10}, n)
		switch {
		case word == "products":
			say(request.Products{Size: 8, Rates: []request.Product{{Precision: "f32", Threads: 1, GFLOPS: 10}, {Precision: "f32", Threads: 2, GFLOPS: 16}}})
		case word == "profile":
			say(request.BenchProfile{Spans: []request.Span{{Part: "batch", Thread: -1, Seconds: 0.001}, {Part: "step", Thread: -1, Start: 0.001, Seconds: 0.009}}})
		case r.What == request.BenchGenerate:
			say(request.GenerateTurn{PrefillMS: ms, DecodeMS: ms, PeakMiB: 7})
		default:
			say(request.BenchTurn{StepMS: ms, Losses: ms, GradNorms: ms, PeakMiB: 7})
		}
	}
}

func fakeTrain(text string) error {
	r, err := request.Decode[request.Train](text)
	if err != nil {
		return err
	}
	given, err := os.ReadFile(r.Config)
	if err != nil {
		return err
	}
	info := record.Info{ID: filepath.Base(r.Out), Name: "fake", Grid: r.Grid, Kind: "pretrain", Axes: r.Axes}
	run, err := record.Create(record.OS(), r.Out, info, given, given)
	if err != nil {
		return err
	}
	journal, err := record.OpenJournal(record.OS(), run.Path(record.MetricsFile))
	if err != nil {
		return err
	}
	loss := record.Float(2.5)
	if err := errors.Join(journal.Append(record.Metric{Step: 3, Tokens: 12, Loss: loss, ValLoss: &loss}), journal.Close()); err != nil {
		return err
	}
	return run.Finish()
}
