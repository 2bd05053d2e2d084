// The exact layout of a block of every supported tensor type.
// Invariant: each struct is the file's own layout, byte for byte (asserted below); all are little-endian and
// at most 2-byte aligned in memory, unaligned in a file: copy a block out before its fields are read.
// Source of layouts and formulas: the GGUF/ggml format (block_q4_K and relatives); d, dmin, m are binary16
// bits. The formula beside a struct is weight i of a block; every product in it is exact in float32, and only
// Q4_1, Q5_1, Q2_K, Q4_K and Q5_K round, once, in the last addition or subtraction.
//
// K order of 2-bit fields: 128 weights in 32 bytes, weights 0-31 in bits 0-1, 32-63 in bits 2-3, and so on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gemma {

// ---- one weight per block ---------------------------------------------------------------------------------
struct BlockF32 {  // binary32
  float w;         // the weight itself
};
struct BlockF16 {  // binary16
  std::uint16_t w;
};
struct BlockBF16 {  // the upper half of a float32
  std::uint16_t w;
};

// ---- 32 weights per block ---------------------------------------------------------------------------------
/// Number of weights in a small block (Q4_0, Q8_0 and related types).
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
struct BlockMXFP4 {  // w = 2^(e - 128) * kFp4Values[q]; nibbles as Q4_0 (OCP microscaling formats, v1.0)
  std::uint8_t e;
  std::uint8_t qs[16];
};

// ---- 64 and 128 weights per block -------------------------------------------------------------------------
struct BlockNVFP4 {   // w = E(s[i / 16]) / 2 * kFp4Values[q], E: unsigned E4M3; 16 weights in 8 bytes, low
  std::uint8_t s[4];  // nibbles first; products are also multiplied by the tensor NAME.scale
  std::uint8_t qs[32];
};
struct BlockQ2_0 {  // w = d * (q - 1); q: 2 bits, lowest first
  std::uint16_t d;
  std::uint8_t qs[16];
};
struct BlockQ1_0 {  // w = d where bit i is set (lowest first), else -d
  std::uint16_t d;
  std::uint8_t qs[16];
};

