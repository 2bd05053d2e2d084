// Zephyr, and TinyLlama's chat models. Source: the template published with zephyr-7b-beta.
#pragma once

#include "dialect.hpp"
#include "llama.hpp"

namespace gemma::dialects {

inline constexpr Turns kZephyrTurns = {.begin = "",
                                       .user = {"<|user|>\n", "{eos}\n"},
                                       .assistant = {"<|assistant|>\n", "{eos}\n"},
                                       .system = {"<|system|>\n", "{eos}\n"},
                                       .generation = "<|assistant|>\n"};

inline constexpr std::string_view kZephyrSigns[] = {"<|user|>", "<|assistant|>", "eos_token"};
inline constexpr std::uint64_t kZephyrTemplates[] = {0xA2B2CF50DBCB5A99u};

inline constexpr Dialect kZephyr = {.name = "zephyr",
                                    .markers = &kPlainMarkers,
                                    .turns = kZephyrTurns,
                                    .templates = kZephyrTemplates,
                                    .signs = kZephyrSigns};

}  // namespace gemma::dialects
