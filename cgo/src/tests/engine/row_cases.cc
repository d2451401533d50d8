// feed_forward.hh, cross_entropy.hh and embedding.hh.
#include <cmath>

#include "cases.hh"
#include "layout.hh"

namespace tgo::tests {
namespace {

std::size_t index(int m, int n, int columns) { return static_cast<std::size_t>(m * columns + n); }

// Gate and up lie interleaved by 16: 32 columns of [g u] belong to 16 columns of s.
int gate_column(int n) { return n / 16 * 32 + n % 16; }

void swiglu_case(const Probe& p, Report& r, int rows, int f) {
  const std::string shape = text("%d × %d", rows, f);
  Random random(static_cast<std::uint64_t>(rows * 100 + f));
  const Values g = normal_values(random, static_cast<std::int64_t>(rows) * f, p.half, 3);
  const Values u = normal_values(random, static_cast<std::int64_t>(g.size()), p.half);
  Values s(g.size()), dg(g.size()), du(g.size());
  const Values ds = normal_values(random, static_cast<std::int64_t>(g.size()), false, 0.1);
  reference::swiglu(g.data(), u.data(), static_cast<std::int64_t>(g.size()), s.data());
  reference::swiglu_backward(g.data(), u.data(), ds.data(), static_cast<std::int64_t>(g.size()),
                             dg.data(), du.data());
  Tiled factors(p.half, engine::padded(rows), 2 * f), out(p.half, engine::padded(rows), f);
  Tiled alone(p.half, engine::padded(rows), f);
  r.begin("swiglu_forward", p.isa, p.half, p.half ? kRoundedOnce : kSingle, shape);
  Error e;
  for (int m = 0; m < rows; m++) {
    for (int block = 0; block < f / 16; block++) {
      float row[32];
      for (int i = 0; i < 16; i++) {
        row[i] = static_cast<float>(g[index(m, block * 16 + i, f)]);
        row[16 + i] = static_cast<float>(u[index(m, block * 16 + i, f)]);
      }
      p.swiglu_forward(row, m, block, f, factors.data(), out.data());
      p.swiglu_alone(row, m, block, f, alone.data());
    }
    for (int n = 0; n < f; n++) {
      e.add(out.at(m, n), s[index(m, n, f)]);
    }
  }
  r.error("s", e);
  r.expect(alone == out, "the same s without factors");
  r.begin("swiglu_backward", p.isa, p.half, p.half ? kRoundedTwice : kSingle, shape);
  Error e_g, e_u;
  Tiled gradient(p.half, engine::padded(rows), 2 * f);
  for (int m = 0; m < rows; m++) {
    for (int block = 0; block < f / 32; block++) {
      float row[32];
      for (int i = 0; i < 32; i++) {
        row[i] = static_cast<float>(ds[index(m, block * 32 + i, f)]);
      }
      p.swiglu_backward(row, m, block, f, factors.data(), gradient.data());
    }
    for (int n = 0; n < f; n++) {
      e_g.add(gradient.at(m, gate_column(n)), dg[index(m, n, f)]);
      e_u.add(gradient.at(m, gate_column(n) + 16), du[index(m, n, f)]);
    }
  }
  r.error("d gate", e_g);
  r.error("d up", e_u);
}

// 32 rows of logits in a matrix of 64, as the output layer leaves them.
struct Logits {
  int vocab, columns;
  Values l;
  std::vector<std::int32_t> targets;
  Tiled tiled;
  std::vector<float> top, plain;

