// The contract of integer primitives: the operations that the 8-bit matmuls require of an instruction set,
// i.e. of every struct A in kernels/arch/<isa>.hpp. (All other kernels use float vectors V, whose contract is
// in float_vector.hpp.)
//
// Invariant: lanes are weight rows. Integer operations are exact; a float operation, fma included, rounds
// once.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace gemma::kernels {

/// Int holds kLanes 32-bit integers, or their bytes; Float holds kLanes floats; Rows points to kLanes rows.
///   load_columns16, 32         16 or 32 bytes of each row: c[i] holds bytes 4i .. 4i + 3, of row r in lane r
///   load_weights16             16 bytes of each row, in the order in which add_dots() takes weights
///   load_half                  the binary16 at an offset of each row
///   load, store                kLanes floats, aligned
///   broadcast, broadcast_int   one number, in all lanes
///   and_mask, xor_mask, or_int bitwise operations; and_mask_or: (v & mask) | other
///   sub_bytes                  subtracts a constant from each byte
///   shift_left, shift_right    of each lane by a constant; a negative left shift is a right shift
///   unsigned_byte, signed_byte byte kByte of each lane
///   spread_bits<c>             byte b of each lane: 0x10 if bit 4c + b of that lane of v is set, else 0
///   look_up                    table[b] for every byte b, 0 to 15
///   half_low, half_high        the low or high 16 bits of each lane, as binary16
///   to_float                   converts integers to floats; as_float, as_int: reinterpret the bits
///   negate, mul, sub, fma      of floats
///   add_pair_products          sum + a.low * b.low + a.high * b.high, with the int16 halves of each lane
///   add_dots<W, begin, count>  dots[p][t] += products of vectors [begin, begin + count) of panel p's group
///                              and the same bytes of token t; format W bounds the weights
/// kSignedWeights: 8-bit weights are multiplied as signed bytes; otherwise 128 is added to make them
/// unsigned. kRowVectors: A also has the operations of RowPrimitives. kPanels x kTile is the register tile,
/// kPanels x kHalvesTile where a group has two scales. The dot products of kStep tokens are interleaved.
/// Smaller tiles, for a remainder of tokens, have a multiple of kPart tokens. Up to kDirectTokens tokens,
/// weights are multiplied as they are unpacked, without a panel. Optional: offset_pair<n> and place_token<n>
/// (kernels/generic/activation_tiles.hpp), kColumnsByHalves (kernels/generic/super_block_formats.hpp),
/// kFixedHints (kernels/generic/matmul_tile.hpp).
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

/// Further primitives, on vectors of 64 bytes, of kernels that read rows from end to end
/// (kernels/generic/matmul_rows.hpp):
///   load32(low, high)          32 bytes at `low`, then 32 at `high`; load_int: 64 bytes
///   dot(w, x)                  in each lane the sum of four products of bytes; add_int: adds lanes
///   sum_lanes(v)               element i of each 128-bit lane: the sum of that lane's elements of v[i]
///   transpose(d)               exchanges d[i][r] and d[r][i]
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
