// vec.hh, pack.hh and tile.hh: single vectors, rearrangements (exact) and products.
#include <cmath>
#include <functional>
#include <limits>

#include "cases.hh"
#include "layout.hh"

namespace tgo::tests {
namespace {

constexpr int kLanes = 16;

// The largest relative error of a function over [from, to].
double worst(const Probe& p, Lanes op, double from, double to,
             const std::function<double(double)>& want) {
  double worst = 0;
  for (int i = 0; i < 4096; i += kLanes) {
    float in[kLanes], out[kLanes];
    for (int k = 0; k < kLanes; k++) {
      in[k] = static_cast<float>(from + (to - from) * (i + k) / 4095);
    }
    p.lanes(op, in, 0, 0, out);
    for (int k = 0; k < kLanes; k++) {
      const double w = want(static_cast<double>(in[k]));
      worst = std::max(worst, std::abs(static_cast<double>(out[k]) - w) / w);
    }
  }
  return worst;
}

void functions(const Probe& p, Report& r) {
  auto power = [](double x) { return std::exp2(x); };
  auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  r.begin("exp2, sigmoid", p.isa, p.half, p.half ? 2e-4 : 4e-7, "[-120, 10] and [-80, 80]");
  r.error("exp2", worst(p, p.half ? Lanes::kExp2Half : Lanes::kExp2, -120, 10, power));
  r.error("exp2 near 0", worst(p, p.half ? Lanes::kExp2Half : Lanes::kExp2, -2, 1, power));
  r.begin("log2", p.isa, p.half, 4e-7, "[2^-126, 2^127]");
  Error of_log2;
  for (int e = -126; e < 128; e++) {
    float in[kLanes], out[kLanes];
    for (int k = 0; k < kLanes; k++) {
      in[k] = std::ldexp(1 + static_cast<float>(k) / kLanes, e);
    }
    p.lanes(Lanes::kLog2, in, 0, 0, out);
    for (int k = 0; k < kLanes; k++) {
      const double want = std::log2(static_cast<double>(in[k]));
      of_log2.add(static_cast<double>(out[k]), want);
      r.expect(std::abs(static_cast<double>(out[k]) - want) < 4e-7 * std::max(1.0, std::abs(want)),
               "log2 of one");
    }
  }
  r.error("log2", of_log2);
  // The argument x·log2(e) is itself rounded: at −80 that alone is 4e-6.
  r.begin("sigmoid", p.isa, p.half, p.half ? 3e-4 : 1e-5, "[-80, 80]");
  r.error("sigmoid", worst(p, p.half ? Lanes::kSigmoidHalf : Lanes::kSigmoid, -80, 80, logistic));
  float fractions[kLanes];
  const float mixed[kLanes] = {0, -0.25F, 2.75F, -3, 5, -7.5F, 0.125F, 1e30F, -1e30F};
  p.lanes(Lanes::kFraction, mixed, 0, 0, fractions);
  for (int k = 0; k < kLanes; k++) {
    r.expect(fractions[k] == mixed[k] - std::floor(mixed[k]), "fraction");
  }
  r.begin("exp2, sigmoid, far", p.isa, p.half, 0, "below -1000, ±1000");
  for (const float far : {-1e30F, -3e5F, -1000.0F}) {
    float in[kLanes], out[kLanes];
    std::fill(in, in + kLanes, far);
    p.lanes(p.half ? Lanes::kExp2Half : Lanes::kExp2, in, 0, 0, out);
    r.error("2^x", static_cast<double>(out[0]));
    p.lanes(Lanes::kScale2, in, 0, -1000, out);
    r.expect(std::abs(out[3]) < 1e-10F, "scaled to nothing");
  }
  const float one[kLanes] = {0, 1000, -1000};
  float out[kLanes];
  p.lanes(p.half ? Lanes::kSigmoidHalf : Lanes::kSigmoid, one, 0, 0, out);
  r.expect(out[1] == 1 && out[2] == 0, "sigmoid, far");
  p.lanes(Lanes::kExp2, one, 0, 0, out);
  r.expect(out[0] == 1, "2^0 = 1");
}

void partial(const Probe& p, Report& r) {
  r.begin("partial vectors", p.isa, p.half, 0, "n 0 to 16");
  float in[kLanes], out[kLanes];
  for (int i = 0; i < kLanes; i++) {
    in[i] = static_cast<float>(i * i - 40);
  }
  for (int n = 0; n <= kLanes; n++) {
    std::vector<float> exact(in, in + n);  // what lies behind must not be touched
    p.load_n(exact.data(), n, out);
    bool ok = true;
    for (int i = 0; i < kLanes; i++) {
      ok &= out[i] == (i < n ? in[i] : 0);
    }
    r.expect(ok, "load_n");
    float stored[kLanes];
    std::fill(stored, stored + kLanes, 7.0F);
    p.store_n(stored, in, n);
    ok = true;
    for (int i = 0; i < kLanes; i++) {
      ok &= stored[i] == (i < n ? in[i] : 7.0F);
    }
    r.expect(ok, "store_n");
    float kept[kLanes], dropped[kLanes];
    p.lanes(Lanes::kKeepFirst, in, n, -5, kept);
    p.lanes(Lanes::kDropFirst, in, n, 0, dropped);
    ok = true;
    for (int i = 0; i < kLanes; i++) {
      ok &= kept[i] == (i < n ? in[i] : -5.0F) && dropped[i] == (i < n ? 0.0F : in[i]);
    }
    r.expect(ok, "keep_first, drop_first");
  }
  p.lanes(Lanes::kSum, in, 0, 0, out);
  r.expect(out[5] == 600.0F, "sum");  // Σ i² − 16 · 40
  for (int at = 0; at < kLanes; at++) {
    float x[kLanes];
    std::fill(x, x + kLanes, -3.0F);
    x[at] = -2.0F;
    p.lanes(Lanes::kLargest, x, 0, 0, out);
    r.expect(out[0] == -2.0F, "largest");
  }
}

// Rounding to bfloat16: to nearest, ties to even, NaN and infinity stay.
void narrowing(const Probe& p, Report& r) {
  r.begin("narrow", p.isa, p.half, 0, "random, ties, NaN, ∞");
  Random random(1);
  std::vector<float> all = {0.0F, -0.0F, 1.0F, std::numeric_limits<float>::infinity(), 3.3e38F};
  for (const std::uint32_t bits :
       {0x3f808000U, 0x3f818000U, 0x3f808001U, 0xbf807fffU, 0x3f7fffffU}) {
    float x = 0;
    std::memcpy(&x, &bits, 4);
    all.push_back(x);
  }
  while (all.size() % kLanes != 0 || all.size() < 512) {
    all.push_back(static_cast<float>(random.normal() * std::exp2(random.whole(-60, 60))));
  }
  for (std::size_t i = 0; i < all.size(); i += kLanes) {
    std::uint16_t out[kLanes];
    p.narrow(&all[i], out);
    Buffer both(p.half, 32);
    float pair[32];
    std::copy_n(&all[i], kLanes, pair);
    std::copy_n(&all[all.size() - kLanes - i], kLanes, pair + kLanes);
    p.store2(both.data(), pair);
    for (std::size_t k = 0; k < 32; k++) {
      r.expect(both.get(k) == rounded(static_cast<double>(pair[k]), p.half), "store2");
    }
    for (std::size_t k = 0; k < kLanes; k++) {
      const std::uint32_t bits = static_cast<std::uint32_t>(out[k]) << 16;
      float x = 0;
      std::memcpy(&x, &bits, 4);
      r.expect(static_cast<double>(x) == rounded(static_cast<double>(all[i + k]), true), "rounded");
    }
  }
  float nan[kLanes];
  std::uint16_t out[kLanes];
  const std::uint32_t quiet = 0x7fffffffU;
  std::memcpy(nan, &quiet, 4);
  std::fill(nan + 1, nan + kLanes, nan[0]);
  p.narrow(nan, out);
  r.expect((out[2] & 0x7f80U) == 0x7f80U && (out[2] & 0x7fU) != 0, "NaN stays NaN");
}

Tiled random_tiled(Random& random, bool half, int rows, int columns) {
  Tiled x(half, rows, columns);
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < columns; n++) {
      x.put(m, n, random.normal());
    }
  }
  return x;
}

