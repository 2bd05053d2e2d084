// Gemma 1 to 3. Sources: the templates published with gemma-7b-it (February and later 2024), gemma-2 and
// gemma-3; ../token_types.hpp describes the errors of the first files.
#pragma once

#include "dialect.hpp"

namespace gemma::dialects {

inline constexpr std::string_view kGemmaRecognisedBy[] = {"<start_of_turn>", "<end_of_turn>"};
inline constexpr std::string_view kGemmaControl[] = {"<bos>",         "<eos>",  "<pad>",   "<start_of_turn>",
                                                     "<end_of_turn>", "<mask>", "<2mass>", "[@BOS@]"};
inline constexpr std::string_view kGemmaStops[] = {"<eos>", "<end_of_turn>"};
inline constexpr std::string_view kGemmaUserDefined[] = {"[toxicity=0]"};

/// `</s>` is a piece of text here (HTML's strike-through), so it is not among the control pieces.
inline constexpr Markers kGemmaMarkers = {.recognised_by = kGemmaRecognisedBy,
                                          .architecture = "gemma",
                                          .bos = "<bos>",
                                          .eos = "<eos>",
                                          .eot = "<end_of_turn>",
                                          .control = kGemmaControl,
                                          .stops = kGemmaStops,
                                          .user_defined = kGemmaUserDefined,
                                          .add_bos = true,
                                          .space_prefix = false,
                                          .meta_pieces = true,
                                          .reserved_prefix = "<unused",
                                          .reserved_suffix = ">"};

inline constexpr std::string_view kAlternate =
    "Conversation roles must alternate user/assistant/user/assistant/...";

/// Gemma 3: the system text goes before the first user text.
inline constexpr Turns kGemmaTurns = {.user = {"<start_of_turn>user\n", "<end_of_turn>\n", true},
                                      .assistant = {"<start_of_turn>model\n", "<end_of_turn>\n", true},
                                      .system = {"", "\n\n"},
                                      .generation = "<start_of_turn>model\n",
                                      .system_place = SystemPlace::kFirstUser,
                                      .order_refusal = kAlternate,
                                      .system_refusal = "System role not supported"};

/// Gemma 1 and 2 refuse a system message.
inline constexpr Turns kGemma1Turns = [] {
  Turns t = kGemmaTurns;
  t.system_place = SystemPlace::kRefused;
  return t;
}();

/// The first template did not print BOS.
inline constexpr Turns kGemmaFirstTurns = [] {
  Turns t = kGemma1Turns;
  t.begin = "";
  return t;
}();

inline constexpr std::string_view kGemma3Signs[] = {"<start_of_turn>", "first_user_prefix"};
inline constexpr std::string_view kGemmaSigns[] = {"<start_of_turn>"};
inline constexpr std::string_view kGemmaFirstAbsent[] = {"bos_token"};
inline constexpr std::uint64_t kGemma3Templates[] = {0xBB671A691BAE138Du};
inline constexpr std::uint64_t kGemma1Templates[] = {0x5DDAEEC6690D4945u};
inline constexpr std::uint64_t kGemmaFirstTemplates[] = {0x4BA680CBD302E8D0u};

inline constexpr Dialect kGemma = {.name = "gemma",
                                   .markers = &kGemmaMarkers,
                                   .turns = kGemmaTurns,
                                   .templates = kGemma3Templates,
                                   .signs = kGemma3Signs};
inline constexpr Dialect kGemmaFirst = {.name = "gemma1-2024-02",
                                        .markers = &kGemmaMarkers,
                                        .turns = kGemmaFirstTurns,
                                        .templates = kGemmaFirstTemplates,
                                        .signs = kGemmaSigns,
                                        .no_signs = kGemmaFirstAbsent,
                                        .without_template = true};
inline constexpr Dialect kGemma1 = {.name = "gemma1",
                                    .markers = &kGemmaMarkers,
                                    .turns = kGemma1Turns,
                                    .templates = kGemma1Templates,
                                    .signs = kGemmaSigns};

}  // namespace gemma::dialects
