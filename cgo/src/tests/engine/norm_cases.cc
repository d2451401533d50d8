// norm.hh and rotary.hh.
#include <cmath>

#include "cases.hh"
#include "heads.hh"
#include "layout.hh"

namespace tgo::tests {
namespace {

int padded(int n) { return engine::padded(n); }

// Rows of `width` values in rows of `columns`, the rest zero.
std::vector<float> pad_rows(const Values& x, int rows, int width, int columns) {
  std::vector<float> out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < width; n++) {
      out[static_cast<std::size_t>(m * columns + n)] =
          static_cast<float>(x[static_cast<std::size_t>(m * width + n)]);
    }
  }
  return out;
}
Tiled tile_rows(bool half, const Values& x, int rows, int width, int columns) {
  Tiled out(half, padded(rows), columns);
  out.clear();
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < width; n++) {
      out.put(m, n, x[static_cast<std::size_t>(m * width + n)]);
    }
  }
  return out;
}

// Compares rows with the wanted ones, and padding with zero.
void check_rows(Report& r, const char* what, const std::vector<float>& got, const Values& want,
                int rows, int width, int columns) {
  Error e;
  bool clean = true;
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < columns; n++) {
      const double x = static_cast<double>(got[static_cast<std::size_t>(m * columns + n)]);
      if (n < width) {
        e.add(x, want[static_cast<std::size_t>(m * width + n)]);
      } else {
        clean &= x == 0;
      }
    }
  }
  r.error(what, e);
  r.expect(clean, "padding is zero");
}
std::vector<float> plain(const Tiled& x, int rows) {
  std::vector<float> out;
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < x.columns(); n++) {
      out.push_back(static_cast<float>(x.at(m, n)));
    }
  }
  return out;
}

// The inputs that all norms share.
struct Inputs {
  int rows, width, columns;
  double eps;
  Values x, dy, g, y, dx, dg;
  std::vector<float> gains;
  engine::Gain gain;

  Inputs(int m, int n, double e, bool half, Random& random)
      : rows(m), width(n), columns(padded(n)), eps(e), gains(static_cast<std::size_t>(columns)) {
    x = normal_values(random, static_cast<std::int64_t>(m) * n, half, 0.7);
    dy = normal_values(random, static_cast<std::int64_t>(m) * n, half, 0.01);
    g = normal_values(random, n, false);
    y = dx = Values(x.size());
    dg = Values(g.size());
    reference::rms_norm(x.data(), g.data(), m, n, eps, y.data());
    reference::rms_norm_backward(x.data(), g.data(), dy.data(), m, n, eps, dx.data(), dg.data());
    for (std::size_t i = 0; i < g.size(); i++) {
      gains[i] = static_cast<float>(g[i]);
    }
    gain.columns = columns;
    gain.width = width;
    gain.value = gains.data();
  }
};

Values sum_of(Values a, const Values& b) {
  for (std::size_t i = 0; i < a.size(); i++) {
    a[i] += b[i];
  }
  return a;
}

