// Recipes of mixed types such as Q4_K_M: which tensor gets which type, as data.
// Invariant: the rules are those of llama.cpp's quantiser, which chooses the same types for the same shapes,
// so a name means the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../gguf/dtype.hpp"

namespace gemma {

/// The layers that get the special type, counted among those that have the matrix.
enum class LayerPick : std::uint8_t {
  kNone,                           // none
  kFirstTwo,                       // the first two
  kFirstFour,                      // the first four
  kFirstSixteenth,                 // the first sixteenth
  kFirstEighth,                    // the first eighth
  kEighths,                        // the first and last eighth, and every third between
  kIfGroupedQuery,                 // all, if four or more heads share a key/value head
  kFirstEighthWithoutImportances,  // the first eighth, unless there are importances
};

/// The type of one kind of matrix.
struct RecipeRule {
  DType type;                         // in most layers
  LayerPick pick = LayerPick::kNone;  // the layers with the special type
  DType special = DType::kF32;        // type in those layers
};

/// A named mix of tensor types, such as Q4_K_M.
struct QuantizeRecipe {
  std::string_view name;    // e.g. "Q4_K_M"
  std::uint32_t file_type;  // general.file_type
  DType base;               // type of every matrix without a rule
  DType head;               // type of the output matrix, which in Gemma's files is also the embedding
  RecipeRule attn_v;        // rule for the value projection
  RecipeRule attn_output;   // rule for the output projection of attention
  RecipeRule ffn_down;      // rule for the down matrix of the feed-forward block, also of experts
};

namespace detail {

constexpr QuantizeRecipe plain_recipe(std::string_view name, std::uint32_t file_type, DType base,
                                      DType head) {
  return {name, file_type, base, head, {base}, {base}, {base}};
}

}  // namespace detail

/// All recipes that gemma-quantize knows.
inline constexpr QuantizeRecipe kQuantizeRecipes[] = {
    detail::plain_recipe("F32", 0, DType::kF32, DType::kF32),
    detail::plain_recipe("F16", 1, DType::kF16, DType::kF16),
    detail::plain_recipe("BF16", 32, DType::kBF16, DType::kBF16),
    detail::plain_recipe("Q8_0", 7, DType::kQ8_0, DType::kQ8_0),
    detail::plain_recipe("Q4_0", 2, DType::kQ4_0, DType::kQ6_K),
    detail::plain_recipe("Q4_1", 3, DType::kQ4_1, DType::kQ6_K),
    detail::plain_recipe("Q5_0", 8, DType::kQ5_0, DType::kQ6_K),
    detail::plain_recipe("Q5_1", 9, DType::kQ5_1, DType::kQ6_K),
    detail::plain_recipe("Q6_K", 18, DType::kQ6_K, DType::kQ6_K),
    {"Q2_K",
     10,
     DType::kQ2_K,
     DType::kQ6_K,
     {DType::kQ3_K, LayerPick::kIfGroupedQuery, DType::kQ4_K},
     {DType::kQ3_K},
     {DType::kQ3_K}},
    detail::plain_recipe("Q3_K_S", 11, DType::kQ3_K, DType::kQ6_K),
    {"Q3_K_M",
     12,
     DType::kQ3_K,
     DType::kQ6_K,
     {DType::kQ4_K, LayerPick::kFirstTwo, DType::kQ5_K},
     {DType::kQ4_K},
     {DType::kQ4_K, LayerPick::kFirstSixteenth, DType::kQ5_K}},
    {"Q3_K_L", 13, DType::kQ3_K, DType::kQ6_K, {DType::kQ5_K}, {DType::kQ5_K}, {DType::kQ5_K}},
    {"Q4_K_S",
     14,
     DType::kQ4_K,
     DType::kQ6_K,
     {DType::kQ4_K, LayerPick::kFirstFour, DType::kQ5_K},
     {DType::kQ4_K},
     {DType::kQ4_K, LayerPick::kFirstEighth, DType::kQ5_K}},
    {"Q4_K_M",
     15,
     DType::kQ4_K,
     DType::kQ6_K,
     {DType::kQ4_K, LayerPick::kEighths, DType::kQ6_K},
     {DType::kQ4_K},
     {DType::kQ4_K, LayerPick::kEighths, DType::kQ6_K}},
    detail::plain_recipe("Q5_K_S", 16, DType::kQ5_K, DType::kQ6_K),
    {"Q5_K_M",
     17,
     DType::kQ5_K,
     DType::kQ6_K,
     {DType::kQ5_K, LayerPick::kEighths, DType::kQ6_K},
     {DType::kQ5_K},
     {DType::kQ5_K, LayerPick::kEighths, DType::kQ6_K}},
    {"IQ4_NL",
     25,
     DType::kIQ4_NL,
     DType::kQ6_K,
     {DType::kIQ4_NL, LayerPick::kIfGroupedQuery, DType::kQ5_K},
     {DType::kIQ4_NL},
     {DType::kIQ4_NL, LayerPick::kFirstEighthWithoutImportances, DType::kQ5_K}},
    {"IQ4_XS",
     30,
     DType::kIQ4_XS,
     DType::kQ6_K,
     {DType::kIQ4_XS, LayerPick::kIfGroupedQuery, DType::kQ5_K},
     {DType::kIQ4_XS},
     {DType::kIQ4_XS, LayerPick::kFirstEighthWithoutImportances, DType::kQ5_K}},
};

namespace detail {

/// The replacement of a type whose blocks do not divide a row: first another block size, then F16.
struct TypeFallback {
  DType type;      // the type that does not fit
  DType fallback;  // the type used in its place
};
/// All replacements.
inline constexpr TypeFallback kTypeFallbacks[] = {
    {DType::kQ2_K, DType::kQ4_0}, {DType::kQ3_K, DType::kQ4_0}, {DType::kQ4_K, DType::kQ5_0},
    {DType::kQ5_K, DType::kQ5_1}, {DType::kQ6_K, DType::kQ8_0}, {DType::kIQ4_XS, DType::kIQ4_NL},
};

/// Parts of the names of matrices that are not quantised: they are small, and their results are sensitive.
inline constexpr std::string_view kKeptTensors[] = {
    "_norm.weight",         "ffn_gate_inp", "altup",    "laurel",
    "per_layer_model_proj", "rope_freqs",   "pos_embd", "token_types",
};

/// The output matrix.
inline constexpr std::string_view kHeadTensor = "output.weight";
/// The embedding, which is the head too in files without kHeadTensor.
inline constexpr std::string_view kEmbeddingTensor = "token_embd.weight";
/// The per-layer embeddings of Gemma 3n and 4, which get the head's type if the embedding does.
inline constexpr std::string_view kLayersEmbeddingTensor = "per_layer_token_embd.weight";

/// Whether layer `i` of `n` is picked; `grouped`: four or more heads share a key/value head;
/// `weighted`: there are importances.
constexpr bool is_picked(LayerPick pick, std::size_t i, std::size_t n, bool grouped, bool weighted) noexcept {
  switch (pick) {
    case LayerPick::kNone:
      return false;
    case LayerPick::kFirstTwo:
      return i < 2;
    case LayerPick::kFirstFour:
      return i < 4;
    case LayerPick::kFirstSixteenth:
      return i < n / 16;
    case LayerPick::kFirstEighth:
      return i < n / 8;
    case LayerPick::kEighths:
      return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    case LayerPick::kIfGroupedQuery:
      return grouped;
    case LayerPick::kFirstEighthWithoutImportances:
      return !weighted && i < n / 8;
  }
  return false;
}

}  // namespace detail

/// The recipe called `name` (upper or lower case), or nullptr.
const QuantizeRecipe* find_recipe(std::string_view name) noexcept;
/// "F32, F16, ...": for messages.
std::string recipe_names();

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "quantize_plan.hpp"  // its definitions hold those of this header
#endif
