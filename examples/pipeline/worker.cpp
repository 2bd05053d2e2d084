#include "examples/pipeline/worker.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "examples/numbers.hpp"
#include "gemma/plan.hpp"

namespace gemma::app {
namespace {

/// The peak memory of this process (VmHWM); 0 if the system does not say.
std::size_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("VmHWM:")) continue;  // "VmHWM:      1234 kB"
    const std::size_t begin = std::min(line.find_first_of("0123456789"), line.size());
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    return parse_number<std::size_t>(std::string_view(line).substr(begin, end - begin)).value_or(0) * 1024;
  }
  return 0;
}

/// From this number of tokens per step on, pages of the embedding are released after the step.
constexpr std::size_t kManyTokens = 16;

}  // namespace

Worker::Worker(const Model& model, const StageOptions& options, const SamplerOptions& sampler, int rank,
               Mailbox& mailbox)
    : stage_(model, options), rank_(rank), mailbox_(mailbox) {
  if (stage_.is_last()) {
    samplers_.assign(options.max_sequences, Sampler(sampler));
    answering_.assign(options.max_sequences, false);
  }
  stage_.read_ahead();
  stage_.give_back_embeddings();  // the checksum has mapped some of their pages
}

void Worker::run(const Step& step, const std::atomic<bool>& cancel) {
  const auto begin = std::chrono::steady_clock::now();
  const std::span<const float> rows = stage_.forward(step.chunks(), step.rows, &cancel);
  if (step.tokens.size() >= kManyTokens) stage_.give_back_embeddings();
  busy_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (stage_.is_last()) return finish(step, rows);
  mailbox_.send(rank_ + 1, Kind::kStep, step.encode(rows));
}

void Worker::finish(const Step& step, std::span<const float> logits) {
  const std::size_t vocab = stage_.model().config().vocab_size;
  std::vector<std::int32_t> chosen;
  std::span<const std::int32_t> ids = step.tokens;
  for (const Step::Part& part : step.parts) {
    // the repeat penalty sees the prompt; a sampler knows the tokens that it chose
    if (!answering_.at(part.sequence)) samplers_.at(part.sequence).note(ids.first(part.n_tokens));
    ids = ids.subspan(part.n_tokens);
    const std::size_t n_rows = part.logits == Logits::kAll ? part.n_tokens : part.logits == Logits::kLast;
    for (std::size_t i = 0; i < n_rows; ++i, logits = logits.subspan(vocab)) {
      const std::span<const float> row = logits.first(vocab);
      if (step.wanted == Wanted::kToken) {
        chosen.push_back(samplers_.at(part.sequence).sample(row));
        answering_.at(part.sequence) = true;
      } else {
        const auto bytes = std::as_bytes(row);
        mailbox_.send(0, Kind::kRow, {bytes.begin(), bytes.end()});
      }
    }
  }
  mailbox_.send(0, Kind::kResult, Writer().put_list(std::span(std::as_const(chosen))).take());
}

Stats Worker::stats() const {
  const StageOptions& o = stage_.options();
  const MemoryPlan plan = plan_stage(stage_.model(), o);
  return {o.layer_begin, o.layer_end,  plan.file_bytes, plan.kv_bytes + plan.workspace_bytes,
          peak_bytes(),  busy_seconds_};
}

}  // namespace gemma::app
