#include "reference.hh"

#include <algorithm>
#include <cmath>

namespace tgo::reference {

void linear(const double* x, const double* w, int m, int k, int n, double* y) {
  for (int i = 0; i < m; i++) {
    for (int j = 0; j < n; j++) {
      const double *a = x + static_cast<std::int64_t>(i) * k,
                   *b = w + static_cast<std::int64_t>(j) * k;
      double sum = 0;
      for (int c = 0; c < k; c++) {
        sum += a[c] * b[c];
      }
      y[static_cast<std::int64_t>(i) * n + j] = sum;
    }
  }
}

void linear_backward(const double* x, const double* w, const double* dy, int m, int k, int n,
                     double* dx, double* dw) {
  for (int i = 0; i < m; i++) {
    const std::int64_t row = static_cast<std::int64_t>(i) * k;
    for (int j = 0; j < n; j++) {
      const double g = dy[static_cast<std::int64_t>(i) * n + j];
      const std::int64_t weight = static_cast<std::int64_t>(j) * k;
      for (int c = 0; c < k && g != 0; c++) {
        dx[row + c] += g * w[weight + c];
        dw[weight + c] += g * x[row + c];
      }
    }
  }
}

namespace {

double inverse_rms(const double* x, int width, double eps) {
  double sum = 0;
  for (int i = 0; i < width; i++) {
    sum += x[i] * x[i];
  }
  return 1 / std::sqrt(sum / width + eps);
}

}  // namespace

void rms_norm(const double* x, const double* g, int m, int width, double eps, double* y) {
  for (int i = 0; i < m; i++, x += width, y += width) {
    const double r = inverse_rms(x, width, eps);
    for (int c = 0; c < width; c++) {
      y[c] = x[c] * r * g[c];
    }
  }
}

// y_i = x_i r g_i with r = (Σ x²/width + eps)^−½, so dr/dx_j = −r³ x_j / width.
void rms_norm_backward(const double* x, const double* g, const double* dy, int m, int width,
                       double eps, double* dx, double* dg) {
  for (int i = 0; i < m; i++, x += width, dy += width, dx += width) {
    const double r = inverse_rms(x, width, eps);
    double dr = 0;
    for (int c = 0; c < width; c++) {
      dr += dy[c] * x[c] * g[c];
      dg[c] += dy[c] * x[c] * r;
    }
    for (int c = 0; c < width; c++) {
      dx[c] += dy[c] * r * g[c] - dr * r * r * r * x[c] / width;
    }
  }
}

void rotary(double* x, int time, int heads, int size, double theta, int direction) {
  const int half = size / 2;
  for (int i = 0; i < half; i++) {
    const float part = static_cast<float>(2 * i) / static_cast<float>(size);
    const float frequency = 1.0F / static_cast<float>(std::pow(theta, static_cast<double>(part)));
    for (int t = 0; t < time; t++) {
      const double angle = direction * static_cast<double>(static_cast<float>(t) * frequency);
      const double c = std::cos(angle), s = std::sin(angle);
      for (int h = 0; h < heads; h++) {
        double* p = x + (static_cast<std::int64_t>(t) * heads + h) * size;
        const double a = p[i], b = p[i + half];
        p[i] = a * c - b * s;
        p[i + half] = b * c + a * s;
      }
    }
  }
}

namespace {

// Probabilities of query t over keys 0 … t.
void weights_of(const AttentionShape& s, const double* q, const double* k, int h, int t,
                double* p) {
  const int g = h / (s.heads / s.kv_heads);
  const double* query = q + (static_cast<std::int64_t>(t) * s.heads + h) * s.size;
  double top = -1e300, sum = 0;
  for (int u = 0; u <= t; u++) {
    const double* key = k + (static_cast<std::int64_t>(u) * s.kv_heads + g) * s.size;
    p[u] = 0;
    for (int e = 0; e < s.size; e++) {
      p[u] += query[e] * key[e];
    }
    p[u] /= std::sqrt(static_cast<double>(s.size));
    top = std::max(top, p[u]);
  }
  for (int u = 0; u <= t; u++) {
    p[u] = std::exp(p[u] - top);
    sum += p[u];
  }
  for (int u = 0; u <= t; u++) {
    p[u] /= sum;
  }
}

}  // namespace

void attention(const AttentionShape& s, const double* q, const double* k, const double* v,
               double* o) {
  Values p(static_cast<std::size_t>(s.time));
  for (int h = 0; h < s.heads; h++) {
    const int g = h / (s.heads / s.kv_heads);
    for (int t = 0; t < s.time; t++) {
      weights_of(s, q, k, h, t, p.data());
      double* out = o + (static_cast<std::int64_t>(t) * s.heads + h) * s.size;
      std::fill(out, out + s.size, 0.0);
      for (int u = 0; u <= t; u++) {
        const double* value = v + (static_cast<std::int64_t>(u) * s.kv_heads + g) * s.size;
        for (int e = 0; e < s.size; e++) {
          out[e] += p[u] * value[e];
        }
      }
    }
  }
}

void attention_backward(const AttentionShape& s, const double* q, const double* k, const double* v,
                        const double* d_o, double* dq, double* dk, double* dv) {
  Values p(static_cast<std::size_t>(s.time)), dp(p.size());
  const double scale = 1 / std::sqrt(static_cast<double>(s.size));
  for (int h = 0; h < s.heads; h++) {
    const int g = h / (s.heads / s.kv_heads);
    for (int t = 0; t < s.time; t++) {
      weights_of(s, q, k, h, t, p.data());
      const std::int64_t query = (static_cast<std::int64_t>(t) * s.heads + h) * s.size;
      double dot = 0;
      for (int u = 0; u <= t; u++) {
        const std::int64_t key = (static_cast<std::int64_t>(u) * s.kv_heads + g) * s.size;
        dp[u] = 0;
        for (int e = 0; e < s.size; e++) {
          dp[u] += d_o[query + e] * v[key + e];
          dv[key + e] += p[u] * d_o[query + e];
        }
        dot += p[u] * dp[u];
      }
      for (int u = 0; u <= t; u++) {
        const std::int64_t key = (static_cast<std::int64_t>(u) * s.kv_heads + g) * s.size;
        const double ds = p[u] * (dp[u] - dot) * scale;
        for (int e = 0; e < s.size; e++) {
          dq[query + e] += ds * k[key + e];
          dk[key + e] += ds * q[query + e];
        }
      }
    }
  }
}

void swiglu(const double* gate, const double* up, std::int64_t n, double* s) {
  for (std::int64_t i = 0; i < n; i++) {
    s[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  }
}

void swiglu_backward(const double* gate, const double* up, const double* ds, std::int64_t n,
                     double* d_gate, double* d_up) {
  for (std::int64_t i = 0; i < n; i++) {
    const double sigma = 1 / (1 + std::exp(-gate[i]));
    d_up[i] += ds[i] * gate[i] * sigma;
    d_gate[i] += ds[i] * up[i] * (sigma + gate[i] * sigma * (1 - sigma));
  }
}

double cross_entropy(const double* logits, const std::int32_t* targets, int m, int vocab,
                     double z_loss, double unit, double* d_logits) {
  double loss = 0;
  for (int i = 0; i < m; i++) {
    const double* l = logits + static_cast<std::int64_t>(i) * vocab;
    double top = -1e300, sum = 0;
    for (int c = 0; c < vocab; c++) {
      top = std::max(top, l[c]);
    }
    for (int c = 0; c < vocab; c++) {
      sum += std::exp(l[c] - top);
    }
    const double lse = top + std::log(sum);
    const bool counts = targets[i] >= 0;
    if (counts) {
      loss += lse - l[targets[i]] + z_loss * lse * lse;
    }
    for (int c = 0; c < vocab && d_logits != nullptr; c++) {
      const double p = std::exp(l[c] - lse);
      const double d = p * (1 + 2 * z_loss * lse) - (c == targets[i] ? 1 : 0);
      d_logits[static_cast<std::int64_t>(i) * vocab + c] = counts ? d * unit : 0;
    }
  }
  return loss;
}

void embedding(const double* table, const std::int32_t* ids, int m, int width, double* x) {
  for (int i = 0; i < m; i++) {
    for (int c = 0; c < width; c++) {
      x[static_cast<std::int64_t>(i) * width + c] =
          table[static_cast<std::int64_t>(ids[i]) * width + c];
    }
  }
}

void embedding_backward(const double* dx, const std::int32_t* ids, int m, int width,
                        double* d_table) {
  for (int i = 0; i < m; i++) {
    for (int c = 0; c < width; c++) {
      d_table[static_cast<std::int64_t>(ids[i]) * width + c] +=
          dx[static_cast<std::int64_t>(i) * width + c];
    }
  }
}

void adamw(const AdamW& o, std::int64_t n, const double* g, double* p, double* m, double* v) {
  const auto t = static_cast<double>(o.step);
  for (std::int64_t i = 0; i < n; i++) {
    const double gradient = g[i] * o.scale;
    m[i] = o.beta1 * m[i] + (1 - o.beta1) * gradient;
    v[i] = o.beta2 * v[i] + (1 - o.beta2) * gradient * gradient;
    const double mean = m[i] / (1 - std::pow(o.beta1, t));
    const double square = v[i] / (1 - std::pow(o.beta2, t));
    p[i] = p[i] * (1 - o.lr * o.decay) - o.lr * mean / (std::sqrt(square) + o.eps);
  }
}

}  // namespace tgo::reference
