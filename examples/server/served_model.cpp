#include "examples/server/served_model.hpp"

#include <algorithm>

#include "examples/server/api_error.hpp"
#include "gemma/engine_error_code.hpp"
#include "gemma/plan.hpp"
#include "tokenizer/sampling_defaults.hpp"

namespace gemma::server {
namespace {

Model load(const std::string& path, const app::EngineFlags& flags) {
  app::EngineFlags own = flags;
  own.model = path;
  return own.load();
}

}  // namespace

ServedModel::ServedModel(std::string name, const std::string& path, const ServingOptions& options,
                         std::size_t room)
    : name_(std::move(name)),
      options_(options),
      room_(room),
      model_(load(path, options.engine)),
      chat_(ChatTemplate::from(model_.vocab(), options.chat_template)),
      sampling_(sampling_defaults(model_.file(), chat_->dialect())) {
  if (!model_.config().has_head) {  // only embeds: report now if that is not supported
    const std::lock_guard lock(embedding_);
    n_ctx_ = embedder().n_ctx();
    return;
  }
  SchedulerOptions scheduling;
  scheduling.engine = options.engine.session_options();
  scheduling.engine.max_sequences = options.parallel;
  scheduling.engine.max_prompt_tokens = SchedulerOptions{}.engine.max_prompt_tokens;
  const MemoryPlan plan = plan_batch(model_, scheduling.engine);
  if (room_ != 0 && plan.total_bytes() > room_) {
    throw Error(ErrorCode::kOutOfMemory, path + ": needs " + std::to_string(plan.total_bytes()) + " bytes; " +
                                             std::to_string(room_) + " are available");
  }
  scheduling.engine.n_ctx = plan.n_ctx;
  scheduler_.emplace(model_, scheduling);
  n_ctx_ = plan.n_ctx;
  memory_bytes_ = plan.total_bytes();
}

Scheduler& ServedModel::scheduler() {
  if (!scheduler_) {
    throw ApiError(400, "the model '" + name_ + "' produces text embeddings and cannot generate text",
                   "model");
  }
  return *scheduler_;
}

namespace {

Grammar grammar_of(const Constraint& constraint) {
  const bool is_grammar = constraint.kind == Constraint::Kind::kGrammar;
  try {
    if (constraint.kind == Constraint::Kind::kJsonObject) return Grammar::json_object();
    return is_grammar ? Grammar::gbnf(constraint.text) : Grammar::json_schema(constraint.text);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::kOutOfMemory) throw;
    throw ApiError(400, std::string(e.message()), is_grammar ? "grammar" : "response_format");
  }
}

}  // namespace

GrammarMask ServedModel::mask(const Constraint& constraint) {
  constexpr std::size_t kKept = 4;
  const auto same = [&](const KeptMask& k) {
    return k.constraint.kind == constraint.kind && k.constraint.text == constraint.text;
  };
  std::shared_ptr<const PieceTrie> pieces;
  {
    const std::lock_guard lock(masks_mutex_);
    const auto known = std::find_if(masks_.begin(), masks_.end(), same);
    if (known != masks_.end()) {
      std::rotate(known, known + 1, masks_.end());
      return masks_.back().mask;
    }
    if (!pieces_) pieces_ = PieceTrie::from(model_.tokenizer());
    pieces = pieces_;
  }
  GrammarMask made(grammar_of(constraint), pieces);  // made without the lock, so that others need not wait
  const std::lock_guard lock(masks_mutex_);
  if (masks_.size() == kKept) masks_.erase(masks_.begin());
  masks_.push_back({constraint, made});
  return made;
}

Embedder& ServedModel::embedder() {
  if (embedder_) return *embedder_;
  EmbedderOptions o;
  o.n_ctx = n_ctx_ != 0 ? n_ctx_ : options_.engine.context;
  o.n_threads = options_.engine.threads;
  const std::size_t taken = memory_bytes_.load();  // includes the file once there is a scheduler
  const std::size_t others = taken == 0 ? 0 : taken - model_.file_bytes();
  if (room_ != 0) o.max_memory = room_ > others ? room_ - others : 1;
  const MemoryPlan plan = plan_embedder(model_, o);
  embedder_.emplace(model_, o);
  memory_bytes_ += taken == 0 ? plan.total_bytes() : plan.total_bytes() - plan.file_bytes;
  return *embedder_;
}

std::vector<std::int32_t> ServedModel::encode_for_embedding(const std::string& text) {
  const std::lock_guard lock(embedding_);
  return embedder().encode(text);
}

std::vector<std::vector<float>> ServedModel::embed(std::span<const std::vector<std::int32_t>> texts,
                                                   const std::function<bool()>& give_up) {
  constexpr std::size_t kTokensAtOnce = 2048;
  std::vector<std::vector<float>> out;
  while (!texts.empty()) {
    if (give_up())
      throw Error(EngineErrorCode::kCancelled, "the client left before its vectors were computed");
    std::size_t n = 0;
    for (std::size_t tokens = 0; n < texts.size() && (n == 0 || tokens + texts[n].size() <= kTokensAtOnce);) {
      tokens += texts[n++].size();
    }
    const std::lock_guard lock(embedding_);  // locked for each pass, so that others get their turn
    auto some = embedder().embed_ids(texts.first(n));
    std::move(some.begin(), some.end(), std::back_inserter(out));
    texts = texts.subspan(n);
  }
  return out;
}

ScoredPrompt ServedModel::score(std::span<const std::int32_t> prompt, std::size_t n_top,
                                const std::function<bool()>& give_up) {
  constexpr std::size_t kRows = 32;  // rows of logits at a time: 33 MB for 262,144 tokens
  const std::lock_guard lock(embedding_);
  SessionOptions o;
  o.kv_type = options_.engine.kv;
  o.n_threads = options_.engine.threads;
  o.n_ctx = prompt.size();
  o.chunk = o.logit_rows = std::min(kRows, prompt.size());
  const std::size_t others = memory_bytes_.load() - model_.file_bytes();
  o.max_memory = room_ == 0 ? 0 : room_ > others ? room_ - others : 1;
  Session session(model_, o);
  const std::size_t vocab_size = model_.config().vocab_size;
  const auto told = [n_top](std::span<const float> logits, std::int32_t id) {
    return ScoredPrompt::Token{
        id, log_probability(logits, id),
        n_top == 0 ? std::vector<TokenProbability>() : top_log_probabilities(logits, n_top)};
  };
  ScoredPrompt out;
  std::span<const float> last;
  for (std::size_t at = 0; at < prompt.size();) {
    if (give_up()) throw Error(EngineErrorCode::kCancelled, "the client has left");
    const std::size_t n = std::min(o.logit_rows, prompt.size() - at);
    const std::span<const float> rows = session.append_for_logits(prompt.subspan(at, n));
    for (std::size_t i = 0; i < n; ++i) {
      last = rows.subspan(i * vocab_size, vocab_size);
      if (at + i + 1 < prompt.size()) out.tokens.push_back(told(last, prompt[at + i + 1]));
    }
    at += n;
  }
  const std::span<const TokenId> ends = model_.vocab().stop_ids();
  const auto likelier = [&](TokenId a, TokenId b) {
    return last[static_cast<std::size_t>(a)] < last[static_cast<std::size_t>(b)];
  };
  if (!ends.empty()) out.end = told(last, *std::max_element(ends.begin(), ends.end(), likelier));
  return out;
}

}  // namespace gemma::server
