// Package record is the narrow waist of the system: the folder of a run, what is in it, and how it is written so that no
// crash, power cut or full disk can leave something behind that a reader would take for complete.
//
// The trainer writes a run; sweeps and plots read it; they meet nowhere else. The package is a leaf: it imports nothing
// of this module and builds without cgo.
//
// # The folder
//
//	runs/<grid>/<run-id>/
//	  run.json                identity, provenance and sizes ([Info]); written last by [Create], so its presence means
//	                          that the folder is complete
//	  config.yaml             the configuration as given
//	  config.resolved.yaml    the configuration with every default filled in
//	  metrics.jsonl           one [Metric] a line
//	  events.jsonl            one [Event] a line
//	  checkpoints/step-00001000/{…, manifest.json}
//	  logs/                   output of the process that trained it
//	  DONE | FAILED           how it ended
//	  .lock                   held with flock(2) by the process that owns the run
//
// # What is promised
//
// A checkpoint for which [SaveCheckpoint] returned nil loads after any later crash or power cut, until [Prune] removes
// it; one that was not finished is never loaded. This holds because nothing gets its final name before every byte
// of it was synced and read back, and because a name is made durable before anything older is removed. A line of
// a [Journal] is either there as a whole or cut off with a [Problem]; two lines never join.
//
// Everything durable goes through the interface [FS]; package recordtest has an implementation that forgets unsynced
// data, dies at the n-th operation, tears writes and runs full, and the tests of this package try all of them.
//
// # Permissions
//
// Files are made 0644 and folders 0755, less the process's umask: a run folder holds no secrets and is meant to be read by
// colleagues and by report programs under other accounts. Who wants it private sets the umask. Temporary names
// start with ".tmp-", lie beside their target (a rename never crosses file systems), and are opened with O_EXCL and
// O_NOFOLLOW, so nobody can plant a link there.
//
// # Example
//
//	run, err := record.Create(record.OS(), dir, info, given, resolved)
//	lock, err := record.Acquire(dir)                    // Failure NotPermitted when somebody else has it
//	removed, err := lock.CleanTemp(record.OS())         // what a killed predecessor left
//	last, problems, err := record.LatestCheckpoint(record.OS(), dir)
//	journal, err := record.OpenJournal(record.OS(), run.Path(record.MetricsFile))
//	err = journal.Append(record.Metric{Step: 10, Loss: 3.2})
//	err = record.SaveCheckpoint(record.OS(), dir, 10, meta, func(d *record.CheckpointDir) error {
//		return d.WriteFile("model.safetensors", writeModel)
//	})
//	err = run.Finish()
package record
