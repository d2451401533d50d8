// What the engine computes, written as plainly as possible in double precision: one loop nest for
// each formula, forward and backward, on matrices that lie row after row without any padding. The
// tests compare every kernel and the whole model with it; nothing here is shared with the engine.
//
// Letters: M rows, T positions of a sequence, D width, H heads, G key/value heads, E head size, F
// feed-forward width, V vocabulary. A d… is the gradient of the loss with respect to …; backward
// functions add to the gradients of weights and inputs they are given.
#ifndef TGO_TESTS_REFERENCE_HH
#define TGO_TESTS_REFERENCE_HH

#include <cstdint>
#include <vector>

namespace tgo::reference {

using Values = std::vector<double>;

// y [M × N] = x [M × K] · wᵀ, w [N × K].
void linear(const double* x, const double* w, int m, int k, int n, double* y);
// dx += dy · w, dw += dyᵀ · x.
void linear_backward(const double* x, const double* w, const double* dy, int m, int k, int n,
                     double* dx, double* dw);

// y = x / √(mean(x²) + eps) · g for each of M rows of `width`.
void rms_norm(const double* x, const double* g, int m, int width, double eps, double* y);
void rms_norm_backward(const double* x, const double* g, const double* dy, int m, int width,
                       double eps, double* dx, double* dg);

// Position t turns the pair (x[i], x[i + E/2]) by the angle t · θ^(−2i/E), whose float32 rounding
// is part of the definition. x [T × heads · E], in place; `direction` is 1, or −1 for the way back.
void rotary(double* x, int time, int heads, int size, double theta, int direction);

// Causal attention of one sequence: query head h reads key/value head h / (H/G).
struct AttentionShape {
  int time, heads, kv_heads, size;
};
// q [T × H·E], k and v [T × G·E], o [T × H·E].
void attention(const AttentionShape& s, const double* q, const double* k, const double* v,
               double* o);
void attention_backward(const AttentionShape& s, const double* q, const double* k, const double* v,
                        const double* d_o, double* dq, double* dk, double* dv);

// s = silu(gate) · up, element by element.
void swiglu(const double* gate, const double* up, std::int64_t n, double* s);
void swiglu_backward(const double* gate, const double* up, const double* ds, std::int64_t n,
                     double* d_gate, double* d_up);

// Σ over rows with a target of lse − l[target] + z · lse²; d_logits (null: none) is set to its
// gradient times `unit`.
double cross_entropy(const double* logits, const std::int32_t* targets, int m, int vocab,
                     double z_loss, double unit, double* d_logits);

// x[m] = table[ids[m]], and d_table[ids[m]] += dx[m].
void embedding(const double* table, const std::int32_t* ids, int m, int width, double* x);
void embedding_backward(const double* dx, const std::int32_t* ids, int m, int width,
                        double* d_table);

// One update of n parameters: p ← p·(1 − lr·λ) − lr·m̂/(√v̂ + ε), every gradient times `scale`.
struct AdamW {
  double lr, beta1, beta2, eps, decay, scale;
  std::int64_t step;
};
void adamw(const AdamW& o, std::int64_t n, const double* g, double* p, double* m, double* v);

// The whole model.
struct Model {
  bool olmo2 =
      false;  // norms on the results of sub-layers and on queries and keys; otherwise Llama-2
  bool tied = false;
  int layers = 1, width = 0, heads = 1, kv_heads = 1, ffn = 0, vocab = 0;
  double eps = 1e-5, theta = 10000;

  int size() const { return width / heads; }
};

// Sizes of the parameters in the order of tgo_engine_new.
std::vector<std::int64_t> parameter_sizes(const Model& m);
// Of each parameter, whether it is a weight of a product (or a gain or an untied table).
std::vector<bool> product_weights(const Model& m);

struct Tokens {
  const std::int32_t *ids, *targets;  // [sequences × time]
  int sequences, time;
};

// Sum of the losses times `unit`; gradients (null: none) of every parameter are set.
double model(const Model& m, const std::vector<Values>& parameters, const Tokens& tokens,
             double z_loss, double unit, std::vector<Values>* gradients);

}  // namespace tgo::reference

#endif
