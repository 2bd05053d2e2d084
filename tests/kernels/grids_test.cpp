// The grids of the IQ types, compared with the tables in tests/golden/blocks/grids.
#include "kernels/grids.hpp"

#include <cstddef>
#include <cstring>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/paths.hpp"

namespace gemma::kernels {
namespace {

template <std::size_t kRows, std::size_t kWidth>
void expect_grid(const Grid<kRows, kWidth>& grid, const std::string& name) {
  const auto path = gemma::test::source_dir() / "tests/golden/blocks/grids" / (name + ".bin");
  const std::string want = test::read_bytes(path);
  ASSERT_EQ(want.size(), sizeof(grid.row)) << name;
  EXPECT_EQ(std::memcmp(want.data(), grid.row, want.size()), 0) << name;
  std::set<std::vector<std::int8_t>> rows;
  for (const auto& row : grid.row) rows.emplace(std::begin(row), std::end(row));
  EXPECT_EQ(rows.size(), kRows) << name << ": two indices mean the same";
}

TEST(Grids, AreTheMeasuredTables) {
  expect_grid(kGridIQ1, "iq1s");
  expect_grid(kGridIQ2XXS, "iq2xxs");
  expect_grid(kGridIQ2XS, "iq2xs");
  expect_grid(kGridIQ2S, "iq2s");
  expect_grid(kGridIQ3XXS, "iq3xxs");
  expect_grid(kGridIQ3S, "iq3s");
}

}  // namespace
}  // namespace gemma::kernels
