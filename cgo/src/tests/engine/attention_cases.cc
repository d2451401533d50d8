// attention.hh: one sequence, forward and backward, with every array of its scratch on its own.
#include <cmath>
#include <list>

#include "cases.hh"
#include "heads.hh"

namespace tgo::tests {
namespace {

struct Shape {
  int time, heads, kv_heads, size;
  double scale = 1;  // of queries: large ones make sharp weights
};

// Sequences of the kind that the kernel works on, and what the reference makes of them.
struct Inputs {
  reference::AttentionShape shape;
  Values q, k, v, d_o, o, dq, dk, dv;

  Inputs(const Shape& s, bool half, Random& random) : shape{s.time, s.heads, s.kv_heads, s.size} {
    const std::int64_t queries = static_cast<std::int64_t>(s.time) * s.heads * s.size;
    const std::int64_t keys = queries / s.heads * s.kv_heads;
    q = normal_values(random, queries, half, s.scale);
    k = normal_values(random, keys, half);
    v = normal_values(random, keys, half);
    d_o = normal_values(random, queries, half, 0.03);
    o = dq = Values(q.size());
    dk = dv = Values(k.size());
    reference::attention(shape, q.data(), k.data(), v.data(), o.data());
    reference::attention_backward(shape, q.data(), k.data(), v.data(), d_o.data(), dq.data(),
                                  dk.data(), dv.data());
    reference::rotary(dq.data(), s.time, s.heads, s.size, 1000, -1);
    reference::rotary(dk.data(), s.time, s.kv_heads, s.size, 1000, -1);
  }
};

// Gives each array its own memory, all NaN.
struct Scratch {
  std::list<std::vector<Word>> arrays;
  static void* take(void* context, std::size_t words) {
    auto& arrays = static_cast<Scratch*>(context)->arrays;
    arrays.emplace_back(words, 0xffffffffU);
    return arrays.back().data();
  }
};

// Queries, keys and values side by side in one matrix, as a projection leaves them, behind another
// sequence.
struct Operands {
  int e, rows, row;
  Tiled qkv, o, d_o;
  std::vector<float> log_sum;

  Operands(const Shape& s, bool half)
      : e(head_columns(s.size)),
        rows(engine::padded(s.time)),
        row(rows),
        qkv(half, 2 * rows, (s.heads + 2 * s.kv_heads) * e),
        o(half, 2 * rows, s.heads * e),
        d_o(o),
        log_sum(static_cast<std::size_t>(s.heads * rows), NAN) {}

  void put(Tiled& x, int first, const Values& v, const Shape& s, int heads) const {
    const std::size_t width = static_cast<std::size_t>(heads * s.size);
    Values all(static_cast<std::size_t>(row + rows) * width);
    std::copy(v.begin(), v.end(), all.begin() + static_cast<std::ptrdiff_t>(width) * row);
    put_heads(x, first, all, row + rows, heads, s.size);
  }
  // Only the sequence's own rows.
  Error error(const Tiled& x, int first, const Values& want, const Shape& s, int heads) const {
    const std::size_t width = static_cast<std::size_t>(heads * s.size);
    Values all(static_cast<std::size_t>(row + s.time) * width);
    std::copy(want.begin(), want.end(), all.begin() + static_cast<std::ptrdiff_t>(width) * row);
    return head_error(x, first, all, row + s.time, heads, s.size);
  }
  AttentionCall call(const Shape& s, const RotaryTables& tables, Scratch& scratch) {
    AttentionCall c{};
    c.q = c.k = c.v = qkv.data();
    c.o = o.data();
    c.d_o = d_o.data();
    c.q_columns = c.k_columns = c.v_columns = qkv.columns();
    c.o_columns = o.columns();
    c.k_first = s.heads * e;
    c.v_first = (s.heads + s.kv_heads) * e;
    c.row = row;
    c.time = rows;
    c.e = e;
    c.heads = s.heads;
    c.kv_heads = s.kv_heads;
    c.scale = 1.0F / std::sqrt(static_cast<float>(s.size));
    c.log_sum = log_sum.data();
    c.cosine = tables.cosine();
    c.sine = tables.sine();
    c.take = Scratch::take;
    c.context = &scratch;
    return c;
  }
};

void attention_case(const Probe& p, Report& r, const Shape& s) {
  const std::string name =
      text("T %d, %d/%d heads of %d, ×%g", s.time, s.heads, s.kv_heads, s.size, s.scale);
  Random random(static_cast<std::uint64_t>(s.time * 1000 + s.heads * 100 + s.size));
  const Inputs in(s, p.half, random);
  Operands x(s, p.half);
  x.put(x.qkv, 0, in.q, s, s.heads);
  x.put(x.qkv, s.heads * x.e, in.k, s, s.kv_heads);
  x.put(x.qkv, (s.heads + s.kv_heads) * x.e, in.v, s, s.kv_heads);
  x.put(x.d_o, 0, in.d_o, s, s.heads);
  x.o.clear();
  const RotaryTables tables(s.time, s.size, 1000);

  // The weights are rounded before they meet the values, and the result once more.
  r.begin("attention_forward", p.isa, p.half, p.half ? kRoundedTwice : kSingle, name);
  Scratch scratch, back;
  p.attention_forward(x.call(s, tables, scratch));
  r.error("O", x.error(x.o, 0, in.o, s, s.heads));

  // dS = P∘(dP − D) is the difference of two sums that have seen differently rounded numbers.
  r.begin("attention_backward", p.isa, p.half, p.half ? 2e-2 : kSingle, name);
  p.attention_backward(x.call(s, tables, back));
  if (s.time >
      1) {  // a single query has one weight, 1, whatever the scores: dQ and dK are rounding
    r.error("dQ", x.error(x.qkv, 0, in.dq, s, s.heads));
    r.error("dK", x.error(x.qkv, s.heads * x.e, in.dk, s, s.kv_heads));
  }
  r.error("dV", x.error(x.qkv, (s.heads + s.kv_heads) * x.e, in.dv, s, s.kv_heads));
}

}  // namespace

void attention_cases(const Probe& p, Report& r) {
  for (const Shape& s :
       {Shape{1, 1, 1, 2}, Shape{31, 1, 1, 8}, Shape{32, 2, 1, 32}, Shape{33, 2, 2, 6},
        Shape{64, 4, 2, 48}, Shape{65, 3, 1, 64, 4}, Shape{97, 1, 1, 128}, Shape{40, 16, 4, 16, 8},
        Shape{200, 2, 1, 32}, Shape{100, 3, 3, 80}, Shape{5, 8, 1, 2}, Shape{600, 1, 1, 8, 3}}) {
    attention_case(p, r, s);
  }
}

}  // namespace tgo::tests
