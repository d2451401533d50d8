package nn

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
)

// Init says how a parameter starts: normal with standard deviation Std, cut off beyond Truncate
// standard deviations when that is positive; or, when Std is 0, every element Constant.
type Init struct {
	Std      float64
	Truncate float64
	Constant float64
}

// Initialize fills every parameter from its own random stream, keyed by seed and name: the same
// values in any order of declaration, on any machine, with any number of threads. Some are drawn side by
// side; this goroutine writes them, in order.
func (r *Registry) Initialize(seed int64) error {
	drawn := make(chan chan []float32, runtime.GOMAXPROCS(0)) // its capacity bounds what is drawn and not yet written
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(drawn)
		for _, p := range r.params {
			one := make(chan []float32, 1)
			select {
			case drawn <- one:
			case <-stop:
				return
			}
			go func() {
				data := make([]float32, p.Len())
				p.Init.fill(data, stream(seed, p.Name))
				one <- data
			}()
		}
	}()
	for _, p := range r.params {
		if err := r.flat[Params].Write(p.Offset, <-<-drawn); err != nil {
			return err
		}
	}
	return r.Round()
}

func (i Init) fill(data []float32, random *rand.Rand) {
	for j := range data {
		if i.Std == 0 {
			data[j] = float32(i.Constant)
			continue
		}
		x := random.NormFloat64()
		for i.Truncate > 0 && math.Abs(x) > i.Truncate {
			x = random.NormFloat64()
		}
		data[j] = float32(i.Std * x)
	}
}

// stream is a generator whose key is a hash of seed and name.
func stream(seed int64, name string) *rand.Rand {
	key := append(binary.LittleEndian.AppendUint64([]byte("plasticity init "), uint64(seed)), name...)
	return rand.New(rand.NewChaCha8(sha256.Sum256(key)))
}
