package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"plasticity/record"
)

func TestServe_PrintsItsAddressAndAnswersUntilStopped(t *testing.T) {
	runs := t.TempDir()
	program := exec.Command("plasticity", "serve", "--runs", runs, "--listen", ":0")
	program.Env = append(os.Environ(), "GORACE="+quickExit)
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Process.Kill()
	address := next(bufio.NewScanner(out))
	if !strings.HasPrefix(address, "http://127.0.0.1:") {
		t.Fatalf("it listens at %q, not on loopback", address)
	}
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(page), "No run has begun here yet") {
		t.Errorf("%v\n%s", err, page)
	}
	if err := program.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func TestServe_Refuses(t *testing.T) {
	runs := t.TempDir()
	file := filepath.Join(runs, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code record.Code
		says string
	}{
		{nil, record.Usage, "--runs is missing"},
		{[]string{"--runs", filepath.Join(runs, "nope")}, record.Usage, "no runs"},
		{[]string{"--runs", file}, record.Usage, "not a folder"},
		{[]string{"--runs", runs, "--listen", "8080"}, record.Usage, "missing port"},
		{[]string{"--runs", runs, "--listen", "256.0.0.1:1"}, record.NotPermitted, "choose a free port"},
	} {
		code, out, complaint := try(nil, append([]string{"serve"}, test.args...)...)
		if code != int(test.code) || out != "" || !strings.Contains(complaint, test.says) {
			t.Errorf("serve %v: code %d, want %d\n%s\n%s", test.args, code, test.code, out, complaint)
		}
	}
}
