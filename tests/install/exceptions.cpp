// A program that is linked to the shared library catches the library's exceptions by type.
#include <cstdio>
#include <string>

#include "gguf/error.hpp"
#include "tokenizer/spm.hpp"

int main() {
  try {
    const gemma::detail::SentencePiece piece("this is no model");
    std::puts("nothing was thrown");
  } catch (const gemma::Error& e) {
    std::printf("caught: %s\n", e.what());
    return e.code() == gemma::ErrorCode::kMalformed ? 0 : 1;
  } catch (...) {
    std::puts("caught, but not as gemma::Error");
  }
  return 1;
}
