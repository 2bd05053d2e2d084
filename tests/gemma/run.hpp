// Runs models in tests: from memory, with the logits of all positions, in chunks or at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gemma/model.hpp"
#include "tests/gemma/model_file.hpp"

namespace gemma::test {

/// A model whose file is in memory. Movable: the bytes keep their address.
class MemoryModel {
 public:
  explicit MemoryModel(const ModelFile& file, const ModelOptions& options = {})
      : bytes_(file.bytes()), model_(Model::from(gguf::File::from_memory(bytes_, "test.gguf"), options)) {}

  const Model& operator*() const noexcept { return model_; }
  const Model* operator->() const noexcept { return &model_; }

 private:
  std::vector<std::byte> bytes_;
  Model model_;
};

/// Logits of every position, [n_tokens, vocab_size], computed in chunks of `chunk` by `threads` threads.
inline std::vector<float> logits_in_chunks(const Model& model, const std::vector<std::int32_t>& ids,
                                           std::size_t chunk, unsigned threads, KvType kv = KvType::kF16) {
  const std::size_t most = std::min(chunk, ids.size());
  KvCache cache = model.make_cache({.n_ctx = ids.size(), .type = kv, .max_chunk = most});
  Workspace ws = model.make_workspace({.max_tokens = most, .max_logit_rows = most, .n_threads = threads});
  std::vector<float> out;
  for (std::size_t i = 0; i < ids.size(); i += most) {
    const Chunk c{std::span(ids).subspan(i, std::min(most, ids.size() - i)), &cache, Logits::kAll};
    const auto logits = model.forward({&c, 1}, ws);
    out.insert(out.end(), logits.begin(), logits.end());
  }
  return out;
}

/// Logits of every position, in one chunk, by one thread, since tests run in parallel.
inline std::vector<float> all_logits(const Model& model, const std::vector<std::int32_t>& ids,
                                     KvType kv = KvType::kF16) {
  return logits_in_chunks(model, ids, ids.size(), 1, kv);
}

}  // namespace gemma::test