// Panels whose value (k, n) is from(k, n).
Panels panels_of(bool half, int depth, int columns, const std::function<double(int, int)>& from) {
  Panels p(half, depth, columns);
  for (int k = 0; k < depth; k++) {
    for (int n = 0; n < columns; n++) {
      p.put(k, n, from(k, n));
    }
  }
  return p;
}

// Rearranges `columns` columns of a wider matrix, from column `first` on.
void rearrange(const Probe& p, Report& r, int row_blocks, int columns, int wide, int first) {
  r.begin("pack", p.isa, p.half, 0,
          text("%d × %d of %d from %d", row_blocks * 32, columns, wide, first));
  Random random(static_cast<std::uint64_t>(row_blocks * 1000 + columns));
  const int rows = row_blocks * 32, tile = p.half ? 32 : 16;
  Tiled x = random_tiled(random, p.half, rows, wide);
  const Word* from = x.words() + static_cast<std::size_t>(first / tile) * engine::kTileWords;
  auto value = [&](int m, int n) { return x.at(m, first + n); };

  Panels by_row(p.half, rows, columns);
  p.panel_of_rows(from, x.stride(), row_blocks, columns, by_row.words());
  r.expect(by_row == panels_of(p.half, rows, columns, value), "panel_of_rows");

  Panels by_column(p.half, columns, rows);
  p.panel_of_columns(from, x.stride(), row_blocks, columns, by_column.words());
  r.expect(by_column == panels_of(p.half, columns, rows, [&](int k, int n) { return value(n, k); }),
           "panel_of_columns");

  Tiled turned(p.half, columns, rows), want(p.half, columns, rows);
  p.tiles_transposed(from, x.stride(), row_blocks, columns, turned.words());
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < columns; n++) {
      want.put(n, m, value(m, n));
      float row[32];
      p.load_tiled(x.data(), m, n / 32 * 32, wide, row);
      r.expect(static_cast<double>(row[n % 32]) == x.at(m, n), "load_tiled");
    }
  }
  r.expect(turned == want, "tiles_transposed");
  Tiled again(p.half, rows, wide);
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < wide; n += 32) {
      float row[32];
      for (int k = 0; k < 32; k++) {
        row[k] = static_cast<float>(x.at(m, n + k));
      }
      p.store_tiled(again.data(), m, n, wide, row);
    }
  }
  r.expect(again == x, "store_tiled");
}

