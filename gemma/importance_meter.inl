// Definitions of importance_meter.hpp.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "../gguf/linkage.hpp"
#include "../gguf/writer.hpp"
#include "engine_error_code.hpp"

namespace gemma {

/// Sums the squares of the inputs that the trace receives. Allocates nothing, since it is called during the
/// pass.
struct ImportanceMeter::Collector final : detail::Trace {
  explicit Collector(std::vector<std::pair<const std::byte*, Sums>>& s) : sums(s) {}

  void value(const char*, std::size_t, const float*, std::size_t, std::size_t) override {}
  void input(const std::byte* matrix, std::size_t n, std::size_t k, const float* rows,
             const std::int8_t* quants, const kernels::Q8Group* groups) override {
    auto it = std::upper_bound(sums.begin(), sums.end(), matrix,
                               [](const std::byte* a, const auto& b) { return std::less<>{}(a, b.first); });
    if (it == sums.begin()) return;
    --it;
    Sums& s = it->second;
    const std::size_t which = static_cast<std::size_t>(matrix - it->first) / s.bytes_each;
    if (which >= s.counts.size() || k != s.n_inputs) return;  // the tensor is not measured
    double* const to = s.squares.data() + which * k;
    s.counts[which] += static_cast<double>(n);
    for (std::size_t r = 0; r < n; ++r) {
      for (std::size_t i = 0; i < k; ++i) {
        const float x = rows != nullptr
                            ? rows[r * k + i]
                            : static_cast<float>(quants[r * k + i]) * groups[(r * k + i) / 32].scale;
        to[i] += static_cast<double>(x) * static_cast<double>(x);
      }
    }
  }

  std::vector<std::pair<const std::byte*, Sums>>& sums;
};

GEMMA_INLINE ImportanceMeter::ImportanceMeter(const Model& model, const ImportanceOptions& options)
    : model_(&model), options_(options) {
  detail::or_out_of_memory("no memory for importances", [&] {
    for (const TensorView& t : model.file().tensors()) {
      const bool in_layer = t.name.starts_with("blk.");
      if (t.n_dims < 2 || !t.is_supported() || (!in_layer && !options.outside_layers)) continue;
      const std::size_t n = t.n_dims < 3 ? 1 : t.dims[2] * t.dims[3];
      sums_.emplace_back(t.data.data(), Sums{std::string(t.name), t.cols, t.data.size() / n,
                                             std::vector<double>(n * t.cols), std::vector<double>(n)});
    }
    std::sort(sums_.begin(), sums_.end(),
              [](const auto& a, const auto& b) { return std::less<>{}(a.first, b.first); });
  });
}

GEMMA_INLINE void ImportanceMeter::add(std::vector<std::int32_t> ids, const Progress& progress) {
  const std::size_t n_ctx = options_.n_ctx;
  if (n_ctx == 0 || n_ctx > model_->config().max_seq_len || ids.size() < n_ctx) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "a text of " + std::to_string(ids.size()) + " tokens in windows of " + std::to_string(n_ctx) +
             ": a window has 1 token or more, and no more than the text or the model's context of " +
             std::to_string(model_->config().max_seq_len);
    });
  }
  std::size_t n = ids.size() / n_ctx;
  if (options_.max_windows != 0) n = std::min(n, options_.max_windows);
  KvCache cache = model_->make_cache({n_ctx, KvType::kF16, n_ctx});
  Workspace workspace = model_->make_workspace({n_ctx, 1, options_.n_threads, n_ctx});
  Collector collector(sums_);
  const bool has_bos = model_->has_tokenizer() && model_->vocab().add_bos() && model_->vocab().bos();
  for (std::size_t w = 0; w < n; ++w) {
    const std::span<std::int32_t> window = std::span(ids).subspan(w * n_ctx, n_ctx);
    if (has_bos) window.front() = *model_->vocab().bos();
    cache.truncate(0);
    // all rows are wanted, so that none is dropped before the last layer
    const Chunk chunk{window, &cache, Logits::kAll};
    model_->forward_hidden({&chunk, 1}, workspace, options_.cancel, &collector);
    ++n_windows_;
    if (progress) progress(w + 1, n);
  }
}

GEMMA_INLINE void ImportanceMeter::add(const Importances& other) {
  for (auto& [at, s] : sums_) {
    const Importances::Entry* e = other.find(s.name);
    if (e == nullptr) continue;
    if (e->n_inputs != s.n_inputs || e->counts.size() != s.counts.size()) {
      detail::refuse(EngineErrorCode::kBadShape, [&, name = &s.name] {
        return other.path() + ": importances of another model: " + gemma::quoted(*name) +
               " has another shape";
      });
    }
    for (std::size_t i = 0; i < s.counts.size(); ++i) {
      s.counts[i] += static_cast<double>(e->counts[i]);
      for (std::size_t k = i * s.n_inputs; k < (i + 1) * s.n_inputs; ++k)
        s.squares[k] += static_cast<double>(e->means[k]) * static_cast<double>(e->counts[i]);
    }
  }
  n_windows_ += other.n_chunks();
}

GEMMA_INLINE std::size_t ImportanceMeter::n_matrices() const noexcept {
  return static_cast<std::size_t>(std::count_if(sums_.begin(), sums_.end(), [](const auto& pair) {
    const std::vector<double>& counts = pair.second.counts;
    return std::any_of(counts.begin(), counts.end(), [](double n) { return n > 0; });
  }));
}

GEMMA_INLINE void ImportanceMeter::write(const std::string& path,
                                         std::span<const std::string> datasets) const {
  detail::or_out_of_memory("no memory for an importance matrix", [&] {
    gguf::Writer writer;
    writer.add("general.type", "imatrix").add_array("imatrix.datasets", datasets);
    writer.add("imatrix.chunk_count", static_cast<std::uint32_t>(n_windows_));
    writer.add("imatrix.chunk_size", static_cast<std::uint32_t>(options_.n_ctx));
    for (const auto& [at, s] : sums_) {
      if (std::none_of(s.counts.begin(), s.counts.end(), [](double n) { return n > 0; })) continue;
      const auto floats = [&writer](const std::string& name, const std::vector<double>& numbers,
                                    std::size_t cols) {
        const std::size_t shape[2] = {numbers.size() / cols, cols};
        writer.add_tensor(name, DType::kF32, std::span<const std::size_t>(shape),
                          gguf::Writer::Fill([&numbers](std::span<std::byte> out) {
                            for (std::size_t i = 0; i < numbers.size(); ++i) {
                              const auto x = static_cast<float>(numbers[i]);
                              std::copy_n(reinterpret_cast<const std::byte*>(&x), sizeof x,
                                          out.data() + i * sizeof x);
                            }
                          }));
      };
      floats(s.name + ".in_sum2", s.squares, s.n_inputs);
      floats(s.name + ".counts", s.counts, 1);
    }
    writer.write(path);
  });
}

}  // namespace gemma
