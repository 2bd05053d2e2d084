// The grids of the IQ types. Blocks store indices of rows; a row holds the magnitudes of 8 weights (IQ2) or
// of 4 (IQ3), or 8 weights (IQ1).
// Invariant: constants, unpacked by the compiler from the codes in kernels/grid_codes.hpp;
// tests/kernels/grids_test.cpp compares them with tests/golden/blocks/grids.
//
// No formula gives the rows of a grid: llama.cpp chose them; its notice is in THIRD_PARTY_NOTICES.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "grid_codes.hpp"

namespace gemma::kernels {

/// kRows rows of kWidth weights.
template <std::size_t kRows, std::size_t kWidth>
struct Grid {
  std::int8_t row[kRows][kWidth];
};

namespace detail {

/// Unpacks row i from its code of kWidth fields, lowest first; each field is an index into `values`.
template <std::size_t kWidth, std::size_t kRows, std::size_t kValues>
consteval Grid<kRows, kWidth> unpack_grid(const std::uint16_t (&codes)[kRows],
                                          const std::int8_t (&values)[kValues]) {
  constexpr unsigned kBits = kValues > 4 ? 3 : 2;
  Grid<kRows, kWidth> grid{};
  for (std::size_t i = 0; i < kRows; ++i)
    for (std::size_t j = 0; j < kWidth; ++j)
      grid.row[i][j] = values[(codes[i] >> (kBits * j)) & ((1u << kBits) - 1)];
  return grid;
}

inline constexpr std::int8_t kIq1Values[] = {-1, 0, 1};
inline constexpr std::int8_t kIq2Values[] = {8, 25, 43};
inline constexpr std::int8_t kIq3XxsValues[] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr std::int8_t kIq3SValues[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace detail

inline constexpr auto kGridIQ1 = detail::unpack_grid<8>(detail::kIq1Codes, detail::kIq1Values);
inline constexpr auto kGridIQ2XXS = detail::unpack_grid<8>(detail::kIq2XxsCodes, detail::kIq2Values);
inline constexpr auto kGridIQ2XS = detail::unpack_grid<8>(detail::kIq2XsCodes, detail::kIq2Values);
inline constexpr auto kGridIQ2S = detail::unpack_grid<8>(detail::kIq2SCodes, detail::kIq2Values);
inline constexpr auto kGridIQ3XXS = detail::unpack_grid<4>(detail::kIq3XxsCodes, detail::kIq3XxsValues);
inline constexpr auto kGridIQ3S = detail::unpack_grid<4>(detail::kIq3SCodes, detail::kIq3SValues);

}  // namespace gemma::kernels
