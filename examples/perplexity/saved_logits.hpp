// The logits of a model over a text's windows, in a file: what another model is compared with.
// Invariant: the file is the one that llama.cpp's perplexity program writes and reads (--kl-divergence-base),
// and is whole or not there.
//
//   file = "_logits_" n_ctx:i32 vocab_size:i32 n_windows:i32 ids:i32{n_windows * n_ctx} row{n_windows *
//   n_scored} row  = scale:f32 least:f32 code:u16{vocab_size} padding to four bytes
// A log probability is least + scale * code; 65,535 is the likeliest token's, and what is 16 nats below has
// 0.
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

/// Codes `logits` into `codes`, of their size. False when a logit is not finite: the row is then of no use.
bool code_row(std::span<const float> logits, std::span<std::uint16_t> codes, CodedRow& row) noexcept;

/// Writes such a file, row by row.
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

/// Reads one. Immutable; rows point into the mapped file and may be taken by many threads.
class SavedLogits {
 public:
  /// Throws Error{kIo, kBadMagic, kTruncated, kMalformed} naming the file.
  explicit SavedLogits(const std::string& path);

  std::size_t n_ctx() const noexcept { return n_ctx_; }
  std::size_t vocab_size() const noexcept { return vocab_size_; }
  std::size_t n_windows() const noexcept { return n_windows_; }
  /// Of all windows.
  const std::vector<std::int32_t>& ids() const noexcept { return ids_; }
  /// Row `i` of all windows, in order.
  CodedRow row(std::size_t i) const noexcept;
  /// Throws Error{kNotFinite} where row `i` has a scale or a least that is no number.
  void check(std::size_t i) const;
  /// Rows before `i` are done with.
  void forget_before(std::size_t i) const noexcept;

 private:
  std::size_t row_bytes() const noexcept { return 8 + (vocab_size_ + 1) / 2 * 4; }
  std::string path_;
  MappedFile map_;
  std::size_t n_ctx_ = 0, vocab_size_ = 0, n_windows_ = 0, rows_at_ = 0;
  std::vector<std::int32_t> ids_;
};

}  // namespace gemma::perplexity
