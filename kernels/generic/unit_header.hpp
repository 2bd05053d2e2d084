// The contract of a weight format: how blocks of a type are unpacked to operands of the 8-bit matmul, for
// kLanes rows at once (lanes are rows). The formats are in block_formats.hpp (32 weights per block) and
// super_block_formats.hpp (256).
// Invariant: unpacked values are exact (the stored integers, scales as the float d * sc). The order of a
// format's groups is part of the result (see matmul_tile.hpp) and the same for every kernel.
//
// A format has:
//   kBytes                 size of a unit, one block along k
//   kGroups                number of groups of 32 weights in a unit
//   kHalves                scales per group: 1, or 2 if each half has its own
//   kLargest               largest unpacked integer; 255: signed bytes, or unsigned ones with offset 128
//   kOffset                is subtracted from every unpacked integer
//   kMinPairs              number of int16 pairs of minima per unit; 0: none
//   kGroupMins             whether each group has a float minimum
//   header()               reads all but the weights of a unit
//   kStages, stage<s>()    stage s unpacks kStageGroups groups: vector c of its group i to w[i][c], once
//   group(s, i)            the group that is number i in stage s
//   kParts, kPartBytes     the stages are kParts times the same sequence, kPartBytes apart
// A group is eight vectors: vector c holds, for each row, weights 4c .. 4c + 3 of the group.
#pragma once

namespace gemma::kernels {

/// The data of a unit of kLanes rows except for the weights. A format sets only the members that it uses.
template <class A, int kGroups, int kHalves, int kMinPairs = 4>
struct UnitHeader {
  typename A::Float scale[kGroups][kHalves];
  typename A::Float group_min[kGroups];
  typename A::Int min_pairs[kMinPairs];  // int16 pairs of the minima (j, j + 2); j = 0, 1, 4, 5, 8, ...
  typename A::Float minus_dmin;
  typename A::Int high_bits[8];  // columns of the bytes that hold the weights' high bits
  typename A::Int columns[8];    // columns of bytes that hold the weights of several stages
};

}  // namespace gemma::kernels
