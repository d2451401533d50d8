package metric

import (
	"fmt"

	"plasticity/record"
)

// bad returns a Failure with BadData; format and args are those of fmt.Errorf.
func bad(format string, args ...any) error { return record.Fail(record.BadData, format, args...) }

// failIO wraps an error of the operating system as a Failure: with the code that its kind asks for, else IO.
func failIO(err error, format string, args ...any) error {
	code := record.CodeOf(err)
	if code == record.Failed {
		code = record.IO
	}
	return &record.Failure{Code: code, Err: fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)}
}
