// Divides a text into windows of a fixed number of tokens and computes the logits of the scored ones, for
// perplexity and comparisons of models.
// Invariant (law 1): a window's logits depend on its tokens only, not on other windows, the batch or the
// number of threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model.hpp"

namespace gemma {

/// Options: window length, stride and batch size.
struct WindowOptions {
  std::size_t n_ctx = 512;  // tokens of a window
  std::size_t stride = 0;  // 0: windows are adjacent, and the second half of each is scored, so that a scored
                           // token has at least half a window before it; else a window begins every
                           // `stride` tokens, and the last `stride` tokens of each are scored
  std::size_t max_windows = 0;    // 0: all complete windows
  std::size_t batch = 512;        // tokens of one forward pass; does not change results
  KvType kv_type = KvType::kF16;  // how keys and values are stored
  unsigned n_threads = 0;         // 0: physical_core_count()
  std::size_t max_memory = 0;     // limit of the model's file and all memory together, in bytes; 0: none
  const std::atomic<bool>* cancel = nullptr;  // when set by any thread, run() throws Error{kCancelled}
};

/// A scored token.
struct ScoredToken {
  std::size_t window;             // index of its window
  std::size_t position;           // position in the window
  std::int32_t id;                // the token
  std::span<const float> logits;  // [vocab_size] logits that predict it
};

/// The windows of a text. The model must outlive it; used by one thread at a time.
class TextWindows {
 public:
  /// Called with scored tokens, in order: a part of one window, or several whole windows. Their logits are
  /// valid until it returns.
  using Take = std::function<void(std::span<const ScoredToken> tokens)>;

  /// Takes the ids of a text. If the vocabulary adds BOS, it replaces the first token of each window, as in
  /// llama.cpp's perplexity. Throws Error{kInvalidArgument} for windows of fewer than 4 tokens or longer
  /// than the text or the model's context, a stride not shorter than a window, or a batch of 0, and
  /// {kOutOfMemory}; ids are checked by run().
  TextWindows(const Model& model, std::vector<std::int32_t> ids, const WindowOptions& options);

  /// Number of windows.
  std::size_t size() const noexcept { return n_windows_; }
  /// Number of scored tokens of each window, which are its last ones.
  std::size_t n_scored() const noexcept { return n_scored_; }
  /// The tokens of the text.
  std::span<const std::int32_t> ids() const noexcept { return ids_; }

  /// Computes all windows. Throws Error as Model::forward(), {kOutOfMemory} also if max_memory is too small;
  /// exceptions of `take` pass through.
  void run(const Take& take) const;

 private:
  std::span<const std::int32_t> window(std::size_t i) const noexcept {
    return std::span(ids_).subspan(i * step_, options_.n_ctx);
  }
  /// Number of windows that share one forward pass.
  std::size_t n_together() const noexcept;
  /// Maximum number of rows of logits that one forward pass returns.
  std::size_t logit_rows() const noexcept;

  const Model* model_;
  std::vector<std::int32_t> ids_;
  WindowOptions options_;
  std::size_t step_, n_scored_, n_windows_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "text_windows.inl"
#endif
