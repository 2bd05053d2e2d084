// What the table of NEON with int8 matrix multiplies has of its own. Everything else in it is NEON's code, so
// kernels/arch/neon.cpp defines that table and kernels/arch/neoni8mm.cpp these functions alone. Invariant:
// declarations only; no code of one unit is compiled with the other's flags.
#pragma once

#include <cstddef>

#include "../generic/weight_formats.hpp"
#include "../kernel_table.hpp"

namespace gemma::kernels {

/// As MatmulsOf<A> in generic/table.hpp.
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