void forward_case(const Probe& p, Report& r, int rows, int width, double eps) {
  const std::string shape = text("%d × %d, ε %g", rows, width, eps);
  const double once = p.half ? kRoundedOnce : kSingle;
  Random random(static_cast<std::uint64_t>(rows * 1000 + width));
  Inputs in(rows, width, eps, p.half, random);
  const auto e = static_cast<float>(eps);
  const std::vector<float> x = pad_rows(in.x, rows, width, in.columns);
  std::vector<float> inverse(static_cast<std::size_t>(rows), NAN);

  r.begin("norm_forward", p.isa, p.half, once, shape);
  Tiled h(p.half, padded(rows), in.columns);
  p.norm_forward(x.data(), in.gain, e, rows, inverse.data(), h.data(), false);
  check_rows(r, "y", plain(h, rows), in.y, rows, width, in.columns);
  const std::vector<float> kept = inverse;
  for (float& v : inverse) {
    v *= 2;
  }
  p.norm_forward(x.data(), in.gain, e, rows, inverse.data(), h.data(), true);
  check_rows(r, "y with r as given", plain(h, rows), sum_of(in.y, in.y), rows, width, in.columns);
  inverse = kept;

  r.begin("norm_backward", p.isa, p.half, kSingle, shape);
  const Tiled dy = tile_rows(p.half, in.dy, rows, width, in.columns);
  Values before = normal_values(random, static_cast<std::int64_t>(in.x.size()), false);
  Values before_g = normal_values(random, width, false);
  for (const bool set : {false, true}) {
    std::vector<float> dx = pad_rows(before, rows, width, in.columns);
    if (set) {
      dx.assign(dx.size(), NAN);
    }
    std::vector<float> dg = pad_rows(before_g, 1, width, in.columns);
    Tiled rounded_dx(p.half, padded(rows), in.columns), from = dy;
    p.norm_backward(x.data(), in.gain, from.data(), inverse.data(), rows, dx.data(),
                    rounded_dx.data(), dg.data(), set);
    const Values want = set ? in.dx : sum_of(before, in.dx);
    check_rows(r, set ? "dx" : "dx added", dx, want, rows, width, in.columns);
    check_rows(r, "dg added", dg, sum_of(before_g, in.dg), 1, width, in.columns);
    for (int m = 0; m < rows; m++) {
      for (int n = 0; n < in.columns; n++) {
        const auto v = static_cast<double>(dx[static_cast<std::size_t>(m * in.columns + n)]);
        r.expect(rounded_dx.at(m, n) == rounded(v, p.half), "dx rounded");
      }
    }
  }
}

void result_case(const Probe& p, Report& r, int rows, int width, double eps) {
  const std::string shape = text("%d × %d, ε %g", rows, width, eps);
  Random random(static_cast<std::uint64_t>(rows * 1000 + width + 7));
  Inputs in(rows, width, eps, p.half, random);
  Tiled y = tile_rows(p.half, in.x, rows, width, in.columns);
  std::vector<float> inverse(static_cast<std::size_t>(rows), NAN);
  const Values stream = normal_values(random, static_cast<std::int64_t>(in.x.size()), false);
  const std::vector<float> xi = pad_rows(stream, rows, width, in.columns);
  std::vector<float> xo(xi.size(), NAN);

  r.begin("result_norm_forward", p.isa, p.half, kSingle, shape);
  p.result_norm_forward(y.data(), in.gain, static_cast<float>(eps), rows, xi.data(), xo.data(),
                        inverse.data());
  check_rows(r, "x + norm(y)", xo, sum_of(stream, in.y), rows, width, in.columns);

  r.begin("result_norm_backward", p.isa, p.half, p.half ? kRoundedOnce : kSingle, shape);
  const std::vector<float> dx = pad_rows(in.dy, rows, width, in.columns);
  const Values before = normal_values(random, width, false);
  std::vector<float> dg = pad_rows(before, 1, width, in.columns);
  Tiled dy(p.half, padded(rows), in.columns);
  p.result_norm_backward(y.data(), in.gain, dx.data(), inverse.data(), rows, dy.data(), dg.data());
  check_rows(r, "dy", plain(dy, rows), in.dx, rows, width, in.columns);
  check_rows(r, "dg added", dg, sum_of(before, in.dg), 1, width, in.columns);

  r.begin("round_rows, add_rows", p.isa, p.half, kSingle, shape);
  Tiled copy(p.half, padded(rows), in.columns);
  p.round_rows(xi.data(), rows, in.columns, copy.data());
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < in.columns; n++) {
      const auto v = static_cast<double>(xi[static_cast<std::size_t>(m * in.columns + n)]);
      r.expect(copy.at(m, n) == rounded(v, p.half), "rounded");
    }
  }
  p.add_rows(y.data(), rows, in.columns, xo.data());
  check_rows(r, "added", xo, sum_of(sum_of(stream, in.y), in.x), rows, width, in.columns);
}

