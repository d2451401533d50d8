// The step as a whole: token ids through pinned memory, all micro-batches and the update as one
// CUDA graph, results read from pinned memory when they are asked for.
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "engine.hh"
#include "event.hh"
#include "staging.hh"
#include "step.hh"

namespace tgo::cuda {
namespace {

// Page-locked host memory, which the device reads and writes by itself.
template <class T>
class Pinned {
 public:
  explicit Pinned(size_t count) {
    C10_CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&data_), count * sizeof(T)));
  }
  ~Pinned() { C10_CUDA_IGNORE_ERROR(cudaFreeHost(data_)); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};

// What the host writes for a step and what it gets back; two of them, so that the next step can be
// prepared while one runs.
struct Slot {
  Pinned<uint8_t> staging;
  Pinned<Decision> result{1};
  Event done;
  explicit Slot(size_t bytes) : staging(bytes) {}
};

constexpr int64_t kSlots = 2;

// The ids of a step as they lie in staging, on the host and on the device alike: the update's
// numbers, then ids, targets and order.
struct Staging {
  int64_t tokens;
  size_t bytes() const {
    return sizeof(Update) + 3 * sizeof(int32_t) * static_cast<size_t>(tokens);
  }
  Update* update(uint8_t* base) const { return reinterpret_cast<Update*>(base); }
  int32_t* ids(uint8_t* base) const { return reinterpret_cast<int32_t*>(base + sizeof(Update)); }
  int32_t* targets(uint8_t* base) const { return ids(base) + tokens; }
  int32_t* order(uint8_t* base) const { return targets(base) + tokens; }
};

std::vector<Tile> tiles_of(const tgo_segment* segments, int64_t count, int64_t parameters) {
  std::vector<Tile> tiles;
  for (int64_t i = 0; i < count; i++) {
    const tgo_segment& s = segments[i];
    TORCH_CHECK(s.offset >= 0 && s.length >= 0 && s.length <= parameters - s.offset, "segment ",
                s.offset, " + ", s.length, " of ", parameters, " parameters");
    for (int64_t at = 0; at < s.length; at += kTile) {
      const auto length = static_cast<int32_t>(std::min<int64_t>(kTile, s.length - at));
      tiles.push_back({s.offset + at, length, static_cast<float>(s.weight_decay)});
    }
  }
  return tiles;
}

class Steps : public Engine {
 public:
  Steps(const tgo_graph_options& options, const State& state, const tgo_graph_layer* layers,
        std::vector<Tile> tiles);
  ~Steps() override;
  void describe(tgo_graph_info* out) const override;
  void launch(const int32_t* ids, const int32_t* targets, int64_t count,
              tgo_graph_update update) override;
  tgo_graph_result wait() override;
  double loss(const int32_t* ids, const int32_t* targets, int64_t count) override;

 private:
  void stage(Slot& slot, const int32_t* ids, const int32_t* targets, tgo_graph_update update);
  void run();
  void update_weights();
  void warm_up();
  void capture();
  // Sequences of the micro-batch that begins with this one.
  int64_t sequences_from(int64_t first) const {
    return std::min<int64_t>(options_.micro_sequences, options_.sequences - first);
  }
  Tokens tokens_at(int64_t first, int64_t sequences) const;
  void forget_stop();

  tgo_graph_options options_;
  State state_;
  c10::cuda::CUDAGuard device_guard_;
  c10::cuda::CUDAStream stream_;
  std::unique_ptr<Pass> pass_;
  Staging staging_;
  std::array<std::unique_ptr<Slot>, kSlots> slots_;
  std::vector<int32_t> starts_;
  at::Tensor device_staging_, losses_, loss_parts_, norm_parts_, decision_, tiles_;
  int64_t tile_count_;
  std::unique_ptr<at::cuda::CUDAGraph> graph_;
  bool prepared_ = false, stopped_ = false;
  int64_t launched_ = 0, waited_ = 0;
  std::string attention_, launch_;
};

