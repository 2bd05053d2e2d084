// The 8-bit matmuls of the table for NEON with int8 matrix multiplies. Compiled with that instruction set's
// flags; nothing here runs before the table is selected.
#include "neoni8mm.hpp"

#include "../generic/matmul_rows.hpp"
#include "built_features.hpp"
#include "neoni8mm_matmuls.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kNeonI8mmNeeds));

template <template <class> class Format>
void NeonI8mmMatmuls::Matmul<Format>::run(const MatmulArgs& a) noexcept {
  QuantizedMatmul<NeonI8mm, SignedFormat<Format<NeonI8mm>>>::run(a);
}

template <template <class> class Format>
std::size_t NeonI8mmMatmuls::Matmul<Format>::scratch_bytes(std::size_t k) noexcept {
  return QuantizedMatmul<NeonI8mm, SignedFormat<Format<NeonI8mm>>>::scratch_bytes(k);
}

template <template <class> class Format>
std::size_t NeonI8mmMatmuls::Matmul<Format>::layout_bytes(std::size_t k, std::size_t m) noexcept {
  return QuantizedMatmul<NeonI8mm, SignedFormat<Format<NeonI8mm>>>::layout_bytes(k, m);
}

template <template <class> class Format>
void NeonI8mmMatmuls::Matmul<Format>::lay_out(const MatmulArgs& a, std::size_t begin, std::size_t end,
                                              std::byte* out) noexcept {
  QuantizedMatmul<NeonI8mm, SignedFormat<Format<NeonI8mm>>>::lay_out(a, begin, end, out);
}

template struct NeonI8mmMatmuls::Matmul<FormatQ4_0>;
template struct NeonI8mmMatmuls::Matmul<FormatQ8_0>;
template struct NeonI8mmMatmuls::Matmul<FormatQ4K>;
template struct NeonI8mmMatmuls::Matmul<FormatQ5K>;
template struct NeonI8mmMatmuls::Matmul<FormatQ6K>;
template struct NeonI8mmMatmuls::Matmul<FormatQ4_1>;
template struct NeonI8mmMatmuls::Matmul<FormatQ5_0>;
template struct NeonI8mmMatmuls::Matmul<FormatQ5_1>;
template struct NeonI8mmMatmuls::Matmul<FormatQ2K>;
template struct NeonI8mmMatmuls::Matmul<FormatQ3K>;
template struct NeonI8mmMatmuls::Matmul<FormatIQ4_NL>;
template struct NeonI8mmMatmuls::Matmul<FormatIQ4XS>;

}  // namespace gemma::kernels
