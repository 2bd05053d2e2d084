// Token ids to text while they are generated.
// Invariant: the text returned so far is always valid UTF-8; at most 3 bytes are held back.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tokenizer_base.hpp"
#include "utf8.hpp"

namespace gemma {

/// Converts ids to text as they arrive, in whole UTF-8 characters. The results of push() and flush() together
/// are utf8::replace_invalid(tokenizer.decode(ids)). For one thread at a time; the Tokenizer must outlive it.
class StreamDecoder {
 public:
  /// Starts at the beginning of a text, unless the options say that it continues one.
  explicit StreamDecoder(const Tokenizer& tokenizer, DecodeOptions options = {})
      : tokenizer_(&tokenizer), options_(options), at_start_(!options.continues) {}

  /// The characters that `id` completes; bytes that can no longer become a character are returned as U+FFFD.
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

  /// Ends the text: returns bytes that were held back as U+FFFD. The decoder is then ready for the next text.
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
