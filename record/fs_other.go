//go:build unix && !linux

package record

import "errors"

// exchange is not available on this system; the callers have a way without it.
func exchange(_, _ string) error { return errors.ErrUnsupported }
