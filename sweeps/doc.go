// Package sweeps turns a grid into runs and carries them out: it plans the
// cells, starts one process per cell, restarts what was interrupted, never
// repeats what is finished, and says at any time how far the grid is.
//
// A cell is a base model, a look inside one, the fine-tuning of one on a task,
// or the evaluation of what came of it. A cell starts when the one that it needs is done, so each
// base model is trained once for all of its fine-tunings. Beside the base models a never-pretrained one goes through the
// same fine-tunings.
//
// There is no database. The folders of the cells are the ledger: a cell is done
// when its folder has a DONE that record accepts, failed when it has FAILED,
// and everything else is derived from its journal, its checkpoints or answers
// and the locks that live processes hold. Killing anything at any moment
// therefore loses no knowledge.
//
//	runs/<grid>/
//	  <run-id>/            one run (package record), logs/worker.log is its output
//	    eval/<task>-<id>/  one evaluation: answers, samples, results.json
//	    analyze/<name>/    one analysis: probes-<task>, gap, noise, forgetting; of rank, the result is analyze/rank.json
//	  targets.json         Prometheus file discovery: the members that listen
//	  .sweep/cells/<id>/   the config each member was started with, and a flock: who works on the cell
//	  .sweep/cores.json    how the cores were shared out, measured or by rule
//	  .sweep/slurm/        the batch script, the job and the logs of tasks on Slurm
//
// # Use
//
//	grid, err := config.LoadGrid(file, scale, sets, env)
//	plan, err := sweeps.New(grid, "runs", "data/tasks", sweeps.ReadFacts())
//	status, err := plan.Status()
//	status.WritePlan(os.Stdout)                    // sweep plan
//	status.Write(os.Stdout)                        // sweep status; json.Marshal(status) for --json
//	cleared, err := plan.Retry(ids)                // sweep retry; no ids: every failed cell
//	err = sweeps.Watch(ctx, plan, sweeps.WatchOptions{Out: os.Stdout, TTY: tty})
//	summary, err := sweeps.Run(ctx, plan, sweeps.Options{
//		Command: func(ctx context.Context, c sweeps.Cell, log *os.File) (*exec.Cmd, error) { … },
//		Probe:   probe,   // optional: Run measures how to share the cores out, and when the grid ends
//		Signals: signals, // SIGINT, SIGTERM, SIGHUP as signal.Notify gives them
//		Console: os.Stderr,
//	})
//
// Options.Command builds the command of one member and must not start it: the
// executor starts it itself, in its own process group, on a thread that lives
// as long as the sweep, with the parent-death signal set. The command must be
// the trainer itself and no shell around it. It trains Cell.ConfigFile into
// Cell.Dir with resume "auto" and listens on Cell.Listen when that is not empty; for a cell with an Evaluation it evaluates
// into Cell.Dir and marks it done under Cell.ID; for one with an Analysis it writes <name>.json into Analysis.Out, where it finds it again, and
// the runner marks Cell.Dir.
// That config is complete: environment variables of the config were applied when
// the grid was loaded and must not be applied again over it, or every cell would
// train the same thing; the runner notices and fails the cell. A member that listens writes its host:port into the file metrics.addr of its
// run folder.
//
// # Clusters
//
// A scheduler starts runners: SubmitSlurm hands a job array to Slurm, CreateKubernetesJob a KubernetesManifest to Kubernetes, whose tasks Run the
// same plan each on its machine. They share its cells through the claims, as any Runs do.
//
// # Exit
//
// Run returns nil when every cell is done; a record.Failure with Stopped (75)
// when it was asked to stop; Failed (1) when some cells failed and the others
// are done; and the code of the members themselves when all of them fail in
// the same way, with the tail of the log in the message.
//
// # Imports
//
// Pure Go. Of this module it imports config, data, data/task and record; never
// trainer, torch or cgo.
package sweeps
