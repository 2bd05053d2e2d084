#include "examples/squad/engine_source.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "examples/chat_template_flag.hpp"
#include "examples/engine_flags.hpp"
#include "gemma/gemma.hpp"

namespace gemma::squad {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRepeatLast = 64;

/// The type that most of the weights' bytes are of, e.g. "Q4_K".
std::string main_type(const gguf::File& file) {
  std::map<std::string, std::size_t> bytes;
  for (const TensorView& tensor : file.tensors()) bytes[tensor.type_name()] += tensor.data.size();
  std::string best;
  for (const auto& [name, size] : bytes) {
    if (best.empty() || size > bytes[best]) best = name;
  }
  return best;
}

class EngineSource : public AnswerSource {
 public:
  EngineSource(const ModelSpec& spec, const EngineOptions& options)
      : options_(options), model_(load(spec, options)) {
    if (model_.has_tokenizer()) chat_ = ChatTemplate::from(model_.vocab(), spec.chat_template);
  }

  ModelFacts facts() const override {
    const ModelConfig& config = model_.config();
    std::size_t parameters = 0;
    for (const TensorView& tensor : model_.file().tensors()) parameters += tensor.rows * tensor.cols;
    const std::string name = config.name.empty() ? std::string() : fmt::format("{}: ", config.name);
    return {fmt::format("{}{}, {} layers, {:.3g} billion parameters, mostly {}", name, config.architecture,
                        config.n_layers(), static_cast<double>(parameters) / 1e9, main_type(model_.file())),
            config.max_seq_len, chat_ ? std::string(chat_->dialect().name) : "",
            chat_ ? app::chat_template_note(*chat_) : "", model_.notes()};
  }

  std::size_t count_tokens(const Prompt& prompt) const override { return encode(prompt).size(); }

  void reserve(std::size_t n) override {
    SessionOptions options;
    options.n_ctx = n;
    options.kv_type = options_.kv;
    options.n_threads = options_.threads;
    options.max_memory = options_.max_memory;
    session_.emplace(model_, options);
  }

  Answer ask(const Prompt& prompt, const Sampling& sampling, bool share,
             const std::atomic<bool>& cancel) override {
    const auto begin = Clock::now();
    const std::vector<TokenId> tokens = encode(prompt);
    if (!share) session_->reset();
    Answer answer;
    answer.prompt_tokens = tokens.size();
    try {
      const PrefillResult prefill = session_->set_tokens(tokens, {.cancel = &cancel});
      answer.timing.prefill_s = prefill.seconds;
      answer.timing.cached_tokens = prefill.n_reused;
      generate(tokens, sampling, seconds_since(begin), cancel, answer);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      answer.stop = to_string(StopReason::kCancelled);
    }
    answer.timing.total_s = seconds_since(begin);
    return answer;
  }

  double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
    session_->set_tokens(encode(prompt));
    const std::vector<double> scores = session_->score(model_.tokenizer().encode(continuation));
    return std::accumulate(scores.begin(), scores.end(), 0.0);
  }

 private:
  static double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  static Model load(const ModelSpec& spec, const EngineOptions& options) {
    ModelOptions model;
    model.kernels = &app::kernel_table(options.isa);
    model.window = spec.window;
    return Model::load(spec.file.string(), model);
  }

  std::vector<TokenId> encode(const Prompt& prompt) const {
    const Tokenizer& tokenizer = model_.tokenizer();
    if (!prompt.chat) return tokenizer.encode(prompt.text, {.add_bos = tokenizer.vocab().add_bos()});
    const Message message{"user", prompt.text};
    return chat_->encode(tokenizer, {&message, 1});
  }

  void generate(const std::vector<TokenId>& prompt, const Sampling& sampling, double before,
                const std::atomic<bool>& cancel, Answer& answer) {
    SamplerOptions options;
    options.temperature = static_cast<float>(sampling.temperature);
    options.top_k = static_cast<std::size_t>(sampling.top_k);
    options.top_p = static_cast<float>(sampling.top_p);
    options.repeat_penalty = static_cast<float>(sampling.repeat_penalty);
    options.repeat_last = kRepeatLast;
    options.seed = sampling.seed;
    Sampler sampler(options);
    const std::size_t recent = std::min(prompt.size(), kRepeatLast);
    for (std::size_t i = prompt.size() - recent; i < prompt.size(); ++i) sampler.note(prompt[i]);
    GenerateOptions until;
    until.max_tokens = sampling.max_tokens;
    until.cancel = &cancel;
    GenerateResult result = session_->generate(sampler, until);
    answer.text = std::move(result.text);
    answer.stop = to_string(result.reason);
    answer.tokens = result.tokens.size();
    answer.timing.first_token_s = before + result.first_token_seconds;
    answer.timing.decode_s = result.seconds - result.first_token_seconds;
  }

  EngineOptions options_;
  Model model_;
  std::optional<ChatTemplate> chat_;  // unless the file holds no vocabulary
  std::optional<Session> session_;
};

}  // namespace

EngineOptions engine_options(const app::EngineFlags& flags) {
  return {flags.isa, flags.threads, flags.kv, flags.max_memory};
}

SourceFactory engine_factory(const EngineOptions& options) {
  app::kernel_table(options.isa);  // an error now rather than at the first model
  return [options](const ModelSpec& spec) { return std::make_unique<EngineSource>(spec, options); };
}

std::string describe_machine(const EngineOptions& options) {
  const unsigned threads = options.threads != 0 ? options.threads : physical_core_count();
  return fmt::format("{}, {} thread{}", app::kernel_table(options.isa).name, threads,
                     threads == 1 ? "" : "s");
}

}  // namespace gemma::squad
