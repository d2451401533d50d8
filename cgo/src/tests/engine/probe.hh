// Every kernel of one instruction set in one precision as a plain function, so that the tests
// themselves are compiled once and without that instruction set. Values of the precision are void*.
#ifndef TGO_TESTS_PROBE_HH
#define TGO_TESTS_PROBE_HH

#include "../../engine/isa.hh"

namespace tgo::tests {

// 16 values in, 16 out.
enum class Lanes {
  kExp2,
  kExp2Half,
  kLog2,
  kSigmoid,
  kSigmoidHalf,
  kSum,
  kLargest,
  kKeepFirst,
  kDropFirst,
  kFraction,
  kScale2,
};

// Memory of an attention scratch: one call for each array.
using Take = void* (*)(void* context, std::size_t words);

// Attention of one sequence. Columns as in the engine: a head's E values in pairs of 16.
struct AttentionCall {
  void *q, *k, *v, *o, *d_o;  // tiled; each has its own number of columns and its first one
  int q_columns, k_columns, v_columns, o_columns, q_first, k_first, v_first, o_first;
  int row, time, e, heads, kv_heads;
  float scale;
  float* log_sum;
  const float *cosine, *sine;
  Take take;
  void* context;
};

// A pass through one sub-layer of the first layer, rows from `first` on.
struct PassCall {
  void* state;
  const engine::Network* net;
  int time, first, rows;
  float* out;            // [all rows × D]: the result of the way forward
  float *dx, *gradient;  // as in engine::Share
  bool add;
};

struct Probe {
  const char* isa;
  bool half;
  const engine::Kernels* kernels;

  // vec.hh
  void (*lanes)(Lanes op, const float* in, int n, float other, float* out);
  void (*load_n)(const float* p, int n, float* out);
  void (*store_n)(float* p, const float* in, int n);
  void (*narrow)(const float* in, std::uint16_t* out);
  void (*store2)(void* p, const float* in);

  // pack.hh
  void (*panel_of_rows)(const engine::Word* x, std::size_t stride, int row_blocks, int columns,
                        engine::Word* out);
  void (*panel_of_columns)(const engine::Word* x, std::size_t stride, int row_blocks, int columns,
                           engine::Word* out);
  void (*tiles_transposed)(const engine::Word* x, std::size_t stride, int row_blocks, int columns,
                           engine::Word* out);
  void (*block_panel_of_rows)(const engine::Word* block, engine::Word* panel,
                              std::size_t tile_words);
  void (*store_tiled)(void* x, int m, int n, int columns, const float* in);
  void (*load_tiled)(const void* x, int m, int n, int columns, float* out);
  void (*weight_gradient)(int n_blocks, int k_blocks, int row_blocks, const engine::Word* left,
                          const engine::Word* right, float* dw, bool turned, bool add);

  // tile.hh; product adds each row it hands over to out [rows × columns] and counts it in seen
  // [rows × panels]
  void (*block)(const engine::Word* a, const engine::Word* b, std::size_t a_stride,
                std::size_t b_stride, int tiles, float* c, bool add);
  void (*product)(int row_tiles, int panels, int tiles, const engine::Word* a,
                  const engine::Word* b, float* out, int* seen);

  // norm.hh and rotary.hh
  void (*norm_forward)(const float* x, const engine::Gain& g, float eps, int rows, float* r,
                       void* h, bool again);
  void (*norm_backward)(const float* x, const engine::Gain& g, const void* dh, const float* r,
                        int rows, float* dx, void* dx16, float* dg, bool set);
  void (*result_norm_forward)(const void* y, const engine::Gain& g, float eps, int rows,
                              const float* xi, float* xo, float* r);
  void (*result_norm_backward)(const void* y, const engine::Gain& g, const float* dx,
                               const float* r, int rows, void* dy, float* dg);
  void (*round_rows)(const float* x, int rows, int columns, void* out);
  void (*add_rows)(const void* dt, int rows, int columns, float* dx);
  void (*rotary)(const float* cosine, const float* sine, int e, int position, int n, bool forward,
                 float* values);
  void (*qk_norm_forward)(const void* x, int x_columns, int first, const engine::Gain& g, float eps,
                          const float* cosine, const float* sine, int e, int rows, int time,
                          float* r, void* out, int out_columns);
  void (*qk_norm_backward)(void* x, int x_columns, int first, const engine::Gain& g, int rows,
                           const float* r, const void* dy, int dy_columns, float* dg);

  // attention.hh
  void (*attention_forward)(const AttentionCall& c);
  void (*attention_backward)(const AttentionCall& c);

  // feed_forward.hh, cross_entropy.hh, embedding.hh
  void (*swiglu_forward)(const float* c, int m, int p, int f, void* factors, void* s);
  void (*swiglu_alone)(const float* c, int m, int p, int f, void* s);  // without factors
  void (*swiglu_backward)(const float* c, int m, int p, int f, const void* factors, void* gradient);
  // 32 logits of row m from column n on; `top` is that of its 32 rows
  void (*keep_logits)(const float* c, int m, int n, int columns, int valid, void* logits,
                      float* top);
  double (*cross_entropy)(void* logits, int m, int columns, const std::int32_t* targets, float* top,
                          float z_loss, float unit);
  // logits [rows × columns], plain; sets the loss of each row with a target
  void (*running_loss)(const float* logits, int rows, int columns, int vocab,
                       const std::int32_t* targets, float* top, float* sums, float* logit,
                       double* losses);
  void (*embedding_forward)(const float* table, int width, const std::int32_t* ids, int rows,
                            int columns, float* x);

  // layer.hh
  void (*attention)(const PassCall& c);
  void (*attention_back)(const PassCall& c);
  void (*feed_forward)(const PassCall& c);
  void (*feed_forward_back)(const PassCall& c);
  // In a state: the input of attention or of the feed-forward network [rows × D]; round_gradient
  // copies the residual stream's gradient to the products' precision.
  float* (*stream)(void* state, bool middle);
  void (*round_gradient)(void* state, const float* dx, int rows, int columns);
  void (*place)(void* state, int rows, int time);
};

// Null when this processor has none of that name.
const Probe* probe(const char* isa, bool half);

const Probe* probe_amx(bool half);
const Probe* probe_avx512_bf16(bool half);
const Probe* probe_avx512(bool half);
const Probe* probe_avx2(bool half);

}  // namespace tgo::tests

#endif
