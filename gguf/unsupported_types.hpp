// Tensor types that a file may hold but that are not supported: names, sizes, and reasons.
// Invariant: a file with these types can be opened and shown (gguf-info), with the same bounds checks as any
// other file; only loading their weights is refused. The sizes of ik_llama.cpp's types are those of that
// program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gemma {

/// Why a known type is not supported.
enum class UnsupportedReason : std::uint8_t {
  kRemoved,     // the format has withdrawn it
  kInMemory,    // other engines keep activations in it; never weights of a file
  kNotWeights,  // integers and float64
  kIk,          // types of ik_llama.cpp
};

/// The reason as text that follows "the type NAME " in a message.
constexpr std::string_view to_string(UnsupportedReason why) noexcept {
  switch (why) {
    case UnsupportedReason::kRemoved:
      return "was removed from the format";
    case UnsupportedReason::kInMemory:
      return "is for activations in memory, not for weights";
    case UnsupportedReason::kNotWeights:
      return "is not one of weights";
    case UnsupportedReason::kIk:
      return "is ik_llama.cpp's own";
  }
  return "is unknown";
}

/// A tensor type that the library knows by name and does not support.
struct UnsupportedType {
  std::uint32_t id;              // GGUF's number
  std::string_view name;         // as in the program that writes it
  std::uint16_t block_elements;  // 0: its size does not follow from the rows, or is not known
  std::uint16_t block_bytes;     // bytes of that many elements
  std::uint16_t row_extra;       // bytes at the start of each row besides
  UnsupportedReason why;         // the reason that messages give

  /// Whether the bytes of a tensor follow from its shape.
  constexpr bool has_size() const noexcept { return block_elements != 0; }
};

