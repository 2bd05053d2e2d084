// Definitions of dtype.hpp.
#pragma once

#include "linkage.hpp"

namespace gemma {

GEMMA_INLINE std::string dtype_name(std::uint32_t id) {
  if (const auto type = dtype_from_id(id)) return std::string(info(*type).name);
  if (const UnsupportedType* other = find_unsupported_type(id)) return std::string(other->name);
  return "unknown type " + std::to_string(id);
}

GEMMA_INLINE std::string describe_dtype_id(std::uint32_t id) {
  if (const auto type = dtype_from_id(id)) return std::string(info(*type).name);
  const UnsupportedType* other = find_unsupported_type(id);
  return (other != nullptr ? std::string(other->name) : "unknown") + " (" + std::to_string(id) + ")";
}

}  // namespace gemma
