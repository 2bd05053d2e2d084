// An independent oracle: matmuls of every type on every instruction set, compared with Eigen's product of the
// decoded weights in double precision.
#include <cstdint>
#include <string>
#include <vector>

#include <Eigen/Core>
#include <gtest/gtest.h>

#include "kernels/kernel_table.hpp"
#include "tests/kernels/random_blocks.hpp"

namespace gemma::kernels {
namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

TEST(Oracle, EveryMatmulIsEigensWithinTheRoundingOfItsActivations) {
  constexpr std::size_t kM = 3, kN = 48, kK = 512;
  for (const KernelTable* table : available_tables()) {
    for (const DType type : kAllDTypes) {
      SCOPED_TRACE(std::string(table->name) + ' ' + std::string(info(type).name));
      const auto w = test::random_weights(type, kN, kK, 7);
      const auto x = test::random_activations(table->vec, kM, kK, 8);
      const MatmulKernel& kernel = table->matmul_for(type);
      std::vector<float> y(kM * kN), decoded(kK);
      std::vector<std::byte> scratch(kernel.scratch_bytes(kK) + 64);
      const std::size_t shift = (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64) % 64;
      kernel.matmul({.w = w.data(),
                     .row_bytes = row_bytes(type, kK),
                     .k = kK,
                     .row_end = kN,
                     .m = kM,
                     .x = x.x.data(),
                     .q = x.q.data(),
                     .groups = x.groups.data(),
                     .y = y.data(),
                     .ldy = kN,
                     .scratch = scratch.data() + shift});
      Rows weights(kN, kK), tokens(kM, kK);
      for (std::size_t r = 0; r < kN; ++r) {
        available_tables().back()->dequantize[static_cast<std::size_t>(type)](
            w.data() + r * row_bytes(type, kK), kK, decoded.data());
        for (std::size_t i = 0; i < kK; ++i)
          weights(static_cast<Eigen::Index>(r), static_cast<Eigen::Index>(i)) = decoded[i];
      }
      for (std::size_t i = 0; i < kM * kK; ++i)
        tokens(static_cast<Eigen::Index>(i / kK), static_cast<Eigen::Index>(i % kK)) = x.x[i];
      const Rows expected = tokens * weights.transpose();
      Rows got(kM, kN);
      for (std::size_t i = 0; i < kM * kN; ++i)
        got(static_cast<Eigen::Index>(i / kN), static_cast<Eigen::Index>(i % kN)) = y[i];
      const double nmse = (got - expected).squaredNorm() / expected.squaredNorm();
      // 8-bit activations with outliers of 60 sigma: 7.6e-4 for Q4_K, whose minima cancel most of each sum
      EXPECT_LT(nmse, kernel.quantized_activations ? 1e-3 : 1e-12);
    }
  }
}

}  // namespace
}  // namespace gemma::kernels
