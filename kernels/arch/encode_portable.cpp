// The encoders, compiled for the baseline CPU.
#include "../encode/table.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {
using encode::Lanes;

/// The portable operations for encode/lanes.hpp. The type is internal to this unit, and so is everything that
/// is instantiated with it.
struct Portable {
  [[gnu::always_inline]] static Lanes larger(const Lanes& x, const Lanes& y) noexcept {
    return x > y ? x : y;
  }
  [[gnu::always_inline]] static Lanes smaller(const Lanes& x, const Lanes& y) noexcept {
    return x < y ? x : y;
  }
  [[gnu::always_inline]] static Lanes rounded(const Lanes& x) noexcept {
    const Lanes magic = Lanes{} + 0x1.8p23f;
    return (x + magic) - magic;
  }
  [[gnu::always_inline]] static int first_equal(const Lanes& x, const Lanes& y) noexcept {
    for (int lane = 0; lane < encode::kLanes; ++lane)
      if (x[lane] == y[lane]) return lane;
    return 0;
  }
};
}  // namespace

constexpr Encoder kPortableEncoder = encode::make_encoder<Portable>("portable");

}  // namespace gemma::kernels
