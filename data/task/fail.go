package task

import "plasticity/record"

// bad returns a Failure with BadData; format and args are those of fmt.Errorf.
func bad(format string, args ...any) error { return record.Fail(record.BadData, format, args...) }

// usage returns a Failure with Usage; format and args are those of fmt.Errorf.
func usage(format string, args ...any) error { return record.Fail(record.Usage, format, args...) }
