// Definitions of importances.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {
namespace detail {

/// A copy of the floats of an F32 tensor of an importance matrix: in the file they may be unaligned.
GEMMA_INLINE std::vector<float> importance_floats(const gguf::File& file, const TensorView& t) {
  const auto refuse_tensor = [&](ErrorCode code, const std::string& what) {
    detail::refuse(code, [&] { return file.path() + ": tensor " + gemma::quoted(t.name) + " " + what; });
  };
  if (t.type != DType::kF32) refuse_tensor(ErrorCode::kWrongType, "is " + t.type_name() + ", not F32");
  std::vector<float> numbers(t.rows * t.cols);
  std::memcpy(numbers.data(), t.data.data(), t.data.size());
  for (const float& x : numbers)
    if (!is_finite(x) || x < 0)
      refuse_tensor(ErrorCode::kMalformed, "holds numbers that are negative or not finite");
  return numbers;
}

}  // namespace detail

GEMMA_INLINE Importances Importances::read(const std::string& path) {
  return from(gguf::File::open(path));
}

GEMMA_INLINE Importances Importances::from(const gguf::File& file) {
  return detail::or_out_of_memory("no memory for an importance matrix", [&] {
    constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
    Importances result;
    result.path_ = file.path();
    for (const TensorView& sums : file.tensors()) {
      if (!sums.name.ends_with(kSums)) continue;
      const std::string_view name = sums.name.substr(0, sums.name.size() - kSums.size());
      const TensorView& counts = file.tensor(std::string(name) + std::string(kCounts));
      Entry entry{sums.cols, detail::importance_floats(file, sums), detail::importance_floats(file, counts)};
      const std::vector<float>& n = entry.counts;
      if (n.size() != sums.rows) {
        detail::refuse(EngineErrorCode::kBadShape, [&] {
          return file.path() + ": tensor " + gemma::quoted(counts.name) + " has " + std::to_string(n.size()) +
                 " numbers for " + std::to_string(sums.rows) + " matrices";
        });
      }
      for (std::size_t i = 0; i < entry.means.size(); ++i) {
        const float count = n[i / sums.cols];
        entry.means[i] = count > 0 ? entry.means[i] / count : 0.0f;
      }
      result.entries_.emplace_back(name, std::move(entry));
    }
    if (result.entries_.empty()) {
      detail::refuse(ErrorCode::kUnsupported, [&] {
        return file.path() + ": this is not an importance matrix: it has no tensors NAME.in_sum2";
      });
    }
    std::sort(result.entries_.begin(), result.entries_.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    result.datasets_ = file.get_or<std::vector<std::string>>("imatrix.datasets", {});
    result.n_chunks_ = file.get_or<std::uint32_t>("imatrix.chunk_count", 0);
    return result;
  });
}

GEMMA_INLINE const Importances::Entry* Importances::find(std::string_view name) const noexcept {
  const auto it = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const auto& entry, std::string_view n) { return entry.first < n; });
  return it == entries_.end() || it->first != name ? nullptr : &it->second;
}

}  // namespace gemma
