// Encoders: turn a row of floats into the blocks of a tensor type.
// Invariant: the bytes depend on the row and its importances only: they are the same on every CPU, for every
// number of threads and for every division of rows between calls. Other programs can decode them: only codes
// that all readers of the format interpret alike are used.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "../gguf/dtype.hpp"

namespace gemma::kernels {

/// Encodes n floats, n a multiple of the type's block, into the n / block_elements blocks at `to`
/// (unaligned). Minimises the sum over all weights of importance[i] * (from[i] - decoded[i])^2: the integers
/// of a block are searched, and its scales are least-squares fits. `importances` ([n], finite and not
/// negative) may be nullptr: then all are equal, as in a block whose importances are all 0. Floats should be
/// finite. For any input only the n blocks are written; values that decode to infinity or NaN come from such
/// floats or from ones beyond the type's range (most types' scales are float16).
using EncodeFunction = void (*)(const float* from, const float* importances, std::size_t n,
                                std::byte* to) noexcept;

/// The encoders of one compiled unit. Immutable.
struct Encoder {
  std::string_view name;                                // "avx2", "portable"
  std::array<EncodeFunction, kDTypeLimit> functions{};  // by DType; nullptr: the type cannot be written

  /// Encoder of a type; nullptr when the type cannot be written.
  constexpr EncodeFunction find(DType type) const noexcept {
    const auto i = static_cast<std::size_t>(type);
    return i < kDTypeLimit ? functions[i] : nullptr;
  }
};

/// Encoders in portable C++, for every CPU.
const Encoder& portable_encoder() noexcept;
/// The fastest encoders for this CPU; their bytes equal the portable ones'.
const Encoder& best_encoder() noexcept;

/// Whether blocks of the type can be written: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K,
/// IQ4_NL and IQ4_XS.
inline bool can_encode(DType type) noexcept {
  return portable_encoder().find(type) != nullptr;
}

}  // namespace gemma::kernels
