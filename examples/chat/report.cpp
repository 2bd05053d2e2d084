#include "examples/chat/report.hpp"

#include <cstddef>
#include <filesystem>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/chat_template_flag.hpp"
#include "examples/engine_flags.hpp"

namespace gemma::app {
namespace {

std::string name_of(const Model& model) {
  const std::string& name = model.config().name;
  return name.empty() ? std::filesystem::path(model.file().path()).stem().string() : name;
}

std::string scaled(double value, std::string_view thousand, std::string_view million,
                   std::string_view billion) {
  if (value >= 1e9) return fmt::format("{:.1f} {}", value / 1e9, billion);
  if (value >= 1e6) return fmt::format("{:.1f} {}", value / 1e6, million);
  return fmt::format("{:.0f} {}", value / 1e3, thousand);
}

/// The number as the user typed it: 0.95f as 0.95 and not 0.949999988.
double as_typed(float value) {
  return std::stod(fmt::format("{}", value));
}

}  // namespace

std::string model_line(const Model& model, const Session& session) {
  return fmt::format("{} · {} parameters, {} · context {} tokens · {}, {} thread{}", name_of(model),
                     scaled(static_cast<double>(model.file().n_elements()), "thousand", "million", "billion"),
                     scaled(static_cast<double>(model.file().size_bytes()), "kB", "MB", "GB"),
                     session.n_ctx(), model.kernels().name, session.n_threads(),
                     session.n_threads() == 1 ? "" : "s");
}

std::string answer_line(const Answer& answer, const Session& session) {
  if (answer.tokens.empty() && answer.reason == StopReason::kCancelled) return "";
  return fmt::format("{:.1f} tokens/s · first token after {:.2f} s · {} tokens · context {} of {}",
                     answer.decode_tokens_per_second(), answer.first_token_seconds, answer.tokens.size(),
                     session.n_past(), session.n_ctx());
}

std::string draft_name(const DraftOptions& draft) {
  switch (draft.source) {
    case DraftSource::kLookup:
      return "lookup";
    case DraftSource::kModel:
      return draft.model->file().path();
    default:
      return "off";
  }
}

std::string draft_line(const DraftOptions& draft, const DraftTotals& totals) {
  std::string line = "draft: " + draft_name(draft);
  if (draft.source == DraftSource::kNone || totals.n_steps == 0) return line;
  return line + fmt::format("; {} tokens guessed, {} of them right; {:.2f} tokens a pass", totals.n_drafted,
                            totals.n_accepted,
                            static_cast<double>(totals.n_decoded) / static_cast<double>(totals.n_steps));
}

std::string context_advice(const Model& model, const Conversation& conversation) {
  const std::size_t most = model.config().max_seq_len;
  const bool can_grow = conversation.session().n_ctx() < most;
  const std::string grow = fmt::format("-c N allows up to {} tokens with this model", most);
  if (conversation.n_messages() == 0) return can_grow ? grow : "this model takes no more";
  return "/reset begins a new one" + (can_grow ? ", " + grow : "");
}

std::string early_end(const Answer& answer, const Conversation& conversation, const Model& model) {
  switch (answer.reason) {
    case StopReason::kMaxTokens:
      return fmt::format("the answer was cut at {} tokens (-n)", conversation.options().max_tokens);
    case StopReason::kContextFull:
      return fmt::format("the answer was cut: the context of {} tokens is full; {}",
                         conversation.session().n_ctx(), context_advice(model, conversation));
    case StopReason::kCancelled:
      return answer.tokens.empty() ? "stopped before the answer began; the message was taken back"
                                   : "stopped";
    default:
      return "";
  }
}

std::string answer_json(const Answer& answer, const Conversation& conversation, const Model& model,
                        double load_seconds, bool ascii) {
  const SamplerOptions& sampler = conversation.options().sampler;
  nlohmann::ordered_json out;
  out["text"] = answer.text;
  if (!answer.thinking.empty()) out["thinking"] = answer.thinking;
  out["stop_reason"] = std::string(to_string(answer.reason));
  out["tokens"] = {{"prompt", answer.n_prompt},         {"reused", answer.n_reused},
                   {"generated", answer.tokens.size()}, {"passes", answer.n_steps},
                   {"drafted", answer.n_drafted},       {"accepted", answer.n_accepted}};
  out["ids"] = answer.tokens;
  out["timings"] = {{"load_s", load_seconds},
                    {"prefill_s", answer.prefill_seconds},
                    {"prefill_tokens_per_s", answer.prefill_tokens_per_second()},
                    {"first_token_s", answer.first_token_seconds},
                    {"decode_s", answer.decode_seconds},
                    {"decode_tokens_per_s", answer.decode_tokens_per_second()},
                    {"total_s", answer.total_seconds}};
  out["model"] = name_of(model);
  out["file"] = model.file().path();
  out["isa"] = std::string(model.kernels().name);
  out["threads"] = conversation.session().n_threads();
  out["context"] = conversation.session().n_ctx();
  out["kv"] = app::kv_name(conversation.options().session.kv_type);
  out["draft"] = draft_name(conversation.options().session.draft);
  out["sampling"] = {{"temp", as_typed(sampler.temperature)},
                     {"top_k", sampler.top_k},
                     {"top_p", as_typed(sampler.top_p)},
                     {"min_p", as_typed(sampler.min_p)},
                     {"repeat_penalty", as_typed(sampler.repeat_penalty)},
                     {"seed", sampler.seed}};
  if (const std::string note = chat_template_note(conversation.note()); !note.empty()) out["note"] = note;
  // names and paths need not be UTF-8
  return out.dump(-1, ' ', ascii, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace gemma::app
