// Every kernel against the same computation in double precision on the CPU, at shapes that take the
// wide accesses and at odd ones. Prints the largest error of each and ends with 1 when one is too
// large. Needs a device: make gpu-check.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "../kernels.hh"
#include "check.hh"

namespace {

using namespace tgo::cuda;
using namespace tgo::cuda::testing;
constexpr double kHalf = 8e-3, kSingle = 2e-5;  // limits: of results rounded to bfloat16, and not

std::string shaped(const char* what, int64_t rows, int64_t width) {
  return std::string(what) + " " + std::to_string(rows) + "×" + std::to_string(width);
}

void test_embedding(int64_t rows, int64_t width, int64_t vocab) {
  const auto table = normal<float>(static_cast<size_t>(vocab * width), 0, 1, 1);
  const auto dx = normal<float>(static_cast<size_t>(rows * width), 0, 1, 2);
  std::mt19937 random(3);
  std::vector<int32_t> ids(static_cast<size_t>(rows)), order(ids.size());
  for (size_t i = 0; i < ids.size(); i++) {  // a third of them one id
    ids[i] = i % 3 == 0 ? 1 : static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
    order[i] = static_cast<int32_t>(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return ids[size_t(a)] < ids[size_t(b)]; });
  std::vector<int32_t> some;  // all rows but every seventh
  std::copy_if(order.begin(), order.end(), std::back_inserter(some),
               [](int r) { return r % 7 != 0; });
  some.resize(order.size(), -1);
  Array<float> t(table), x(size_t(rows * width)), d(dx), dt(table), dt_some(table);
  Array<bf16> h(size_t(rows * width));
  Array<int32_t> i(ids), o(order), o_some(some);
  embed(t, i, x, h, rows, width, nullptr);
  embed_backward(d, i, o, dt, rows, width, nullptr);
  embed_backward(d, i, o_some, dt_some, rows, width, nullptr);
  Doubles want, grad = doubles(table), grad_some = grad;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < width; c++) {
      const auto at = size_t(ids[size_t(r)] * width + c);
      want.push_back(value(table[at]));
      grad[at] += value(dx[size_t(r * width + c)]);
      grad_some[at] += r % 7 == 0 ? 0 : value(dx[size_t(r * width + c)]);
    }
  }
  check(shaped("embed", rows, width), x.read(), want, 0);
  check(shaped("embed in bfloat16", rows, width), h.read(), want, kHalf);
  check(shaped("embed_backward", rows, width), dt.read(), grad, kSingle);
  check(shaped("embed_backward of some rows", rows, width), dt_some.read(), grad_some, kSingle);
}

// Of one row: result, its scale, and backward from dy.
struct RowNorm {
  double r;
  Doubles y, dx;
};

RowNorm row_norm(const double* x, const double* gain, const double* dy, int64_t n, double eps,
                 double* dgain) {
  double sum = 0, dot = 0;
  for (int64_t c = 0; c < n; c++) sum += x[c] * x[c];
  RowNorm out{1 / std::sqrt(sum / double(n) + eps), {}, {}};
  for (int64_t c = 0; c < n; c++) {
    out.y.push_back(x[c] * out.r * gain[c]);
    dot += dy[c] * gain[c] * x[c] * out.r;
    dgain[c] += dy[c] * x[c] * out.r;
  }
  for (int64_t c = 0; c < n; c++) {
    out.dx.push_back(out.r * (dy[c] * gain[c] - x[c] * out.r * dot / double(n)));
  }
  return out;
}

