// MatmulArgs::scale: every path multiplies each output by it once, after its sum.
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/matmul_problem.hpp"

namespace gemma::kernels::test {
namespace {

TEST(MatmulScale, MultipliesFinishedSumsOnce) {
  for (const KernelTable* table : available_tables()) {
    for (const DType type : kAllDTypes) {
      const MatmulKernel& kernel = table->matmul_for(type);
      for (const std::size_t m : {1u, 3u, 40u}) {  // rows, direct, panels with sums kept between slices
        const std::size_t k = table->isa == Isa::kScalar ? 256 : 5120;
        const Problem p(type, 19, k, 61);
        const Activations a = random_activations(oracle(), m, k, 62);
        std::vector<float> want = multiply(kernel, p, a);
        for (std::size_t i = 0; i < want.size(); ++i)
          if (i % (p.n + 3) < p.n) want[i] *= 0.3f;
        expect_same_bits(multiply(kernel, p, a, 0, m, {16, p.n}, 0.3f), want, label(*table, p, m));
      }
    }
  }
}

}  // namespace
}  // namespace gemma::kernels::test