void block_case(const Probe& p, Report& r, int tiles, std::size_t gap, bool add) {
  r.begin("block", p.isa, p.half, kSingle,
          text("%d tiles, gap %zu%s", tiles, gap, add ? ", added" : ""));
  Random random(static_cast<std::uint64_t>(tiles) + gap);
  const int depth = tiles * (p.half ? 32 : 16);
  Tiled a = random_tiled(random, p.half, 32, depth);
  Panels b = panels_of(p.half, depth, 32, [&](int, int) { return random.normal(); });
  const std::size_t tile = engine::kTileWords, count = static_cast<std::size_t>(tiles);
  std::vector<Word> spread((count - 1) * (tile + gap) + tile, 0xffffffffU), spread_b = spread;
  for (std::size_t t = 0; t < count; t++) {
    std::memcpy(&spread[t * (tile + gap)], a.words() + t * tile, tile * 4);
    std::memcpy(&spread_b[t * (tile + gap)], b.words() + t * tile, tile * 4);
  }
  Values before = normal_values(random, 1024, false);
  std::vector<float> c = add ? floats(before) : std::vector<float>(1024, NAN);
  p.block(spread.data(), spread_b.data(), tile + gap, tile + gap, tiles, c.data(), add);
  Error e;
  for (int m = 0; m < 32; m++) {
    for (int n = 0; n < 32; n++) {
      double sum = add ? before[static_cast<std::size_t>(m * 32 + n)] : 0;
      for (int k = 0; k < depth; k++) {
        sum += a.at(m, k) * b.at(k, n);
      }
      e.add(static_cast<double>(c[static_cast<std::size_t>(m * 32 + n)]), sum);
    }
  }
  r.error("C", e);
}

