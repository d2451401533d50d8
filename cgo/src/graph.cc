// The graph section of tgo.h: finds and loads libtgo_cuda.so, and hands its calls on.
#include <ATen/ops/zeros.h>
#include <dlfcn.h>

#include <cstdio>
#include <string>

#include "../tgo_stamp.h"
#include "cuda.hh"
#include "graph_plan.hh"
#include "guard.hh"

struct tgo_graph {
  std::unique_ptr<tgo::cuda::Engine> engine;
};

namespace tgo::cuda {
namespace {

struct Loaded {
  const Table* table = nullptr;
  int32_t devices = 0;
  std::string reason;
};

// The folder that this library was loaded from, with a slash at the end.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&tgo_cuda_open), &info) == 0 ||
      info.dli_fname == nullptr) {
    return "";
  }
  const std::string path(info.dli_fname);
  return path.substr(0, path.rfind('/') + 1);
}

std::string last_error() {
  const char* text = dlerror();
  return text == nullptr ? "unknown" : text;
}

// What is to be done comes first in a reason: its end may be cut off.
Loaded load() {
  Loaded out;
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    out.reason = "this machine has no NVIDIA driver (libcuda.so.1)";
    return out;
  }
  const std::string path = own_folder() + "libtgo_cuda.so";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    out.reason = "run make setup-cuda, since the CUDA library cannot be loaded: " + last_error();
    return out;
  }
  const auto function = reinterpret_cast<TableFunction>(dlsym(library, kTableSymbol));
  const Table* table = function == nullptr ? nullptr : function();
  if (table == nullptr || std::string(table->stamp) != TGO_STAMP) {
    out.reason = "run make setup-cuda, since the CUDA library is of another build: " + path;
    return out;
  }
  out.devices = table->devices();
  if (out.devices < 1) {
    out.reason = "the NVIDIA driver offers no device";
    return out;
  }
  out.table = table;
  return out;
}

// Loads at the first call; libtorch asks once per process whether there is CUDA.
const Loaded& loaded() {
  static const Loaded once = load();
  return once;
}

Engine& engine_of(tgo_graph* graph) {
  TORCH_CHECK(graph != nullptr, "no graph given");
  return *graph->engine;
}

}  // namespace

const Table& table() {
  const Loaded& l = loaded();
  if (l.table == nullptr) {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 0, l.reason);
  }
  return *l.table;
}

}  // namespace tgo::cuda

tgo_status tgo_cuda_open(tgo_cuda_devices* out) noexcept {
  return tgo::guard([&] {
    const tgo::cuda::Loaded& l = tgo::cuda::loaded();
    out->count = l.devices;
    std::snprintf(out->reason, sizeof out->reason, "%s", l.reason.c_str());
  });
}

tgo_status tgo_cuda_describe(int32_t device, tgo_cuda_info* out) noexcept {
  return tgo::guard([&] { tgo::cuda::table().describe(device, out); });
}

tgo_status tgo_cuda_zeros(int32_t device, int32_t dtype, const int64_t* dims, int32_t rank,
                          tgo_out* out) noexcept {
  return tgo::guard([&] {
    const int32_t devices = tgo::cuda::table().devices();
    TORCH_CHECK(device >= 0 && device < devices, "there is no device cuda:", device, ", only ",
                devices);
    const auto where = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device));
    tgo::give(
        at::zeros(tgo::dims_of(dims, rank), at::TensorOptions(where).dtype(tgo::type_of(dtype))),
        out);
  });
}

tgo_status tgo_graph_plan(const tgo_graph_options* options, tgo_graph_memory* out) noexcept {
  return tgo::guard([&] { *out = tgo::plan_graph(*options); });
}

tgo_status tgo_graph_new(const tgo_graph_options* options, const tgo_graph_state* state,
                         const tgo_graph_layer* layers, const tgo_segment* segments,
                         int64_t segment_count, tgo_graph** out) noexcept {
  return tgo::guard([&] {
    const tgo::cuda::Table& table = tgo::cuda::table();
    const tgo::cuda::State flat{tgo::borrow(state->params),
                                tgo::borrow(state->grads),
                                tgo::borrow(state->m),
                                tgo::borrow(state->v),
                                tgo::borrow(state->copy16),
                                state->embedding,
                                state->norm,
                                state->head};
    *out = new tgo_graph{table.make(*options, flat, layers, segments, segment_count)};
  });
}

void tgo_graph_free(tgo_graph* graph) noexcept { delete graph; }

tgo_status tgo_graph_describe(const tgo_graph* graph, tgo_graph_info* out) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(graph != nullptr, "no graph given");
    graph->engine->describe(out);
  });
}

tgo_status tgo_graph_launch(tgo_graph* graph, const int32_t* ids, const int32_t* targets,
                            int64_t count, tgo_graph_update update) noexcept {
  return tgo::guard([&] { tgo::cuda::engine_of(graph).launch(ids, targets, count, update); });
}

tgo_status tgo_graph_wait(tgo_graph* graph, tgo_graph_result* out) noexcept {
  return tgo::guard([&] { *out = tgo::cuda::engine_of(graph).wait(); });
}

tgo_status tgo_graph_loss(tgo_graph* graph, const int32_t* ids, const int32_t* targets,
                          int64_t count, double* out) noexcept {
  return tgo::guard([&] { *out = tgo::cuda::engine_of(graph).loss(ids, targets, count); });
}
