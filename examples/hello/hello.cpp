// The smallest program with the library: loads a model, asks one question, prints the answer as it is
// generated.
#include <cstdio>
#include <exception>
#include <string_view>

#include "gemma/gemma.hpp"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fputs("usage: hello MODEL.gguf \"a question\"\n", stderr);
    return 1;
  }
  const gemma::Model model = gemma::Model::load(argv[1]);
  gemma::Session session(model);
  const gemma::Message question{"user", argv[2]};
  session.set_tokens(gemma::ChatTemplate::from(model.vocab()).encode(model.tokenizer(), {&question, 1}));

  gemma::Sampler sampler({.temperature = 0.7f, .top_p = 0.95f, .seed = 1});
  gemma::GenerateOptions options;
  options.on_text = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return std::fflush(stdout) == 0;
  };
  session.generate(sampler, options);
  std::puts("");
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "hello: %s\n", e.what());
  return 1;
}
