// Causal grouped-query attention.
//
// Forward is ATen's blocked kernel, which also gives each row's log-sum-exp. Its backward is many
// times slower in bfloat16 than its arithmetic needs, so backward is written here. The scores are
// made again in blocks of query rows, which see only the keys up to their own end:
//   P  = exp(scale · Q Kᵀ − lse), zero above the diagonal
//   dV = Pᵀ dO      dP = dO Vᵀ      D = rowsum(dO · O)
//   dS = scale · P · (dP − D)       dQ = dS K      dK = dSᵀ Q
// Scores are float32, so that P sums to one as it did forward; the other products run in the type
// of the inputs.
//
// Letters: B sequences, T time, H query heads in G groups of R = H / G, E head size. Inside
// backward a group's R heads lie one after the other, so that its keys meet all of them in one
// product: Q, O, dO are [B·G, R, T, E] and K, V are [B·G, T, E].
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "autograd.hh"

namespace tgo {
namespace {

// Query rows to a block, and the largest number of scores held at once.
constexpr int64_t kBlockRows = 128, kScores = 2 << 20;

// Where a block of rows stands: row r of a head is query first + r % block and sees keys up to
// itself.
struct ScoreBlock {
  int64_t block, keys, first;
  float scale;
};

// From scores s and products dp, both [rows, keys], to P in p and dS in place of dp.
template <class X>
TGO_KERNEL void scores_back(const float* s, X* p, X* dp, const float* lse, const float* d,
                            int64_t from, int64_t to, ScoreBlock b) {
  for (int64_t row = from; row < to; row++) {
    const float* score = s + row * b.keys;
    X* prob = p + row * b.keys;
    X* ds = dp + row * b.keys;
    const int64_t seen = b.first + row % b.block + 1;
    const float l = lse[row], dot = d[row];
#pragma omp simd
    for (int64_t i = 0; i < seen; i++) {
      const float e = exp_(score[i] * b.scale - l);
      store(prob[i], e);
      store(ds[i], b.scale * e * (load(ds[i]) - dot));
    }
    std::fill(prob + seen, prob + b.keys, X(0));
    std::fill(ds + seen, ds + b.keys, X(0));
  }
}

// [B, T, H, E] → [B·G, R, T, E].
at::Tensor by_group(const at::Tensor& x, int64_t groups) {
  const int64_t batch = x.size(0), time = x.size(1), heads = x.size(2), size = x.size(3);
  return x.transpose(1, 2).reshape({batch * groups, heads / groups, time, size});
}

// [B·G, R, T, E] → [B, T, H, E] in the given type.
at::Tensor from_group(const at::Tensor& x, int64_t batch, at::ScalarType type) {
  const int64_t heads = x.size(0) / batch * x.size(1), time = x.size(2), size = x.size(3);
  return x.view({batch, heads, time, size}).transpose(1, 2).to(type).contiguous();
}

// Keys and values of a group repeated for each of its query heads: [B, T, G, E] → [B, H, T, E].
at::Tensor repeat_groups(const at::Tensor& x, int64_t heads) {
  const int64_t batch = x.size(0), time = x.size(1), groups = x.size(2), size = x.size(3);
  return x.transpose(1, 2)
      .unsqueeze(2)
      .expand({batch, groups, heads / groups, time, size})
      .reshape({batch, heads, time, size});
}

struct Saved {
  at::Tensor q, dout, k, v;  // by group
  at::Tensor lse, d;         // [B·G, R, T] float32
  float scale;
};

struct Gradients {
  at::Tensor dq, dk, dv;
};

// One block of query rows of a few groups at once: groups g … g + n, rows first … first + block.
void block_back(const Saved& a, Gradients* out, int64_t g, int64_t n, int64_t first,
                int64_t block) {
  const int64_t heads = a.q.size(1), size = a.q.size(3), keys = first + block;
  const auto rows = [&](const at::Tensor& x) {
    return x.narrow(0, g, n).narrow(2, first, block).reshape({n, heads * block, size});
  };
  const auto seen = [&](const at::Tensor& x) { return x.narrow(0, g, n).narrow(1, 0, keys); };
  const auto numbers = [&](const at::Tensor& x) {
    return x.narrow(0, g, n).narrow(2, first, block).contiguous();
  };
  const at::Tensor q = rows(a.q), dout = rows(a.dout), k = seen(a.k), v = seen(a.v);
  const at::Tensor s = at::bmm(q.to(at::kFloat), k.to(at::kFloat).transpose(1, 2));
  at::Tensor dp = at::bmm(dout, v.transpose(1, 2)), p = at::empty_like(dp);
  const at::Tensor lse = numbers(a.lse), d = numbers(a.d);
  const ScoreBlock b{block, keys, first, a.scale};
  by_type(p.scalar_type(), "attention", [&](auto* t) {
    using X = std::remove_pointer_t<decltype(t)>;
    for_rows(n * heads * block, keys, [&](int64_t from, int64_t to) {
      scores_back(s.const_data_ptr<float>(), p.mutable_data_ptr<X>(), dp.mutable_data_ptr<X>(),
                  lse.const_data_ptr<float>(), d.const_data_ptr<float>(), from, to, b);
    });
  });
  out->dq.narrow(0, g, n)
      .narrow(2, first, block)
      .copy_(at::bmm(dp, k).view({n, heads, block, size}));
  seen(out->dk).add_(at::bmm(dp.transpose(1, 2), q));
  seen(out->dv).add_(at::bmm(p.transpose(1, 2), dout));
}

class Attention : public Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
    const int64_t heads = q.size(2);
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        q.transpose(1, 2), repeat_groups(k, heads), repeat_groups(v, heads), 0.0, true);
    out = out.transpose(1, 2).contiguous();
    ctx->save_for_backward({q, k, v, out, lse});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse = saved[4];
    const int64_t batch = q.size(0), time = q.size(1), heads = q.size(2), groups = k.size(2);
    const int64_t size = q.size(3), many = batch * groups, each = heads / groups;
    const at::Tensor dout = by_group(grads[0], groups);
    const Saved a{by_group(q, groups),
                  dout,
                  by_group(k, groups).squeeze(1),
                  by_group(v, groups).squeeze(1),
                  lse.to(at::kFloat).reshape({many, each, time}),
                  dout.to(at::kFloat).mul(by_group(out, groups)).sum(-1),
                  1.0F / std::sqrt(static_cast<float>(size))};
    Gradients g{at::empty_like(a.q), at::zeros(a.k.sizes(), at::kFloat),
                at::zeros(a.k.sizes(), at::kFloat)};
    for (int64_t first = 0; first < time; first += kBlockRows) {
      const int64_t block = std::min(kBlockRows, time - first);
      const int64_t step = std::clamp<int64_t>(kScores / (each * block * (first + block)), 1, many);
      for (int64_t i = 0; i < many; i += step) {
        block_back(a, &g, i, std::min(step, many - i), first, block);
      }
    }
    return {from_group(g.dq, batch, q.scalar_type()),
            from_group(g.dk.unsqueeze(1), batch, k.scalar_type()),
            from_group(g.dv.unsqueeze(1), batch, v.scalar_type())};
  }
};

