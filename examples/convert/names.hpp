// Parses names of a checkpoint's tensors.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace gemma::convert {

/// A name and the number in it.
struct Split {
  std::string form;    // the name, with {} for the number
  std::string number;  // of the layer, or of one of several matrices; "": none
};
inline Split split_name(std::string_view name) {
  for (const std::string_view before :
       {"model.layers.", "model.altup_projections.", "model.altup_unembed_projections."}) {
    if (!name.starts_with(before)) continue;
    const std::size_t end = std::min(name.find('.', before.size()), name.size());
    const std::string_view digits = name.substr(before.size(), end - before.size());
    if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != digits.npos) break;
    return {std::string(before) + "{}" + std::string(name.substr(end)), std::string(digits)};
  }
  return {std::string(name), ""};
}

/// The name without the prefix of the text part; multimodal models use one of two prefixes.
inline std::string text_name(std::string_view name) {
  std::string out(name);
  for (const std::string_view part : {"language_model.model.", "model.language_model."})
    if (out.starts_with(part)) return "model." + out.substr(part.size());
  if (out == "language_model.lm_head.weight") return "lm_head.weight";
  return out;
}

}  // namespace gemma::convert
