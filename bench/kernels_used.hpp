// What gemma-bench says of the kernels behind its figures.
#pragma once

#include <cstddef>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "gemma/gemma.hpp"

namespace gemma::bench {

/// Which kernel each tensor type runs, so that no slow path goes unseen.
inline void print_kernels(const Model& model) {
  std::map<DType, std::pair<std::size_t, std::size_t>> used;  // matrices, bytes
  auto see = [&used](const Matrix& m) {
    auto& [count, bytes] = used[m.type];
    ++count;
    bytes += m.size_bytes();
  };
  see(model.weights().output);
  for (const auto& l : model.weights().layers) l.for_each_matrix(see);
  fmt::print("\n| type | matrices | MiB | kernel |\n| --- | ---: | ---: | --- |\n");
  for (const auto& [type, use] : used) {
    const auto& kernel = model.kernels().matmul_for(type);
    fmt::print("| {} | {} | {:.1f} | {}{} |\n", info(type).name, use.first,
               static_cast<double>(use.second) / (1 << 20), kernel.name,
               kernel.quantized_activations ? ", 8-bit activations" : ", float activations");
  }
}

}  // namespace gemma::bench
