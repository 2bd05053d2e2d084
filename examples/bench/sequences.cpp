#include "examples/bench/sequences.hpp"

#include <algorithm>
#include <memory>
#include <span>

namespace gemma::bench {

Sequences::Sequences(const Model& model, const SequencesOptions& options)
    : model_(model),
      ws_(model.make_workspace({.max_tokens = std::min(options.chunk, options.total),
                                .max_logit_rows = options.count,
                                .n_threads = options.threads})) {
  const auto pool = std::make_shared<KvPool>(
      KvLayout(model.config(), {.n_ctx = options.n_ctx, .type = options.kv, .max_chunk = options.chunk}),
      options.count);
  for (std::size_t i = 0; i < options.count; ++i) caches_.emplace_back(pool);
}

void Sequences::clear() noexcept {
  for (KvCache& cache : caches_) cache.truncate(0);
}

void Sequences::read_prompts(std::size_t n, bool shared) {
  const std::size_t total = shared ? n : caches_.size() * n;
  draw(total);
  for (std::size_t done = 0; done < total;) {
    chunks_.clear();
    std::size_t room = ws_.options().max_tokens;
    while (room != 0 && done < total) {
      const std::size_t size = std::min(room, n - done % n);
      const bool last = done % n + size == n;
      chunks_.push_back(
          {std::span(ids_).subspan(done, size), &caches_[done / n], last ? Logits::kLast : Logits::kNone});
      room -= size;
      done += size;
    }
    model_.forward(chunks_, ws_);
  }
  for (std::size_t i = 1; shared && i < caches_.size(); ++i) caches_[i].share(caches_[0], n);
}

void Sequences::step() {
  draw(caches_.size());
  chunks_.clear();
  for (std::size_t i = 0; i < caches_.size(); ++i) {
    chunks_.push_back({std::span(ids_).subspan(i, 1), &caches_[i], Logits::kLast});
  }
  model_.forward(chunks_, ws_);
}

void Sequences::draw(std::size_t n) {
  ids_.resize(std::max(ids_.size(), n));
  for (std::size_t i = 0; i < n; ++i) {
    ids_[i] = static_cast<std::int32_t>(random_.next() % model_.config().vocab_size);
  }
}

}  // namespace gemma::bench
