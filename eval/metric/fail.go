package metric

import "plasticity/record"

// bad returns a Failure with BadData; format and args are those of fmt.Errorf.
func bad(format string, args ...any) error { return record.Fail(record.BadData, format, args...) }
