// Floats to blocks: what turns a row of weights into a tensor type's bytes.
// Invariant: the bytes depend on the row and its importances only: they are the same on every CPU, for every
// number of threads and however rows were split between calls. What is written decodes everywhere: it uses no
// code that only some readers know.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "../gguf/dtype.hpp"

namespace gemma::kernels {

/// Encodes n floats, n a multiple of the type's block, into the n / block_elements blocks at `to`
/// (unaligned). Least is the sum over all weights of importance[i] * (from[i] - decoded[i])^2: the integers
/// of a block are searched, and its scales are least-squares fits. `importances` ([n], finite and not
/// negative) may be nullptr: all alike then, as in a block whose importances are all 0. Floats should be
/// finite; whatever they are, nothing but the n blocks is written, and what decodes to something not finite
/// came from such floats or from ones beyond the type's range (most types' scales are float16).
using EncodeFunction = void (*)(const float* from, const float* importances, std::size_t n,
                                std::byte* to) noexcept;

/// The encoders as one unit was compiled. Immutable.
struct Encoder {
  std::string_view name;                                // "avx2", "portable"
  std::array<EncodeFunction, kDTypeLimit> functions{};  // by DType; nullptr: a type that is not written

  /// Encoder of a type; nullptr when the type cannot be written.
  constexpr EncodeFunction find(DType type) const noexcept {
    const auto i = static_cast<std::size_t>(type);
    return i < kDTypeLimit ? functions[i] : nullptr;
  }
};

/// Encoders in portable C++, for every CPU.
const Encoder& portable_encoder() noexcept;
/// The fastest that this CPU runs; its bytes are the portable one's.
const Encoder& best_encoder() noexcept;

/// Whether blocks of the type can be written: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K,
/// IQ4_NL and IQ4_XS.
inline bool can_encode(DType type) noexcept {
  return portable_encoder().find(type) != nullptr;
}

}  // namespace gemma::kernels
