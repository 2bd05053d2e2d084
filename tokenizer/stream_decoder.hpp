// Token ids to text while they are generated.
// Invariant: what has been handed out is valid UTF-8 at every moment; at most 3 bytes are held back.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tokenizer_base.hpp"
#include "utf8.hpp"

namespace gemma {

/// Ids to text as they come, in whole UTF-8 characters only. What push() and flush() return, put together, is
/// utf8::replace_invalid(tokenizer.decode(ids)). For one thread at a time; the Tokenizer must outlive it.
class StreamDecoder {
 public:
  /// At the beginning of a text, unless the options say that it continues one.
  explicit StreamDecoder(const Tokenizer& tokenizer, DecodeOptions options = {})
      : tokenizer_(&tokenizer), options_(options), at_start_(!options.continues) {}

  /// The characters that `id` completes; bytes that can be no character any more come out as U+FFFD.
  /// Throws Error{kInvalidArgument} on an id out of range, {kOutOfMemory}, and then nothing has changed.
  std::string push(TokenId id) {
    return detail::or_out_of_memory("no memory for decoding a token", [&] {
      std::string pending = pending_;
      bool at_start = at_start_;
      tokenizer_->append_token(id, options_.show_special, at_start, pending);
      const std::size_t whole = utf8::incomplete_tail(pending);
      std::string out = utf8::replace_invalid(std::string_view(pending).substr(0, whole));
      pending_.assign(pending, whole);  // at most 3 bytes: in place
      at_start_ = at_start;
      return out;
    });
  }

  /// Ends the text: what was held back cannot be completed any more. Ready for the next text afterwards.
  std::string flush() {
    std::string out = utf8::replace_invalid(pending_);
    pending_.clear();
    at_start_ = !options_.continues;
    return out;
  }

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  bool at_start_;
  std::string pending_;  // at most 3 bytes: a character's beginning
};

}  // namespace gemma
