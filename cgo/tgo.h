/* tgo.h: the C ABI between Go and libtorch, read by both languages.
 *
 * Rules, for every function below:
 *  - It is noexcept. What can fail returns a tgo_status by value; the caller owns it and frees its
 *    message with tgo_status_free. Outputs come last and are written on success only.
 *  - tgo_tensor is opaque. Every tensor written through a tgo_out is owned by the caller and freed
 *    with tgo_tensors_free; every const tgo_tensor * is borrowed for the call.
 *  - Data crosses by copy. No pointer given by the caller is kept after the call returns.
 *  - `grad` says whether autograd records the call (1) or not (0); no mode survives the call.
 *  - Sizes are in elements unless a name says bytes. Dimensions are given outermost first.
 *
 * Letters: B batch, T time, S cached time, D width, H heads, G key/value heads, E head size,
 * F feed-forward width, V vocabulary, N = product of the leading dimensions.
 */
#ifndef TGO_H
#define TGO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define TGO_NOEXCEPT noexcept
#else
#define TGO_NOEXCEPT
#endif

#define TGO_API __attribute__((visibility("default")))
#define TGO_MAX_RANK 6

/* ---- status ------------------------------------------------------------------------------- */

enum {
  TGO_OK = 0,
  TGO_INVALID = 1,       /* shapes, types or values that an operation refuses */
  TGO_OUT_OF_MEMORY = 2, /* host or device memory */
  TGO_DEVICE_LOST = 3,   /* the device cannot be used again by this process */
  TGO_INTERNAL = 4       /* anything else that was thrown */
};

typedef struct tgo_status {
  int32_t code;
  char* message; /* NULL when code is TGO_OK; else UTF-8 text without a backtrace */
} tgo_status;

TGO_API void tgo_status_free(tgo_status status) TGO_NOEXCEPT;

/* The next guarded call of this thread after `calls` further ones throws an error of the given
 * status code (TGO_INVALID … TGO_INTERNAL) instead of doing its work. A negative count disarms.
 * This is how the tests reach every error path. */
TGO_API void tgo_fail_after(int64_t calls, int32_t code) TGO_NOEXCEPT;

/* ---- library ------------------------------------------------------------------------------ */

typedef struct tgo_info {
  char torch_version[32];
  char cpu_capability[32]; /* what ATen dispatches to: DEFAULT, AVX2, AVX512 */
  int32_t threads;
  int32_t avx2, avx512, avx512_bf16, amx_bf16; /* what this CPU and kernel offer */
} tgo_info;

/* Hash of the sources, flags and libtorch that made this library. */
TGO_API const char* tgo_stamp(void) TGO_NOEXCEPT;
TGO_API tgo_status tgo_describe(tgo_info* out) TGO_NOEXCEPT;
/* Sets libtorch's threads for the whole process (at least 1) and flushes denormals on each. */
TGO_API tgo_status tgo_set_threads(int32_t threads) TGO_NOEXCEPT;
/* Times the product of two random n × n matrices: best of `repeats`, in GFLOP/s. */
TGO_API tgo_status tgo_product_gflops(int32_t dtype, int64_t n, int32_t repeats,
                                      double* out) TGO_NOEXCEPT;

/* ---- tensors ------------------------------------------------------------------------------ */

typedef struct tgo_tensor tgo_tensor;

enum { TGO_FLOAT32 = 0, TGO_BFLOAT16 = 1, TGO_INT64 = 2 };

typedef struct tgo_out {
  tgo_tensor* tensor;
  int32_t dtype;
  int32_t rank;
  int64_t dims[TGO_MAX_RANK];
} tgo_out;

/* Live handles of the process: tensors, engines and caches. */
TGO_API int64_t tgo_live(void) TGO_NOEXCEPT;
TGO_API void tgo_tensors_free(tgo_tensor** tensors, int64_t count) TGO_NOEXCEPT;

TGO_API tgo_status tgo_zeros(int32_t dtype, const int64_t* dims, int32_t rank,
                             tgo_out* out) TGO_NOEXCEPT;
/* float32 tensor from `data`. */
TGO_API tgo_status tgo_from_float32(const float* data, const int64_t* dims, int32_t rank,
                                    tgo_out* out) TGO_NOEXCEPT;
