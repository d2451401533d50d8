#pragma once

#include "../cuda.hh"

namespace tgo::cuda {

std::unique_ptr<Engine> make_engine(const tgo_graph_options& options, const State& state,
                                    const tgo_graph_layer* layers, const tgo_segment* segments,
                                    int64_t segment_count);

}  // namespace tgo::cuda