void check_shapes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t offset) {
  TORCH_CHECK(q.dim() == 4 && k.dim() == 4 && v.sizes() == k.sizes() && q.size(0) == k.size(0) &&
                  q.size(3) == k.size(3) && k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              "attention of queries ", q.sizes(), ", keys ", k.sizes(), " and values ", v.sizes());
  TORCH_CHECK(offset >= 0 && k.size(1) >= offset + q.size(1), "attention of ", q.size(1),
              " queries from position ", offset, " needs as many keys, not ", k.size(1));
}

// Without gradients, for queries that continue a cache: query t sees keys 0 … offset + t.
at::Tensor attend_cached(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         int64_t offset) {
  const int64_t heads = q.size(2), keys = offset + q.size(1);
  const at::Tensor key = repeat_groups(k.narrow(1, 0, keys), heads);
  const at::Tensor value = repeat_groups(v.narrow(1, 0, keys), heads);
  std::optional<at::Tensor> mask;
  if (q.size(1) > 1) {
    mask = at::arange(keys).unsqueeze(0).le(at::arange(offset, keys).unsqueeze(1));
  }
  return at::scaled_dot_product_attention(q.transpose(1, 2), key, value, mask)
      .transpose(1, 2)
      .contiguous();
}

}  // namespace
}  // namespace tgo

tgo_status tgo_attention(int32_t grad, const tgo_tensor* q, const tgo_tensor* k,
                         const tgo_tensor* v, int64_t offset, tgo_out* out) noexcept {
  return tgo::guard_op(grad, out, [&] {
    const at::Tensor &query = tgo::borrow(q), &key = tgo::borrow(k), &value = tgo::borrow(v);
    tgo::check_shapes(query, key, value, offset);
    const bool whole = offset == 0 && query.size(1) == key.size(1);
    if (tgo::wants_grad(query, key, value)) {
      TORCH_CHECK(whole, "attention over a cache has no backward");
      return tgo::Attention::apply(query, key, value);
    }
    return whole ? tgo::Attention::apply(query, key, value)
                 : tgo::attend_cached(query, key, value, offset);
  });
}
