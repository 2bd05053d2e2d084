// Mistral 7B Instruct v0.1 to v0.3 and models of their time. Sources: the published templates, and the older
// ones that mistral-common's formats "v1" and "v3" describe.
#pragma once

#include "dialect.hpp"
#include "llama.hpp"

namespace gemma::dialects {

inline constexpr std::string_view kMistralRecognisedBy[] = {"[INST]", "[/INST]"};
inline constexpr std::string_view kMistralControl[] = {"<s>", "</s>", "[INST]", "[/INST]"};
inline constexpr std::string_view kMistralStops[] = {"</s>"};

/// v0.3 has separate tokens for the markers.
inline constexpr Markers kMistralMarkers = {.recognised_by = kMistralRecognisedBy,
                                            .bos = "<s>",
                                            .eos = "</s>",
                                            .control = kMistralControl,
                                            .stops = kMistralStops,
                                            .add_bos = true,
                                            .space_prefix = true};

/// v0.1: a space after the end of an answer.
inline constexpr Turns kMistralTurns = {
    .user = {"[INST] ", " [/INST]"},
    .assistant = {"", "{eos} "},
    .system = {"", "\n\n"},
    .system_place = SystemPlace::kRefused,
    .order_refusal = "Conversation roles must alternate user/assistant/user/assistant/..."};

inline constexpr Turns kMistral02Turns = [] {
  Turns t = kMistralTurns;
  t.assistant.close = "{eos}";
  return t;
}();

/// The later template of v0.1 and v0.2, which accepts a system text.
inline constexpr Turns kMistralSystemTurns = [] {
  Turns t = kMistralTurns;
  t.user = {" [INST] ", " [/INST]"};
  t.assistant = {" ", "{eos}"};
  t.system_place = SystemPlace::kFirstUser;
  t.order_refusal =
      "After the optional system message, conversation roles must alternate "
      "user/assistant/user/assistant/...";
  return t;
}();

/// v0.3: the system text goes into the last message, spaces inside the markers are part of them.
inline constexpr Turns kMistral3Turns = [] {
  Turns t = kMistralSystemTurns;
  t.user = {"[INST] ", "[/INST]"};
  t.assistant = {" ", "{eos}", true};
  t.system_place = SystemPlace::kLastUser;
  return t;
}();

inline constexpr std::string_view kMistral3Signs[] = {"[INST]", "loop.last and system_message"};
inline constexpr std::string_view kMistralSystemSigns[] = {"[INST]", "system_message"};
inline constexpr std::string_view kMistralSigns[] = {"[INST]", "eos_token + ' '"};
inline constexpr std::string_view kMistral02Signs[] = {"[INST]"};
inline constexpr std::string_view kMistralNames[] = {"mistral-7b-instruct", "mistralai-mistral-7b-instruct",
                                                     "mixtral-8x7b-instruct",
                                                     "mistralai-mixtral-8x7b-instruct"};
inline constexpr std::uint64_t kMistral3Templates[] = {0xC3B4CD42FCB7865Eu};
inline constexpr std::uint64_t kMistralSystemTemplates[] = {0x0BFD0C7242AAD289u};
inline constexpr std::uint64_t kMistralTemplates[] = {0x11C7F2DF0A2F98DAu};
inline constexpr std::uint64_t kMistral02Templates[] = {0x0C2A9303D46F65F6u};

inline constexpr Dialect kMistral3 = {.name = "mistral-v3",
                                      .markers = &kMistralMarkers,
                                      .turns = kMistral3Turns,
                                      .templates = kMistral3Templates,
                                      .signs = kMistral3Signs,
                                      .without_template = true};
inline constexpr Dialect kMistralSystem = {.name = "mistral-v0.2-system",
                                           .markers = &kPlainMarkers,
                                           .turns = kMistralSystemTurns,
                                           .templates = kMistralSystemTemplates,
                                           .signs = kMistralSystemSigns};
inline constexpr Dialect kMistral = {.name = "mistral",
                                     .markers = &kPlainMarkers,
                                     .turns = kMistralTurns,
                                     .templates = kMistralTemplates,
                                     .signs = kMistralSigns,
                                     .without_template = true,
                                     .file_names = kMistralNames};
inline constexpr Dialect kMistral02 = {.name = "mistral-v0.2",
                                       .markers = &kMistralMarkers,
                                       .turns = kMistral02Turns,
                                       .templates = kMistral02Templates,
                                       .signs = kMistral02Signs};

}  // namespace gemma::dialects
