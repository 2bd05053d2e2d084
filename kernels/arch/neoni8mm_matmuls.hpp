// The functions that only the table of NEON with int8 matrix multiplies has: its 8-bit matmuls. The rest of
// that table is NEON's code, so kernels/arch/neon.cpp defines the table, and kernels/arch/neoni8mm.cpp
// defines only these functions.
// Invariant: declarations only; no code of one unit is compiled with the other's flags.
#pragma once

#include <cstddef>

#include "../generic/weight_formats.hpp"
#include "../kernel_table.hpp"

namespace gemma::kernels {

/// The 8-bit matmuls, with the interface of MatmulsOf<A> in generic/table.hpp.
struct NeonI8mmMatmuls {
  template <template <class> class Format>
  struct Matmul {
    static void run(const MatmulArgs&) noexcept;
    static std::size_t scratch_bytes(std::size_t k) noexcept;
    static std::size_t layout_bytes(std::size_t k, std::size_t m) noexcept;
    static void lay_out(const MatmulArgs&, std::size_t begin, std::size_t end, std::byte* out) noexcept;
  };
};

}  // namespace gemma::kernels
