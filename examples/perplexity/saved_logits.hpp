// A file of the logits of a model over a text's windows, with which another model is compared.
// Invariant: the format is that of llama.cpp's perplexity program (--kl-divergence-base); a file is complete
// or does not appear.
//
//   file = "_logits_" n_ctx:i32 vocab_size:i32 n_windows:i32 ids:i32{n_windows * n_ctx}
//          row{n_windows * n_scored}
//   row  = scale:f32 least:f32 code:u16{vocab_size} padding to four bytes
// A log probability is least + scale * code; the likeliest token has code 65,535, and tokens 16 nats or more
// below it have code 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/whole_file.hpp"
#include "gguf/mapped_file.hpp"

namespace gemma::perplexity {

/// Natural logarithms of probabilities, as a row stores them.
struct CodedRow {
  float scale = 0, least = 0;
  std::span<const std::uint16_t> codes;  // [vocab_size]

  float log_probability(std::size_t id) const noexcept {
    return least + scale * static_cast<float>(codes[id]);
  }
};

/// Encodes `logits` into `codes`, which must have the same size. Returns false if a logit is not finite: the
/// row is then unusable.
bool code_row(std::span<const float> logits, std::span<std::uint16_t> codes, CodedRow& row) noexcept;

/// Writes a file of logits row by row.
class LogitsWriter {
 public:
  /// `ids` are those of all windows. Throws Error{kIo}.
  LogitsWriter(const std::string& path, std::size_t n_ctx, std::size_t vocab_size, std::size_t n_windows,
               std::span<const std::int32_t> ids);
  void write(const CodedRow& row);
  /// Gives the file its name.
  void commit() { file_.commit(); }

 private:
  app::WholeFile file_;
  std::vector<std::byte> buffer_;
};

/// Reads a file of logits. Immutable; rows point into the mapped file; safe to use from many threads.
class SavedLogits {
 public:
  /// Throws Error{kIo, kBadMagic, kTruncated, kMalformed} naming the file.
  explicit SavedLogits(const std::string& path);

  std::size_t n_ctx() const noexcept { return n_ctx_; }
  std::size_t vocab_size() const noexcept { return vocab_size_; }
  std::size_t n_windows() const noexcept { return n_windows_; }
  /// The ids of all windows.
  const std::vector<std::int32_t>& ids() const noexcept { return ids_; }
  /// Row `i`, counted over all windows.
  CodedRow row(std::size_t i) const noexcept;
  /// Throws Error{kNotFinite} if the scale or least of row `i` is not finite.
  void check(std::size_t i) const;
  /// Releases the memory of rows before `i`, which are no longer needed.
  void forget_before(std::size_t i) const noexcept;

 private:
  std::size_t row_bytes() const noexcept { return 8 + (vocab_size_ + 1) / 2 * 4; }
  std::string path_;
  MappedFile map_;
  std::size_t n_ctx_ = 0, vocab_size_ = 0, n_windows_ = 0, rows_at_ = 0;
  std::vector<std::int32_t> ids_;
};

}  // namespace gemma::perplexity
