// Builds a Network: which of our rows and columns are which values of the parameters, and where the
// rearranged copies lie.
#ifndef TGO_ENGINE_PLAN_HH
#define TGO_ENGINE_PLAN_HH

#include <memory>
#include <vector>

#include "engine.hh"

namespace tgo::engine {

// Zeroed memory in huge pages where the kernel has them.
class Memory {
 public:
  explicit Memory(std::size_t bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* get() const { return start_; }

 private:
  std::size_t bytes_;
  void* start_;
};

// Owns what a Network points to.
class Plan {
 public:
  // `offsets` as in tgo_engine_new; `word_bytes` is the size of a value in products, 2 or 4.
  Plan(const Shape& shape, const std::int64_t* offsets, int word_bytes);

  const Network& network() const { return network_; }
  const std::vector<Unit>& units() const { return units_; }
  std::size_t gradient_values() const { return gradient_values_; }
  int parameters() const { return parameters_; }
  // Elements of a flat buffer up to the end of the last parameter in it.
  std::int64_t values() const { return values_; }

  // Parameters of a model of this shape.
  static int count(const Shape& shape);
  // Bytes of the rearranged copies.
  static std::size_t panel_bytes(const Shape& shape, int word_bytes);

 private:
  Row next(const std::int64_t* offsets);
  const Row* rows(std::vector<Row> r);
  const Chunk* chunks(std::vector<Chunk> c);
  std::vector<Row> head_rows(const Shape& s, Row first, int heads) const;
  Matrix matrix(int rows, int columns, const Row* row, const Chunk* chunk);
  Gain gain(int columns, int width, Row row, const Chunk* chunk);
  void layer(const Shape& s, const std::int64_t* offsets, Layer* l);
  void rotary(const Shape& s);
  void place_copies(int word_bytes);
  void list_units();
  void find_end();

  Network network_;
  std::vector<Layer> layers_;
  std::vector<std::unique_ptr<std::vector<Row>>> rows_;
  std::vector<std::unique_ptr<std::vector<Chunk>>> chunks_;
  std::vector<float> cosine_, sine_;
  std::vector<Unit> units_;
  std::unique_ptr<Memory> panels_;
  std::vector<float> gains_;
  std::size_t gradient_values_ = 0;
  int parameters_ = 0;
  std::int64_t values_ = 0;
};

}  // namespace tgo::engine

#endif
