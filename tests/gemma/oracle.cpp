#include "tests/gemma/oracle.hpp"

#include <algorithm>
#include <cmath>

namespace gemma::test {

std::vector<double> Oracle::logits(std::span<const std::int32_t> tokens) const {
  Rows out = times(hidden(tokens), weights_.at(s_.separate_output ? "output.weight" : "token_embd.weight"),
                   s_.d_model, s_.vocab_size);
  for (double& y : out) y = capped(y, s_.logit_softcap);
  return out;
}

std::vector<double> Oracle::embedding(std::span<const std::int32_t> tokens) const {
  const std::vector<double> rows = hidden(tokens);
  Rows u(s_.d_model);
  for (std::size_t i = 0; i < rows.size(); ++i) u[i % s_.d_model] += rows[i];
  for (double& x : u) x /= static_cast<double>(tokens.size());
  for (std::size_t i = 0; i < s_.dense.size(); ++i) {
    const std::string name = s_.ollama ? "dense." + std::to_string(i) : "dense_" + std::to_string(i + 2);
    u = times(u, weights_.at(name + ".weight"), u.size(), s_.dense[i]);
  }
  double squares = 0;
  for (const double x : u) squares += x * x;
  for (double& x : u) x /= std::sqrt(squares);
  return u;
}

std::vector<double> Oracle::hidden(std::span<const std::int32_t> tokens) const {
  n_ = tokens.size();
  const auto& embedding = weights_.at("token_embd.weight");
  Rows x(n_ * s_.d_model);
  for (std::size_t t = 0; t < n_; ++t) {
    for (std::size_t i = 0; i < s_.d_model; ++i) {
      x[t * s_.d_model + i] = embedding[static_cast<std::size_t>(tokens[t]) * s_.d_model + i] *
                              (s_.is_gemma() ? std::sqrt(static_cast<double>(s_.d_model)) : 1.0);
    }
  }
  for (std::size_t l = 0; l < s_.n_layers; ++l) layer(l, x);
  return norm(x, weights_.at("output_norm.weight"));
}

double Oracle::capped(double x, double cap) {
  return cap == 0 ? x : cap * std::tanh(x / cap);
}

Oracle::Rows Oracle::norm(const Rows& x, const Rows& w) const {
  Rows y(x.size());
  for (std::size_t row = 0; row < x.size(); row += w.size()) {
    double squares = 0;
    for (std::size_t i = 0; i < w.size(); ++i) squares += x[row + i] * x[row + i];
    const double r = 1 / std::sqrt(squares / static_cast<double>(w.size()) + static_cast<double>(s_.rms_eps));
    for (std::size_t i = 0; i < w.size(); ++i) y[row + i] = x[row + i] * r * w[i];
  }
  return y;
}

Oracle::Rows Oracle::times(const Rows& x, const Rows& w, std::size_t cols, std::size_t rows) {
  const std::size_t n = x.size() / cols;
  Rows y(n * rows);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t t = 0; t < n; ++t) {
      double sum[4] = {};
      for (std::size_t i = 0; i < cols; ++i) sum[i % 4] += x[t * cols + i] * w[r * cols + i];
      y[t * rows + r] = sum[0] + sum[1] + sum[2] + sum[3];
    }
  }
  return y;
}

bool Oracle::slides(std::size_t l) const {
  if (s_.architecture == "gemma2") return l % 2 == 0;
  if (s_.architecture == "gemma3" || s_.embeds()) return l % 6 != 5;
  return true;
}

void Oracle::rotate(Rows& x, std::size_t n_heads, std::size_t l) const {
  const bool third = s_.architecture == "gemma3" || s_.embeds();
  const bool local = third && slides(l);
  double base = third ? 1e6 : 1e4;
  if (s_.rope_base != 0) base = static_cast<double>(s_.rope_base);
  if (local) base = 1e4;
  const double scale = s_.rope_factor == 0 || local ? 1.0 : 1.0 / static_cast<double>(s_.rope_factor);
  const std::size_t half = s_.head_dim / 2;
  for (std::size_t t = 0; t < n_; ++t) {
    for (std::size_t h = 0; h < n_heads; ++h) {
      double* head = x.data() + (t * n_heads + h) * s_.head_dim;
      for (std::size_t i = 0; i < half; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(s_.head_dim);
        double frequency = scale * std::pow(base, exponent);
        if (s_.rope_factors) frequency /= weights_.at("rope_freqs.weight")[i];
        const double angle = static_cast<double>(t) * frequency;
        double& a = head[s_.rotates_halves() ? i : 2 * i];
        double& b = head[s_.rotates_halves() ? i + half : 2 * i + 1];
        const double a0 = a;
        a = a0 * std::cos(angle) - b * std::sin(angle);
        b = a0 * std::sin(angle) + b * std::cos(angle);
      }
    }
  }
}

