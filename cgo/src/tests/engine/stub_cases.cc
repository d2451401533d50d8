#include "cases.hh"
namespace tgo::tests {
void engine_cases(const std::vector<const char*>&, Report&) {}
}