void product_case(const Probe& p, Report& r, int row_tiles, int panels, int depth) {
  r.begin("product", p.isa, p.half, kSingle,
          text("%d × %d over %d", row_tiles * 32, panels * 32, depth));
  Random random(static_cast<std::uint64_t>(row_tiles * 100 + panels));
  const int rows = row_tiles * 32, columns = panels * 32;
  Tiled a = random_tiled(random, p.half, rows, depth);
  Panels b = panels_of(p.half, depth, columns, [&](int, int) { return random.normal(); });
  std::vector<float> out(static_cast<std::size_t>(rows * columns));
  std::vector<int> seen(static_cast<std::size_t>(rows * panels));
  p.product(row_tiles, panels, depth / (p.half ? 32 : 16), a.words(), b.words(), out.data(),
            seen.data());
  for (const int n : seen) {
    r.expect(n == 1, "each row is handed over once");
  }
  Error e;
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < columns; n++) {
      double sum = 0;
      for (int k = 0; k < depth; k++) {
        sum += a.at(m, k) * b.at(k, n);
      }
      e.add(static_cast<double>(out[static_cast<std::size_t>(m * columns + n)]), sum);
    }
  }
  r.error("C", e);
}

void weight_case(const Probe& p, Report& r, int n_blocks, int k_blocks, int row_blocks, bool turned,
                 bool add) {
  r.begin("weight_gradient", p.isa, p.half, kSingle,
          text("%d × %d over %d%s%s", n_blocks * 32, k_blocks * 32, row_blocks * 32,
               turned ? ", turned" : "", add ? ", added" : ""));
  Random random(static_cast<std::uint64_t>(n_blocks * 100 + k_blocks));
  const int n = n_blocks * 32, k = k_blocks * 32, rows = row_blocks * 32;
  Tiled left = random_tiled(random, p.half, turned ? k : n, rows);
  Panels right = panels_of(p.half, rows, turned ? n : k, [&](int, int) { return random.normal(); });
  Values before = normal_values(random, static_cast<std::int64_t>(n) * k, false);
  std::vector<float> dw = add ? floats(before) : std::vector<float>(before.size(), NAN);
  p.weight_gradient(n_blocks, k_blocks, row_blocks, left.words(), right.words(), dw.data(), turned,
                    add);
  Error e;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < k; j++) {
      const int mirrored_i = i - i % 32 + j % 32, mirrored_j = j - j % 32 + i % 32;
      const std::size_t at = turned ? block_index(mirrored_i, mirrored_j, k) : block_index(i, j, k);
      double sum = add ? before[at] : 0;
      for (int m = 0; m < rows; m++) {
        sum += turned ? left.at(j, m) * right.at(m, i) : left.at(i, m) * right.at(m, j);
      }
      e.add(static_cast<double>(dw[at]), sum);
    }
  }
  r.error("dW", e);
}

}  // namespace

void vector_cases(const Probe& p, Report& r) {
  functions(p, r);
  partial(p, r);
  narrowing(p, r);
}

void pack_cases(const Probe& p, Report& r) {
  rearrange(p, r, 1, 32, 32, 0);
  rearrange(p, r, 1, 96, 96, 0);
  rearrange(p, r, 3, 32, 96, 32);
  rearrange(p, r, 2, 64, 160, 64);
  rearrange(p, r, 5, 128, 192, 64);
}

void product_cases(const Probe& p, Report& r) {
  for (const int tiles : {1, 2, 3, 8}) {
    block_case(p, r, tiles, 0, tiles % 2 == 0);
    block_case(p, r, tiles, 16, tiles % 2 != 0);
  }
  product_case(p, r, 1, 1, 32);
  product_case(p, r, 1, 5, 64);
  product_case(p, r, 4, 2, 32);
  product_case(p, r, 5, 3, 96);
  product_case(p, r, 9, 2, 160);
  product_case(p, r, 2, 3, 1056);  // more tiles than rows of a block
  product_case(p, r, 5, 1, 4160);  // so deep that it goes part by part
  product_case(p, r, 1, 9, 4160);
  for (const bool turned : {false, true}) {
    weight_case(p, r, 1, 1, 1, turned, false);
    weight_case(p, r, 3, 5, 2, turned, false);
    weight_case(p, r, 2, 9, 4, turned, true);
    weight_case(p, r, 5, 4, 1, turned, true);
  }
}

}  // namespace tgo::tests