void test_norm(int64_t rows, int64_t width) {
  const size_t n = size_t(rows * width);
  const auto x = normal<float>(n, 0.2, 2, 1), gain = normal<float>(size_t(width), 1, 0.3, 2);
  const auto y = normal<bf16>(n, 0, 1, 3), dh = normal<bf16>(n, 0, 1, 4);
  const auto dx = normal<float>(n, 0, 1, 5);
  Array<float> dev_x(x), dev_gain(gain), rstd(static_cast<size_t>(rows)), out(n), grad(dx);
  Array<float> partial(size_t(kGainParts * width)), dgain(static_cast<size_t>(width));
  Array<bf16> dev_y(y), dev_dh(dh), h(n), again(n), dx16(n);
  const Norm norm_{dev_gain, rstd, rows, width, 1e-5F};
  norm(norm_, dev_x, dev_y, out, h, nullptr);
  norm_backward(norm_, out, dev_dh, true, grad, dx16, again, partial, nullptr);
  const GainSum sum{partial, dgain, width};
  Array<GainSum> list(1);
  must(cudaMemcpy(static_cast<GainSum*>(list), &sum, sizeof sum, cudaMemcpyHostToDevice));
  sum_gains(list, 1, width, false, nullptr);
  Doubles total(n), result, gradient, gains(static_cast<size_t>(width)), g = doubles(gain),
                                                                         d = doubles(dh);
  for (size_t i = 0; i < n; i++) total[i] = value(x[i] + __bfloat162float(y[i]));
  for (int64_t r = 0; r < rows; r++) {
    const RowNorm row = row_norm(&total[size_t(r * width)], g.data(), &d[size_t(r * width)], width,
                                 1e-5, gains.data());
    for (int64_t c = 0; c < width; c++) {
      result.push_back(row.y[size_t(c)]);
      gradient.push_back(value(dx[size_t(r * width + c)]) + row.dx[size_t(c)]);
    }
  }
  check(shaped("norm: stream", rows, width), out.read(), total, kSingle);
  check(shaped("norm", rows, width), h.read(), result, kHalf);
  check(shaped("norm_backward", rows, width), grad.read(), gradient, kSingle);
  check(shaped("norm_backward in bfloat16", rows, width), dx16.read(), gradient, kHalf);
  check(shaped("norm computed again", rows, width), again.read(), result, kHalf);
  check(shaped("norm: gain", rows, width), dgain.read(), gains, 1e-4);
}

void test_post_norm(int64_t rows, int64_t width) {
  const size_t n = size_t(rows * width);
  const auto x = normal<float>(n, 0, 2, 1), gain = normal<float>(size_t(width), 1, 0.3, 2);
  const auto y = normal<bf16>(n, 0.1, 1, 3), dh = normal<bf16>(n, 0, 1, 4);
  const auto dx = normal<float>(n, 0, 1, 5);
  Array<float> stream(x), dev_gain(gain), rstd(static_cast<size_t>(rows)), grad(dx);
  Array<float> partial(size_t(kGainParts * width)), dgain(static_cast<size_t>(width));
  Array<bf16> dev_y(y), dev_dh(dh), h(n), dy(n);
  const Norm norm_{dev_gain, rstd, rows, width, 1e-6F};
  post_norm(norm_, dev_y, stream, h, nullptr);
  post_norm_backward(norm_, dev_y, dev_dh, grad, dy, partial, nullptr);
  const GainSum sum{partial, dgain, width};
  Array<GainSum> list(1);
  must(cudaMemcpy(static_cast<GainSum*>(list), &sum, sizeof sum, cudaMemcpyHostToDevice));
  sum_gains(list, 1, width, true, nullptr);
  Doubles in = doubles(y), d(n), result, gradient, gains(static_cast<size_t>(width)),
          g = doubles(gain);
  for (size_t i = 0; i < n; i++) d[i] = value(dx[i]) + value(dh[i]);
  for (int64_t r = 0; r < rows; r++) {
    const RowNorm row = row_norm(&in[size_t(r * width)], g.data(), &d[size_t(r * width)], width,
                                 1e-6, gains.data());
    for (int64_t c = 0; c < width; c++) {
      result.push_back(value(x[size_t(r * width + c)]) + row.y[size_t(c)]);
      gradient.push_back(row.dx[size_t(c)]);
    }
  }
  check(shaped("post_norm", rows, width), stream.read(), result, kSingle);
  check(shaped("post_norm in bfloat16", rows, width), h.read(), result, kHalf);
  check(shaped("post_norm_backward: sum", rows, width), grad.read(), d, kSingle);
  check(shaped("post_norm_backward", rows, width), dy.read(), gradient, kHalf);
  check(shaped("post_norm: gain", rows, width), dgain.read(), gains, 1e-4);
  add(dev_dh, grad, int64_t(n), nullptr);
  for (size_t i = 0; i < n; i++) d[i] += value(dh[i]);
  check(shaped("add", rows, width), grad.read(), d, kSingle);
}

