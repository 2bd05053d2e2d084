// The encoders with AVX2's vectors: the same operations in the same order, so the same bytes.
#include "../encode/table.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {
struct Avx2Unit;  // internal to this unit, and with it all that is made from it
}

constexpr Encoder kAvx2Encoder = encode::make_encoder<Avx2Unit>("avx2");

}  // namespace gemma::kernels