at::Tensor upload(const void* data, size_t bytes, at::Device device) {
  // from_blob wants a mutable pointer; copying only reads it.
  const auto size = static_cast<int64_t>(bytes);
  return at::from_blob(const_cast<void*>(data), {size}, at::kByte).to(device);
}

Steps::Steps(const tgo_graph_options& options, const State& state, const tgo_graph_layer* layers,
             std::vector<Tile> tiles)
    : options_(options),
      state_(state),
      device_guard_(static_cast<c10::DeviceIndex>(options.device)),
      stream_(c10::cuda::getStreamFromPool(false, static_cast<c10::DeviceIndex>(options.device))),
      staging_{int64_t{options.sequences} * options.context},
      starts_(static_cast<size_t>(options.vocab) + 1),
      tile_count_(static_cast<int64_t>(tiles.size())) {
  const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(options.device));
  // Sums of products stay in float32 also where cuBLAS splits them.
  at::globalContext().setAllowBF16ReductionCuBLAS(false);
  c10::cuda::CUDAStreamGuard guard(stream_);
  c10::cuda::CUDACachingAllocator::resetPeakStats(device.index());
  pass_ = std::make_unique<Pass>(options, state, layers, device);
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index()));
  attention_ = pass_->choose_attention(options, properties.major);
  for (auto& slot : slots_) {
    slot = std::make_unique<Slot>(staging_.bytes());
  }
  const auto bytes = at::TensorOptions(device).dtype(at::kByte);
  const auto f64 = at::TensorOptions(device).dtype(at::kDouble);
  device_staging_ = at::empty({static_cast<int64_t>(staging_.bytes())}, bytes);
  losses_ = at::zeros({staging_.tokens}, f64);
  loss_parts_ = at::zeros({kSumParts}, f64);
  norm_parts_ = at::zeros({kSumParts}, f64);
  decision_ = at::zeros({static_cast<int64_t>(sizeof(Decision))}, bytes);
  tiles_ = upload(tiles.data(), tiles.size() * sizeof(Tile), device);
  C10_CUDA_CHECK(cudaStreamSynchronize(stream_));
  c10::cuda::CUDACachingAllocator::emptyCache();  // what the choice of attention has used
  launch_ = options.launches != 0 ? "launches: as asked for" : "graph";
}

Steps::~Steps() { C10_CUDA_IGNORE_ERROR(cudaStreamSynchronize(stream_)); }

void Steps::describe(tgo_graph_info* out) const {
  std::snprintf(out->attention, sizeof out->attention, "%s", attention_.c_str());
  std::snprintf(out->launch, sizeof out->launch, "%s", launch_.c_str());
}

Tokens Steps::tokens_at(int64_t first, int64_t sequences) const {
  uint8_t* base = device_staging_.mutable_data_ptr<uint8_t>();
  const int64_t row = first * options_.context;
  return {staging_.ids(base) + row, staging_.targets(base) + row, staging_.order(base) + row,
          &staging_.update(base)->inverse_divisor, sequences};
}

void Steps::stage(Slot& slot, const int32_t* ids, const int32_t* targets, tgo_graph_update update) {
  uint8_t* base = slot.staging.get();
  copy_ids(ids, staging_.ids(base), staging_.tokens, 0, options_.vocab);
  const int64_t counted =
      copy_ids(targets, staging_.targets(base), staging_.tokens, -1, options_.vocab);
  TORCH_CHECK(counted > 0, "none of the ", staging_.tokens, " targets of the step counts");
  for (int64_t first = 0; first < options_.sequences; first += options_.micro_sequences) {
    const int64_t from = first * options_.context;
    sort_rows(ids + from, targets + from, sequences_from(first), options_.context,
              staging_.order(base) + from, starts_);
  }
  const auto step = static_cast<double>(update.step);
  *staging_.update(base) = {
      update.lr, update.decay, update.lr / (1.0 - std::pow(options_.beta1, step)),
      1.0 / std::sqrt(1.0 - std::pow(options_.beta2, step)), 1.0 / static_cast<double>(counted)};
}

