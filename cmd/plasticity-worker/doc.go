// Command plasticity-worker is the process that links libtorch. The program plasticity starts it,
// one process for each run, as `plasticity-worker COMMAND JSON` (package cmd/internal/request); nobody
// types its name. Its exit code is that of the command.
package main