/* int64 tensor from 32-bit token ids; every id must lie in [low, high). */
TGO_API tgo_status tgo_from_ids(const int32_t* data, int64_t low, int64_t high, const int64_t* dims,
                                int32_t rank, tgo_out* out) TGO_NOEXCEPT;
/* Copies `count` = numel values out, converted to float. */
TGO_API tgo_status tgo_to_float32(const tgo_tensor* t, float* data, int64_t count) TGO_NOEXCEPT;
TGO_API tgo_status tgo_to_int64(const tgo_tensor* t, int64_t* data, int64_t count) TGO_NOEXCEPT;
/* Overwrites `count` elements of a contiguous float32 or bfloat16 tensor from `offset` on. */
TGO_API tgo_status tgo_write_float32(tgo_tensor* t, int64_t offset, const float* data,
                                     int64_t count) TGO_NOEXCEPT;
/* Copies out `count` elements of a contiguous tensor from `offset` on, converted to float. */
TGO_API tgo_status tgo_read_float32(const tgo_tensor* t, int64_t offset, float* data,
                                    int64_t count) TGO_NOEXCEPT;
TGO_API tgo_status tgo_fill(tgo_tensor* t, double value) TGO_NOEXCEPT;
/* A view of `count` elements of a flat tensor from `offset` on; autograd does not follow it. */
TGO_API tgo_status tgo_flat_view(const tgo_tensor* flat, int64_t offset, const int64_t* dims,
                                 int32_t rank, tgo_out* out) TGO_NOEXCEPT;
/* The same view of `values` as an autograd leaf whose gradient is that view of `grads`. */
TGO_API tgo_status tgo_flat_leaf(const tgo_tensor* values, const tgo_tensor* grads, int64_t offset,
                                 const int64_t* dims, int32_t rank, tgo_out* out) TGO_NOEXCEPT;
/* Writes src into dst[…, start : start + src.dims[dim], …] along `dim`, outside autograd. */
TGO_API tgo_status tgo_copy_slice(tgo_tensor* dst, int32_t dim, int64_t start,
                                  const tgo_tensor* src) TGO_NOEXCEPT;

/* ---- operations --------------------------------------------------------------------------- */

