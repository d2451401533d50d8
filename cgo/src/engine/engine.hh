// The engine's inside: what is planned once, what a step is told, and the functions that each
// instruction set provides. run.cc owns memory and threads; everything that computes is compiled
// once for each instruction set from the same sources (step.hh and below).
#ifndef TGO_ENGINE_ENGINE_HH
#define TGO_ENGINE_ENGINE_HH

#include "network.hh"

namespace tgo::engine {

// Sizes that decide how much memory a thread needs. Rows are tokens, each sequence padded to 32.
struct Setup {
  Shape shape;
  int time = 0;        // rows of a sequence: context, padded
  int rows = 0;        // of the largest share
  int chunk_rows = 0;  // that pass through a layer at once
  int head_rows = 0;   // that pass through the output layer at once
  bool backward = true;
};

// What a thread takes at a time, forward and, in training, backward: `sequences` of `time` tokens
// each, one behind the other.
struct Share {
  const std::int32_t *ids = nullptr, *targets = nullptr;
  int sequences = 0, time = 0;
  // In training: the gradient of the residual stream [rows × D] goes to dx, and those of matrices
  // and gains are added to `gradient`, or, when `fresh`, replace what is there.
  float *dx = nullptr, *gradient = nullptr;
  bool fresh = false;
};

// A token of a sequence that is continued.
struct DecodeRow {
  std::int32_t id = 0;
  int position = 0;
  // Its sequence's cache, and of the one whose first positions it shares; in decode.hh's order.
  void* own = nullptr;
  const void* prefix = nullptr;
  int prefix_length = 0;
  const std::int32_t *own_ids = nullptr, *prefix_ids = nullptr;  // the tokens of both
  // What is wanted of the next token: its scores [vocabulary], or `draws` tokens drawn from them by
  // a number from 0 to 1 each, or nothing.
  float* logits = nullptr;
  int draws = 0;
  const double* u = nullptr;
  std::int32_t* tokens = nullptr;
};
// How tokens are drawn.
struct Drawing {
  float scale = 0;    // log2(e) / temperature; 0: the likeliest
  float penalty = 1;  // of tokens that the sequence has
  int known = 0;      // tokens that may be drawn: the first of the vocabulary
};
constexpr int kDecodeRows = 256;  // that go through a layer at once

// Seconds that a thread has spent on each part, and, while a trace is on, when.
struct Stretch {
  Part part;
  std::uint64_t start, end;  // time-stamp counter
};
struct Clock {
  std::uint64_t last = 0;
  std::uint64_t spent[static_cast<int>(Part::kCount)] = {};
  Stretch* trace = nullptr;
  std::size_t traced = 0, capacity = 0;
};

// The numbers of an update besides what AdamW's loop reads (adamw.hh).
struct UpdateNumbers {
  float *p = nullptr, *m = nullptr, *v = nullptr;
  float scale = 1, beta1 = 0, beta2 = 0, eps = 0, rate = 0, root = 0;
  const float* keep = nullptr;
};

// Work on parameters is cut into units that any thread can do: 32 rows of a matrix, all gains, or
// 32 rows of the embedding's table.
struct Unit {
  enum class Kind { kMatrix, kGains, kTable } kind;
  const Matrix* matrix;
  int block;
};

// Where the gradients that are to be added up lie, `count` times all of them.
struct Gradients {
  float* const* of = nullptr;
  int count = 0;
  float* table = nullptr;  // of the embedding [V × D], shared; null where there is none
};

// One instruction set in one precision. `state` is memory of state_bytes, prepared by init.
struct Kernels {
  const char* name;
  std::size_t (*state_bytes)(const Setup&);
  void (*init)(const Setup&, void* state);
  void (*prepare_thread)();
  void (*release_thread)();

  // Forward and backward of a share. Gradients carry the factor `unit`; returns the sum of the
  // losses without it.
  double (*train)(void* state, const Network&, const Share&, const float* table, float z_loss,
                  float unit, Clock&);
  // Sum of the losses of a share.
  double (*loss)(void* state, const Network&, const Share&, const float* table, Clock&);
  // Rows of sequences, those of one in the order of their positions; each cache has room for
  // `capacity` positions, a multiple of 16.
  void (*decode)(void* state, const Network&, const DecodeRow* row, int count, int capacity,
                 const float* table, const Drawing&, Clock&);
  // Adds the gradients of a sequence's rows to columns `from` to `to` of the table's gradient.
  void (*embedding_backward)(const float* dx, const std::int32_t* ids, int rows, int columns,
                             int from, int to, float* gradient);
  // Adds up a unit's gradients into the first of them; returns the sum of squares.
  double (*sum_gradients)(const Network&, const Unit&, const Gradients&);
  // Updates a unit's parameters from the summed gradients and renews the copies.
  void (*update)(void* state, const Network&, const Unit&, const Gradients&, const UpdateNumbers&);
  // Writes a unit's summed gradients to a flat buffer in the registry's order.
  void (*put_gradients)(const Network&, const Unit&, const Gradients&, float* flat);
};

}  // namespace tgo::engine

#endif
