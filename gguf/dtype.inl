// Definitions of dtype.hpp.
#pragma once

#include "linkage.hpp"

namespace gemma {

GEMMA_INLINE std::string describe_dtype_id(std::uint32_t id) {
  struct Known {
    std::uint32_t id;
    std::string_view name;
  };
  // the format's numbers that this engine has no kernels for; 4, 5, 31 to 33 were withdrawn
  constexpr Known kNotRead[] = {
      {4, "Q4_2"},      {5, "Q4_3"},   {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"},  {17, "IQ2_XS"},
      {18, "IQ3_XXS"},  {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},       {25, "I16"},
      {26, "I32"},      {27, "I64"},   {28, "F64"},   {29, "IQ1_M"}, {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"},
      {33, "Q4_0_8_8"}, {34, "TQ1_0"}, {35, "TQ2_0"}, {39, "MXFP4"}};
  if (const auto type = dtype_from_id(id)) return std::string(info(*type).name);
  std::string_view name = "unknown";
  for (const Known& k : kNotRead) {
    if (k.id == id) name = k.name;
  }
  return std::string(name) + " (" + std::to_string(id) + ")";
}

}  // namespace gemma
