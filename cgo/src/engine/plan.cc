#include "plan.hh"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "forbid.hh"

namespace tgo::engine {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// Columns 0 … width − 1 in order.
std::vector<Chunk> plain_chunks(int width, int columns) {
  std::vector<Chunk> c;
  for (int n = 0; n < columns; n += 16) {
    c.push_back({n, std::clamp(width - n, 0, 16)});
  }
  return c;
}

// The columns of `heads` heads, in pairs of halves (network.hh).
std::vector<Chunk> head_chunks(const Shape& s, int heads) {
  std::vector<Chunk> c;
  const int size = s.head_size(), half = size / 2;
  for (int h = 0; h < heads; h++) {
    for (int n = 0; n < s.e(); n += 16) {
      const int in_half = n / 32 * 16, count = std::clamp(half - in_half, 0, 16);
      c.push_back({h * size + (n % 32 < 16 ? 0 : half) + in_half, count});
    }
  }
  return c;
}

// Calls each(matrix) for all matrices of a network.
template <class Net, class Each>
void each_matrix(Net& net, const Each& each) {
  for (int i = 0; i < net.shape.layers; i++) {
    auto& l = net.layer[i];
    each(l.qkv);
    each(l.out);
    each(l.gate_up);
    each(l.down);
  }
  each(net.head);
}

}  // namespace

Memory::Memory(std::size_t bytes) : bytes_((bytes + kHugePage - 1) / kHugePage * kHugePage) {
  bytes_ = std::max(bytes_, kHugePage);
  void* p = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    throw std::bad_alloc();
  }
  start_ = p;
  madvise(start_, bytes_, MADV_HUGEPAGE);
}
Memory::~Memory() {
  allow(start_, bytes_);
  munmap(start_, bytes_);
}

int Plan::count(const Shape& s) {
  return 2 + s.layers * (s.reordered_norm ? 11 : 9) + (s.tied ? 0 : 1);
}

std::size_t Plan::panel_bytes(const Shape& s, int word_bytes) {
  const auto d = static_cast<std::size_t>(s.d());
  const std::size_t layer = d * s.qkv() + d * s.q() + 3 * d * static_cast<std::size_t>(s.f());
  return 2 * word_bytes * (s.layers * layer + d * s.v());
}

Plan::Plan(const Shape& shape, const std::int64_t* offsets, int word_bytes) {
  network_.shape = shape;
  network_.table = next(offsets);
  layers_.resize(shape.layers);
  network_.layer = layers_.data();
  for (Layer& l : layers_) {
    layer(shape, offsets, &l);
  }
  const Chunk* columns = chunks(plain_chunks(shape.width, shape.d()));
  network_.norm = gain(shape.d(), shape.width, next(offsets), columns);
  const Row first = shape.tied ? network_.table : next(offsets);
  std::vector<Row> vocabulary;
  for (int r = 0; r < shape.v(); r++) {
    const std::int64_t at = first.offset + static_cast<std::int64_t>(r) * shape.width;
    vocabulary.push_back({r < shape.vocab ? at : -1, first.param});
  }
  network_.head = matrix(shape.v(), shape.d(), rows(std::move(vocabulary)), columns);
  rotary(shape);
  place_copies(word_bytes);
  list_units();
  find_end();
}

Row Plan::next(const std::int64_t* offsets) {
  const int i = parameters_++;
  return {offsets[i], i};
}

const Row* Plan::rows(std::vector<Row> r) {
  rows_.push_back(std::make_unique<std::vector<Row>>(std::move(r)));
  return rows_.back()->data();
}
const Chunk* Plan::chunks(std::vector<Chunk> c) {
  chunks_.push_back(std::make_unique<std::vector<Chunk>>(std::move(c)));
  return chunks_.back()->data();
}

Matrix Plan::matrix(int rows, int columns, const Row* row, const Chunk* chunk) {
  Matrix m;
  m.rows = rows;
  m.columns = columns;
  m.turned = rows > columns;
  m.row = row;
  m.chunk = chunk;
  return m;
}

Gain Plan::gain(int columns, int width, Row row, const Chunk* chunk) {
  Gain g;
  g.columns = columns;
  g.width = width;
  g.row = row;
  g.chunk = chunk;
  return g;
}

// The rows of a projection to `heads` heads whose first row is `first`.
std::vector<Row> Plan::head_rows(const Shape& s, Row first, int heads) const {
  std::vector<Row> out;
  for (const Chunk& c : head_chunks(s, heads)) {
    for (int i = 0; i < 16; i++) {
      const std::int64_t at = first.offset + static_cast<std::int64_t>(c.column + i) * s.width;
      out.push_back({i < c.count ? at : -1, first.param});
    }
  }
  return out;
}

