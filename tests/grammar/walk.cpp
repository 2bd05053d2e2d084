// grammar_walk VOCABULARY.gguf WALKS SEED <SCHEMAS.jsonl >TEXTS.jsonl: for each line, {"schema": ...} or
// {"grammar": "..."}, generates texts from random tokens, and measures the time of compiling and of masks:
//   {"schema": 0, "error": "..."} or {"schema": 0, "text": "...", "finished": true, "tokens": 12,
//   "compile_ms": ..., "mask_ms": mean, "worst_ms": ...}
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

#include <nlohmann/json.hpp>

#include "gguf/file.hpp"
#include "tests/grammar/random_walk.hpp"
#include "tokenizer/tokenizer.hpp"

namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void walk(const nlohmann::json& in, std::size_t number, const std::shared_ptr<const gemma::PieceTrie>& pieces,
          std::size_t walks, std::mt19937_64& random) {
  nlohmann::json out;
  out["schema"] = number;
  try {
    const auto begin = Clock::now();
    const gemma::Grammar grammar = in.contains("grammar")
                                       ? gemma::Grammar::gbnf(in["grammar"].get<std::string>())
                                       : gemma::Grammar::json_schema(in["schema"].dump());
    const gemma::GrammarMask start(grammar, pieces);
    out["compile_ms"] = ms_since(begin);
    for (std::size_t i = 0; i < walks; ++i) {
      // a separate table for each text, as for the first answer with a grammar
      const gemma::GrammarMask mask(grammar, pieces);
      double sum = 0;
      double worst = 0;
      Clock::time_point from;
      const gemma::test::Walk w = gemma::test::random_walk(
          mask, *pieces, random, 4 + random() % 60, 4000, [&] { from = Clock::now(); },
          [&] {
            const double last = ms_since(from);
            sum += last;
            worst = std::max(worst, last);
          });
      out["text"] = w.text;
      out["finished"] = w.finished;
      out["tokens"] = w.n_tokens;
      out["mask_ms"] = sum / static_cast<double>(std::max<std::size_t>(w.n_tokens, 1));
      out["worst_ms"] = worst;
      std::cout << out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
    }
  } catch (const gemma::Error& e) {
    out["error"] = std::string(e.message());
    std::cout << out.dump() << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: grammar_walk VOCABULARY.gguf WALKS SEED <SCHEMAS.jsonl\n", stderr);
    return 1;
  }
  const auto file = gemma::gguf::File::open(argv[1]);
  const auto tokenizer = gemma::make_tokenizer(gemma::Vocab::from(file));
  const auto begin = Clock::now();
  const auto pieces = gemma::PieceTrie::from(*tokenizer);
  std::fprintf(stderr, "%zu pieces: a trie of %zu bytes in %.0f ms\n", pieces->vocab_size(),
               pieces->memory_bytes(), ms_since(begin));
  std::mt19937_64 random(std::strtoull(argv[3], nullptr, 10));
  std::string line;
  for (std::size_t n = 0; std::getline(std::cin, line); ++n) {
    walk(nlohmann::json::parse(line), n, pieces, std::strtoull(argv[2], nullptr, 10), random);
  }
}
