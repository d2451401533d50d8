package record

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Float is a float64 that always survives JSON: NaN and the infinities are the strings "NaN", "Infinity" and
// "-Infinity", so that the row of the very step that diverged is not lost.
type Float float64

// MarshalJSON returns a JSON number or one of the three strings. It never fails.
func (f Float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON accepts what MarshalJSON makes, and null, which leaves the value as it is.
func (f *Float) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "null":
	case `"NaN"`:
		*f = Float(math.NaN())
	case `"Infinity"`:
		*f = Float(math.Inf(1))
	case `"-Infinity"`:
		*f = Float(math.Inf(-1))
	default:
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return fmt.Errorf(`%.40s: want a number in the range of float64, "NaN", "Infinity" or "-Infinity"`, text)
		}
		*f = Float(v)
	}
	return nil
}
