#include "sublayers.hh"

namespace tgo::reference {
namespace {

Values zeros(std::int64_t n) { return Values(static_cast<std::size_t>(n)); }
Values zeros(std::int64_t m, std::int64_t n) { return zeros(m * n); }

void add(Values& to, const Values& x) {
  for (std::size_t i = 0; i < to.size(); i++) {
    to[i] += x[i];
  }
}

}  // namespace

Layer layer_at(const Model& m, std::vector<Values>& all, std::size_t* first) {
  auto next = [&] { return all[(*first)++].data(); };
  Layer l{};
  l.q = next();
  l.k = next();
  l.v = next();
  l.o = next();
  if (m.olmo2) {
    l.q_norm = next();
    l.k_norm = next();
  }
  l.gate = next();
  l.up = next();
  l.down = next();
  l.attention_norm = next();
  l.ffn_norm = next();
  return l;
}

void Attention::turn(Values& x, int heads, int direction) const {
  const std::int64_t one = static_cast<std::int64_t>(time_) * heads * m_.size();
  for (int i = 0; i < sequences_; i++) {
    rotary(x.data() + i * one, time_, heads, m_.size(), m_.theta, direction);
  }
}

Values Attention::forward(const Model& m, const Layer& w, const Values& x, int sequences,
                          int time) {
  m_ = m;
  sequences_ = sequences;
  time_ = time;
  const int rows = sequences * time, d = m.width, q = d, k = m.kv_heads * m.size();
  x_ = h_ = x;
  if (!m.olmo2) {
    rms_norm(x.data(), w.attention_norm, rows, d, m.eps, h_.data());
  }
  q_raw_ = zeros(rows, q);
  k_raw_ = v_ = zeros(rows, k);
  linear(h_.data(), w.q, rows, d, q, q_raw_.data());
  linear(h_.data(), w.k, rows, d, k, k_raw_.data());
  linear(h_.data(), w.v, rows, d, k, v_.data());
  q_ = q_raw_;
  k_ = k_raw_;
  if (m.olmo2) {
    rms_norm(q_raw_.data(), w.q_norm, rows, q, m.eps, q_.data());
    rms_norm(k_raw_.data(), w.k_norm, rows, k, m.eps, k_.data());
  }
  turn(q_, m.heads, 1);
  turn(k_, m.kv_heads, 1);
  o_ = zeros(rows, q);
  for (std::int64_t i = 0; i < sequences; i++) {
    attention(shape(), &q_[i * time * q], &k_[i * time * k], &v_[i * time * k], &o_[i * time * q]);
  }
  y_ = zeros(rows, d);
  linear(o_.data(), w.o, rows, q, d, y_.data());
  Values out = y_;
  if (m.olmo2) {
    rms_norm(y_.data(), w.attention_norm, rows, d, m.eps, out.data());
  }
  add(out, x);
  return out;
}

Values Attention::backward(const Layer& w, const Layer& dw, const Values& d_out) const {
  const int rows = sequences_ * time_, d = m_.width, q = d, k = m_.kv_heads * m_.size();
  Values dy = d_out;
  if (m_.olmo2) {
    dy = zeros(rows, d);
    rms_norm_backward(y_.data(), w.attention_norm, d_out.data(), rows, d, m_.eps, dy.data(),
                      dw.attention_norm);
  }
  Values d_o = zeros(rows, q), dq = d_o, dk = zeros(rows, k), dv = dk;
  linear_backward(o_.data(), w.o, dy.data(), rows, q, d, d_o.data(), dw.o);
  for (std::int64_t i = 0; i < sequences_; i++) {
    const std::int64_t a = i * time_ * q, b = i * time_ * k;
    attention_backward(shape(), &q_[a], &k_[b], &v_[b], &d_o[a], &dq[a], &dk[b], &dv[b]);
  }
  turn(dq, m_.heads, -1);
  turn(dk, m_.kv_heads, -1);
  if (m_.olmo2) {
    Values raw_q = zeros(rows, q), raw_k = zeros(rows, k);
    rms_norm_backward(q_raw_.data(), w.q_norm, dq.data(), rows, q, m_.eps, raw_q.data(), dw.q_norm);
    rms_norm_backward(k_raw_.data(), w.k_norm, dk.data(), rows, k, m_.eps, raw_k.data(), dw.k_norm);
    dq = raw_q;
    dk = raw_k;
  }
  Values dh = zeros(rows, d);
  linear_backward(h_.data(), w.q, dq.data(), rows, d, q, dh.data(), dw.q);
  linear_backward(h_.data(), w.k, dk.data(), rows, d, k, dh.data(), dw.k);
  linear_backward(h_.data(), w.v, dv.data(), rows, d, k, dh.data(), dw.v);
  Values dx = d_out;
  if (m_.olmo2) {
    add(dx, dh);
  } else {
    rms_norm_backward(x_.data(), w.attention_norm, dh.data(), rows, d, m_.eps, dx.data(),
                      dw.attention_norm);
  }
  return dx;
}

Values FeedForward::forward(const Model& m, const Layer& w, const Values& x) {
  m_ = m;
  const int d = m.width, f = m.ffn;
  rows_ = static_cast<int>(x.size()) / d;
  x_ = h_ = x;
  if (!m.olmo2) {
    rms_norm(x.data(), w.ffn_norm, rows_, d, m.eps, h_.data());
  }
  gate_ = up_ = s_ = zeros(rows_, f);
  linear(h_.data(), w.gate, rows_, d, f, gate_.data());
  linear(h_.data(), w.up, rows_, d, f, up_.data());
  swiglu(gate_.data(), up_.data(), static_cast<std::int64_t>(rows_) * f, s_.data());
  y_ = zeros(rows_, d);
  linear(s_.data(), w.down, rows_, f, d, y_.data());
  Values out = y_;
  if (m.olmo2) {
    rms_norm(y_.data(), w.ffn_norm, rows_, d, m.eps, out.data());
  }
  add(out, x);
  return out;
}

Values FeedForward::backward(const Layer& w, const Layer& dw, const Values& d_out) const {
  const int d = m_.width, f = m_.ffn;
  Values dy = d_out;
  if (m_.olmo2) {
    dy = zeros(rows_, d);
    rms_norm_backward(y_.data(), w.ffn_norm, d_out.data(), rows_, d, m_.eps, dy.data(),
                      dw.ffn_norm);
  }
  Values ds = zeros(rows_, f), d_gate = ds, d_up = ds, dh = zeros(rows_, d);
  linear_backward(s_.data(), w.down, dy.data(), rows_, f, d, ds.data(), dw.down);
  swiglu_backward(gate_.data(), up_.data(), ds.data(), static_cast<std::int64_t>(rows_) * f,
                  d_gate.data(), d_up.data());
  linear_backward(h_.data(), w.gate, d_gate.data(), rows_, d, f, dh.data(), dw.gate);
  linear_backward(h_.data(), w.up, d_up.data(), rows_, d, f, dh.data(), dw.up);
  Values dx = d_out;
  if (m_.olmo2) {
    add(dx, dh);
  } else {
    rms_norm_backward(x_.data(), w.ffn_norm, dh.data(), rows_, d, m_.eps, dx.data(), dw.ffn_norm);
  }
  return dx;
}

std::vector<std::int64_t> parameter_sizes(const Model& m) {
  const std::int64_t d = m.width, k = static_cast<std::int64_t>(m.kv_heads) * m.size(), f = m.ffn;
  const std::int64_t table = m.vocab * d;
  std::vector<std::int64_t> sizes{table};
  for (int i = 0; i < m.layers; i++) {
    for (const std::int64_t n : {d * d, k * d, k * d, d * d}) {
      sizes.push_back(n);
    }
    if (m.olmo2) {
      sizes.push_back(d);
      sizes.push_back(k);
    }
    for (const std::int64_t n : {f * d, f * d, d * f, d, d}) {
      sizes.push_back(n);
    }
  }
  sizes.push_back(d);
  if (!m.tied) {
    sizes.push_back(table);
  }
  return sizes;
}

std::vector<bool> product_weights(const Model& m) {
  std::vector<bool> is{m.tied};
  for (int i = 0; i < m.layers; i++) {
    is.insert(is.end(), 4, true);
    is.insert(is.end(), m.olmo2 ? 2 : 0, false);
    is.insert(is.end(), 3, true);
    is.insert(is.end(), 2, false);
  }
  is.push_back(false);
  if (!m.tied) {
    is.push_back(true);
  }
  return is;
}

double model(const Model& m, const std::vector<Values>& parameters, const Tokens& tokens,
             double z_loss, double unit, std::vector<Values>* gradients) {
  std::vector<Values> w = parameters, dw;
  for (const Values& p : w) {
    dw.push_back(zeros(static_cast<std::int64_t>(p.size())));
  }
  const int rows = tokens.sequences * tokens.time, d = m.width;
  std::vector<Layer> layers, d_layers;
  std::size_t at = 1, d_at = 1;
  std::vector<Attention> attention(static_cast<std::size_t>(m.layers));
  std::vector<FeedForward> feed_forward(attention.size());
  Values x = zeros(rows, d);
  embedding(w[0].data(), tokens.ids, rows, d, x.data());
  for (std::size_t i = 0; i < attention.size(); i++) {
    layers.push_back(layer_at(m, w, &at));
    d_layers.push_back(layer_at(m, dw, &d_at));
    x = attention[i].forward(m, layers[i], x, tokens.sequences, tokens.time);
    x = feed_forward[i].forward(m, layers[i], x);
  }
  const std::size_t norm = at, head = m.tied ? 0 : at + 1;
  Values h = zeros(rows, d), logits = zeros(rows, m.vocab);
  rms_norm(x.data(), w[norm].data(), rows, d, m.eps, h.data());
  linear(h.data(), w[head].data(), rows, d, m.vocab, logits.data());
  Values d_logits = logits, dh = zeros(rows, d), dx = dh;
  const double loss =
      cross_entropy(logits.data(), tokens.targets, rows, m.vocab, z_loss, unit, d_logits.data());
  if (gradients == nullptr) {
    return loss * unit;
  }
  linear_backward(h.data(), w[head].data(), d_logits.data(), rows, d, m.vocab, dh.data(),
                  dw[head].data());
  rms_norm_backward(x.data(), w[norm].data(), dh.data(), rows, d, m.eps, dx.data(),
                    dw[norm].data());
  for (std::size_t i = attention.size(); i-- > 0;) {
    dx = feed_forward[i].backward(layers[i], d_layers[i], dx);
    dx = attention[i].backward(layers[i], d_layers[i], dx);
  }
  embedding_backward(dx.data(), tokens.ids, rows, d, dw[0].data());
  *gradients = std::move(dw);
  return loss * unit;
}

}  // namespace tgo::reference
