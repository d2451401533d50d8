// The instruction set's kernels and their probe in one file, so that each template is compiled
// once.
#include "../../engine/isa_avx512.cc"
#include "probe_kernels.hh"

namespace tgo::tests {

const Probe* probe_avx512(bool half) { return engine::avx512::probe(engine::kernels_avx512, half); }

}  // namespace tgo::tests