void qk_case(const Probe& p, Report& r, int time, int sequences, int heads, int size, int first) {
  const std::string shape =
      text("T %d × %d, %d heads of %d from %d", time, sequences, heads, size, first);
  const double once = p.half ? kRoundedOnce : kSingle;
  const int rows = time * sequences, e = head_columns(size), wide = first + heads * e + 32;
  Random random(static_cast<std::uint64_t>(time * 100 + heads * 10 + size));
  const double theta = 10000;
  Inputs in(rows, heads * size, 1e-5, p.half, random);
  const RotaryTables tables(time, size, theta);
  Values turned = in.y;
  for (int s = 0; s < sequences; s++) {
    reference::rotary(turned.data() + static_cast<std::ptrdiff_t>(s) * time * heads * size, time,
                      heads, size, theta, 1);
  }
  std::vector<float> gains(static_cast<std::size_t>(heads * e)),
      inverse(static_cast<std::size_t>(rows), NAN);
  for (int i = 0; i < heads * size; i++) {
    gains[static_cast<std::size_t>(i / size * e + head_column(size, i % size))] =
        in.gains[static_cast<std::size_t>(i)];
  }
  engine::Gain gain = in.gain;
  gain.columns = heads * e;
  gain.value = gains.data();
  Tiled x(p.half, padded(rows), wide), out(p.half, padded(rows), wide), dy = out;
  put_heads(x, first, in.x, rows, heads, size);

  r.begin("qk_norm_forward", p.isa, p.half, once, shape);
  p.qk_norm_forward(x.data(), wide, first, gain, 1e-5F, tables.cosine(), tables.sine(), e, rows,
                    time, inverse.data(), out.data(), wide);
  r.error("turned", head_error(out, first, turned, rows, heads, size));

  r.begin("qk_norm_backward", p.isa, p.half, once, shape);
  std::vector<float> dg(gains.size(), 0.25F);
  put_heads(dy, first, in.dy, rows, heads, size);
  p.qk_norm_backward(x.data(), wide, first, gain, rows, inverse.data(), dy.data(), wide, dg.data());
  r.error("dx", head_error(x, first, in.dx, rows, heads, size));
  Error error;
  for (int i = 0; i < heads * size; i++) {
    const std::size_t at = static_cast<std::size_t>(i / size * e + head_column(size, i % size));
    error.add(static_cast<double>(dg[at]), in.dg[static_cast<std::size_t>(i)] + 0.25);
  }
  r.error("dg added", error);
}

// One head of a row, forward and back again.
void turn_case(const Probe& p, Report& r, int size, int position) {
  r.begin("rotary", p.isa, p.half, kSingle, text("head of %d at %d", size, position));
  Random random(static_cast<std::uint64_t>(size * 100 + position));
  const RotaryTables tables(position + 1, size, 500);
  const int e = head_columns(size);
  Values x = normal_values(random, static_cast<std::int64_t>(position + 1) * size, false);
  std::vector<float> ours(static_cast<std::size_t>(e));
  for (int i = 0; i < size; i++) {
    ours[static_cast<std::size_t>(head_column(size, i))] =
        static_cast<float>(x[static_cast<std::size_t>(position * size + i)]);
  }
  const std::vector<float> start = ours;
  for (const int direction : {1, -1}) {
    Values want = x;
    reference::rotary(want.data(), position + 1, 1, size, 500, direction);
    ours = start;
    for (int n = 0; n < e; n += 32) {  // the second head: columns count from the start of any head
      p.rotary(tables.cosine(), tables.sine(), e, position, e + n, direction > 0,
               &ours[static_cast<std::size_t>(n)]);
    }
    Error error;
    for (int i = 0; i < size; i++) {
      error.add(static_cast<double>(ours[static_cast<std::size_t>(head_column(size, i))]),
                want[static_cast<std::size_t>(position * size + i)]);
    }
    r.error(direction > 0 ? "forward" : "backward", error);
  }
}

}  // namespace

void norm_cases(const Probe& p, Report& r) {
  for (const int width : {2, 7, 31, 32, 33, 100, 200, 513}) {
    forward_case(p, r, 16 + width % 3 * 16, width, width % 2 == 0 ? 1e-5 : 0.1);
    result_case(p, r, 64 - width % 3 * 16, width, width % 2 == 0 ? 1e-6 : 0.1);
  }
}

void rotary_cases(const Probe& p, Report& r) {
  for (const int size : {2, 6, 8, 32, 48, 128}) {
    turn_case(p, r, size, 0);
    turn_case(p, r, size, 77);
  }
  qk_case(p, r, 32, 1, 1, 2, 0);
  qk_case(p, r, 32, 3, 3, 6, 0);
  qk_case(p, r, 64, 2, 2, 48, 64);
  qk_case(p, r, 96, 1, 4, 32, 32);
  qk_case(p, r, 32, 2, 1, 128, 96);
}

}  // namespace tgo::tests
