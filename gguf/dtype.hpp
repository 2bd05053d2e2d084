// Tensor element types: GGUF's numbers, names, block sizes, and the exact layout of every quantised block.
// Invariant: each struct here is the file's own layout, byte for byte; all are little-endian and unaligned.
// Source of layouts and formulas: the GGUF/ggml format (block_q4_K and relatives); d, dmin are binary16 bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gemma {

/// Element type of a tensor; the values are GGUF's type numbers.
enum class DType : std::uint8_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
};

/// One more than the largest DType value: the size of tables indexed by it.
inline constexpr std::size_t kDTypeLimit = 31;

// ---- 32 weights a block -----------------------------------------------------------------------------------
/// Weights of a small block.
inline constexpr int kQK = 32;

struct BlockQ4_0 {  // w = d * (q - 8); q[j] low nibble: weight j, high nibble: weight j + 16
  std::uint16_t d;
  std::uint8_t qs[16];
};
struct BlockQ4_1 {  // w = d * q + m
  std::uint16_t d, m;
  std::uint8_t qs[16];
};
struct BlockQ5_0 {  // w = d * (q - 16); bit 4 of weight j is bit j of qh
  std::uint16_t d;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
struct BlockQ5_1 {  // w = d * q + m
  std::uint16_t d, m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
struct BlockQ8_0 {  // w = d * q
  std::uint16_t d;
  std::int8_t qs[32];
};
struct BlockIQ4_NL {  // w = d * kIQ4Values[q]
  std::uint16_t d;
  std::uint8_t qs[16];
};

// ---- 256 weights a super-block ----------------------------------------------------------------------------
/// Weights of a super-block.
inline constexpr int kQKK = 256;

struct BlockQ2_K {  // 16 sub-blocks of 16: w = d * (sc & 15) * q - dmin * (sc >> 4)
  std::uint8_t scales[16];
  std::uint8_t qs[64];
  std::uint16_t d, dmin;
};
struct BlockQ3_K {  // 16 sub-blocks of 16: w = d * (sc - 32) * (q - 4 * !hbit)
  std::uint8_t hmask[32];
  std::uint8_t qs[64];
  std::uint8_t scales[12];
  std::uint16_t d;
};
struct BlockQ4_K {  // 8 sub-blocks of 32: w = d * sc * q - dmin * m; scales: 8 x (6-bit sc, 6-bit m)
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qs[128];
};
struct BlockQ5_K {  // as Q4_K with a fifth bit
  std::uint16_t d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
struct BlockQ6_K {  // 16 sub-blocks of 16: w = d * sc * (q - 32)
  std::uint8_t ql[128];
  std::uint8_t qh[64];
  std::int8_t scales[16];
  std::uint16_t d;
};
struct BlockIQ4_XS {  // 8 sub-blocks of 32: w = d * (sc - 32) * kIQ4Values[q]
  std::uint16_t d;
  std::uint16_t scales_h;
  std::uint8_t scales_l[4];
  std::uint8_t qs[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22);
static_assert(sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

/// The 16 levels of the non-linear 4-bit types (IQ4_NL, IQ4_XS).
inline constexpr std::array<std::int8_t, 16> kIQ4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                           1,    13,   25,  38,  53,  69,  89,  113};

/// What is known of an element type: its GGUF name, and how many elements take how many bytes.
struct DTypeInfo {
  std::string_view name;             // e.g. "Q4_K"
  std::uint16_t block_elements = 0;  // 0: not a type that is read
  std::uint16_t block_bytes = 0;     // bytes of that many elements
};

namespace detail {
constexpr std::array<DTypeInfo, kDTypeLimit> make_dtype_table() {
  std::array<DTypeInfo, kDTypeLimit> t{};
  auto set = [&t](DType type, std::string_view name, std::size_t elements, std::size_t bytes) {
    t[static_cast<std::size_t>(type)] = {name, static_cast<std::uint16_t>(elements),
                                         static_cast<std::uint16_t>(bytes)};
  };
  set(DType::kF32, "F32", 1, 4);
  set(DType::kF16, "F16", 1, 2);
  set(DType::kBF16, "BF16", 1, 2);
  set(DType::kQ4_0, "Q4_0", kQK, sizeof(BlockQ4_0));
  set(DType::kQ4_1, "Q4_1", kQK, sizeof(BlockQ4_1));
  set(DType::kQ5_0, "Q5_0", kQK, sizeof(BlockQ5_0));
  set(DType::kQ5_1, "Q5_1", kQK, sizeof(BlockQ5_1));
  set(DType::kQ8_0, "Q8_0", kQK, sizeof(BlockQ8_0));
  set(DType::kIQ4_NL, "IQ4_NL", kQK, sizeof(BlockIQ4_NL));
  set(DType::kQ2_K, "Q2_K", kQKK, sizeof(BlockQ2_K));
  set(DType::kQ3_K, "Q3_K", kQKK, sizeof(BlockQ3_K));
  set(DType::kQ4_K, "Q4_K", kQKK, sizeof(BlockQ4_K));
  set(DType::kQ5_K, "Q5_K", kQKK, sizeof(BlockQ5_K));
  set(DType::kQ6_K, "Q6_K", kQKK, sizeof(BlockQ6_K));
  set(DType::kIQ4_XS, "IQ4_XS", kQKK, sizeof(BlockIQ4_XS));
  return t;
}
inline constexpr auto kDTypeTable = make_dtype_table();
}  // namespace detail

/// Name and block geometry of a type. The type must be one of the enumerators.
constexpr const DTypeInfo& info(DType type) noexcept {
  return detail::kDTypeTable[static_cast<std::size_t>(type)];
}

/// GGUF's type number -> DType, or nothing for a number that is not read here.
constexpr std::optional<DType> dtype_from_id(std::uint32_t id) noexcept {
  if (id >= kDTypeLimit || detail::kDTypeTable[id].block_elements == 0) return std::nullopt;
  return static_cast<DType>(id);
}

/// A type number for messages: "Q4_K", or for one that is not read "IQ2_XS (17)", "unknown (99)".
std::string describe_dtype_id(std::uint32_t id);

/// Bytes of a row of `elements`; elements must be a multiple of the type's block.
constexpr std::size_t row_bytes(DType type, std::size_t elements) noexcept {
  const DTypeInfo& i = info(type);
  return elements / i.block_elements * i.block_bytes;
}

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "dtype.inl"
#endif
