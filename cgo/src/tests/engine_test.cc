// Compares every kernel of the CPU engine, each sub-layer and the whole engine with a plain
// reference in double precision, for every instruction set that this processor has, and prints what
// was compared.
//
//   engine_test [--isa NAME] [--only GROUP] [--stop 1]    (1: at the first failure)
#include <cstdio>
#include <cstring>

#include "../engine/features.hh"
#include "engine/cases.hh"

namespace tgo::tests {
namespace {

struct Isa {
  const char* name;
  bool here;
  const Probe* (*get)(bool half);
};

struct Group {
  const char* name;
  void (*run)(const Probe&, Report&);
};
constexpr Group kGroups[] = {
    {"vector", vector_cases}, {"pack", pack_cases},     {"product", product_cases},
    {"norm", norm_cases},     {"rotary", rotary_cases}, {"attention", attention_cases},
    {"rows", row_cases},      {"update", update_cases}, {"sublayer", sublayer_cases},
};

bool wanted(const char* filter, const char* name) {
  return filter == nullptr || std::strcmp(filter, name) == 0;
}

int run(const char* only_isa, const char* only_group, bool stop) {
  const engine::Features f = engine::features();
  const Isa all[] = {{"amx", f.amx_bf16, probe_amx},
                     {"avx512_bf16", f.avx512_bf16, probe_avx512_bf16},
                     {"avx512", f.avx512, probe_avx512},
                     {"avx2", f.avx2, probe_avx2}};
  Report report(stop);
  std::vector<const char*> here;
  for (const Isa& isa : all) {
    if (!wanted(only_isa, isa.name)) {
      report.skip(isa.name, "left out by --isa");
      continue;
    }
    if (!isa.here) {
      report.skip(isa.name, "this processor does not have it");
      continue;
    }
    here.push_back(isa.name);
    for (const bool half : {false, true}) {
      for (const Group& g : kGroups) {
        if (wanted(only_group, g.name)) {
          g.run(*isa.get(half), report);
        }
      }
    }
  }
  if (wanted(only_group, "model")) {
    model_cases(here, report);
  }
  if (wanted(only_group, "engine")) {
    engine_cases(here, report);
  }
  report.print();
  return report.failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace tgo::tests

int main(int count, char** arguments) {
  const char *isa = nullptr, *group = nullptr, *stop = "0";
  const struct {
    const char* name;
    const char** value;
  } options[] = {{"--isa", &isa}, {"--only", &group}, {"--stop", &stop}};
  for (int i = 1; i < count; i += 2) {
    bool known = false;
    for (const auto& o : options) {
      if (i + 1 < count && std::strcmp(arguments[i], o.name) == 0) {
        *o.value = arguments[i + 1];
        known = true;
      }
    }
    if (!known) {
      std::fprintf(stderr, "usage: engine_test [--isa NAME] [--only GROUP] [--stop 1]\n");
      return 64;
    }
  }
  return tgo::tests::run(isa, group, std::strcmp(stop, "1") == 0);
}
