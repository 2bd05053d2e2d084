// The table of encoders of one unit.
// Invariant: all of it is instantiated with the unit's type A.
#pragma once

#include "../encoder.hpp"
#include "small_blocks.hpp"
#include "super_blocks.hpp"

namespace gemma::kernels::encode {

/// w[kN] = the weights of the least-squares fits: the importances, or 1 for all if there are none or they are
/// unusable. A little is added to each importance, since a sub-block whose importances are all 0 still needs
/// a scale.
template <class A, int kN>
[[gnu::always_inline]] inline void weights_of(const float* importances, float* w) noexcept {
  Lanes sums{};
  for (int i = 0; i < kN; i += kLanes) sums += load<A>(importances + i);
  const float sum_w = sum<A>(sums);
  const bool useful = sum_w > 1e-30f && sum_w < 1e30f;
  const float least = 1e-6f * sum_w / static_cast<float>(kN);
  for (int i = 0; i < kN; i += kLanes)
    store<A>(useful ? load<A>(importances + i) + least : all<A>(1.0f), w + i);
}

/// The EncodeFunction of kType.
template <class A, DType kType>
void encode_row(const float* from, const float* importances, std::size_t n, std::byte* to) noexcept {
  constexpr int kN = kBlockElements<kType>;
  float w[kN];
  for (int i = 0; i < kN; ++i) w[i] = 1.0f;
  for (std::size_t at = 0; at < n; at += kN) {
    if constexpr (kN > 1) {
      if (importances != nullptr) weights_of<A, kN>(importances + at, w);
    }
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

/// The encoders of one unit; its list of types defines which types can be written.
template <class A>
constexpr Encoder make_encoder(std::string_view name) noexcept {
  using enum DType;
  return make_encoder_of<A, kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ2_K, kQ3_K, kQ4_K, kQ5_K,
                         kQ6_K, kIQ4_NL, kIQ4_XS>(name);
}

}  // namespace gemma::kernels::encode
