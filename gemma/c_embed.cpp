// Embeddings in the C interface.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "c_api.h"
#include "c_guard.hpp"
#include "embedder.hpp"

namespace gemma {
namespace {

using namespace c_api;

static_assert(static_cast<int>(EmbedPrompt::kNone) == GEMMA_EMBED_PLAIN);
static_assert(static_cast<int>(EmbedPrompt::kDocument) == GEMMA_EMBED_DOCUMENT);
static_assert(static_cast<int>(Pooling::kMean) == GEMMA_POOLING_MEAN);
static_assert(static_cast<int>(Pooling::kLast) == GEMMA_POOLING_LAST);

EmbedderOptions embedder_options(const gemma_embed_options& o) {
  require(o.prompt >= GEMMA_EMBED_PLAIN && o.prompt <= GEMMA_EMBED_DOCUMENT, "the kind of prompt is unknown");
  require(o.pooling >= GEMMA_POOLING_OF_MODEL && o.pooling <= GEMMA_POOLING_LAST,
          "the kind of pooling is unknown");
  EmbedderOptions out;
  out.n_ctx = o.n_ctx;
  if (o.chunk != 0) out.chunk = o.chunk;
  out.dims = o.dims;
  out.max_memory = o.max_memory;
  out.n_threads = o.n_threads;
  if (o.pooling != GEMMA_POOLING_OF_MODEL) out.pooling = static_cast<Pooling>(o.pooling);
  out.truncate = o.truncate != 0;
  return out;
}

}  // namespace
}  // namespace gemma

using namespace gemma;
using namespace gemma::c_api;

int gemma_embed(const gemma_model* model, const gemma_text* texts, size_t n_texts,
                const gemma_embed_options* options, float* out, size_t capacity, size_t* n,
                gemma_error** error) {
  return guarded(error, -1, [&] {
    require(model != nullptr, "the model is NULL");
    require(n != nullptr, "the pointer for the length is NULL");
    require(out != nullptr || capacity == 0, "the output is NULL");
    const auto o = options_or(options, gemma_embed_options GEMMA_EMBED_OPTIONS_INIT);
    const EmbedderOptions chosen = embedder_options(o);
    const std::size_t width = model->model.config().embedding_width();
    require(o.dims <= width, "the options ask for more numbers than an embedding of the model has");
    std::vector<std::string> all;
    for (const gemma_text& text : list(texts, n_texts)) {
      const auto bytes = list(text.text, text.length);
      all.emplace_back(bytes.begin(), bytes.end());
    }
    *n = n_texts * (o.dims != 0 ? o.dims : width);
    if (capacity < *n) return 0;
    for (const auto& vector : model->model.embed(all, static_cast<EmbedPrompt>(o.prompt), chosen)) {
      out = std::copy(vector.begin(), vector.end(), out);
    }
    return 0;
  });
}
