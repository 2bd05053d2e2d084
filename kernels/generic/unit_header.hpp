// How the blocks of each weight type become operands of the 8-bit matmul: for kLanes rows at once, lanes are
// rows. The formats are in block_formats.hpp (32 weights a block) and super_block_formats.hpp (256).
// Invariant: what is unpacked is exact (the stored integers, scales as the float d * sc); the order in which
// a format's groups come is part of the result (see matmul_panel.hpp) and the same for every kernel.
//
// A format has: kBytes of a unit (a block along k), kGroups of 32 weights in it, kHalves scales per group,
// kLargest unpacked integer (255: signed bytes, or unsigned ones with offset 128), kOffset to be subtracted
// from every one; kMinPairs, the number of int16 pairs of minima per unit (0: none), kGroupMins, whether each
// group has a float minimum; kStages steps that give kStageGroups groups each; and header() and stage(),
// which writes vector c of its group i to w[i][c], once. The stages are kParts times the same, each part
// kPartBytes behind the one before it.
// A group is eight vectors: vector c holds, per row, the weights 4c .. 4c + 3 of the group.
#pragma once

namespace gemma::kernels {

/// What is not per-weight in a unit of kLanes rows. A format fills what it has.
template <class A, int kGroups, int kHalves, int kMinPairs = 4>
struct UnitHeader {
  typename A::Float scale[kGroups][kHalves];
  typename A::Float group_min[kGroups];
  typename A::Int min_pairs[kMinPairs];  // int16 pairs of the minima (j, j + 2); j = 0, 1, 4, 5, 8, ...
  typename A::Float minus_dmin;
  typename A::Int high_bits[8];  // columns of the bytes that hold bits above the others
  typename A::Int columns[8];    // columns of bytes that several stages take their weights from
};

}  // namespace gemma::kernels