namespace detail {
// 36 was IQ4_NL_4_4, and is I2_S in files of BitNet's fork: 2 bits per weight and a scale at the tensor's end
inline constexpr UnsupportedType kUnsupportedTypes[] = {
    {4, "Q4_2", 0, 0, 0, UnsupportedReason::kRemoved},
    {5, "Q4_3", 0, 0, 0, UnsupportedReason::kRemoved},
    {9, "Q8_1", 32, 36, 0, UnsupportedReason::kInMemory},
    {15, "Q8_K", 256, 292, 0, UnsupportedReason::kInMemory},
    {24, "I8", 1, 1, 0, UnsupportedReason::kNotWeights},
    {25, "I16", 1, 2, 0, UnsupportedReason::kNotWeights},
    {26, "I32", 1, 4, 0, UnsupportedReason::kNotWeights},
    {27, "I64", 1, 8, 0, UnsupportedReason::kNotWeights},
    {28, "F64", 1, 8, 0, UnsupportedReason::kNotWeights},
    {31, "Q4_0_4_4", 32, 18, 0, UnsupportedReason::kRemoved},
    {32, "Q4_0_4_8", 32, 18, 0, UnsupportedReason::kRemoved},
    {33, "Q4_0_8_8", 32, 18, 0, UnsupportedReason::kRemoved},
    {36, "IQ4_NL_4_4 or I2_S", 0, 0, 0, UnsupportedReason::kRemoved},
    {37, "IQ4_NL_4_8", 32, 18, 0, UnsupportedReason::kRemoved},
    {38, "IQ4_NL_8_8", 32, 18, 0, UnsupportedReason::kRemoved},
    {133, "q6_0", 32, 26, 0, UnsupportedReason::kIk},
    {134, "iq1_bn", 64, 13, 2, UnsupportedReason::kIk},
    {135, "iq2_bn", 64, 16, 4, UnsupportedReason::kIk},
    {137, "iq2_k", 256, 76, 0, UnsupportedReason::kIk},
    {138, "iq3_k", 256, 110, 0, UnsupportedReason::kIk},
    {139, "iq4_k", 256, 144, 0, UnsupportedReason::kIk},
    {140, "iq5_k", 256, 176, 0, UnsupportedReason::kIk},
    {141, "iq6_k", 256, 212, 0, UnsupportedReason::kIk},
    {144, "iq4_ks", 256, 136, 4, UnsupportedReason::kIk},
    {145, "iq2_ks", 256, 70, 2, UnsupportedReason::kIk},
    {146, "iq4_kss", 256, 128, 4, UnsupportedReason::kIk},
    {151, "q8_KV", 32, 32, 8, UnsupportedReason::kIk},
    {152, "iq5_ks", 256, 168, 4, UnsupportedReason::kIk},
    {153, "iq2_kt", 256, 68, 4, UnsupportedReason::kIk},
    {154, "iq3_kt", 256, 100, 4, UnsupportedReason::kIk},
    {155, "iq4_kt", 256, 128, 4, UnsupportedReason::kIk},
    {156, "iq3_ks", 256, 102, 2, UnsupportedReason::kIk},
    {157, "iq2_kl", 256, 86, 2, UnsupportedReason::kIk},
    {158, "iq1_kt", 256, 56, 4, UnsupportedReason::kIk},
    {202, "q4_0_r8", 32, 18, 0, UnsupportedReason::kIk},
    {206, "q5_0_r4", 32, 22, 0, UnsupportedReason::kIk},
    {208, "q8_0_r8", 32, 34, 0, UnsupportedReason::kIk},
    {210, "q2_k_r4", 256, 84, 0, UnsupportedReason::kIk},
    {211, "q3_k_r4", 256, 110, 0, UnsupportedReason::kIk},
    {212, "q4_k_r4", 256, 144, 0, UnsupportedReason::kIk},
    {213, "q5_k_r4", 256, 176, 0, UnsupportedReason::kIk},
    {214, "q6_k_r4", 256, 210, 0, UnsupportedReason::kIk},
    {216, "iq2_xxs_r4", 256, 66, 0, UnsupportedReason::kIk},
    {217, "iq2_xs_r4", 256, 74, 0, UnsupportedReason::kIk},
    {218, "iq3_xxs_r4", 256, 98, 0, UnsupportedReason::kIk},
    {219, "iq1_s_r4", 32, 6, 2, UnsupportedReason::kIk},
    {220, "iq4_nl_r4", 32, 18, 0, UnsupportedReason::kIk},
    {221, "iq3_s_r4", 256, 110, 0, UnsupportedReason::kIk},
    {222, "iq2_s_r4", 256, 82, 0, UnsupportedReason::kIk},
    {223, "iq4_xs_r8", 256, 136, 0, UnsupportedReason::kIk},
    {229, "iq1_m_r4", 32, 7, 2, UnsupportedReason::kIk},
    {230, "bf16_r16", 1, 2, 0, UnsupportedReason::kIk},
    {233, "q6_0_r4", 32, 26, 0, UnsupportedReason::kIk},
    {335, "iq2_bn_r4", 64, 16, 4, UnsupportedReason::kIk},
    {337, "iq2_k_r4", 256, 76, 0, UnsupportedReason::kIk},
    {338, "iq3_k_r4", 256, 110, 0, UnsupportedReason::kIk},
    {339, "iq4_k_r4", 256, 144, 0, UnsupportedReason::kIk},
    {340, "iq5_k_r4", 256, 176, 0, UnsupportedReason::kIk},
    {344, "iq4_ks_r4", 256, 136, 4, UnsupportedReason::kIk},
    {352, "iq5_ks_r4", 256, 168, 4, UnsupportedReason::kIk},
    {353, "mxfp4_r8", 32, 17, 0, UnsupportedReason::kIk},
    {397, "q8_k_r16", 256, 258, 0, UnsupportedReason::kIk},
    {398, "q8_KV_r8", 32, 32, 4, UnsupportedReason::kIk},
    {399, "q8_k_r8", 256, 258, 0, UnsupportedReason::kIk},
};
}  // namespace detail

/// The unsupported type with this number, or nullptr.
constexpr const UnsupportedType* find_unsupported_type(std::uint32_t id) noexcept {
  for (const UnsupportedType& type : detail::kUnsupportedTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

}  // namespace gemma