Oracle::Rows Oracle::attention(const Rows& q, const Rows& k, const Rows& v, std::size_t l) const {
  const std::size_t hd = s_.head_dim;
  const std::size_t window = slides(l) ? s_.window : 0;
  const double scale = 1 / std::sqrt(static_cast<double>(hd));
  Rows out(n_ * s_.n_heads * hd);
  Rows scores(n_);
  for (std::size_t t = 0; t < n_; ++t) {
    std::size_t first = window == 0 || t < window ? 0 : t + 1 - window;
    std::size_t last = t;
    if (s_.embeds()) {  // |t - j| <= window / 2, in both directions
      first = window == 0 || t < window / 2 ? 0 : t - window / 2;
      last = window == 0 ? n_ - 1 : std::min(n_ - 1, t + window / 2);
    }
    for (std::size_t h = 0; h < s_.n_heads; ++h) {
      const std::size_t kv = h / (s_.n_heads / s_.n_kv_heads);
      double most = -HUGE_VAL;
      for (std::size_t j = first; j <= last; ++j) {
        double dot = 0;
        for (std::size_t d = 0; d < hd; ++d)
          dot += q[(t * s_.n_heads + h) * hd + d] * k[(j * s_.n_kv_heads + kv) * hd + d];
        scores[j] = capped(dot * scale, s_.attention_softcap);
        most = std::max(most, scores[j]);
      }
      double sum = 0;
      for (std::size_t j = first; j <= last; ++j) sum += scores[j] = std::exp(scores[j] - most);
      for (std::size_t j = first; j <= last; ++j) {
        for (std::size_t d = 0; d < hd; ++d)
          out[(t * s_.n_heads + h) * hd + d] += scores[j] / sum * v[(j * s_.n_kv_heads + kv) * hd + d];
      }
    }
  }
  return out;
}

double Oracle::activation(double x) const {
  if (!s_.is_gemma()) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

void Oracle::layer(std::size_t l, Rows& x) const {
  auto w = [&](const char* name) -> const Rows& {
    return weights_.at("blk." + std::to_string(l) + "." + name + ".weight");
  };
  auto add = [&x](const Rows& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  const std::size_t q_width = s_.n_heads * s_.head_dim;
  const std::size_t kv_width = s_.n_kv_heads * s_.head_dim;
  Rows h = norm(x, w("attn_norm"));
  Rows q = times(h, w("attn_q"), s_.d_model, q_width);
  Rows k = times(h, w("attn_k"), s_.d_model, kv_width);
  const Rows v = times(h, w("attn_v"), s_.d_model, kv_width);
  if (s_.qk_norm()) q = norm(q, w("attn_q_norm"));
  if (s_.qk_norm()) k = norm(k, w("attn_k_norm"));
  rotate(q, s_.n_heads, l);
  rotate(k, s_.n_kv_heads, l);
  Rows out = times(attention(q, k, v, l), w("attn_output"), q_width, s_.d_model);
  if (s_.post_norms()) out = norm(out, w("post_attention_norm"));
  add(out);
  h = norm(x, w("ffn_norm"));
  Rows gate = times(h, w("ffn_gate"), s_.d_model, s_.d_ff);
  const Rows up = times(h, w("ffn_up"), s_.d_model, s_.d_ff);
  for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = activation(gate[i]) * up[i];
  out = times(gate, w("ffn_down"), s_.d_ff, s_.d_model);
  if (s_.post_norms()) out = norm(out, w("post_ffw_norm"));
  add(out);
}

}  // namespace gemma::test
