// The configuration of EmbeddingGemma. Source: the published configuration, the model card and the keys that
// converters write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gemma.hpp"
#include "keys.hpp"

namespace gemma::families {

/// Whether a file of architecture gemma3 is an EmbeddingGemma, as Ollama's conversion writes it.
inline bool is_embedding_gemma(const Keys& keys) {
  return keys.file().find_tensor("dense.0.weight") != nullptr ||
         keys.file().find_tensor("dense_2.weight") != nullptr;
}

/// The linear layers after pooling, in files whose converter included them.
inline void read_dense(const Keys& keys, ModelConfig& c) {
  constexpr const char* kNames[][2] = {{"dense_2", "dense.0"}, {"dense_3", "dense.1"}};
  for (const auto& [name, other] : kNames) {
    const char* found = name;
    const TensorView* t = keys.file().find_tensor(std::string(name) + ".weight");
    if (t == nullptr) t = keys.file().find_tensor(std::string(found = other) + ".weight");
    if (t == nullptr) break;
    const std::string key = std::string(name) + "_feat_out";
    if (const std::uint64_t width = keys.count_or(key, t->rows); width != t->rows) {
      keys.malformed(key, std::to_string(width),
                     std::to_string(t->rows) + ", the rows of tensor " + gemma::quoted(t->name) + ",");
    }
    c.embedding.dense.push_back({found, t->rows});
  }
  if (!c.embedding.dense.empty()) return;
  c.notes.push_back(
      "the linear layers after pooling (tensors dense_2 and dense_3) are missing: its vectors cannot be "
      "compared with those of files that have them");
}

/// Gemma 3's layers with bidirectional attention and without logits. The window key gives the full width: a
/// token of a sliding layer sees half of it on each side.
inline ModelConfig read_embedding_gemma(const Keys& keys, const Overrides& overrides) {
  ModelConfig c = read_gemma_base(keys, overrides);
  c.post_norms = true;
  c.has_head = false;
  if (const std::uint64_t type = keys.count_or("pooling_type", 0); type > 3) {
    keys.unsupported("pooling_type", "is " + std::to_string(type));
  }
  c.embedding.pooling = pooling_or(keys, Pooling::kMean);
  c.embedding.adds_eos = true;
  c.embedding.query_prompt = "task: search result | query: ";
  c.embedding.document_prompt = "title: none | text: ";
  read_dense(keys, c);
  const std::size_t window = sliding_window(keys, overrides, 512);
  const RopeConfig global{
      .base = keys.positive_or(keys.either("rope.freq_base", "rope.global.freq_base"), 1000000.0f),
      .scale = rope_scale(keys)};
  const RopeConfig local{
      .base = keys.positive_or(keys.either("rope.freq_base_swa", "rope.local.freq_base"), 10000.0f)};
  const std::vector<bool> slides = sliding_layers(keys, c.n_layers(), 6);
  for (std::size_t i = 0; i < c.n_layers(); ++i) {
    AttentionConfig& a = c.layers[i].attention;
    const bool has_window = slides[i] && window != 0;
    a.qk_norm = true;
    a.ahead = has_window ? window / 2 : ModelConfig::kMostPositions;
    set_position(c, c.layers[i], has_window ? window / 2 + 1 : 0, slides[i] ? local : global);
  }
  return c;
}

}  // namespace gemma::families
