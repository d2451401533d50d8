// What libtgo and libtgo_cuda say to each other. libtgo loads the second library by name and takes
// one table from it; what the table's functions throw passes through to libtgo's guard.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "../tgo.h"

namespace tgo::cuda {

// The training step on one device. Called by one thread.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual void describe(tgo_graph_info* out) const = 0;
  virtual void launch(const int32_t* ids, const int32_t* targets, int64_t count,
                      tgo_graph_update update) = 0;
  virtual tgo_graph_result wait() = 0;
  virtual double loss(const int32_t* ids, const int32_t* targets, int64_t count) = 0;
};

// The flat buffers, on the device.
struct State {
  at::Tensor params, grads, m, v, copy16;
  int64_t embedding, norm, head;
};

struct Table {
  const char* stamp;  // of the libtgo that it was built with
  int32_t (*devices)();
  void (*describe)(int32_t device, tgo_cuda_info* out);
  double (*norm)(const at::Tensor& flat);
  std::unique_ptr<Engine> (*make)(const tgo_graph_options& options, const State& state,
                                  const tgo_graph_layer* layers, const tgo_segment* segments,
                                  int64_t segment_count);
};

constexpr const char* kTableSymbol = "tgo_cuda_table";
using TableFunction = const Table* (*)();

// The table of the library that tgo_cuda_open loaded; throws when there is none.
const Table& table();

}  // namespace tgo::cuda
