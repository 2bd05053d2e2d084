// Llama 2, Llama 3, and Llama 3.1 with its successors up to 3.3. Sources: the templates published with the
// models; Llama 3.1 and 3.2 begin with a system turn with two dates, which the template contains.
#pragma once

#include "dialect.hpp"

namespace gemma::dialects {

inline constexpr std::string_view kLlama3RecognisedBy[] = {"<|begin_of_text|>", "<|start_header_id|>",
                                                           "<|eot_id|>"};
inline constexpr std::string_view kLlama3Control[] = {"<|begin_of_text|>",   "<|end_of_text|>",
                                                      "<|start_header_id|>", "<|end_header_id|>",
                                                      "<|eot_id|>",          "<|eom_id|>"};
inline constexpr std::string_view kLlama3Stops[] = {"<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"};

inline constexpr Markers kLlama3Markers = {.recognised_by = kLlama3RecognisedBy,
                                           .byte_level = true,
                                           .bos = "<|begin_of_text|>",
                                           .eos = "<|end_of_text|>",
                                           .eot = "<|eot_id|>",
                                           .control = kLlama3Control,
                                           .stops = kLlama3Stops,
                                           .add_bos = true,
                                           .pre = "llama-bpe"};

inline constexpr Turns kLlama3Turns = {
    .user = {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>", true},
    .assistant = {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>", true},
    .system = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>", true},
    .generation = "<|start_header_id|>assistant<|end_header_id|>\n\n"};

/// The first template (April 2024) always wrote the assistant's header, even if it was not requested.
inline constexpr Turns kLlama3FirstTurns = [] {
  Turns t = kLlama3Turns;
  t.always_generation = true;
  return t;
}();

inline constexpr Turns kLlama31Turns = [] {
  Turns t = kLlama3Turns;
  t.system_head = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  return t;
}();

inline constexpr std::string_view kLlama31Signs[] = {"<|start_header_id|>", "Cutting Knowledge Date"};
inline constexpr std::string_view kLlama3Signs[] = {"<|start_header_id|>"};
inline constexpr std::string_view kLlama3FirstAbsent[] = {"add_generation_prompt"};
inline constexpr std::uint64_t kLlama31Templates[] = {0x31202BDB227BBEDDu, 0xBE8D4677F433E073u,
                                                      0x523E8470C894D4F8u, 0x9E0621F75A6EE8BAu};
inline constexpr std::uint64_t kLlama3Templates[] = {0x1D8986F453C34B51u};
inline constexpr std::uint64_t kLlama3FirstTemplates[] = {0x29AEC56C916929FEu};

inline constexpr Dialect kLlama31 = {.name = "llama31",
                                     .markers = &kLlama3Markers,
                                     .turns = kLlama31Turns,
                                     .templates = kLlama31Templates,
                                     .signs = kLlama31Signs};
inline constexpr Dialect kLlama3First = {.name = "llama3-2024-04",
                                         .markers = &kLlama3Markers,
                                         .turns = kLlama3FirstTurns,
                                         .templates = kLlama3FirstTemplates,
                                         .signs = kLlama3Signs,
                                         .no_signs = kLlama3FirstAbsent};
inline constexpr Dialect kLlama3 = {.name = "llama3",
                                    .markers = &kLlama3Markers,
                                    .turns = kLlama3Turns,
                                    .templates = kLlama3Templates,
                                    .signs = kLlama3Signs,
                                    .without_template = true};

/// SentencePiece vocabularies of the Llama kind: used for `tokenizer.ggml.model = llama` unless the file
/// matches another dialect. Llama 2, Mistral before v0.3 and most of their fine-tunes.
inline constexpr std::string_view kPlainControl[] = {"<s>", "</s>"};
inline constexpr std::string_view kPlainStops[] = {"</s>"};
inline constexpr Markers kPlainMarkers = {.bos = "<s>",
                                          .eos = "</s>",
                                          .control = kPlainControl,
                                          .stops = kPlainStops,
                                          .add_bos = true,
                                          .space_prefix = true};

inline constexpr Turns kLlama2Turns = {
    .begin = "",
    .user = {"{bos}[INST] ", " [/INST]", true},
    .assistant = {" ", " {eos}", true},
    .system = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
    .system_place = SystemPlace::kFirstUser,
    .trim_joined = true,
    .order_refusal = "Conversation roles must alternate user/assistant/user/assistant/..."};

inline constexpr std::string_view kLlama2Signs[] = {"[INST]", "<<SYS>>"};
inline constexpr std::uint64_t kLlama2Templates[] = {0xE19AC5C2E8F56BD2u};

inline constexpr Dialect kLlama2 = {.name = "llama2",
                                    .markers = &kPlainMarkers,
                                    .turns = kLlama2Turns,
                                    .templates = kLlama2Templates,
                                    .signs = kLlama2Signs};

}  // namespace gemma::dialects