  Logits(const Probe& p, Random& random, int v, double scale, double masked)
      : vocab(v),
        columns(engine::padded(v)),
        l(normal_values(random, 32LL * v, p.half, scale)),
        tiled(p.half, 64, columns),
        top(std::size_t{32} * 16, -1e30F) {
    for (int m = 0; m < 32; m++) {
      l[index(m, v - 1, v)] = rounded(m == 3 ? 3 * scale : l[index(m, v - 1, v)], p.half);
      targets.push_back(random.chance(masked) ? -1 : random.whole(0, v - 1));
      for (int n = 0; n < columns; n += 32) {
        float row[32];
        for (int i = 0; i < 32; i++) {  // beyond the vocabulary: anything, to be masked
          row[i] = n + i < v ? static_cast<float>(l[index(m, n + i, v)]) : 1e4F;
        }
        p.keep_logits(row, 32 + m, n, columns, v - n, tiled.data(), top.data());
        plain.insert(plain.end(), row, row + 32);
      }
    }
    targets[0] = v - 1;
    targets[1] = 0;
  }
};

void cross_entropy_case(const Probe& p, Report& r, int vocab, double scale, double z,
                        double masked) {
  const std::string shape = text("V %d, ×%g, z %g, masked %g", vocab, scale, z, masked);
  Random random(static_cast<std::uint64_t>(vocab));
  Logits in(p, random, vocab, scale, masked);
  if (masked >= 1) {
    in.targets.assign(32, -1);
  }
  Values want(in.l.size());
  const double unit = 0.125 / 3;
  const double loss =
      reference::cross_entropy(in.l.data(), in.targets.data(), 32, vocab, z, unit, want.data());
  r.begin("cross_entropy", p.isa, p.half, p.half ? kRoundedOnce : kSingle, shape);
  const double got =
      p.cross_entropy(in.tiled.data(), 32, in.columns, in.targets.data(), in.top.data(),
                      static_cast<float>(z), static_cast<float>(unit));
  Error e_loss, e;
  e_loss.add(got, loss);
  r.error("loss", e_loss);
  double padding = 0;
  for (int m = 0; m < 32; m++) {
    double square = 0, size = unit * unit;
    for (int n = 0; n < in.columns; n++) {
      const double d = in.tiled.at(32 + m, n);
      if (n < vocab) {
        const double w = want[index(m, n, vocab)];
        e.add(d, w);
        square += (d - w) * (d - w);
        size += w * w;
      } else {
        padding += std::abs(d);
      }
    }
    // Of a confident row p − 1 cancels: what is left errs in units of `unit`.
    r.expect(std::sqrt(square / size) < (p.half ? kRoundedOnce : kSingle), "gradient of a row");
  }
  r.error("d logits", e);
  r.expect(padding == 0, "no gradient beyond the vocabulary");

  r.begin("running loss", p.isa, p.half, kSingle, shape);
  std::vector<float> top(std::size_t{32} * 16, NAN), sums = top, logit(32, NAN);
  std::vector<double> losses(32);
  p.running_loss(in.plain.data(), 32, in.columns, vocab, in.targets.data(), top.data(), sums.data(),
                 logit.data(), losses.data());
  Error e_rows;
  for (int m = 0; m < 32; m++) {
    const double one =
        reference::cross_entropy(&in.l[index(m, 0, vocab)],
                                 &in.targets[static_cast<std::size_t>(m)], 1, vocab, 0, 1, nullptr);
    e_rows.add(losses[static_cast<std::size_t>(m)], one);
  }
  r.error("losses", e_rows);
}

void embedding_case(const Probe& p, Report& r, int rows, int width, int vocab) {
  const int columns = engine::padded(width);
  r.begin("embedding", p.isa, p.half, 1e-6, text("%d of %d × %d", rows, vocab, width));
  Random random(static_cast<std::uint64_t>(rows + width));
  const Values table = normal_values(random, static_cast<std::int64_t>(vocab) * width, false);
  const std::vector<float> flat = floats(table);
  std::vector<std::int32_t> ids;
  for (int m = 0; m < rows; m++) {
    ids.push_back(m % 7 == 5 ? -1 : random.whole(0, vocab - 1));
  }
  ids[0] = vocab - 1;
  std::vector<float> x(index(rows, 0, columns), NAN);
  p.embedding_forward(flat.data(), width, ids.data(), rows, columns, x.data());
  bool ok = true;
  for (int m = 0; m < rows; m++) {
    const int id = ids[static_cast<std::size_t>(m)];
    for (int n = 0; n < columns; n++) {
      const float want = id < 0 || n >= width ? 0 : flat[index(id, n, width)];
      ok &= x[index(m, n, columns)] == want;
    }
  }
  r.expect(ok, "rows of the table, zeros elsewhere");
  Values dx = normal_values(random, static_cast<std::int64_t>(rows) * columns, false);
  Values want = normal_values(random, static_cast<std::int64_t>(vocab) * columns, false);
  std::vector<float> gradient = floats(want);
  const int from = columns > 32 ? 16 : 0;  // only these columns are this thread's
  for (int m = 0; m < rows; m++) {
    const int id = ids[static_cast<std::size_t>(m)];
    for (int n = from; n < columns && id >= 0; n++) {
      want[index(id, n, columns)] += dx[index(m, n, columns)];
    }
  }
  const std::vector<float> d = floats(dx);
  p.kernels->embedding_backward(d.data(), ids.data(), rows, columns, from, columns,
                                gradient.data());
  Error e;
  for (std::size_t i = 0; i < want.size(); i++) {
    e.add(static_cast<double>(gradient[i]), want[i]);
  }
  r.error("d table", e);
}

}  // namespace

void row_cases(const Probe& p, Report& r) {
  swiglu_case(p, r, 1, 32);
  swiglu_case(p, r, 33, 96);
  swiglu_case(p, r, 3, 224);
  cross_entropy_case(p, r, 7, 1, 0, 0);
  cross_entropy_case(p, r, 32, 3, 0.01, 0.2);
  cross_entropy_case(p, r, 33, 1, 1e-4, 0.2);
  cross_entropy_case(p, r, 47, 4, 0.5, 0.5);
  cross_entropy_case(p, r, 1000, 2, 1e-3, 0);
  cross_entropy_case(p, r, 50, 30, 0, 0);
  cross_entropy_case(p, r, 4097, 1, 0, 1);
  embedding_case(p, r, 1, 2, 7);
  embedding_case(p, r, 40, 31, 7);
  embedding_case(p, r, 64, 100, 300);
}

}  // namespace tgo::tests
