// Quantises activations to 8 bits in groups of 32.
// Invariant: the result of a group depends on its 32 floats only and is the same on every instruction set
// (the maximum is exact, every sum has one order, no multiply-add is fused).
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel_table.hpp"
#include "float_vector.hpp"

namespace gemma::kernels {

/// Quantises a group with each of kCandidates spacings of the grid and keeps the result with the least
/// squared error; the scale is the least-squares fit sum(x q) / sum(q q). This gives about 15% less error in
/// the logits than the first spacing alone. Each step processes up to kGroups groups before the next step
/// begins: a single group is one long chain of dependent operations, and the reorder buffer holds too few of
/// these chains at once (one group after another: 26 ns a group; step by step: 14 ns).
template <FloatVector V>
struct ActivationQuantizer {
  using batch = typename V::batch;
  static constexpr int kLanes = static_cast<int>(V::kLanes);
  static constexpr int kVectors = 32 / kLanes;
  static constexpr int kGroups = 8;
  static constexpr int kCandidates = 4;
  static constexpr float kRatio[kCandidates] = {1.0f, 126.0f / 127.0f, 125.0f / 127.0f, 124.0f / 127.0f};
  static constexpr float kMagic = 0x1.8p23f;  // adding it rounds to the nearest integer, ties to even

  /// z_out = x / unit. sums[c] = sum(z r) and sums[kCandidates + c] = sum(r r) for each candidate c, where r
  /// is z * kRatio[c] rounded.
  static void sums_of_candidates(const float* x, float unit, float* z_out, float (&sums)[8]) noexcept {
    batch z[kVectors];  // in [-127, 127]
    for (int i = 0; i < kVectors; ++i) {
      z[i] = V::divide(batch::load_unaligned(x + i * kLanes), batch(unit));
      z[i].store_aligned(z_out + i * kLanes);
    }
    // Order of a sum of 32: elements i and i + 16 are added, then i and i + 8, ... i and i + 1.
    batch terms[2 * kCandidates];  // kLanes partial sums of each sum
    for (int c = 0; c < kCandidates; ++c) {
      batch zr[kVectors], rr[kVectors];
      for (int i = 0; i < kVectors; ++i) {
        const batch r = (z[i] * batch(kRatio[c]) + batch(kMagic)) - batch(kMagic);
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
    V::sums_8(terms, sums);
  }

  /// The candidate with the least squared error, i.e. the largest sum(z r)^2 / sum(r r), and its fit. It is
  /// selected without branches, which would be unpredictable. The bits of positive floats order as the floats
  /// do; 3 - c in the bits below them makes the first of equal candidates win.
  static std::size_t best_candidate(const float (&sums)[8], float& best_fit) noexcept {
    float fit[kCandidates];
    for (int c = 0; c < kCandidates; ++c) fit[c] = sums[c] / sums[kCandidates + c];
    std::uint64_t best = 0;
    for (int c = 0; c < kCandidates; ++c) {
      const std::uint64_t key = std::uint64_t{__builtin_bit_cast(std::uint32_t, sums[c] * fit[c])} << 2 |
                                static_cast<std::uint64_t>(kCandidates - 1 - c);
      best = key > best ? key : best;
    }
    const std::size_t choice = kCandidates - 1 - (best & 3);
    best_fit = fit[choice];
    return choice;
  }

  /// Quantises n <= kGroups groups: x[32 n] to q[32 n] and out[n].
  static void groups(const float* x, int n, std::int8_t* q, Q8Group* out) noexcept {
    alignas(64) float z[kGroups][32];
    float unit[kGroups], divisor[kGroups], sums[kGroups][8], ratio[kGroups], fit[kGroups];
    for (int g = 0; g < n; ++g) {
      unit[g] = V::max_magnitude_32(x + 32 * g) / 127.0f;
      divisor[g] = is_normal(unit[g]) ? unit[g] : 1.0f;
    }
    for (int g = 0; g < n; ++g) sums_of_candidates(x + 32 * g, divisor[g], z[g], sums[g]);
    for (int g = 0; g < n; ++g) ratio[g] = kRatio[best_candidate(sums[g], fit[g])];
    for (int g = 0; g < n; ++g) {
      for (int i = 0; i < kVectors; ++i) {
        const batch r = batch::load_aligned(z[g] + i * kLanes) * batch(ratio[g]) + batch(kMagic);
        (r - batch(kMagic)).store_aligned(z[g] + i * kLanes);
      }
      std::int32_t sum[2];
      V::to_bytes_32(z[g], q + 32 * g, sum);
      const float scale = unit[g] * fit[g];
      out[g] = {scale, scale * static_cast<float>(sum[0] + sum[1]), sum[0], sum[1]};
    }
    for (int g = 0; g < n; ++g) {
      if (is_normal(unit[g])) continue;
      const float left = unit[g] < __FLT_MIN__ ? 0.0f : unit[g];
      for (int i = 0; i < 32; ++i) q[32 * g + i] = 0;
      out[g] = {left, left * 0.0f, 0, 0};
    }
  }

 private:
  static bool is_normal(float unit) noexcept { return unit >= __FLT_MIN__ && unit <= __FLT_MAX__; }
};

/// Implements VectorKernels::quantize_q8. A group whose scale would be subnormal is stored as zeros; a group
/// that holds an infinity or NaN gets that value (or NaN) as its scale and q = 0, so that its products are
/// NaN.
template <FloatVector V>
void quantize_q8(const float* x, std::size_t k, std::int8_t* q, Q8Group* groups) noexcept {
  using Quantizer = ActivationQuantizer<V>;
  constexpr std::size_t kGroups = Quantizer::kGroups;
  for (std::size_t g = 0; g < k / 32; g += kGroups) {
    const std::size_t n = k / 32 - g < kGroups ? k / 32 - g : kGroups;
    Quantizer::groups(x + 32 * g, static_cast<int>(n), q + 32 * g, groups + g);
  }
}

}  // namespace gemma::kernels