// Turns the heads [first, first + count) of a row.
void turn_row(Doubles& row, int first, int count, int size, const float* c, const float* s,
              double sign) {
  const int half = size / 2;
  for (int head = first; head < first + count; head++) {
    for (int i = 0; i < half; i++) {
      double &a = row[size_t(head * size + i)], &b = row[size_t(head * size + half + i)];
      const double x = a, y = b, sine = sign * value(s[i]), cosine = value(c[i]);
      a = x * cosine - y * sine;
      b = y * cosine + x * sine;
    }
  }
}

struct RotaryCase {
  int64_t batch, time;
  int heads, kv_heads, size, kv_given;
};

struct Tables {
  std::vector<float> cosine, sine;
  Tables(int64_t time, int half) {
    for (int64_t t = 0; t < time; t++) {
      for (int i = 0; i < half; i++) {
        const double angle = double(t) * std::pow(1e4, -double(i) / half);
        cosine.push_back(float(std::cos(angle)));
        sine.push_back(float(std::sin(angle)));
      }
    }
  }
};

Doubles slice(const Doubles& x, int64_t from, int64_t n) {
  return {x.begin() + from, x.begin() + from + n};
}

// The gradient of a row of q, k, v before turning back: copies of a key or value head are summed.
Doubles gradient_row(const RotaryCase& k, const Doubles& dq, const Doubles& dk, const Doubles& dv,
                     int64_t row) {
  Doubles out = slice(dq, row * k.heads * k.size, int64_t{k.heads} * k.size);
  const int copies = k.kv_given / k.kv_heads;
  for (const Doubles* d : {&dk, &dv}) {
    for (int head = 0; head < k.kv_heads; head++) {
      for (int i = 0; i < k.size; i++) {
        double sum = 0;
        for (int copy = 0; copy < copies; copy++) {
          sum += (*d)[size_t((row * k.kv_given + head * copies + copy) * k.size + i)];
        }
        out.push_back(sum);
      }
    }
  }
  return out;
}

void test_rotary(const RotaryCase& k) {
  const int64_t rows = k.batch * k.time, width = int64_t{k.heads + 2 * k.kv_heads} * k.size;
  const int half = k.size / 2, turned = k.heads + k.kv_heads;
  const Tables tables(k.time, half);
  const auto qkv = normal<bf16>(size_t(rows * width), 0, 1, 1);
  const auto dq = normal<bf16>(size_t(rows * k.heads * k.size), 0, 1, 2);
  const auto dk = normal<bf16>(size_t(rows * k.kv_given * k.size), 0, 1, 3);
  const auto dv = normal<bf16>(size_t(rows * k.kv_given * k.size), 0, 1, 4);
  Array<float> cosine(tables.cosine), sine(tables.sine);
  Array<bf16> x(qkv), gq(dq), gk(dk), gv(dv), back(size_t(rows * width));
  const Heads h{rows, k.time, k.heads, k.kv_heads, k.size, cosine, sine};
  rotate(h, x, nullptr);
  rotate_backward(h, {gq, gk, gv, k.kv_given}, back, nullptr);
  Doubles want, grad;
  const Doubles in = doubles(qkv), q = doubles(dq), kk = doubles(dk), v = doubles(dv);
  for (int64_t r = 0; r < rows; r++) {
    const float *c = &tables.cosine[size_t(r % k.time * half)],
                *s = &tables.sine[size_t(r % k.time * half)];
    Doubles row = slice(in, r * width, width), d = gradient_row(k, q, kk, v, r);
    turn_row(row, 0, turned, k.size, c, s, 1);
    turn_row(d, 0, turned, k.size, c, s, -1);
    want.insert(want.end(), row.begin(), row.end());
    grad.insert(grad.end(), d.begin(), d.end());
  }
  check(shaped("rotate", rows, k.size), x.read(), want, kHalf);
  check(shaped("rotate_backward", rows, k.size), back.read(), grad, kHalf);
}

