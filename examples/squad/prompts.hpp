// Prompts and presets: the article's, byte for byte, and one that uses each model's own chat template.
// Invariant: a template contains {context} and {question} once each; filling it replaces only these two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemma::squad {

/// The article's prompt: a LangChain template in an indented Python string, including its white space.
inline constexpr std::string_view kArticleTemplate =
    "\n            Use the following pieces of context to answer the question at the end. "
    "\n            {context}"
    "\n            Question: {question}"
    "\n            Answer:"
    "\n        ";

/// The article's words without the indentation; the context comes first, so that questions can share it.
inline constexpr std::string_view kChatTemplate =
    "Use the following pieces of context to answer the question at the end."
    "\n{context}"
    "\nQuestion: {question}"
    "\nAnswer:";

/// For sets of version 2.0, in which a question may have no answer in its passage.
inline constexpr std::string_view kChatTemplateV2 =
    "Use the following pieces of context to answer the question at the end. If they do not hold the answer, "
    "reply with the one word unanswerable."
    "\n{context}"
    "\nQuestion: {question}"
    "\nAnswer:";

/// How an answer's tokens are chosen; by default greedily, with nothing cut or penalised.
struct Sampling {
  double temperature = 0;  // 0: greedy
  int top_k = 0;           // 0: all
  double top_p = 1;
  double repeat_penalty = 1;     // over the last 64 tokens, including the prompt's
  std::size_t max_tokens = 256;  // of one answer
  std::uint64_t seed = 0;        // a preset has none: sampling_seed()
};

struct Preset {
  std::string name;
  std::string prompt_template;
  bool chat = true;            // put the prompt into the model's chat template
  int context = 0;             // context in tokens; 0: as many as the longest prompt and its answer need
  bool share_passages = true;  // questions on a passage share its prefill
  Sampling sampling = {};
};

/// "article": plain prompt, temperature 0.7, context 1024, 2000 tokens, no shared prefill; top-k 40, top-p
/// 0.95 and a repeat penalty of 1.1 are LangChain's defaults for LlamaCpp, which the article did not set.
/// "chat": the model's template, greedy, questions on a passage share its prefill. `is_v2`: the set is of
/// v2.0. Throws gemma::Error (invalid_argument) for another name.
Preset make_preset(std::string_view name, bool is_v2);

/// Throws gemma::Error (invalid_argument) unless `text` is UTF-8 with {context} and {question} once each.
void check_template(std::string_view text);

/// The prompt of one question. Placeholders inside the passage or the question are not replaced.
std::string fill_template(std::string_view text, std::string_view context, std::string_view question);

}  // namespace gemma::squad
