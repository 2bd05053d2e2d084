// Runs the fuzz targets in the ordinary tests, and so under every sanitizer: on their seeds, on every input
// of the corpus (which includes findings of longer runs), and on a fixed number of mutations of both.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/mutate.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/paths.hpp"

namespace gemma::fuzz {

void PrintTo(const Target* target, std::ostream* out) {
  *out << target->name;
}

namespace {

struct Named {
  std::string name;
  Input bytes;
};

std::vector<Named> corpus(const Target& target) {
  std::vector<Named> out;
  for (Input& seed : target.seeds()) out.push_back({"seed " + std::to_string(out.size()), std::move(seed)});
  const auto folder = test::source_dir() / "tests" / "fuzz" / "corpus" / target.name;
  std::vector<std::filesystem::path> files;
  if (std::filesystem::exists(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());  // mutations depend on the order
  for (const auto& path : files) {
    out.push_back({path.string(), to_input(test::read_bytes(path))});
  }
  return out;
}

class Fuzz : public testing::TestWithParam<const Target*> {};

TEST_P(Fuzz, SeedsAndCorpus) {
  const auto inputs = corpus(*GetParam());
  ASSERT_GT(inputs.size(), 2u);
  for (const Named& input : inputs) EXPECT_NO_THROW(GetParam()->run(input.bytes)) << input.name;
}

TEST_P(Fuzz, Mutations) {
  constexpr std::size_t kMutations = 1000;
  const auto inputs = corpus(*GetParam());
  for (std::uint64_t seed = 0; seed < kMutations; ++seed) {
    Random random(seed);
    const Named& from = inputs[random.below(inputs.size())];
    Input input = from.bytes;
    mutate(input, GetParam()->holds_gguf, random);
    EXPECT_NO_THROW(GetParam()->run(input)) << from.name << ", seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Fuzz, testing::ValuesIn(kTargets),
                         [](const auto& target) { return std::string(target.param->name); });

}  // namespace
}  // namespace gemma::fuzz
