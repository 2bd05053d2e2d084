// Where tokens are laid out once for all matmul calls that read them. Each kernel has its own layout, and
// matrices that read the same input often share one.
// Invariant: only a plan; the same for every worker.
#pragma once

#include <array>
#include <cstddef>

#include "../kernels/kernel_table.hpp"
#include "weights.hpp"

namespace gemma::detail {

/// The layouts of one input of n_tokens, stored one after the other.
class TokenLayouts {
 public:
  /// One kernel's layout.
  struct Entry {
    const kernels::MatmulKernel* kernel = nullptr;
    std::size_t k = 0;
    std::size_t offset = 0;  // bytes from the first layout, a multiple of 64
  };
  static constexpr std::size_t kMost = 3;  // kernels that read one input: for queries, keys and values

  /// Adds the layout that `m` needs for n_tokens and returns it; nullptr if it exists already, is not needed,
  /// or `m` is empty.
  const Entry* add(const Matrix& m, std::size_t n_tokens) noexcept {
    if (m.data == nullptr || !m.kernel->wants_layout(m.cols, n_tokens) || find(m) != nullptr) return nullptr;
    if (count_ == kMost) return nullptr;
    Entry& e = entries_[count_++];
    e = {m.kernel, m.cols, bytes_};
    bytes_ += (m.kernel->layout_bytes(m.cols, n_tokens) + 63) / 64 * 64;
    return &e;
  }
  /// The layout that the kernel of `m` reads, or nullptr.
  const Entry* find(const Matrix& m) const noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (entries_[i].kernel == m.kernel) return &entries_[i];
    return nullptr;
  }
  /// Size of all layouts, in bytes.
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::array<Entry, kMost> entries_{};
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace gemma::detail