// Everything that a step does on the device, from staged ids to updated weights.
void Steps::run() {
  double* losses = losses_.mutable_data_ptr<double>();
  for (int64_t first = 0; first < options_.sequences; first += options_.micro_sequences) {
    pass_->train(tokens_at(first, sequences_from(first)), losses + first * options_.context,
                 first == 0);
  }
  update_weights();
}

void Steps::update_weights() {
  const cudaStream_t stream = stream_.stream();
  const int64_t parameters = state_.params.numel();
  auto* loss_parts = loss_parts_.mutable_data_ptr<double>();
  auto* norm_parts = norm_parts_.mutable_data_ptr<double>();
  auto* decision = reinterpret_cast<Decision*>(decision_.mutable_data_ptr());
  const float* grads = state_.grads.const_data_ptr<float>();
  const auto* update = reinterpret_cast<const Update*>(device_staging_.const_data_ptr());
  sums(losses_.const_data_ptr<double>(), staging_.tokens, loss_parts, stream);
  square_sums(grads, parameters, norm_parts, stream);
  decide(loss_parts, norm_parts, update, options_.clip_norm, decision, stream);
  const AdamW o{static_cast<float>(options_.beta1), static_cast<float>(options_.beta2),
                static_cast<float>(options_.eps)};
  adamw(o, reinterpret_cast<const Tile*>(tiles_.const_data_ptr()), tile_count_, update, decision,
        state_.params.mutable_data_ptr<float>(), grads, state_.m.mutable_data_ptr<float>(),
        state_.v.mutable_data_ptr<float>(),
        reinterpret_cast<bf16*>(state_.copy16.mutable_data_ptr<c10::BFloat16>()), stream);
}

// A pass on the staged ids whose update is not made: libraries choose their kernels and take their
// workspaces now, which they may not do while a graph is captured.
void Steps::warm_up() {
  const int32_t one = 1;
  auto* stopped = decision_.mutable_data_ptr<uint8_t>() + offsetof(Decision, stopped);
  C10_CUDA_CHECK(cudaMemcpyAsync(stopped, &one, sizeof one, cudaMemcpyHostToDevice, stream_));
  const int64_t rest = options_.sequences % options_.micro_sequences;
  pass_->train(tokens_at(0, options_.micro_sequences), losses_.mutable_data_ptr<double>(), true);
  if (options_.sequences > options_.micro_sequences) {
    pass_->train(tokens_at(0, rest == 0 ? options_.micro_sequences : rest),
                 losses_.mutable_data_ptr<double>(), false);
  }
  update_weights();
  forget_stop();
  C10_CUDA_CHECK(cudaStreamSynchronize(stream_));
}

void Steps::forget_stop() {
  auto* stopped = decision_.mutable_data_ptr<uint8_t>() + offsetof(Decision, stopped);
  C10_CUDA_CHECK(cudaMemsetAsync(stopped, 0, sizeof(int32_t), stream_));
  stopped_ = false;
}

void Steps::capture() {
  c10::cuda::CUDACachingAllocator::emptyCache();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  std::string why;
  try {
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      run();
    } catch (const std::exception& e) {
      why = e.what();
    }
    graph->capture_end();
  } catch (const std::exception& e) {
    why = why.empty() ? e.what() : why;
  }
  if (why.empty()) {
    graph_ = std::move(graph);
    return;
  }
  cudaGetLastError();  // the failed capture's, which the next launch would report as its own
  launch_ = "launches: the step could not be captured: " + why.substr(0, why.find('\n'));
}

