// A slow, plain decoder in double precision, with which the engine's answers are compared. It reads the parts
// of a test's model, is written from the papers and the facts of each architecture, and shares no code with
// gemma/ except the decoding of weight blocks (which golden blocks test).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tests/gemma/model_file.hpp"

namespace gemma::test {

class Oracle {
 public:
  Oracle(const Shape& shape, const ModelFile& file) : s_(shape), weights_(decoded_tensors(file)) {}

  /// Logits of every position, [n_tokens, vocab_size].
  std::vector<double> logits(std::span<const std::int32_t> tokens) const;

  /// The mean of the hidden states through the linear layers, of length 1 (sentence-transformers' modules).
  std::vector<double> embedding(std::span<const std::int32_t> tokens) const;

  /// Final hidden states of every position after the output norm: [n_tokens, d_model].
  std::vector<double> hidden(std::span<const std::int32_t> tokens) const;

 private:
  using Rows = std::vector<double>;

  static double capped(double x, double cap);

  /// RMSNorm (Zhang & Sennrich 2019) of each row of w.size() numbers.
  Rows norm(const Rows& x, const Rows& w) const;

  /// y[n, rows] = x[n, cols] * w[rows, cols]^T
  static Rows times(const Rows& x, const Rows& w, std::size_t cols, std::size_t rows);

  bool slides(std::size_t l) const;

  /// RoPE (Su et al. 2021): Gemma files rotate (i, i + head_dim / 2), llama files (2i, 2i + 1).
  void rotate(Rows& x, std::size_t n_heads, std::size_t l) const;

  /// softmax(q k^T scale) v over the visible positions; query head h uses key/value head h / group.
  Rows attention(const Rows& q, const Rows& k, const Rows& v, std::size_t l) const;

  /// gelu_tanh (Hendrycks & Gimpel 2016) for Gemma, SiLU for the others.
  double activation(double x) const;

  void layer(std::size_t l, Rows& x) const;

  Shape s_;
  std::map<std::string, Rows> weights_;
  mutable std::size_t n_ = 0;  // tokens of the call
};

}  // namespace gemma::test
