#include "examples/squad/engine_source.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "examples/chat_template_flag.hpp"
#include "gemma/gemma.hpp"

namespace gemma::squad {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRepeatLast = 64;
/// Default limit of answers at once: with more, the time of a forward pass grows in proportion to its work.
constexpr std::size_t kMostAtOnce = 32;

/// The type that most of the weights' bytes are of, e.g. "Q4_K".
std::string main_type(const gguf::File& file) {
  std::map<std::string, std::size_t> bytes;
  for (const TensorView& tensor : file.tensors()) bytes[tensor.type_name()] += tensor.data.size();
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& type) { return type.second; });
  return most == bytes.end() ? "" : most->first;
}

/// Bytes that this process can use before others are swapped out: what the system reports as available,
/// within the limit of its control group. 0: not known.
std::size_t available_memory() {
  std::size_t available = 0;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string word; available == 0 && meminfo >> word;) {
    if (word == "MemAvailable:" && meminfo >> available) available *= 1024;
  }
  for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::size_t limit = 0;
    if (std::ifstream(file) >> limit) available = std::min(available, limit);
  }
  return available;
}

class EngineSource : public AnswerSource {
 public:
  EngineSource(const ModelSpec& spec, const app::EngineFlags& flags)
      : model_(load(spec, flags)), options_(flags.session_options()) {
    if (model_.has_tokenizer()) chat_ = ChatTemplate::from(model_.vocab(), spec.chat_template);
  }

  ModelFacts facts() const override {
    const ModelConfig& config = model_.config();
    const std::string name = config.name.empty() ? std::string() : fmt::format("{}: ", config.name);
    return {fmt::format("{}{}, {} layers, {:.3g} billion parameters, mostly {}", name, config.architecture,
                        config.n_layers(), static_cast<double>(model_.file().n_elements()) / 1e9,
                        main_type(model_.file())),
            config.max_seq_len, chat_ ? std::string(chat_->dialect().name) : "",
            chat_ ? app::chat_template_note(*chat_) : "", model_.notes()};
  }

  std::size_t count_tokens(const Prompt& prompt) const override { return encode(prompt).size(); }

  std::size_t most_at_once(std::size_t n) const override {
    std::size_t limit = options_.max_memory;
    if (limit == 0) {  // half of the available memory, without the file
      const std::size_t file = model_.file().size_bytes();
      limit = file + (available_memory() - std::min(file, available_memory())) / 2;
    }
    std::size_t batch = kMostAtOnce;
    while (batch > 1 && plan_batch(model_, batch_options(n, batch, 0)).total_bytes() > limit) --batch;
    return batch;
  }

  void reserve(std::size_t n, std::size_t batch) override {
    session_.reset();
    batch_.reset();
    if (batch == 1) {
      session_.emplace(model_, batch_options(n, 1, options_.max_memory));
    } else {
      batch_.emplace(model_, batch_options(n, batch, options_.max_memory));
    }
  }

