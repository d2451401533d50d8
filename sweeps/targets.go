package sweeps

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"plasticity/record"
)

const (
	// addressName is the file of a run folder in which a listening member
	// leaves its host:port.
	addressName = "metrics.addr"
	// targetsName is the file-discovery list in the folder of the grid.
	targetsName = "targets.json"
)

// target is one entry of a Prometheus file-discovery list.
type target struct {
	Targets []string     `json:"targets"`
	Labels  targetLabels `json:"labels"`
}

type targetLabels struct {
	RunID string `json:"run_id"`
	Grid  string `json:"grid"`
}

// readAddress reads and checks the address that a member left, "" when there is
// none or when it is not a host and a port: whatever stands in that file ends
// up in Prometheus' configuration.
func readAddress(runDir string) string {
	text, err := record.ReadFile(record.OS(), filepath.Join(runDir, addressName), 256)
	if err != nil {
		return ""
	}
	address := strings.TrimSpace(string(text))
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsFunc(host, notInHost) {
		return ""
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return ""
	}
	return address
}

func notInHost(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune(".-:%", r)
}

// forgetAddress removes the address of a member that no longer runs.
func forgetAddress(runDir string) error {
	err := os.Remove(filepath.Join(runDir, addressName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// writeTargets brings the file-discovery list of the grid up to date with the
// addresses in the folders of these cells. It is derived from them alone, so two
// runners of one grid write the same list, and one left by a killed runner heals.
func writeTargets(fsys record.FS, plan *Plan, cells []Cell) error {
	list := []target{} // an empty list, not null
	for _, cell := range cells {
		if address := readAddress(cell.Dir); address != "" {
			list = append(list, target{[]string{address}, targetLabels{cell.ID, plan.Name}})
		}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	path := filepath.Join(plan.Dir, targetsName)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	lock, err := record.Acquire(plan.Dir)
	if err != nil {
		return nil // another runner writes it at this moment
	}
	defer lock.Release() //nolint:errcheck // given back by the kernel in any case
	if _, err := lock.CleanTemp(fsys); err != nil {
		return err
	}
	return record.WriteFileAtomic(fsys, path, text)
}
