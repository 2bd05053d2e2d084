// The smallest program with the library: loads a model, asks one question, prints the answer as it is
// generated. README.md and docs/embedding.md show the same program.
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string_view>

#include <gemma/gemma.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    const bool help = argc == 2 && std::string_view(argv[1]) == "--help";
    std::fputs("usage: hello MODEL.gguf \"a question\"\n", help ? stdout : stderr);
    return help && std::fflush(stdout) == 0 ? 0 : 1;
  }
  try {
    const gemma::Model model = gemma::Model::load(argv[1]);
    gemma::Session session(model);
    const gemma::Message question{"user", argv[2]};
    session.set_tokens(model.encode_chat({&question, 1}));
    gemma::Sampler sampler({.temperature = 0.7f, .top_p = 0.95f, .seed = 1});
    for (const gemma::GeneratedToken& token : session.stream(sampler)) {
      std::fwrite(token.text.data(), 1, token.text.size(), stdout);
      std::fflush(stdout);  // shows each word as it comes
    }
    std::puts("");
    std::fflush(stdout);
    if (std::ferror(stdout) != 0) throw std::runtime_error("cannot write to standard output");
  } catch (const std::exception& e) {
    std::fprintf(stderr, "hello: %s\n", e.what());
    return 1;
  }
}
