// Names of the tensors of layers, such as "blk.7.attn_v.weight".
// Invariant: a name is split or left whole; none is refused.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string_view>
#include <system_error>

namespace gemma::gguf {

/// A tensor's name split at its layer: the 7 of "blk.7.attn_v.weight", and the rest.
struct LayerName {
  std::size_t layer;      // from 0
  std::string_view rest;  // "attn_v.weight"; refers to the name
};

/// The parts of the name of a layer's tensor; nothing for other names.
inline std::optional<LayerName> layer_name(std::string_view name) noexcept {
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) return std::nullopt;
  std::size_t layer = 0;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kBlock.size(), end, layer);
  if (error != std::errc() || rest == end || *rest != '.') return std::nullopt;
  return LayerName{layer, std::string_view(rest + 1, static_cast<std::size_t>(end - rest - 1))};
}

}  // namespace gemma::gguf