void test_norm_rotary(const RotaryCase& k) {
  const int64_t rows = k.batch * k.time, width = int64_t{k.heads + 2 * k.kv_heads} * k.size;
  const int half = k.size / 2, qw = k.heads * k.size, kw = k.kv_heads * k.size;
  const Tables tables(k.time, half);
  const auto qkv = normal<bf16>(size_t(rows * width), 0.1, 1, 1);
  const auto dq = normal<bf16>(size_t(rows * qw), 0, 1, 2);
  const auto dk = normal<bf16>(size_t(rows * k.kv_given * k.size), 0, 1, 3);
  const auto dv = normal<bf16>(size_t(rows * k.kv_given * k.size), 0, 1, 4);
  const auto q_gain = normal<float>(size_t(qw), 1, 0.2, 5),
             k_gain = normal<float>(size_t(kw), 1, 0.2, 6);
  Array<float> cosine(tables.cosine), sine(tables.sine), qg(q_gain), kg(k_gain),
      rstd(size_t(rows * 2));
  Array<float> qp(size_t(kGainParts * qw)), kp(size_t(kGainParts * kw)),
      qd(static_cast<size_t>(qw)), kd(static_cast<size_t>(kw));
  Array<bf16> x(qkv), gq(dq), gk(dk), gv(dv), qk(size_t(rows * (qw + kw)));
  const Heads h{rows, k.time, k.heads, k.kv_heads, k.size, cosine, sine};
  const QKNorm n{qg, kg, rstd, 1e-6F};
  norm_rotate(h, n, x, qk, nullptr);
  norm_rotate_backward(h, n, {gq, gk, gv, k.kv_given}, x, qp, kp, nullptr);
  const GainSum sums[] = {{qp, qd, qw}, {kp, kd, kw}};
  Array<GainSum> list(2);
  must(cudaMemcpy(static_cast<GainSum*>(list), sums, sizeof sums, cudaMemcpyHostToDevice));
  sum_gains(list, 2, qw, false, nullptr);
  Doubles want, grad, q_sum(static_cast<size_t>(qw)), k_sum(static_cast<size_t>(kw));
  const Doubles in = doubles(qkv), q = doubles(dq), kk = doubles(dk), v = doubles(dv);
  const Doubles g1 = doubles(q_gain), g2 = doubles(k_gain);
  for (int64_t r = 0; r < rows; r++) {
    const float *c = &tables.cosine[size_t(r % k.time * half)],
                *s = &tables.sine[size_t(r % k.time * half)];
    Doubles row = slice(in, r * width, width), d = gradient_row(k, q, kk, v, r);
    turn_row(d, 0, k.heads + k.kv_heads, k.size, c, s, -1);
    const RowNorm a = row_norm(&row[0], g1.data(), &d[0], qw, 1e-6, q_sum.data());
    const RowNorm b = row_norm(&row[size_t(qw)], g2.data(), &d[size_t(qw)], kw, 1e-6, k_sum.data());
    Doubles y = a.y;
    y.insert(y.end(), b.y.begin(), b.y.end());
    turn_row(y, 0, k.heads + k.kv_heads, k.size, c, s, 1);
    want.insert(want.end(), y.begin(), y.end());
    grad.insert(grad.end(), a.dx.begin(), a.dx.end());
    grad.insert(grad.end(), b.dx.begin(), b.dx.end());
    grad.insert(grad.end(), d.begin() + qw + kw, d.end());
  }
  check(shaped("norm_rotate", rows, k.size), qk.read(), want, 2 * kHalf);
  check(shaped("norm_rotate_backward", rows, k.size), x.read(), grad, 2 * kHalf);
  check(shaped("norm_rotate: query gain", rows, k.size), qd.read(), q_sum, 5e-3);
  check(shaped("norm_rotate: key gain", rows, k.size), kd.read(), k_sum, 5e-3);
}

void test_swiglu(int64_t rows, int64_t ffn) {
  const auto gu = normal<bf16>(size_t(rows * 2 * ffn), 0, 2, 1),
             da = normal<bf16>(size_t(rows * ffn), 0, 1, 2);
  Array<bf16> gate_up(gu), act(size_t(rows * ffn)), dact(da);
  swiglu(gate_up, act, rows, ffn, nullptr);
  const Doubles first = act.read();
  swiglu_backward(gate_up, dact, true, rows, ffn, nullptr);
  Doubles want(size_t(rows * ffn)), grad(size_t(rows * 2 * ffn));
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < ffn; c++) {
      const size_t g = size_t(r * 2 * ffn + c), u = g + size_t(ffn), a = size_t(r * ffn + c);
      const double x = value(gu[g]), up = value(gu[u]), s = 1 / (1 + std::exp(-x)),
                   d = value(da[a]);
      want[a] = x * s * up;
      grad[g] = d * up * s * (1 + x * (1 - s));
      grad[u] = d * x * s;
    }
  }
  check(shaped("swiglu", rows, ffn), first, want, kHalf);
  check(shaped("swiglu_backward", rows, ffn), gate_up.read(), grad, kHalf);
  check(shaped("swiglu computed again", rows, ffn), dact.read(), want, kHalf);
}