  void ask(std::span<const Query> queries, bool share, const std::atomic<bool>& cancel,
           const std::function<void(std::size_t, Answer)>& done) override {
    try {
      if (batch_) return ask_together(queries, cancel, done);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        Answer answer = ask_alone(queries[i], share, cancel);
        if (cancel.load()) return;
        done(i, std::move(answer));
      }
    } catch (const Error& error) {
      if (error.code() != EngineErrorCode::kCancelled) throw;
    }
  }

  double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
    session_->set_tokens(encode(prompt));
    const std::vector<double> scores =
        session_->score(model_.tokenizer().encode(continuation, {.add_bos = false}));
    return std::accumulate(scores.begin(), scores.end(), 0.0);
  }

 private:
  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  static Model load(const ModelSpec& spec, app::EngineFlags flags) {
    flags.model = spec.file.string();
    flags.window = spec.window;
    flags.adapters = spec.adapters;
    return flags.load();
  }

  std::vector<TokenId> encode(const Prompt& prompt) const {
    const Tokenizer& tokenizer = model_.tokenizer();
    if (!prompt.chat) return tokenizer.encode(prompt.text);
    const Message message{"user", prompt.text};
    return chat_->encode(tokenizer, {&message, 1});
  }

  EngineOptions batch_options(std::size_t n, std::size_t batch, std::size_t max_memory) const {
    EngineOptions options = options_;
    options.max_sequences = batch;
    options.n_ctx = n;
    options.max_memory = max_memory;
    return options;
  }

  static Sampler sampler_of(const Sampling& sampling) {
    return Sampler({.temperature = static_cast<float>(sampling.temperature),
                    .top_k = static_cast<std::size_t>(sampling.top_k),
                    .top_p = static_cast<float>(sampling.top_p),
                    .repeat_penalty = static_cast<float>(sampling.repeat_penalty),
                    .repeat_last = kRepeatLast,
                    .seed = sampling.seed});
  }

  static GenerateOptions until(const Sampling& sampling, const std::atomic<bool>& cancel) {
    return {.max_tokens = sampling.max_tokens, .cancel = &cancel};
  }

  static void take(GenerateResult result, Answer& answer) {
    answer.text = std::move(result.text);
    answer.stop = to_string(result.reason);
    answer.tokens = result.tokens.size();
    answer.timing.drafted = result.n_drafted;
    answer.timing.accepted = result.n_accepted;
  }

  /// Answers one query alone. The answer is incomplete if it was cancelled.
  Answer ask_alone(const Query& query, bool share, const std::atomic<bool>& cancel) {
    const auto begin = Clock::now();
    const std::vector<TokenId> tokens = encode(query.prompt);
    if (!share) session_->reset();
    Answer answer;
    answer.prompt_tokens = tokens.size();
    Timing& timing = answer.timing;
    const PrefillResult prefill = session_->set_tokens(tokens, {.cancel = &cancel});
    timing.prefill_s = prefill.seconds;
    timing.cached_tokens = prefill.n_reused;
    const double before = seconds_since(begin);
    Sampler sampler = sampler_of(query.sampling);
    GenerateResult result = session_->generate(sampler, until(query.sampling, cancel));
    timing.first_token_s = before + result.first_token_seconds;
    timing.decode_s = result.seconds - result.first_token_seconds;
    take(std::move(result), answer);
    timing.total_s = timing.share_s = seconds_since(begin);
    timing.forwards = static_cast<double>(answer.tokens - std::min(answer.tokens, timing.accepted));
    return answer;
  }

  static constexpr Batch::Id kGone = 0;  // no sequence has this id
  /// A query that is being answered.
  struct Running {
    std::size_t query = 0;
    Batch::Id id = 0;
    Answer answer = {};
  };

  Answer leave(Running& running) {
    Timing& timing = running.answer.timing;
    timing.cached_tokens = batch_->n_reused(running.id);
    GenerateResult result = batch_->take(std::exchange(running.id, kGone));
    timing.total_s = result.seconds;
    timing.first_token_s = result.first_token_seconds;
    take(std::move(result), running.answer);
    return std::move(running.answer);
  }

  void ask_together(std::span<const Query> queries, const std::atomic<bool>& cancel,
                    const std::function<void(std::size_t, Answer)>& done) {
    std::vector<Running> running;
    for (std::size_t next = 0; next < queries.size() || !running.empty();) {
      while (next < queries.size() && running.size() < batch_->max_sequences()) {
        const auto begin = Clock::now();
        const Query& query = queries[next];
        const std::vector<TokenId> tokens = encode(query.prompt);
        const auto id = batch_->add(tokens, sampler_of(query.sampling), until(query.sampling, cancel));
        Answer& answer = running.emplace_back(Running{next++, id}).answer;
        answer.prompt_tokens = tokens.size();
        answer.timing.batch = batch_->max_sequences();
        answer.timing.share_s = seconds_since(begin);
      }
      const auto begin = Clock::now();
      batch_->step(&cancel);
      if (cancel.load()) return;
      const double part = 1 / static_cast<double>(running.size()), seconds = seconds_since(begin);
      for (Running& r : running) {
        r.answer.timing.share_s += seconds * part;
        r.answer.timing.forwards += part;
        if (batch_->ended(r.id)) done(r.query, leave(r));
      }
      std::erase_if(running, [](const Running& r) { return r.id == kGone; });
    }
  }

  Model model_;
  EngineOptions options_;
  std::optional<ChatTemplate> chat_;  // empty if the file has no vocabulary
  std::optional<Session> session_;    // for one answer at a time, or
  std::optional<Batch> batch_;        // for several
};

}  // namespace

SourceFactory engine_factory(const app::EngineFlags& flags) {
  app::kernel_table(flags.isa);  // reports an error now, not at the first model
  return [flags](const ModelSpec& spec) { return std::make_unique<EngineSource>(spec, flags); };
}

std::string describe_machine(const app::EngineFlags& flags) {
  const unsigned threads = flags.threads != 0 ? flags.threads : physical_core_count();
  return fmt::format("{}, {} thread{}", app::kernel_table(flags.isa).name, threads, threads == 1 ? "" : "s");
}

}  // namespace gemma::squad
