// The 8-bit matmuls of the AVX-VNNI table. Compiled with that instruction set's flags; nothing here runs
// before the table is selected.
#include "avxvnni.hpp"

#include "../generic/matmul_rows.hpp"
#include "avxvnni_matmuls.hpp"
#include "built_features.hpp"
#include "tables.hpp"

namespace gemma::kernels {

static_assert(built_features().includes(kAvxVnniNeeds));

template <template <class> class Format>
void AvxVnniMatmuls::Matmul<Format>::run(const MatmulArgs& a) noexcept {
  QuantizedMatmul<AvxVnni, Format<AvxVnni>>::run(a);
}

template <template <class> class Format>
std::size_t AvxVnniMatmuls::Matmul<Format>::scratch_bytes(std::size_t k) noexcept {
  return QuantizedMatmul<AvxVnni, Format<AvxVnni>>::scratch_bytes(k);
}

template <template <class> class Format>
std::size_t AvxVnniMatmuls::Matmul<Format>::layout_bytes(std::size_t k, std::size_t m) noexcept {
  return QuantizedMatmul<AvxVnni, Format<AvxVnni>>::layout_bytes(k, m);
}

template <template <class> class Format>
void AvxVnniMatmuls::Matmul<Format>::lay_out(const MatmulArgs& a, std::size_t begin, std::size_t end,
                                             std::byte* out) noexcept {
  QuantizedMatmul<AvxVnni, Format<AvxVnni>>::lay_out(a, begin, end, out);
}

template struct AvxVnniMatmuls::Matmul<FormatQ4_0>;
template struct AvxVnniMatmuls::Matmul<FormatQ8_0>;
template struct AvxVnniMatmuls::Matmul<FormatQ4K>;
template struct AvxVnniMatmuls::Matmul<FormatQ5K>;
template struct AvxVnniMatmuls::Matmul<FormatQ6K>;
template struct AvxVnniMatmuls::Matmul<FormatQ4_1>;
template struct AvxVnniMatmuls::Matmul<FormatQ5_0>;
template struct AvxVnniMatmuls::Matmul<FormatQ5_1>;
template struct AvxVnniMatmuls::Matmul<FormatQ2K>;
template struct AvxVnniMatmuls::Matmul<FormatQ3K>;
template struct AvxVnniMatmuls::Matmul<FormatIQ4_NL>;
template struct AvxVnniMatmuls::Matmul<FormatIQ4XS>;

}  // namespace gemma::kernels
