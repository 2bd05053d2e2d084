// Tensor element types: the list of supported types, and everything that is derived from it.
// Invariant: GEMMA_DTYPES is the only list. The enumerators, names, sizes and tables here are generated from
// it, and code elsewhere that exists for each type (reference and fast decoders, kernels, tests) iterates
// over kAllDTypes: if a type is missing there, the code does not compile.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "blocks.hpp"
#include "unsupported_types.hpp"

/// X(name, GGUF's number, weights per block, bytes per block) for every supported type; the layout of a block
/// is the struct Block<name> of gguf/blocks.hpp.
// clang-format off
#define GEMMA_DTYPES(X)    \
  X(F32,      0,   1,   4) \
  X(F16,      1,   1,   2) \
  X(Q4_0,     2,  32,  18) \
  X(Q4_1,     3,  32,  20) \
  X(Q5_0,     6,  32,  22) \
  X(Q5_1,     7,  32,  24) \
  X(Q8_0,     8,  32,  34) \
  X(Q2_K,    10, 256,  84) \
  X(Q3_K,    11, 256, 110) \
  X(Q4_K,    12, 256, 144) \
  X(Q5_K,    13, 256, 176) \
  X(Q6_K,    14, 256, 210) \
  X(IQ2_XXS, 16, 256,  66) \
  X(IQ2_XS,  17, 256,  74) \
  X(IQ3_XXS, 18, 256,  98) \
  X(IQ1_S,   19, 256,  50) \
  X(IQ4_NL,  20,  32,  18) \
  X(IQ3_S,   21, 256, 110) \
  X(IQ2_S,   22, 256,  82) \
  X(IQ4_XS,  23, 256, 136) \
  X(IQ1_M,   29, 256,  56) \
  X(BF16,    30,   1,   2) \
  X(TQ1_0,   34, 256,  54) \
  X(TQ2_0,   35, 256,  66) \
  X(MXFP4,   39,  32,  17) \
  X(NVFP4,   40,  64,  36) \
  X(Q1_0,    41, 128,  18) \
  X(Q2_0,    42,  64,  18)
// clang-format on

namespace gemma {

/// Element type of a tensor; the values are GGUF's type numbers.
enum class DType : std::uint8_t {
#define GEMMA_DTYPE_ENUMERATOR(name, number, weights, bytes) k##name = number,
  GEMMA_DTYPES(GEMMA_DTYPE_ENUMERATOR)
#undef GEMMA_DTYPE_ENUMERATOR
  /// In a TensorView only: a type that a file may hold but that is not supported. TensorView::type_id has its
  /// number.
  kUnsupported = 255,
};

/// All supported types, by number.
inline constexpr std::array kAllDTypes = {
#define GEMMA_DTYPE_VALUE(name, number, weights, bytes) DType::k##name,
    GEMMA_DTYPES(GEMMA_DTYPE_VALUE)
#undef GEMMA_DTYPE_VALUE
};

/// One more than the largest number of a supported type: the size of tables indexed by DType.
inline constexpr std::size_t kDTypeLimit = static_cast<std::size_t>(kAllDTypes.back()) + 1;

/// An element type: its GGUF name, and the size of a block.
struct DTypeInfo {
  std::string_view name;             // e.g. "Q4_K"
  std::uint16_t block_elements = 0;  // 0: not a supported type
  std::uint16_t block_bytes = 0;     // bytes of that many elements
};

namespace detail {

template <DType kType>
struct BlockOf;
#define GEMMA_DTYPE_BLOCK(name, number, weights, bytes) \
  template <>                                           \
  struct BlockOf<DType::k##name> {                      \
    static_assert(sizeof(Block##name) == (bytes));      \
    using type = Block##name;                           \
  };
GEMMA_DTYPES(GEMMA_DTYPE_BLOCK)
#undef GEMMA_DTYPE_BLOCK

constexpr std::array<DTypeInfo, kDTypeLimit> make_dtype_table() {
  std::array<DTypeInfo, kDTypeLimit> t{};
#define GEMMA_DTYPE_INFO(name, number, weights, bytes) t[number] = {#name, weights, bytes};
  GEMMA_DTYPES(GEMMA_DTYPE_INFO)
#undef GEMMA_DTYPE_INFO
  return t;
}
inline constexpr auto kDTypeTable = make_dtype_table();
inline constexpr DTypeInfo kNoDType{};

/// Whether the numbers are ascending and below kUnsupported's, and no number is in both lists.
consteval bool dtype_numbers_are_distinct() {
  for (std::size_t i = 1; i < kAllDTypes.size(); ++i) {
    if (kAllDTypes[i - 1] >= kAllDTypes[i]) return false;
  }
  for (const DType type : kAllDTypes) {
    if (type >= DType::kUnsupported || find_unsupported_type(static_cast<std::uint32_t>(type)) != nullptr)
      return false;
  }
  return true;
}
static_assert(dtype_numbers_are_distinct());

}  // namespace detail

/// The struct of a type's block (gguf/blocks.hpp).
template <DType kType>
using BlockOf = typename detail::BlockOf<kType>::type;

/// Name and block geometry of a supported type; empty for DType::kUnsupported.
constexpr const DTypeInfo& info(DType type) noexcept {
  const auto number = static_cast<std::size_t>(type);
  return number < kDTypeLimit ? detail::kDTypeTable[number] : detail::kNoDType;
}

/// Number of weights in one block of a type; 0 for kUnsupported.
template <DType kType>
inline constexpr int kBlockElements = info(kType).block_elements;

/// Calls f for every supported type, by number: its call operator is a template that gets the type as
/// argument.
template <class F>
constexpr void for_each_dtype(F&& f) {
  [&]<std::size_t... kIndices>(std::index_sequence<kIndices...>) {
    (f.template operator()<kAllDTypes[kIndices]>(), ...);
  }
  (std::make_index_sequence<kAllDTypes.size()>{});
}

/// GGUF's type number -> DType, or nothing for a number that is not supported.
constexpr std::optional<DType> dtype_from_id(std::uint32_t id) noexcept {
  if (id >= kDTypeLimit || detail::kDTypeTable[id].block_elements == 0) return std::nullopt;
  return static_cast<DType>(id);
}

/// The name of a type number: "Q4_K", "iq4_ks", "unknown type 99".
std::string dtype_name(std::uint32_t id);

/// A type number for messages: "Q4_K", or for one that is not supported "iq4_ks (144)", "unknown (99)".
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
