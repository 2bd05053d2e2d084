// Notes of gguf-info about files that are not models, or that this engine reads differently.
#include <string>
#include <vector>

#include "examples/gguf_info/report.hpp"
#include "gemma/families/registry.hpp"
#include "gguf/file_kind.hpp"
#include "tokenizer/vocab.hpp"

namespace gemma::app {

std::vector<std::string> notes_of(const gguf::File& file) {
  if (const auto other = gguf::non_model_kind(file)) {
    return {"this is " + std::string(other->what) + ", not a model: " + std::string(other->advice)};
  }
  std::vector<std::string> notes;
  const auto add_from = [&](const auto& read) {
    try {
      for (const std::string& note : read()) notes.push_back(note);
    } catch (const Error&) {  // unsupported files are shown too
    }
  };
  add_from([&] { return families::read_config(file).notes; });
  add_from([&] {
    const Vocab vocab = Vocab::from(file);
    return std::vector<std::string>(vocab.notes().begin(), vocab.notes().end());
  });
  return notes;
}

}  // namespace gemma::app
