// The list of dialects, and functions that find a dialect by name, by the text of a template, or by the
// pieces of a vocabulary. Invariant: if several dialects match, the first in the list is used, so special
// ones precede general ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "../template_form.hpp"
#include "chatml.hpp"
#include "dialect.hpp"
#include "gemma.hpp"
#include "gemma4.hpp"
#include "llama.hpp"
#include "mistral.hpp"
#include "zephyr.hpp"

namespace gemma::dialects {

/// All dialects and their variants, special ones before general ones.
inline constexpr const Dialect* kAll[] = {
    &kGemma4First, &kGemma4,        &kGemma4E, &kGemma,     &kGemmaFirst, &kGemma1,
    &kLlama31,     &kLlama3First,   &kLlama3,  &kSmolLm,    &kChatMl,     &kLlama2,
    &kMistral3,    &kMistralSystem, &kMistral, &kMistral02, &kZephyr};

/// The dialect of that name, or nullptr.
inline const Dialect* find(std::string_view name) noexcept {
  const auto* it =
      std::find_if(std::begin(kAll), std::end(kAll), [&](const Dialect* d) { return d->name == name; });
  return it == std::end(kAll) ? nullptr : *it;
}

/// The dialect whose turns render this template exactly, or nullptr.
inline const Dialect* find_exact(std::string_view source) {
  const std::uint64_t form = detail::template_fingerprint(source);
  for (const Dialect* d : kAll) {
    if (std::find(d->templates.begin(), d->templates.end(), form) != d->templates.end()) return d;
  }
  return nullptr;
}

/// The dialect whose signs a template's text has, or nullptr.
inline const Dialect* find_by_signs(std::string_view source) noexcept {
  const auto has = [source](std::string_view sign) { return source.find(sign) != std::string_view::npos; };
  for (const Dialect* d : kAll) {
    if (!d->signs.empty() && std::all_of(d->signs.begin(), d->signs.end(), has) &&
        std::none_of(d->no_signs.begin(), d->no_signs.end(), has)) {
      return d;
    }
  }
  return nullptr;
}

/// The dialect of vocabularies with these markers that come without a template, or nullptr.
inline const Dialect* find_without_template(const Markers& markers) noexcept {
  const auto* it = std::find_if(std::begin(kAll), std::end(kAll), [&](const Dialect* d) {
    return d->without_template && d->markers == &markers;
  });
  return it == std::end(kAll) ? nullptr : *it;
}

/// The names of all dialects, as a list for messages.
inline std::string names() {
  std::string out;
  for (const Dialect* d : kAll) {
    if (!out.empty()) out += ", ";
    out += d->name;
  }
  return out;
}

}  // namespace gemma::dialects
