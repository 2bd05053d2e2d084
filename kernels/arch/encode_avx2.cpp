// The encoders, compiled for AVX2. The operations and their order are those of encode_portable.cpp, so the
// output is the same to the byte.
#include "../encode/table.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {
using encode::Lanes;

/// The operations of AVX2 for encode/lanes.hpp. The type is internal to this unit, and so is everything that
/// is instantiated with it.
struct Avx2Unit {
  [[gnu::always_inline]] static Lanes larger(const Lanes& x, const Lanes& y) noexcept {
    return __builtin_ia32_maxps256(x, y);  // x > y ? x : y compiles to two instructions
  }
  [[gnu::always_inline]] static Lanes smaller(const Lanes& x, const Lanes& y) noexcept {
    return __builtin_ia32_minps256(x, y);
  }
  [[gnu::always_inline]] static Lanes rounded(const Lanes& x) noexcept {
    return __builtin_ia32_roundps256(x, 8);  // to nearest, no exception
  }
  [[gnu::always_inline]] static int first_equal(const Lanes& x, const Lanes& y) noexcept {
    const int mask = __builtin_ia32_movmskps256(reinterpret_cast<Lanes>(x == y));
    return mask != 0 ? __builtin_ctz(static_cast<unsigned>(mask)) : 0;
  }
};
}  // namespace

constexpr Encoder kAvx2Encoder = encode::make_encoder<Avx2Unit>("avx2");

}  // namespace gemma::kernels
