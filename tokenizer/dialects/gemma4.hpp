// Gemma 4: one vocabulary, three templates. Sources: the templates published with the 31B, 12B and 26B models
// (an empty thought is written where thinking is off), with E2B and E4B (none is), and their first one of
// April 2026; the vocabulary's published list of special tokens.
#pragma once

#include "dialect.hpp"

namespace gemma::dialects {

inline constexpr std::string_view kGemma4RecognisedBy[] = {"<|turn>", "<turn|>", "<|channel>"};
inline constexpr std::string_view kGemma4Control[] = {"<bos>",   "<eos>",           "<pad>",     "<mask>",
                                                      "<|turn>", "<turn|>",         "<|think|>", "<|tool>",
                                                      "<tool|>", "<|tool_response>"};
/// A call of a tool ends a generation where the answer to it begins.
inline constexpr std::string_view kGemma4Stops[] = {"<eos>", "<turn|>", "<|tool_response>"};
/// User-defined, so that decoded text shows them: programs find calls and thoughts by these markers.
inline constexpr std::string_view kGemma4UserDefined[] = {"<|tool_call>", "<tool_call|>", "<tool_response|>",
                                                          "<|\"|>",       "<|channel>",   "<channel|>"};

/// The first published files say that no BOS is added; the models need it nevertheless.
inline constexpr Markers kGemma4Markers = {.recognised_by = kGemma4RecognisedBy,
                                           .architecture = "gemma4",
                                           .bos = "<bos>",
                                           .eos = "<eos>",
                                           .eot = "<turn|>",
                                           .control = kGemma4Control,
                                           .stops = kGemma4Stops,
                                           .user_defined = kGemma4UserDefined,
                                           .add_bos = true,
                                           .always_bos = true,
                                           .space_prefix = false};

inline constexpr AgentTurns kGemma4Agent = {.open = "<|turn>",
                                            .close = "<turn|>\n",
                                            .think = "<|think|>\n",
                                            .thought_begin = "<|channel>",
                                            .thought_head = "thought\n",
                                            .thought_end = "<channel|>",
                                            .no_thought = "<|channel>thought\n<channel|>",
                                            .tool_open = "<|tool>",
                                            .tool_close = "<tool|>",
                                            .call_open = "<|tool_call>",
                                            .call_close = "<tool_call|>",
                                            .response_open = "<|tool_response>",
                                            .response_close = "<tool_response|>",
                                            .quote = "<|\"|>"};
inline constexpr AgentTurns kGemma4EAgent = [] {
  AgentTurns a = kGemma4Agent;
  a.no_thought = "";
  return a;
}();
inline constexpr AgentTurns kGemma4FirstAgent = [] {
  AgentTurns a = kGemma4EAgent;
  a.think = "<|think|>";
  a.first_form = true;
  return a;
}();

inline constexpr Turns kGemma4Turns = {.generation = "<|turn>model\n", .agent = &kGemma4Agent};
inline constexpr Turns kGemma4ETurns = [] {
  Turns t = kGemma4Turns;
  t.agent = &kGemma4EAgent;
  return t;
}();
inline constexpr Turns kGemma4FirstTurns = [] {
  Turns t = kGemma4Turns;
  t.agent = &kGemma4FirstAgent;
  return t;
}();

inline constexpr std::string_view kGemma4Signs[] = {"<|turn>", "<|channel>thought\\n<channel|>"};
inline constexpr std::string_view kGemma4FirstSigns[] = {"<|turn>", "'<|think|>'"};
inline constexpr std::string_view kGemma4ESigns[] = {"<|turn>"};
inline constexpr std::uint64_t kGemma4Templates[] = {0x403AAE337598AF0Au};
inline constexpr std::uint64_t kGemma4ETemplates[] = {0xF0401F0DDBB3218Bu};
inline constexpr std::uint64_t kGemma4FirstTemplates[] = {0xDA66BACD2D5718F3u};
inline constexpr SamplingDefaults kGemma4Sampling = {.temperature = 1.0F, .top_k = 64, .top_p = 0.95F};

inline constexpr Dialect kGemma4E = {.name = "gemma4-e",
                                     .markers = &kGemma4Markers,
                                     .turns = kGemma4ETurns,
                                     .sampling = kGemma4Sampling,
                                     .templates = kGemma4ETemplates,
                                     .signs = kGemma4ESigns};
inline constexpr Dialect kGemma4 = {.name = "gemma4",
                                    .markers = &kGemma4Markers,
                                    .turns = kGemma4Turns,
                                    .sampling = kGemma4Sampling,
                                    .templates = kGemma4Templates,
                                    .signs = kGemma4Signs,
                                    .without_template = true,
                                    .for_per_layer_embeddings = &kGemma4E};
inline constexpr Dialect kGemma4First = {.name = "gemma4-e-2026-04",
                                         .markers = &kGemma4Markers,
                                         .turns = kGemma4FirstTurns,
                                         .sampling = kGemma4Sampling,
                                         .templates = kGemma4FirstTemplates,
                                         .signs = kGemma4FirstSigns};

}  // namespace gemma::dialects