void Steps::launch(const int32_t* ids, const int32_t* targets, int64_t count,
                   tgo_graph_update update) {
  TORCH_CHECK(count == staging_.tokens, "a step of ", staging_.tokens, " tokens got ", count);
  TORCH_CHECK(update.step >= 1, "the first update is step 1, not ", update.step);
  TORCH_CHECK(launched_ - waited_ < kSlots, "two steps are on their way already");
  const at::NoGradGuard no_grad;
  c10::cuda::CUDAGuard device(stream_.device_index());
  c10::cuda::CUDAStreamGuard guard(stream_);
  Slot& slot = *slots_[static_cast<size_t>(launched_ % kSlots)];
  stage(slot, ids, targets, update);
  if (launched_ == waited_) {  // whoever filled the flat buffers did so on the default stream
    C10_CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));
  }
  C10_CUDA_CHECK(cudaMemcpyAsync(device_staging_.mutable_data_ptr(), slot.staging.get(),
                                 staging_.bytes(), cudaMemcpyHostToDevice, stream_));
  if (stopped_ && launched_ == waited_) {
    forget_stop();
  }
  if (!prepared_) {
    warm_up();
    if (options_.launches == 0) {
      capture();
    }
    prepared_ = true;
  }
  if (graph_ != nullptr) {
    graph_->replay();
  } else {
    run();
  }
  C10_CUDA_CHECK(cudaMemcpyAsync(slot.result.get(), decision_.const_data_ptr(), sizeof(Decision),
                                 cudaMemcpyDeviceToHost, stream_));
  slot.done.record(stream_);
  launched_++;
}

tgo_graph_result Steps::wait() {
  TORCH_CHECK(waited_ < launched_, "no step is on its way");
  Slot& slot = *slots_[static_cast<size_t>(waited_ % kSlots)];
  slot.done.wait();
  waited_++;
  const Decision& d = *slot.result.get();
  stopped_ = stopped_ || d.stopped != 0;
  return {d.loss, d.norm, d.stopped};
}

double Steps::loss(const int32_t* ids, const int32_t* targets, int64_t count) {
  TORCH_CHECK(launched_ == waited_, "a step is on its way: wait for it first");
  TORCH_CHECK(count >= 1 && count % options_.context == 0 &&
                  count <= int64_t{options_.micro_sequences} * options_.context,
              "a loss over ", count, " tokens, with windows of ", options_.context,
              " and passes of ", options_.micro_sequences);
  const at::NoGradGuard no_grad;
  c10::cuda::CUDAGuard device(stream_.device_index());
  c10::cuda::CUDAStreamGuard guard(stream_);
  uint8_t* base = slots_[0]->staging.get();
  copy_ids(ids, staging_.ids(base), count, 0, options_.vocab);
  copy_ids(targets, staging_.targets(base), count, -1, options_.vocab);
  C10_CUDA_CHECK(cudaStreamSynchronize(cudaStreamLegacy));
  C10_CUDA_CHECK(cudaMemcpyAsync(device_staging_.mutable_data_ptr(), base, staging_.bytes(),
                                 cudaMemcpyHostToDevice, stream_));
  pass_->evaluate(tokens_at(0, count / options_.context), losses_.mutable_data_ptr<double>());
  sums(losses_.const_data_ptr<double>(), count, loss_parts_.mutable_data_ptr<double>(), stream_);
  std::array<double, kSumParts> parts{};
  C10_CUDA_CHECK(cudaMemcpyAsync(parts.data(), loss_parts_.const_data_ptr(), sizeof parts,
                                 cudaMemcpyDeviceToHost, stream_));
  C10_CUDA_CHECK(cudaStreamSynchronize(stream_));
  double total = 0;
  for (const double part : parts) {
    total += part;
  }
  return total;
}

}  // namespace

std::unique_ptr<Engine> make_engine(const tgo_graph_options& options, const State& state,
                                    const tgo_graph_layer* layers, const tgo_segment* segments,
                                    int64_t segment_count) {
  const at::NoGradGuard no_grad;
  const int64_t n = state.params.numel();
  for (const at::Tensor& t : {state.params, state.grads, state.m, state.v, state.copy16}) {
    TORCH_CHECK(t.is_cuda() && t.get_device() == options.device && t.dim() == 1 &&
                    t.is_contiguous() && t.numel() == n,
                "the flat buffers must lie on cuda:", options.device, ", all of one length");
  }
  TORCH_CHECK(n == options.parameters, n, " parameters in the buffers, ", options.parameters,
              " in the options");
  return std::make_unique<Steps>(options, state, layers, tiles_of(segments, segment_count, n));
}

}  // namespace tgo::cuda
