// The instruction set's kernels and their probe in one file, so that each template is compiled
// once.
#include "../../engine/isa_avx2.cc"
#include "probe_kernels.hh"

namespace tgo::tests {

const Probe* probe_avx2(bool half) { return engine::avx2::probe(engine::kernels_avx2, half); }

}  // namespace tgo::tests
