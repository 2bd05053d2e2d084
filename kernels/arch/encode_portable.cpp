// The encoders as the baseline CPU runs them.
#include "../encode/table.hpp"
#include "tables.hpp"

namespace gemma::kernels {
namespace {
struct Portable;  // internal to this unit, and with it all that is made from it
}

constexpr Encoder kPortableEncoder = encode::make_encoder<Portable>("portable");

}  // namespace gemma::kernels