// ---- 256 weights per super-block --------------------------------------------------------------------------
/// Number of weights in a super-block (the K types).
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
struct BlockQ5_K {  // like Q4_K, with a fifth bit
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
struct BlockTQ2_0 {  // w = d * (q - 1), q in K order
  std::uint8_t qs[64];
  std::uint16_t d;
};
// Weight i is digit i / 32 of qs[i % 32] for i < 160, digit (i - 160) / 16 of qs[32 + i % 16] for i < 240,
// else digit (i - 240) / 4 of qh[i % 4].
struct BlockTQ1_0 {  // w = d * (t - 1), t = ((byte * 3^n mod 256) * 3) >> 8: digit n of a byte in base 3
  std::uint8_t qs[48];
  std::uint8_t qh[4];
  std::uint16_t d;
};

// ---- 256 weights by index into a grid ---------------------------------------------------------------------
// g is a row of a table in kernels/grids.hpp: the magnitudes of 8 (IQ3: 4) weights. Sign bit k set: weight k
// of the eight is negative. Seven sign bits stand for eight of even parity: see kernels/grids.hpp.
struct BlockIQ2_XXS {       // w = d * (0.5 + (u >> 28)) / 4 * g; u: the little-endian 32 bits of `signs`
  struct Group {            // 32 weights: four indices; four times 7 sign bits, lowest first
    std::uint8_t index[4];  // one for 8 weights
    std::uint8_t signs[4];  // and the 4-bit scale, in the highest bits
  };
  std::uint16_t d;  // binary16
  Group groups[8];  // of 32 weights each
};
struct BlockIQ2_XS {  // w = d * (0.5 + sc) / 4 * g; qs: 9 bits of index, 7 of signs; a 4-bit scale for 16
  std::uint16_t d;
  std::uint16_t qs[32];
  std::uint8_t scales[8];
};
struct BlockIQ2_S {  // as IQ2_XS, with a sign byte for 8 weights; a byte of qh: bits 8-9 of four indices
  std::uint16_t d;
  std::uint8_t qs[32];
  std::uint8_t signs[32];
  std::uint8_t qh[8];
  std::uint8_t scales[8];
};
struct BlockIQ3_XXS {  // w = d * (0.5 + (u >> 28)) / 2 * g; signs and scale of 32 weights as IQ2_XXS's
  std::uint16_t d;
  std::uint8_t qs[64];
  std::uint8_t signs[8][4];  // of 32 weights each, with their scale in the highest 4 bits
};
struct BlockIQ3_S {  // w = d * (1 + 2 sc) * g; bit 8 of the eight indices of 32 weights in a byte of qh
  std::uint16_t d;
  std::uint8_t qs[64];
  std::uint8_t qh[8];
  std::uint8_t signs[32];
  std::uint8_t scales[4];
};
struct BlockIQ1_S {  // w = d * (2 sc + 1) * (g +- 1/8); qh of 32 weights: four times bits 8-10 of an index,
  std::uint16_t d;   // 3 bits sc, the sign of 1/8 in bit 15
  std::uint8_t qs[32];
  std::uint16_t qh[8];
};
struct BlockIQ1_M {  // as IQ1_S, with 3 bits sc for 16 weights, and a nibble of qh for 8
  std::uint8_t qs[32];
  std::uint8_t qh[16];      // two nibbles each, low first: bits 8-10 of the index, the sign of 1/8
  std::uint16_t scales[4];  // four times 3 bits sc, lowest first; top nibbles: d, lowest first
};

// ---- the layouts on disk: sizes are asserted where types are listed (gguf/dtype.hpp) ----------------------
static_assert(offsetof(BlockQ4_0, qs) == 2 && offsetof(BlockQ8_0, qs) == 2 && offsetof(BlockIQ4_NL, qs) == 2);
static_assert(offsetof(BlockQ4_1, m) == 2 && offsetof(BlockQ4_1, qs) == 4);
static_assert(offsetof(BlockQ5_0, qh) == 2 && offsetof(BlockQ5_0, qs) == 6);
static_assert(offsetof(BlockQ5_1, m) == 2 && offsetof(BlockQ5_1, qh) == 4 && offsetof(BlockQ5_1, qs) == 8);
static_assert(offsetof(BlockMXFP4, qs) == 1 && offsetof(BlockNVFP4, qs) == 4);
static_assert(offsetof(BlockQ2_0, qs) == 2 && offsetof(BlockQ1_0, qs) == 2);
static_assert(offsetof(BlockQ2_K, qs) == 16 && offsetof(BlockQ2_K, d) == 80 &&
              offsetof(BlockQ2_K, dmin) == 82);
static_assert(offsetof(BlockQ3_K, qs) == 32 && offsetof(BlockQ3_K, scales) == 96 &&
              offsetof(BlockQ3_K, d) == 108);
static_assert(offsetof(BlockQ4_K, dmin) == 2 && offsetof(BlockQ4_K, scales) == 4 &&
              offsetof(BlockQ4_K, qs) == 16);
static_assert(offsetof(BlockQ5_K, dmin) == 2 && offsetof(BlockQ5_K, scales) == 4 &&
              offsetof(BlockQ5_K, qh) == 16 && offsetof(BlockQ5_K, qs) == 48);
static_assert(offsetof(BlockQ6_K, qh) == 128 && offsetof(BlockQ6_K, scales) == 192 &&
              offsetof(BlockQ6_K, d) == 208);
static_assert(offsetof(BlockIQ4_XS, scales_h) == 2 && offsetof(BlockIQ4_XS, scales_l) == 4 &&
              offsetof(BlockIQ4_XS, qs) == 8);
static_assert(offsetof(BlockTQ2_0, d) == 64 && offsetof(BlockTQ1_0, qh) == 48 &&
              offsetof(BlockTQ1_0, d) == 52);
static_assert(sizeof(BlockIQ2_XXS::Group) == 8 && offsetof(BlockIQ2_XXS::Group, signs) == 4 &&
              offsetof(BlockIQ2_XXS, groups) == 2);
static_assert(offsetof(BlockIQ2_XS, qs) == 2 && offsetof(BlockIQ2_XS, scales) == 66);
static_assert(offsetof(BlockIQ2_S, qs) == 2 && offsetof(BlockIQ2_S, signs) == 34 &&
              offsetof(BlockIQ2_S, qh) == 66 && offsetof(BlockIQ2_S, scales) == 74);
static_assert(offsetof(BlockIQ3_XXS, qs) == 2 && offsetof(BlockIQ3_XXS, signs) == 66);
static_assert(offsetof(BlockIQ3_S, qs) == 2 && offsetof(BlockIQ3_S, qh) == 66 &&
              offsetof(BlockIQ3_S, signs) == 74 && offsetof(BlockIQ3_S, scales) == 106);
static_assert(offsetof(BlockIQ1_S, qs) == 2 && offsetof(BlockIQ1_S, qh) == 34);
static_assert(offsetof(BlockIQ1_M, qh) == 32 && offsetof(BlockIQ1_M, scales) == 48);

/// The 16 levels of the non-linear 4-bit types (IQ4_NL, IQ4_XS).
inline constexpr std::int8_t kIQ4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
/// Twice the 16 values of a 4-bit float E2M1 (MXFP4, NVFP4). The negative zero counts as zero.
inline constexpr std::int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

}  // namespace gemma
