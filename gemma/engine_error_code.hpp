// The codes of errors that the engine adds to those of files and of calls in general.
#pragma once

#include "../gguf/error.hpp"

namespace gemma {

/// What Error::code() may be beside the codes of ErrorCode, e.g. `e.code() == EngineErrorCode::kContextFull`.
struct EngineErrorCode {
  static constexpr ErrorCode kBadShape{9, "bad_shape"};         // a tensor's shape contradicts the metadata
  static constexpr ErrorCode kContextFull{12, "context_full"};  // more positions than the cache holds
  static constexpr ErrorCode kCancelled{14, "cancelled"};       // the caller cancelled
  static constexpr ErrorCode kNotFinite{15, "not_finite"};      // the model computed a NaN or an infinity
};

}  // namespace gemma
