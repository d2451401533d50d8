#include "guard.hh"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace tgo {
namespace {

std::atomic<int64_t> live_handles{0};

// Set by tgo_fail_after; counts down in this thread's guarded calls.
thread_local int64_t armed_calls = -1;
thread_local int32_t armed_code = TGO_INTERNAL;

// A long message keeps its head: that is where libtorch says what went wrong.
constexpr size_t kMaxMessage = 2000;

tgo_status fail(int32_t code, const char* text) noexcept {
  const size_t n = strnlen(text, kMaxMessage);
  char* message = static_cast<char*>(std::malloc(n + 1));
  if (message != nullptr) {
    std::memcpy(message, text, n);
    message[n] = '\0';
  }
  return {code, message};
}

// libtorch reports a failed host allocation as a plain c10::Error.
int32_t code_of(const c10::Error& e) {
  const std::string_view text(e.what_without_backtrace());
  for (const char* mark : {"can't allocate memory", "not enough memory"}) {
    if (text.find(mark) != std::string_view::npos) {
      return TGO_OUT_OF_MEMORY;
    }
  }
  return TGO_INVALID;
}

}  // namespace

tgo_status ok() noexcept { return {TGO_OK, nullptr}; }

tgo_status from_current_exception() noexcept {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& e) {
    return fail(TGO_OUT_OF_MEMORY, e.what_without_backtrace());
  } catch (const c10::AcceleratorError& e) {
    constexpr int32_t kMemoryAllocation = 2;  // cudaErrorMemoryAllocation
    return fail(e.get_error_code() == kMemoryAllocation ? TGO_OUT_OF_MEMORY : TGO_DEVICE_LOST,
                e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return fail(code_of(e), e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return fail(TGO_OUT_OF_MEMORY, "out of host memory");
  } catch (const std::exception& e) {
    return fail(TGO_INTERNAL, e.what());
  } catch (...) {
    return fail(TGO_INTERNAL, "something that is not a std::exception was thrown");
  }
}

void fail_if_armed() {
  if (armed_calls < 0 || armed_calls-- > 0) {
    return;
  }
  switch (armed_code) {
    case TGO_INVALID:
      TORCH_CHECK(false, "planted: an operation refused its arguments");
    case TGO_OUT_OF_MEMORY:
      throw std::bad_alloc();
    case TGO_DEVICE_LOST:
      throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 0, "planted: device lost");
    default:
      throw 42;  // what no handler expects
  }
}

void count_handles(int64_t change) noexcept {
  live_handles.fetch_add(change, std::memory_order_relaxed);
}

void give(at::Tensor value, tgo_out* out) {
  TORCH_CHECK(value.dim() <= TGO_MAX_RANK, "a tensor of rank ", value.dim(), " cannot cross");
  out->dtype = dtype_of(value.scalar_type());
  out->rank = static_cast<int32_t>(value.dim());
  for (int64_t i = 0; i < value.dim(); i++) {
    out->dims[i] = value.size(i);
  }
  out->tensor = new tgo_tensor{std::move(value)};
  count_handles(1);
}

at::ScalarType type_of(int32_t dtype) {
  switch (dtype) {
    case TGO_FLOAT32:
      return at::kFloat;
    case TGO_BFLOAT16:
      return at::kBFloat16;
    case TGO_INT64:
      return at::kLong;
    default:
      TORCH_CHECK(false, "element type ", dtype, " is unknown");
  }
}

int32_t dtype_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return TGO_FLOAT32;
    case at::kBFloat16:
      return TGO_BFLOAT16;
    case at::kLong:
      return TGO_INT64;
    default:
      TORCH_CHECK(false, "element type ", type, " cannot cross");
  }
}

}  // namespace tgo

void tgo_status_free(tgo_status status) noexcept { std::free(status.message); }

void tgo_fail_after(int64_t calls, int32_t code) noexcept {
  tgo::armed_calls = calls;
  tgo::armed_code = code;
}

int64_t tgo_live() noexcept { return tgo::live_handles.load(std::memory_order_relaxed); }

void tgo_tensors_free(tgo_tensor** tensors, int64_t count) noexcept {
  for (int64_t i = 0; i < count; i++) {
    if (tensors[i] != nullptr) {
      delete tensors[i];
      tensors[i] = nullptr;
      tgo::count_handles(-1);
    }
  }
}