void Plan::layer(const Shape& s, const std::int64_t* offsets, Layer* l) {
  const Chunk* width = chunks(plain_chunks(s.width, s.d()));
  std::vector<Row> qkv;
  for (const int heads : {s.heads, s.kv_heads, s.kv_heads}) {
    const std::vector<Row> part = head_rows(s, next(offsets), heads);
    qkv.insert(qkv.end(), part.begin(), part.end());
  }
  l->qkv = matrix(s.qkv(), s.d(), rows(std::move(qkv)), width);

  auto plain_rows = [&](Row first, int real, int all, int columns) {
    std::vector<Row> r;
    for (int i = 0; i < all; i++) {
      const std::int64_t at = first.offset + static_cast<std::int64_t>(i) * columns;
      r.push_back({i < real ? at : -1, first.param});
    }
    return r;
  };
  const int heads = s.heads * s.head_size();
  l->out = matrix(s.d(), s.q(), rows(plain_rows(next(offsets), s.width, s.d(), heads)),
                  chunks(head_chunks(s, s.heads)));
  if (s.reordered_norm) {
    l->q_norm = gain(s.q(), heads, next(offsets), chunks(head_chunks(s, s.heads)));
    l->k_norm =
        gain(s.k(), s.kv_heads * s.head_size(), next(offsets), chunks(head_chunks(s, s.kv_heads)));
  }
  const std::vector<Row> gate = plain_rows(next(offsets), s.ffn, s.f(), s.width);
  const std::vector<Row> up = plain_rows(next(offsets), s.ffn, s.f(), s.width);
  std::vector<Row> both;
  for (int i = 0; i < s.f(); i += 16) {
    both.insert(both.end(), gate.begin() + i, gate.begin() + i + 16);
    both.insert(both.end(), up.begin() + i, up.begin() + i + 16);
  }
  l->gate_up = matrix(2 * s.f(), s.d(), rows(std::move(both)), width);
  l->down = matrix(s.d(), s.f(), rows(plain_rows(next(offsets), s.width, s.d(), s.ffn)),
                   chunks(plain_chunks(s.ffn, s.f())));
  l->attention_norm = gain(s.d(), s.width, next(offsets), width);
  l->ffn_norm = gain(s.d(), s.width, next(offsets), width);
}

// Angles are rounded to float32 as the reference (model.Transformer) has them.
void Plan::rotary(const Shape& s) {
  const int half = s.head_size() / 2, columns = s.e() / 2, rows = padded(s.context);
  cosine_.assign(static_cast<std::size_t>(rows) * columns, 1.0F);
  sine_.assign(static_cast<std::size_t>(rows) * columns, 0.0F);
  for (int i = 0; i < half; i++) {
    const float part = static_cast<float>(2 * i) / static_cast<float>(s.head_size());
    const float frequency = 1.0F / static_cast<float>(std::pow(s.theta, static_cast<double>(part)));
    for (int t = 0; t < s.context; t++) {
      const auto angle = static_cast<double>(static_cast<float>(t) * frequency);
      const std::size_t at = static_cast<std::size_t>(t) * columns + i;
      cosine_[at] = static_cast<float>(std::cos(angle));
      sine_[at] = static_cast<float>(std::sin(angle));
    }
  }
  network_.cosine = cosine_.data();
  network_.sine = sine_.data();
}

void Plan::place_copies(int word_bytes) {
  std::size_t at = 0, gradients = 0;
  panels_ = std::make_unique<Memory>(panel_bytes(network_.shape, word_bytes));
  each_matrix(network_, [&](Matrix& m) {
    const std::size_t values = static_cast<std::size_t>(m.rows) * m.columns;
    auto* panels = static_cast<char*>(panels_->get()) + at;
    m.forward = reinterpret_cast<Word*>(panels);
    m.backward = reinterpret_cast<Word*>(panels + values * word_bytes);
    at += 2 * values * word_bytes;
    m.gradient = gradients;
    gradients += values;
  });
  std::vector<Gain*> all;
  for (Layer& l : layers_) {
    all.push_back(&l.attention_norm);
    all.push_back(&l.ffn_norm);
    if (network_.shape.reordered_norm) {
      all.push_back(&l.q_norm);
      all.push_back(&l.k_norm);
    }
  }
  all.push_back(&network_.norm);
  network_.first_gain = gradients;
  for (Gain* g : all) {
    g->gradient = gradients;
    gradients += g->columns;
  }
  network_.gain_values = gradients - network_.first_gain;
  gains_.assign(network_.gain_values, 0.0F);
  for (Gain* g : all) {
    g->value = gains_.data() + (g->gradient - network_.first_gain);
  }
  gradient_values_ = gradients;
}

void Plan::find_end() {
  const Shape& s = network_.shape;
  values_ = network_.table.offset + static_cast<std::int64_t>(s.vocab) * s.width;
  auto reach = [&](const Row& row, const Chunk* chunk, int columns) {
    for (int i = 0; i < columns / 16 && row.offset >= 0; i++) {
      if (chunk[i].count == 0) {
        continue;  // padding has a column too, but no values
      }
      values_ = std::max(values_, row.offset + chunk[i].column + chunk[i].count);
    }
  };
  each_matrix(network_, [&](const Matrix& m) {
    for (int r = 0; r < m.rows; r++) {
      reach(m.row[r], m.chunk, m.columns);
    }
  });
  reach(network_.norm.row, network_.norm.chunk, network_.norm.columns);
  for (const Layer& l : layers_) {
    for (const Gain* g : {&l.attention_norm, &l.ffn_norm, &l.q_norm, &l.k_norm}) {
      reach(g->row, g->chunk, g->columns);
    }
  }
}

void Plan::list_units() {
  each_matrix(network_, [&](const Matrix& m) {
    for (int n = 0; n < m.rows / kBlock; n++) {
      units_.push_back({Unit::Kind::kMatrix, &m, n});
    }
  });
  units_.push_back({Unit::Kind::kGains, nullptr, 0});
  if (!network_.shape.tied) {
    for (int n = 0; n < network_.shape.v() / kBlock; n++) {
      units_.push_back({Unit::Kind::kTable, nullptr, n});
    }
  }
}

}  // namespace tgo::engine
