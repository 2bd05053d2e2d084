// The table of encoders of one unit. Invariant: all of it is tagged with the unit's type A.
#pragma once

#include "../encoder.hpp"
#include "small_blocks.hpp"
#include "super_blocks.hpp"

namespace gemma::kernels::encode {

/// EncodeFunction of a type. Weights of a block without importance, or whose importances are no use, count
/// alike.
template <class A, DType kType>
void encode_row(const float* from, const float* importances, std::size_t n, std::byte* to) noexcept {
  constexpr int kN = kBlockElements<kType>;
  float w[kN];
  for (std::size_t at = 0; at < n; at += kN) {
    float sum_w = 0;
    for (int i = 0; i < kN; ++i) {
      w[i] = importances != nullptr ? importances[at + static_cast<std::size_t>(i)] : 0.0f;
      sum_w += w[i];
    }
    const bool weighted = sum_w > 1e-30f && sum_w < 1e30f;
    // a sub-block of nothing but zeros still needs a scale
    const float least = 1e-6f * sum_w / static_cast<float>(kN);
    for (int i = 0; i < kN; ++i) w[i] = weighted ? w[i] + least : 1.0f;
    BlockOf<kType> block;
    encode_block<A>(from + at, w, block);
    __builtin_memcpy(to, &block, sizeof block);
    to += sizeof block;
  }
}

template <class A, DType... kTypes>
constexpr Encoder make_encoder_of(std::string_view name) noexcept {
  Encoder encoder;
  encoder.name = name;
  ((encoder.functions[static_cast<std::size_t>(kTypes)] = encode_row<A, kTypes>), ...);
  return encoder;
}

/// The list of types that are written.
template <class A>
constexpr Encoder make_encoder(std::string_view name) noexcept {
  using enum DType;
  return make_encoder_of<A, kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K,
                         kQ6_K, kIQ4_NL, kIQ4_XS>(name);
}

}  // namespace gemma::kernels::encode
