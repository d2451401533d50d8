// The groups of tests of one instruction set in one precision (engine_test.cc runs them).
#ifndef TGO_TESTS_CASES_HH
#define TGO_TESTS_CASES_HH

#include <vector>

#include "probe.hh"
#include "report.hh"

namespace tgo::tests {

// Bounds of relative errors. In float32 sums of some hundred products stay below 1e-6. A bfloat16
// has 8 bits: rounding one value errs by at most 2^-9 and by 1.7e-3 in the root mean square, so a
// kernel that rounds its result once stays below 4e-3, one that rounds what goes into further
// products below some multiple of it.
constexpr double kSingle = 1e-5, kRoundedOnce = 4e-3, kRoundedTwice = 8e-3;

void vector_cases(const Probe& p, Report& report);
void pack_cases(const Probe& p, Report& report);
void product_cases(const Probe& p, Report& report);
void norm_cases(const Probe& p, Report& report);
void rotary_cases(const Probe& p, Report& report);
void attention_cases(const Probe& p, Report& report);
void row_cases(const Probe& p, Report& report);
void update_cases(const Probe& p, Report& report);
void sublayer_cases(const Probe& p, Report& report);

// The whole engine. `isas` are the instruction sets that this processor has.
void model_cases(const std::vector<const char*>& isas, Report& report);
void engine_cases(const std::vector<const char*>& isas, Report& report);

}  // namespace tgo::tests

#endif
