package model

import (
	"plasticity/config"
	"plasticity/record"
)

// ReadHFConfig reads the config.json of a folder, for the fuzz test.
func ReadHFConfig(fsys record.FS, dir string) (config.Model, error) {
	h, err := readHFConfig(fsys, dir, nextToken)
	return h.config, err
}
