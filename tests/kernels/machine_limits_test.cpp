// The limits that benchmarks quote: every instruction set is measured with its dot product.
#include "kernels/machine_limits.hpp"

#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace gemma::kernels {
namespace {

TEST(MachineLimits, AreMeasuredForEveryInstructionSet) {
  std::vector<std::uint64_t> memory(1 << 17);
  for (const KernelTable* table : available_tables()) {
    SCOPED_TRACE(table->name);
    const MachineLimits limits = MachineMeter(*table, 2, memory).measure();
    EXPECT_GT(limits.read_bytes_per_second, 1e6);
    if (table->isa == Isa::kScalar) {
      EXPECT_EQ(limits.integer_ops_per_second, 0);
    } else {
      EXPECT_GT(limits.integer_ops_per_second, 1e6);
    }
  }
  EXPECT_EQ(memory, std::vector<std::uint64_t>(memory.size(), 1));
}

}  // namespace
}  // namespace gemma::kernels
