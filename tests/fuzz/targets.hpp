// The fuzz targets: functions that process an untrusted input, separate from the fuzzer, so that the same
// code runs under libFuzzer (tests/run-fuzz.sh) and in the ordinary tests (replay_test.cpp). Invariant: a
// target accepts any bytes. It throws if a promise is broken; it catches gemma::Error, which is a correct
// outcome. Sanitizers detect all other errors.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace gemma::fuzz {

using Bytes = std::span<const std::byte>;
using Input = std::vector<std::byte>;

struct Target {
  std::string_view name;
  void (*run)(Bytes input);
  /// Valid initial inputs, one of each kind.
  std::vector<Input> (*seeds)();
  bool holds_gguf;  // inputs are GGUF files: mutate.hpp knows where their fields are
};

extern const Target kGguf;         // the container: open, read every byte, show, write again
extern const Target kModel;        // load a model, plan memory, run one forward pass, encode a word
extern const Target kVocabulary;   // a tokenizer from a hostile vocabulary
extern const Target kTokenizer;    // the demo models' tokenizers on any text and ids
extern const Target kChat;         // any template, any conversation
extern const Target kSquad;        // the evaluator's data set
extern const Target kSafetensors;  // a checkpoint of floats: open, read every byte
extern const Target kRequest;      // bodies that are sent to the server
extern const Target kGrammar;      // grammars and schemas of constrained output

inline constexpr const Target* kTargets[] = {&kGguf,  &kModel,       &kVocabulary, &kTokenizer, &kChat,
                                             &kSquad, &kSafetensors, &kGrammar,    &kRequest};

/// Fails the run unless `kept`: throws an exception that no code catches. `promise` names the broken promise.
inline void require(bool kept, const char* promise) {
  if (!kept) throw std::logic_error(promise);
}

/// Splits an input into fields, one after the other. Missing fields are zero or empty.
class Fields {
 public:
  explicit Fields(Bytes input) : rest_(reinterpret_cast<const char*>(input.data()), input.size()) {}

  unsigned byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    return value;
  }
  /// The bytes up to the next byte 0xFE, which does not occur in UTF-8.
  std::string_view text() {
    const std::size_t end = std::min(rest_.find('\xFE'), rest_.size());
    const std::string_view part = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return part;
  }
  std::string_view rest() const noexcept { return rest_; }
  bool empty() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

inline Input to_input(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

}  // namespace gemma::fuzz