TGO_API tgo_status tgo_add(int32_t grad, const tgo_tensor* a, const tgo_tensor* b,
                           tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_sub(int32_t grad, const tgo_tensor* a, const tgo_tensor* b,
                           tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_mul(int32_t grad, const tgo_tensor* a, const tgo_tensor* b,
                           tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_scale(int32_t grad, const tgo_tensor* a, double factor,
                             tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_matmul(int32_t grad, const tgo_tensor* a, const tgo_tensor* b,
                              tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_reshape(int32_t grad, const tgo_tensor* t, const int64_t* dims, int32_t rank,
                               tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_transpose(int32_t grad, const tgo_tensor* t, int32_t i, int32_t j,
                                 tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_narrow(int32_t grad, const tgo_tensor* t, int32_t dim, int64_t start,
                              int64_t length, tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_cat(int32_t grad, tgo_tensor* const* tensors, int64_t count, int32_t dim,
                           tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_to_dtype(int32_t grad, const tgo_tensor* t, int32_t dtype,
                                tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_sum(int32_t grad, const tgo_tensor* t, tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_softmax(int32_t grad, const tgo_tensor* t, tgo_out* out) TGO_NOEXCEPT;
TGO_API tgo_status tgo_log_softmax(int32_t grad, const tgo_tensor* t, tgo_out* out) TGO_NOEXCEPT;

/* Fills the gradients of every leaf that `loss` (one element) depends on. */
TGO_API tgo_status tgo_backward(const tgo_tensor* loss) TGO_NOEXCEPT;

/* ---- fused operations, each with its own backward ------------------------------------------- */

/* A weight is a float32 leaf `w` and, when products are to run in bfloat16, its copy `w16`
 * (NULL: products run in float32). Activations in follow the weight's precision. */

/* ids [N…] int64, table [V, D] → [N…, D] float32. */
TGO_API tgo_status tgo_embedding(int32_t grad, const tgo_tensor* ids, const tgo_tensor* table,
                                 tgo_out* out) TGO_NOEXCEPT;
/* x [N…, K] · wᵀ, w [M, K] → [N…, M] in the precision of the product. */
TGO_API tgo_status tgo_linear(int32_t grad, const tgo_tensor* x, const tgo_tensor* w,
                              const tgo_tensor* w16, tgo_out* out) TGO_NOEXCEPT;
/* x / sqrt(mean(x²) + eps) · gain over the last dimension, computed in float32, given as dtype. */
TGO_API tgo_status tgo_rms_norm(int32_t grad, const tgo_tensor* x, const tgo_tensor* gain,
                                double eps, int32_t dtype, tgo_out* out) TGO_NOEXCEPT;
/* Rotary embedding in the half-split layout: x [B, T, H, E], cosine and sine [≥ offset + T, E/2].
 */
TGO_API tgo_status tgo_rope(int32_t grad, const tgo_tensor* x, const tgo_tensor* cosine,
                            const tgo_tensor* sine, int64_t offset, tgo_out* out) TGO_NOEXCEPT;
/* silu(gate) · up, elementwise. */
TGO_API tgo_status tgo_swiglu(int32_t grad, const tgo_tensor* gate, const tgo_tensor* up,
                              tgo_out* out) TGO_NOEXCEPT;
/* Causal attention: q [B, T, H, E], k and v [B, S, G, E], H a multiple of G; query t sees keys
 * 0 … offset + t. With gradients, S = T and offset = 0. → [B, T, H, E]. */
TGO_API tgo_status tgo_attention(int32_t grad, const tgo_tensor* q, const tgo_tensor* k,
                                 const tgo_tensor* v, int64_t offset, tgo_out* out) TGO_NOEXCEPT;
/* Σ over rows with target ≥ 0 of (lse − logit[target] + z_loss · lse²) / divisor, where
 * logits = x · wᵀ, x [N, D], w [V, D]: one float32 element. Never holds all N × V logits. */
TGO_API tgo_status tgo_linear_cross_entropy(int32_t grad, const tgo_tensor* x, const tgo_tensor* w,
                                            const tgo_tensor* w16, const tgo_tensor* targets,
                                            double z_loss, double divisor,
                                            tgo_out* out) TGO_NOEXCEPT;

/* ---- flat buffers and the optimizer --------------------------------------------------------- */

/* Euclidean norm of a flat float32 tensor, summed in an order that no thread count changes. */
TGO_API tgo_status tgo_flat_norm(const tgo_tensor* flat, double* out) TGO_NOEXCEPT;
/* Writes the bfloat16 copy of a flat float32 tensor. */
TGO_API tgo_status tgo_flat_round(const tgo_tensor* values, tgo_tensor* copy16) TGO_NOEXCEPT;

/* One stretch of the flat buffers and the decay of its parameters. */
typedef struct tgo_segment {
  int64_t offset, length;
  double weight_decay;
} tgo_segment;

typedef struct tgo_adamw {
  double lr, beta1, beta2, eps;
  double grad_scale; /* multiplies every gradient: the clip factor */
  int64_t step;      /* 1 for the first update */
} tgo_adamw;

/* Decoupled AdamW over all parameters at once: p ← p − lr·λ·p − lr·m̂/(√v̂ + eps); m and v are
 * updated, copy16 (NULL: none) receives the rounded parameters. Buffers are flat float32. */
TGO_API tgo_status tgo_adamw_step(tgo_tensor* params, const tgo_tensor* grads, tgo_tensor* m,
                                  tgo_tensor* v, tgo_tensor* copy16, const tgo_segment* segments,
                                  int64_t count, tgo_adamw options) TGO_NOEXCEPT;

/* ---- engine: a whole training step on the CPU in one crossing -------------------------------- */

/* Hand-written forward, backward, clip and AdamW over the registry's flat float32 buffers. The bits
 * of a result depend on instruction set, number of threads and micro-batches alone. One call at a
 * time. */

typedef struct tgo_engine tgo_engine;

enum { TGO_LLAMA2 = 0, TGO_OLMO2 = 1 };

typedef struct tgo_model {
  int32_t family; /* TGO_LLAMA2 or TGO_OLMO2 */
  int32_t tied;   /* the output layer is the embedding's table */
  int64_t layers, width, heads, kv_heads, ffn, vocab, context;
  double norm_eps, rope_theta;
} tgo_model;

typedef struct tgo_engine_options {
  int32_t precision; /* of products: TGO_FLOAT32 or TGO_BFLOAT16 */
  int32_t threads;   /* at least 1 */
  int32_t backward;  /* 0: losses only */
  int64_t sequences; /* of the largest micro-batch */
  const char* isa;   /* amx, avx512_bf16, avx512 or avx2; NULL or "": the best of this CPU */
} tgo_engine_options;

/* `offsets` has the first element in the flat buffers of every parameter, in the order: embedding;
 * for each layer q, k, v, o, with TGO_OLMO2 the gains of q and k, gate, up, down, the gain of
 * attention's norm, the gain of feed-forward's norm; the gain of the last norm; the output layer
 * unless tied. */
TGO_API tgo_status tgo_engine_new(const tgo_model* model, const tgo_engine_options* options,
                                  const int64_t* offsets, int64_t count,
                                  tgo_engine** out) TGO_NOEXCEPT;
TGO_API void tgo_engine_free(tgo_engine* engine) TGO_NOEXCEPT;
/* The instruction set in use. Valid as long as the engine. */
TGO_API const char* tgo_engine_isa(const tgo_engine* engine) TGO_NOEXCEPT;
/* Bytes that an engine of these sizes takes, besides the flat buffers. */
TGO_API tgo_status tgo_engine_bytes(const tgo_model* model, const tgo_engine_options* options,
                                    int64_t* out) TGO_NOEXCEPT;
/* Takes the values of all parameters: after they were written by anyone but the engine. */
TGO_API tgo_status tgo_engine_load(tgo_engine* engine, const tgo_tensor* params) TGO_NOEXCEPT;

/* A batch: ids and targets [sequences × time]; a target of −1 does not count. It goes through in
 * micro-batches of `micro` sequences. The loss of a token is divided by `divisor`. */
typedef struct tgo_batch {
  const int32_t *ids, *targets;
  int64_t sequences, time, micro;
  double divisor, z_loss;
} tgo_batch;

typedef struct tgo_engine_result {
  double loss;
  double grad_norm; /* before clipping */
  int32_t updated;  /* 0: loss or norm is not finite and nothing has changed */
} tgo_engine_result;

/* One optimizer step. `decay` has the weight decay of every parameter, in the order of offsets;
 * options.grad_scale is not read: gradients are clipped to norm `clip` (0: no clipping). */
TGO_API tgo_status tgo_engine_step(tgo_engine* engine, tgo_tensor* params, tgo_tensor* m,
                                   tgo_tensor* v, tgo_batch batch, tgo_adamw options, double clip,
                                   const double* decay, tgo_engine_result* out) TGO_NOEXCEPT;
/* Adds the gradients of a batch to `grads`, changing nothing else. */
TGO_API tgo_status tgo_engine_gradients(tgo_engine* engine, const tgo_tensor* params,
                                        tgo_tensor* grads, tgo_batch batch,
                                        tgo_engine_result* out) TGO_NOEXCEPT;
/* Sum of the losses of a batch's tokens in nats; divisor and z_loss are not read. */
TGO_API tgo_status tgo_engine_loss(tgo_engine* engine, const tgo_tensor* params, tgo_batch batch,
                                   double* out) TGO_NOEXCEPT;

/* Keys and values of sequences that are being continued, each in one of `slots` slots with room for
 * `capacity` tokens of its own, on an engine made without `backward`. */
typedef struct tgo_cache tgo_cache;

TGO_API tgo_status tgo_cache_new(const tgo_engine* engine, int64_t slots, int64_t capacity,
                                 tgo_cache** out) TGO_NOEXCEPT;
TGO_API void tgo_cache_free(tgo_cache* cache) TGO_NOEXCEPT;
/* An empty sequence in `slot`, or, with from ≥ 0, one that goes on from the first `length` tokens
 * of slot `from`, without a copy: `from` must have no prefix itself and cannot begin anew
 * meanwhile. */
TGO_API tgo_status tgo_cache_begin(tgo_cache* cache, int64_t slot, int64_t from,
                                   int64_t length) TGO_NOEXCEPT;
/* A token that is appended to a slot's sequence, and how many results are wanted of what follows:
 * its logits (0 or 1), or tokens drawn from them. */
typedef struct tgo_row {
  int32_t slot, id, wanted;
} tgo_row;

/* Appends tokens, those of a slot one behind the other, all of them or, when it fails, none. Logits
 * go to [wanted rows × vocab] and do not depend on the rows of other slots. */
TGO_API tgo_status tgo_engine_decode(tgo_engine* engine, const tgo_tensor* params, tgo_cache* cache,
                                     const tgo_row* rows, int64_t count, float* logits,
                                     int64_t logit_count) TGO_NOEXCEPT;

/* How tokens are drawn: the logits of tokens that the sequence has are divided by `penalty` where
 * positive and multiplied where negative; then from softmax(logits / temperature) over the first
 * `known` of the vocabulary, or, at temperature 0, the first of the likeliest. */
typedef struct tgo_drawing {
  double temperature, penalty;
  int64_t known;
} tgo_drawing;

/* Appends tokens as tgo_engine_decode does and draws what follows, for each token wanted by a
 * number `u` from 0 to 1: by inverse transform in the order of the vocabulary. A token is −1 where
 * the logits are not numbers. */
TGO_API tgo_status tgo_engine_draw(tgo_engine* engine, const tgo_tensor* params, tgo_cache* cache,
                                   const tgo_row* rows, int64_t count, const tgo_drawing* drawing,
                                   const double* u, int32_t* tokens,
                                   int64_t token_count) TGO_NOEXCEPT;

/* A stretch of a thread's time, in seconds from the start of the trace. */
typedef struct tgo_span {
  int32_t thread, part;
  double start, seconds;
} tgo_span;

/* Names of the parts of a step; NULL from the first index without one on. */
TGO_API const char* tgo_engine_part(int32_t part) TGO_NOEXCEPT;
/* Starts a trace of at most `capacity` spans a thread; 0 ends it. */
TGO_API tgo_status tgo_engine_trace(tgo_engine* engine, int64_t capacity) TGO_NOEXCEPT;
/* Copies up to `capacity` spans out; `count` receives how many there are. */
TGO_API tgo_status tgo_engine_spans(const tgo_engine* engine, tgo_span* spans, int64_t capacity,
                                    int64_t* count) TGO_NOEXCEPT;

/* ---- graph: the training step on a GPU ------------------------------------------------------ */

/* Everything that needs CUDA lies in a second library, libtgo_cuda.so beside this one. */

typedef struct tgo_cuda_devices {
  int32_t count;    /* devices that can be used; 0 for the reason given */
  char reason[256]; /* one sentence, empty when there are devices */
} tgo_cuda_devices;

/* Loads the second library if there is a driver for it. Call it before anything else of this
 * header: libtorch decides once per process whether it has CUDA. Later calls repeat the first one's
 * answer. */
TGO_API tgo_status tgo_cuda_open(tgo_cuda_devices* out) TGO_NOEXCEPT;

typedef struct tgo_cuda_info {
  char name[64];
  int32_t major, minor, processors;
  int64_t total_bytes, free_bytes;
  int64_t allocated_bytes, peak_bytes, reserved_bytes; /* of this process's tensors */
} tgo_cuda_info;

TGO_API tgo_status tgo_cuda_describe(int32_t device, tgo_cuda_info* out) TGO_NOEXCEPT;
/* tgo_zeros on a device. Reads, writes, norms and rounding of such a flat tensor work as on the
 * CPU. */
TGO_API tgo_status tgo_cuda_zeros(int32_t device, int32_t dtype, const int64_t* dims, int32_t rank,
                                  tgo_out* out) TGO_NOEXCEPT;

enum {
  TGO_ATTENTION_AUTO = 0,
  TGO_ATTENTION_CUDNN = 1,
  TGO_ATTENTION_FLASH = 2,
  TGO_ATTENTION_MATH = 3
};

typedef struct tgo_graph_options {
  int32_t device, family;
  int32_t layers, width, heads, kv_heads, ffn, vocab, context;
  int32_t tied;                       /* 1: the head is the embedding's table */
  int32_t sequences, micro_sequences; /* of a step, of a pass */
  int32_t attention;                  /* TGO_ATTENTION_… */
  int32_t launches;                   /* 1: no graph, a launch an operation */
  int32_t deterministic;              /* 1: equal inputs give equal bits, at any length */
  int32_t keep;                       /* 1: nothing is computed again in backward; more memory */
  int32_t streams;                    /* 2: weight gradients beside the rest; 0: as fits the size */
  int64_t parameters;
  double rope_theta, norm_eps, z_loss, clip_norm, beta1, beta2, eps;
} tgo_graph_options;

/* Bytes on the device. */
typedef struct tgo_graph_memory {
  int64_t state;       /* values, gradients, moments, rounded copy */
  int64_t activations; /* kept between forward and backward of a micro-batch */
  int64_t scratch;     /* buffers that every layer uses again, workspaces */
  int64_t logits;      /* a chunk of them */
} tgo_graph_memory;

/* What a step will hold. Needs no GPU. */
TGO_API tgo_status tgo_graph_plan(const tgo_graph_options* options,
                                  tgo_graph_memory* out) TGO_NOEXCEPT;

/* First elements of the parameters in the flat buffers; q, k, v and gate, up follow each other. */
typedef struct tgo_graph_layer {
  int64_t qkv, o, gate_up, down;
  int64_t norm1, norm2;   /* Llama-2: before attention, before feed-forward; OLMo-2: behind each */
  int64_t q_norm, k_norm; /* OLMo-2 */
} tgo_graph_layer;

typedef struct tgo_graph_state {
  tgo_tensor *params, *grads, *m, *v, *copy16; /* flat, on the device; borrowed until _free */
  int64_t embedding, norm, head;
} tgo_graph_state;

typedef struct tgo_graph tgo_graph;

/* `layers` has options->layers elements; segments as for tgo_adamw_step. */
TGO_API tgo_status tgo_graph_new(const tgo_graph_options* options, const tgo_graph_state* state,
                                 const tgo_graph_layer* layers, const tgo_segment* segments,
                                 int64_t segment_count, tgo_graph** out) TGO_NOEXCEPT;
TGO_API void tgo_graph_free(tgo_graph* graph) TGO_NOEXCEPT;

typedef struct tgo_graph_info {
  char attention[192]; /* which implementation runs, and why not a better one */
  char launch[192];    /* "graph", or why there is none; after the first step */
} tgo_graph_info;

TGO_API tgo_status tgo_graph_describe(const tgo_graph* graph, tgo_graph_info* out) TGO_NOEXCEPT;

typedef struct tgo_graph_update {
  double lr, decay; /* decay multiplies every segment's weight decay */
  int64_t step;     /* 1 for the first update */
} tgo_graph_update;

/* Starts a step of sequences × context tokens, ids in [0, vocab), targets in [−1, vocab), −1 where
 * none counts, and returns before it is done. Its loss is the mean over those that count, of which
 * there must be one. At most two steps may be on their way. */
TGO_API tgo_status tgo_graph_launch(tgo_graph* graph, const int32_t* ids, const int32_t* targets,
                                    int64_t count, tgo_graph_update update) TGO_NOEXCEPT;

typedef struct tgo_graph_result {
  double loss, norm;
  int32_t stopped; /* 1: a loss or norm was not finite; this update was not made, nor one since */
} tgo_graph_result;

/* Waits for the oldest step on its way. */
TGO_API tgo_status tgo_graph_wait(tgo_graph* graph, tgo_graph_result* out) TGO_NOEXCEPT;

/* Summed cross-entropy of at most micro_sequences × context tokens with the current weights, over
 * the targets that count. */
TGO_API tgo_status tgo_graph_loss(tgo_graph* graph, const int32_t* ids, const int32_t* targets,
                                  int64_t count, double* out) TGO_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif /* TGO_H */
