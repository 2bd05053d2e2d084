// Activations to 8 bits in groups of 32. Invariant: a group's result depends on its 32 floats only and is the
// same on every instruction set (exact maximum, one order of every sum, no fused multiply-add).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.hpp"

namespace gemma::kernels {

template <class A>
struct ActivationQuantizer {
  using batch = typename A::batch;
  static constexpr int kVectors = 32 / static_cast<int>(A::kLanes);
  static constexpr int kCandidates = 4;
  static constexpr float kRatio[kCandidates] = {1.0f, 126.0f / 127.0f, 125.0f / 127.0f, 124.0f / 127.0f};

  /// One group whose largest magnitude is 127 * unit. Tries kCandidates spacings of the grid and keeps the
  /// one with the least squared error; the scale is the least-squares fit sum(x q) / sum(q q). About 15% less
  /// error in the logits than the first spacing alone.
  static void group(const float* x, float unit, std::int8_t* q, Q8Group& out) noexcept {
    batch z[kVectors];  // in [-127, 127]
    for (int i = 0; i < kVectors; ++i)
      z[i] = A::divide(batch::load_unaligned(x + i * static_cast<int>(A::kLanes)), batch(unit));
    const batch magic(0x1.8p23f);  // adding it rounds to the nearest even integer
    // Sums of 32 are x[i] + x[i + 16], then + 8, ... + 1.
    batch terms[2 * kCandidates];  // of each candidate's sum(z r) and sum(r r), kLanes of them
    for (int c = 0; c < kCandidates; ++c) {
      batch zr[kVectors], rr[kVectors];
      for (int i = 0; i < kVectors; ++i) {
        const batch r = (z[i] * batch(kRatio[c]) + magic) - magic;
        zr[i] = z[i] * r;
        rr[i] = r * r;
      }
      for (int half = kVectors / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) {
          zr[i] = zr[i] + zr[i + half];
          rr[i] = rr[i] + rr[i + half];
        }
      }
      terms[c] = zr[0];
      terms[kCandidates + c] = rr[0];
    }
    float sums_of[2 * kCandidates];
    A::sums_8(terms, sums_of);
    // The largest is selected, not branched to: which one it is cannot be predicted. Bits of positive floats
    // are in the order of the floats; below them, so that the first of equals is taken, 3 - c.
    float fit[kCandidates], explained[kCandidates];  // |z|^2 less the squared error
    for (int c = 0; c < kCandidates; ++c) fit[c] = sums_of[c] / sums_of[kCandidates + c];
    for (int c = 0; c < kCandidates; ++c) explained[c] = sums_of[c] * fit[c];
    std::uint64_t best = 0;
    for (int c = 0; c < kCandidates; ++c) {
      const std::uint64_t key = std::uint64_t{__builtin_bit_cast(std::uint32_t, explained[c])} << 2 |
                                static_cast<std::uint64_t>(kCandidates - 1 - c);
      best = key > best ? key : best;
    }
    const std::size_t choice = kCandidates - 1 - (best & 3);
    const batch ratio(kRatio[choice]);
    alignas(64) float rounded[32];
    for (int i = 0; i < kVectors; ++i)
      ((z[i] * ratio + magic) - magic).store_aligned(rounded + i * static_cast<int>(A::kLanes));
    std::int32_t sums[2];
    A::to_bytes_32(rounded, q, sums);
    const float scale = unit * fit[choice];
    out = {scale, scale * static_cast<float>(sums[0] + sums[1]), sums[0], sums[1]};
  }
};

/// VectorKernels::quantize_q8. A group whose scale would be subnormal is stored as zeros; a group that holds
/// an infinity or NaN gets that (or NaN) as its scale and q = 0, so that its products come out NaN.
template <class A>
void quantize_q8(const float* x, std::size_t k, std::int8_t* q, Q8Group* groups) noexcept {
  for (std::size_t g = 0; g < k / 32; ++g, x += 32, q += 32) {
    const float unit = A::max_magnitude_32(x) / 127.0f;
    if (unit >= __FLT_MIN__ && unit <= __FLT_MAX__) {
      ActivationQuantizer<A>::group(x, unit, q, groups[g]);
    } else {
      const float left = unit < __FLT_MIN__ ? 0.0f : unit;
      for (int i = 0; i < 32; ++i) q[i] = 0;
      groups[g] = {left, left * 0.0f, 0, 0};
    }
  }
}

}  // namespace gemma::kernels
