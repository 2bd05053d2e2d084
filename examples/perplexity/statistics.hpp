// Statistics of scored tokens: perplexity, and how much one model's predictions differ from another's.
// Invariant: sums run in double in the order of the tokens, whichever thread computed them.
#pragma once

#include <cstddef>
#include <vector>

#include "examples/perplexity/saved_logits.hpp"

namespace gemma::perplexity {

/// A mean with its standard error, treating tokens as independent.
class Mean {
 public:
  void add(double x) noexcept {
    ++n_;
    sum_ += x;
    squares_ += x * x;
  }
  std::size_t count() const noexcept { return n_; }
  double mean() const noexcept { return n_ == 0 ? 0 : sum_ / static_cast<double>(n_); }
  double error() const noexcept;

 private:
  std::size_t n_ = 0;
  double sum_ = 0, squares_ = 0;
};

/// The results of one token.
struct TokenResult {
  double loss = 0;        // -log p of the token
  double base_loss = 0;   // loss of the other model
  double divergence = 0;  // KL(base || this): sum of p_base * log(p_base / p)
  double p_change = 0;    // p - p_base of the token
  bool same_top = false;  // both models have the same likeliest token
  bool finite = true;
};

/// Compares a row with that of the other model.
void compare(const CodedRow& row, const CodedRow& base, std::size_t id, TokenResult& result) noexcept;

/// The `part` quantile (0 to 1) of the values; sorts them.
double quantile(std::vector<double>& values, double part);

}  // namespace gemma::perplexity
