// The encoders as the baseline CPU runs them.
#include "../encode/table.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {
using encode::Lanes;

/// Internal to this unit, and with it all that is made from it.
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