void test_cross_entropy(int64_t rows, int64_t vocab, double z) {
  const auto logits = normal<bf16>(size_t(rows * vocab), 1, 3, 1);
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < rows; r++)
    targets.push_back(r % 5 == 4 ? -1 : int32_t((r * 7919) % vocab));
  Array<bf16> l(logits);
  Array<int32_t> t(targets);
  Array<double> losses(static_cast<size_t>(rows)), alone(static_cast<size_t>(rows));
  const double inverse = 1.0 / 17;
  Array<double> divisor(Doubles{inverse});
  cross_entropy({float(z), nullptr}, l, t, alone, rows, vocab, nullptr);
  check(shaped("cross_entropy: logits kept", rows, vocab), l.read(), doubles(logits), 0);
  cross_entropy({float(z), divisor}, l, t, losses, rows, vocab, nullptr);
  Doubles want, grad(size_t(rows * vocab));
  for (int64_t r = 0; r < rows; r++) {
    const int32_t target = targets[size_t(r)];
    if (target < 0) {
      want.push_back(0);
      continue;
    }
    double top = -1e30, sum = 0;
    for (int64_t c = 0; c < vocab; c++) top = std::max(top, value(logits[size_t(r * vocab + c)]));
    for (int64_t c = 0; c < vocab; c++) sum += std::exp(value(logits[size_t(r * vocab + c)]) - top);
    const double lse = top + std::log(sum);
    want.push_back(lse - value(logits[size_t(r * vocab + target)]) + z * lse * lse);
    for (int64_t c = 0; c < vocab; c++) {
      const double p = std::exp(value(logits[size_t(r * vocab + c)]) - lse);
      grad[size_t(r * vocab + c)] = (p * (1 + 2 * z * lse) - (c == target ? 1 : 0)) * inverse;
    }
  }
  check(shaped("cross_entropy", rows, vocab), losses.read(), want, kSingle);
  check(shaped("cross_entropy: losses alone", rows, vocab), alone.read(), want, kSingle);
  check(shaped("cross_entropy: gradient", rows, vocab), l.read(), grad, kHalf);
}

