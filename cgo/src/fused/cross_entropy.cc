// The output layer and its loss as one operation, in chunks of rows: a chunk's logits are made,
// turned into their own gradient in place, multiplied into dx and dw, and forgotten. All N × V
// logits never exist.
//
// For a row with logits l, target y, lse = log Σ exp(l):
//   loss = (lse − l[y] + z · lse²) / divisor
//   dl   = (softmax(l) · (1 + 2 z · lse) − onehot(y)) / divisor
// A row whose target is negative counts nothing.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "autograd.hh"

namespace tgo {
namespace {

// Logits held at once: at most this many elements, and never more rows than kMaxRows.
constexpr int64_t kChunkElements = 4 << 20, kMaxRows = 1024;

struct LossOptions {
  float z_loss, inverse_divisor;
  bool grad;
};

// Overwrites `rows` rows of logits with their gradient and writes each row's loss.
template <class X>
TGO_KERNEL void cross_entropy_rows(X* logits, const int64_t* targets, double* losses, int64_t rows,
                                   int64_t vocab, LossOptions o) {
  for (int64_t row = 0; row < rows; row++, logits += vocab) {
    const int64_t target = targets[row];
    if (target < 0) {
      losses[row] = 0;
      std::fill_n(logits, vocab, X(0));
      continue;
    }
    float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < vocab; i++) {
      top = std::max(top, load(logits[i]));
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < vocab; i++) {
      sum += exp_(load(logits[i]) - top);
    }
    const float lse = top + std::log(sum);
    losses[row] = static_cast<double>(lse - load(logits[target]) + o.z_loss * lse * lse);
    if (!o.grad) {
      continue;
    }
    const float scale = (1.0F + 2.0F * o.z_loss * lse) * o.inverse_divisor / sum;
    const float at_target = load(logits[target]);
#pragma omp simd
    for (int64_t i = 0; i < vocab; i++) {
      store(logits[i], exp_(load(logits[i]) - top) * scale);
    }
    store(logits[target], exp_(at_target - top) * scale - o.inverse_divisor);
  }
}

struct Inputs {
  at::Tensor x, weight, targets;  // x and weight in the product's type
  bool wants_dx, wants_dw;
};

struct Gradients {
  at::Tensor dx, dw;
};

double loss_over_chunks(const Inputs& in, const LossOptions& o, Gradients* g) {
  const int64_t rows = in.x.size(0), vocab = in.weight.size(0);
  const int64_t chunk = std::clamp<int64_t>(kChunkElements / vocab, 1, kMaxRows);
  std::vector<double> losses(static_cast<size_t>(rows));
  for (int64_t from = 0; from < rows; from += chunk) {
    const int64_t n = std::min(chunk, rows - from);
    const at::Tensor x = in.x.narrow(0, from, n);
    at::Tensor logits = at::mm(x, in.weight.t());
    by_type(logits.scalar_type(), "cross_entropy", [&](auto* t) {
      using X = std::remove_pointer_t<decltype(t)>;
      for_rows(n, vocab, [&](int64_t first, int64_t last) {
        cross_entropy_rows(logits.mutable_data_ptr<X>() + first * vocab,
                           in.targets.const_data_ptr<int64_t>() + from + first,
                           losses.data() + from + first, last - first, vocab, o);
      });
    });
    if (in.wants_dx) {
      at::Tensor dx = g->dx.narrow(0, from, n);
      at::mm_out(dx, logits, in.weight);
    }
    if (in.wants_dw) {
      g->dw.add_(at::mm(logits.t(), x));
    }
  }
  double sum = 0;
  for (const double loss : losses) {
    sum += loss;
  }
  return sum * o.inverse_divisor;
}

class LinearCrossEntropy : public Function<LinearCrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::optional<at::Tensor>& w16, const at::Tensor& targets,
                            double z_loss, double divisor, bool grad) {
    const at::Tensor& weight = w16.has_value() ? *w16 : w;
    TORCH_CHECK(x.dim() == 2 && w.dim() == 2 && x.size(1) == w.size(1) && targets.dim() == 1 &&
                    targets.size(0) == x.size(0) && targets.scalar_type() == at::kLong,
                "linear_cross_entropy of ", x.sizes(), " with a weight ", w.sizes(),
                " and targets ", targets.sizes());
    TORCH_CHECK(divisor > 0, "linear_cross_entropy divides by ", divisor);
    TORCH_CHECK(x.size(0) == 0 || targets.max().item<int64_t>() < w.size(0),
                "a target is not below the vocabulary of ", w.size(0));
    const Inputs in{x.contiguous().to(weight.scalar_type()), weight, targets.contiguous(),
                    grad && x.requires_grad(), grad && w.requires_grad()};
    const LossOptions o{static_cast<float>(z_loss), static_cast<float>(1.0 / divisor), grad};
    Gradients g;
    if (in.wants_dx) {
      g.dx = at::empty_like(in.x);
    }
    if (in.wants_dw) {
      g.dw = at::zeros(w.sizes(), at::kFloat);
    }
    const double loss = loss_over_chunks(in, o, &g);
    ctx->save_for_backward({g.dx, g.dw});
    ctx->saved_data["type"] = x.scalar_type();
    return at::scalar_tensor(loss, at::kFloat);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const float factor = grads[0].item<float>();
    const auto scaled = [&](const at::Tensor& t) {
      return !t.defined() || factor == 1.0F ? t : t.mul(factor);
    };
    at::Tensor dx = scaled(saved[0]);
    if (dx.defined()) {
      dx = dx.to(ctx->saved_data["type"].toScalarType());
    }
    return {dx,           scaled(saved[1]), at::Tensor(), at::Tensor(),
            at::Tensor(), at::Tensor(),     at::Tensor()};
  }
};

}  // namespace
}  // namespace tgo

tgo_status tgo_linear_cross_entropy(int32_t grad, const tgo_tensor* x, const tgo_tensor* w,
                                    const tgo_tensor* w16, const tgo_tensor* targets, double z_loss,
                                    double divisor, tgo_out* out) noexcept {
  return tgo::guard_op(grad, out, [&] {
    const at::Tensor &rows = tgo::borrow(x), &weight = tgo::borrow(w);
    const std::optional<at::Tensor> copy =
        w16 == nullptr ? std::nullopt : std::optional<at::Tensor>(w16->value);
    return tgo::LinearCrossEntropy::apply(rows, weight, copy, tgo::borrow(targets), z_loss, divisor,
                                          tgo::wants_grad(rows, weight));
  });
}
