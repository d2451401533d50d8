// The two sub-layers of a block in double precision, with what their way back needs. Letters as in
// reference.hh; M = sequences · T rows.
#ifndef TGO_TESTS_SUBLAYERS_HH
#define TGO_TESTS_SUBLAYERS_HH

#include "reference.hh"

namespace tgo::reference {

// The parameters of one layer, or their gradients.
struct Layer {
  double *q, *k, *v, *o, *q_norm, *k_norm, *gate, *up, *down, *attention_norm, *ffn_norm;
};
// The layer whose parameters start at all[first]; `first` moves behind them.
Layer layer_at(const Model& m, std::vector<Values>& all, std::size_t* first);

class Attention {
 public:
  // x + f(norm(x)), or x + norm(f(x)): [M × D].
  Values forward(const Model& m, const Layer& w, const Values& x, int sequences, int time);
  // From the gradient of the result to that of x.
  Values backward(const Layer& w, const Layer& dw, const Values& d_out) const;

 private:
  AttentionShape shape() const { return {time_, m_.heads, m_.kv_heads, m_.size()}; }
  void turn(Values& x, int heads, int direction) const;

  Model m_;
  int sequences_ = 0, time_ = 0;
  Values x_, h_, q_raw_, k_raw_, q_, k_, v_, o_, y_;
};

class FeedForward {
 public:
  Values forward(const Model& m, const Layer& w, const Values& x);
  Values backward(const Layer& w, const Layer& dw, const Values& d_out) const;

 private:
  Model m_;
  int rows_ = 0;
  Values x_, h_, gate_, up_, s_, y_;
};

}  // namespace tgo::reference

#endif