void test_update(int64_t n) {
  const auto p = normal<float>(size_t(n), 0, 1, 1), g = normal<float>(size_t(n), 0, 2, 2);
  const auto m = normal<float>(size_t(n), 0, 1, 3);
  auto v = normal<float>(size_t(n), 1, 0.1, 4);
  for (float& x : v) x = std::abs(x);
  const auto losses = normal<double>(1000, 3, 1, 5);
  std::vector<Tile> tiles{{0, int32_t(n / 2), 0.1F}, {n / 2, int32_t(n - n / 2), 0.0F}};
  Array<float> dp(p), dg(g), dm(m), dv(v);
  Array<double> dl(losses), parts(kSumParts), norm_parts(kSumParts), root(1);
  Array<bf16> copy(static_cast<size_t>(n));
  Array<Tile> dt(2);
  Array<Update> du(1);
  Array<Decision> decision(1);
  // 700 of the 1000 targets count.
  const Update u{1e-2, 0.5, 1e-2 / (1 - 0.9), 1 / std::sqrt(1 - 0.95), 1.0 / 700};
  must(cudaMemcpy(static_cast<Tile*>(dt), tiles.data(), 2 * sizeof(Tile), cudaMemcpyHostToDevice));
  must(cudaMemcpy(static_cast<Update*>(du), &u, sizeof u, cudaMemcpyHostToDevice));
  sums(dl, 1000, parts, nullptr);
  square_sums(dg, n, norm_parts, nullptr);
  root_of_sum(norm_parts, root, nullptr);
  decide(parts, norm_parts, du, 1.0, decision, nullptr);
  adamw({0.9F, 0.95F, 1e-8F}, dt, 2, du, decision, dp, dg, dm, dv, copy, nullptr);
  double norm = 0, loss = 0;
  for (float x : g) norm += value(x) * value(x);
  for (double x : losses) loss += x / 700;
  norm = std::sqrt(norm);
  Decision d{};
  must(cudaDeviceSynchronize());
  must(cudaMemcpy(&d, static_cast<Decision*>(decision), sizeof d, cudaMemcpyDeviceToHost));
  check(shaped("norm of gradients", 1, n), {d.norm, root.read()[0]}, {norm, norm}, 1e-12);
  check(shaped("loss", 1, n), {d.loss}, {loss}, 1e-12);
  Doubles wp, wm, wv;
  for (int64_t i = 0; i < n; i++) {
    const size_t at = size_t(i);
    const double grad = value(g[at]) / (norm + 1e-6), decay = i < n / 2 ? 0.1 : 0;
    wm.push_back(0.9 * value(m[at]) + 0.1 * grad);
    wv.push_back(0.95 * value(v[at]) + 0.05 * grad * grad);
    wp.push_back(value(p[at]) * (1 - u.lr * u.decay * decay) -
                 u.rate * wm.back() / (std::sqrt(wv.back()) * u.root + 1e-8));
  }
  check(shaped("adamw: values", 1, n), dp.read(), wp, 1e-6);
  check(shaped("adamw: first moment", 1, n), dm.read(), wm, 1e-6);
  check(shaped("adamw: second moment", 1, n), dv.read(), wv, 1e-6);
  check(shaped("adamw: rounded copy", 1, n), copy.read(), wp, kHalf);
  const Doubles before = dp.read();
  d.stopped = 1;
  must(cudaMemcpy(static_cast<Decision*>(decision), &d, sizeof d, cudaMemcpyHostToDevice));
  adamw({0.9F, 0.95F, 1e-8F}, dt, 2, du, decision, dp, dg, dm, dv, copy, nullptr);
  check(shaped("adamw when stopped", 1, n), dp.read(), before, 0);
}

void test_stop() {
  const double nan = std::nan("");
  for (const auto& [loss, norm, want] :
       {std::tuple{1.0, nan, 1.0}, {nan, 1.0, 1.0}, {1.0, INFINITY, 1.0}, {1.0, 1.0, 0.0}}) {
    Doubles l(kSumParts), n(kSumParts);
    l[3] = loss, n[900] = norm;
    Array<double> dl(l), dn(n);
    Array<Decision> out(1);
    Array<Update> update(1);
    const Update u{0, 0, 0, 0, 1};
    must(cudaMemcpy(static_cast<Update*>(update), &u, sizeof u, cudaMemcpyHostToDevice));
    decide(dl, dn, update, 1, out, nullptr);
    Decision d{};
    must(cudaDeviceSynchronize());
    must(cudaMemcpy(&d, static_cast<Decision*>(out), sizeof d, cudaMemcpyDeviceToHost));
    check("stops at what is not finite", {double(d.stopped)}, {want}, 0);
  }
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("no device\n");
    return 2;
  }
  test_embedding(3000, 256, 100);
  test_embedding(257, 30, 11);
  for (const auto& [rows, width] :
       {std::pair{1000, 256}, {333, 2048}, {77, 768}, {50, 4096}, {1200, 66}, {7, 30}}) {
    test_norm(rows, width);
    test_post_norm(rows, width);
  }
  for (const RotaryCase& k : {RotaryCase{2, 96, 8, 4, 32, 4},
                              {2, 50, 8, 2, 64, 8},
                              {1, 33, 3, 1, 10, 1},
                              {2, 20, 4, 4, 128, 4}}) {
    test_rotary(k);
    test_norm_rotary(k);
  }
  test_swiglu(300, 688);
  test_swiglu(40, 5632);
  test_swiglu(9, 30);
  test_cross_entropy(100, 4096, 1e-4);
  test_cross_entropy(64, 32000, 0);
  test_cross_entropy(33, 517, 1e-2);
  test_update(1 << 20);
  test_update(5001);
  test_stop();
  std::printf("%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
