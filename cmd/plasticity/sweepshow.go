package main

import (
	"io"

	"github.com/spf13/cobra"

	"plasticity/sweeps"
)

// showSweep prints the state of a grid, as JSON or as write lays it out.
func showSweep(a *app, cmd *cobra.Command, flags *sweepFlags, write func(sweeps.Status, io.Writer) error) error {
	status, err := flags.status(a, cmd)
	if err != nil {
		return err
	}
	if flags.asJSON {
		return a.printJSON(status)
	}
	return write(status, a.out)
}
