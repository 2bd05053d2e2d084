// ChatML (OpenHermes, Dolphin, Qwen and many fine-tunes) and SmolLM2's, which has a default system text.
// Sources: the templates published with OpenHermes 2.5, Dolphin 2.5 and SmolLM2 Instruct.
#pragma once

#include "dialect.hpp"

namespace gemma::dialects {

inline constexpr std::string_view kChatMlRecognisedBy[] = {"<|im_start|>", "<|im_end|>"};
inline constexpr std::string_view kChatMlControl[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>"};
inline constexpr std::string_view kChatMlStops[] = {"<|im_end|>", "<|endoftext|>"};

inline constexpr Markers kChatMlMarkers = {.recognised_by = kChatMlRecognisedBy,
                                           .byte_level = true,
                                           .eos = "<|im_end|>",
                                           .eot = "<|im_end|>",
                                           .control = kChatMlControl,
                                           .stops = kChatMlStops};

inline constexpr Turns kChatMlTurns = {.begin = "",
                                       .user = {"<|im_start|>user\n", "<|im_end|>\n"},
                                       .assistant = {"<|im_start|>assistant\n", "<|im_end|>\n"},
                                       .system = {"<|im_start|>system\n", "<|im_end|>\n"},
                                       .generation = "<|im_start|>assistant\n"};

inline constexpr Turns kSmolLmTurns = [] {
  Turns t = kChatMlTurns;
  t.system_default = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
  return t;
}();

inline constexpr std::string_view kSmolLmSigns[] = {"<|im_start|>",
                                                    "You are a helpful AI assistant named SmolLM"};
inline constexpr std::string_view kChatMlSigns[] = {"<|im_start|>"};
inline constexpr std::uint64_t kSmolLmTemplates[] = {0x0A889B8AD43D5391u};
inline constexpr std::uint64_t kChatMlTemplates[] = {0x515B9106843B5C73u, 0x0400E61EF975D69Fu};

inline constexpr Dialect kSmolLm = {.name = "smollm2",
                                    .markers = &kChatMlMarkers,
                                    .turns = kSmolLmTurns,
                                    .templates = kSmolLmTemplates,
                                    .signs = kSmolLmSigns};
inline constexpr Dialect kChatMl = {.name = "chatml",
                                    .markers = &kChatMlMarkers,
                                    .turns = kChatMlTurns,
                                    .templates = kChatMlTemplates,
                                    .signs = kChatMlSigns,
                                    .without_template = true};

}  // namespace gemma::dialects
