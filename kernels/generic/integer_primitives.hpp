// What the 8-bit matmuls ask of an instruction set: the contract of every struct A in kernels/arch/<isa>.hpp.
// (The float vectors V of everything else are another contract: float_vector.hpp.)
//
// Invariant: lanes are weight rows. Integers are exact; floats are rounded once an operation, fma once.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace gemma::kernels {

/// Int holds kLanes 32-bit integers, or their bytes; Float holds kLanes floats; Rows points at kLanes rows.
///   load_columns16, 32         16 or 32 bytes of each row: c[i] holds bytes 4i .. 4i + 3, lane r of row r
///   load_weights16             16 bytes of each row in the order in which add_dots() wants weights
///   load_half                  the binary16 at an offset of each row
///   load, store                kLanes floats, aligned; broadcast, broadcast_int: one number to all lanes
///   and_mask, xor_mask, or_int, and_mask_or (v & mask | other), sub_bytes (each byte less a constant)
///   shift_left, shift_right    of each lane, by a constant; a negative shift to the left is one to the right
///   unsigned_byte, signed_byte byte kByte of each lane
///   spread_bits<c>             0x10 in byte b of a lane where bit 4c + b of its v is set
///   look_up                    table[b] for every byte b, 0 to 15
///   half_low, half_high        the low or high 16 bits of each lane as binary16
///   to_float                   integers to floats; as_float, as_int: the bits as they are
///   negate, mul, sub, fma
///   add_pair_products          sum + a.low * b.low + a.high * b.high, of int16 halves
///   add_dots<W, begin, count>  dots[p][t] += products of vectors [begin, begin + count) of panel p's group
///   with
///                              the same bytes of token t; W, the format, bounds the weights
/// kSignedWeights: weights of 8 bits are multiplied as signed bytes, else raised by 128.
/// kPanels x kTile (kHalvesTile where a group has two scales) is the register tile; kStep tokens' dots are
/// interleaved; what is left over is done kPart tokens at a time; up to kDirectTokens without a panel.
/// Optional: offset_pair<n> and place_token<n> (kernels/generic/activation_tiles.hpp), kColumnsByHalves
/// (kernels/generic/super_block_formats.hpp), kFixedHints (kernels/generic/matmul_tile.hpp).
template <class A>
concept IntegerPrimitives = requires(typename A::Int v, typename A::Float f, const typename A::Rows& rows,
                                     std::size_t offset, typename A::Int (&four)[4],
                                     typename A::Int (&eight)[8], const typename A::Int (*w)[8],
                                     typename A::Int (&dots)[A::kPanels][1], const float* from, float* to,
                                     const std::int32_t* number, const std::int8_t* x,
                                     const std::uint8_t (&table)[16]) {
  requires std::same_as<decltype(A::kLanes), const std::size_t>;
  requires std::same_as<decltype(A::kSignedWeights), const bool>;
  requires std::same_as<decltype(A::kRowVectors), const bool>;
  requires(A::kPanels > 0 && A::kTile > 0 && A::kHalvesTile > 0 && A::kStep > 0 && A::kPart > 0);
  requires(A::kTile % A::kPart == 0 && A::kHalvesTile % A::kPart == 0 && A::kDirectTokens > 0);
  A::load_columns16(rows, offset, four);
  A::load_columns32(rows, offset, eight);
  A::load_weights16(rows, offset, four);
  { A::load_half(rows, offset) } -> std::same_as<typename A::Float>;
  { A::load(from) } -> std::same_as<typename A::Float>;
  A::store(to, f);
  { A::broadcast(from) } -> std::same_as<typename A::Float>;
  { A::broadcast_int(number) } -> std::same_as<typename A::Int>;
  { A::zero_int() } -> std::same_as<typename A::Int>;
  { A::and_mask(v, 1) } -> std::same_as<typename A::Int>;
  { A::xor_mask(v, 1u) } -> std::same_as<typename A::Int>;
  { A::and_mask_or(v, 1, v) } -> std::same_as<typename A::Int>;
  { A::or_int(v, v) } -> std::same_as<typename A::Int>;
  { A::sub_bytes(v, 1) } -> std::same_as<typename A::Int>;
  { A::look_up(v, table) } -> std::same_as<typename A::Int>;
  { A::template spread_bits<0>(v) } -> std::same_as<typename A::Int>;
  { A::template shift_right<4>(v) } -> std::same_as<typename A::Int>;
  { A::template shift_left<-4>(v) } -> std::same_as<typename A::Int>;
  { A::template unsigned_byte<0>(v) } -> std::same_as<typename A::Int>;
  { A::template signed_byte<0>(v) } -> std::same_as<typename A::Int>;
  { A::half_low(v) } -> std::same_as<typename A::Float>;
  { A::half_high(v) } -> std::same_as<typename A::Float>;
  { A::to_float(v) } -> std::same_as<typename A::Float>;
  { A::as_float(v) } -> std::same_as<typename A::Float>;
  { A::as_int(f) } -> std::same_as<typename A::Int>;
  { A::negate(f) } -> std::same_as<typename A::Float>;
  { A::mul(f, f) } -> std::same_as<typename A::Float>;
  { A::sub(f, f) } -> std::same_as<typename A::Float>;
  { A::fma(f, f, f) } -> std::same_as<typename A::Float>;
  { A::add_pair_products(v, v, v) } -> std::same_as<typename A::Int>;
  A::template add_dots<A, 0, 8>(w, x, dots);
};

/// What rows that are read from end to end need besides (kernels/generic/matmul_rows.hpp): vectors of 64
/// bytes.
///   load32(low, high)          32 bytes each; load_int: 64 bytes
///   dot(w, x)                  sums of four products of bytes; add_int
///   sum_lanes(v)               in each 128-bit lane the sums of that lane's elements in v[0], ..., v[3]
///   transpose(d)               d[i][r] and d[r][i] change places
template <class A>
concept RowPrimitives = IntegerPrimitives<A> && A::kRowVectors && A::kLanes == 16 &&
                        requires(typename A::Int v, const typename A::Int (&four)[4],
                                 typename A::Int (&sixteen)[16], const std::uint8_t* bytes) {
  { A::load32(bytes, bytes) } -> std::same_as<typename A::Int>;
  { A::load_int(bytes) } -> std::same_as<typename A::Int>;
  { A::dot(v, v) } -> std::same_as<typename A::Int>;
  { A::add_int(v, v) } -> std::same_as<typename A::Int>;
  { A::sum_lanes(four) } -> std::same_as<typename A::Int>;
  A::transpose(sixteen);
};

}  // namespace gemma::kernels
