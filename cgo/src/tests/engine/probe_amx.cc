// The instruction set's kernels and their probe in one file, so that each template is compiled
// once.
#include "../../engine/isa_amx.cc"
#include "probe_kernels.hh"

namespace tgo::tests {

const Probe* probe_amx(bool half) { return engine::amx::probe(engine::kernels_amx, half); }

}  // namespace tgo::tests
