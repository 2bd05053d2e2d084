// gemma-logits: writes the model's logits at every position of a list of tokens to a file of floats.
// Invariant: the file appears under its name only when it is complete; its bits do not depend on --chunk or
// -t.
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/engine_flags.hpp"
#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "examples/same_file.hpp"
#include "examples/token_ids.hpp"
#include "examples/whole_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;

static_assert(std::endian::native == std::endian::little, "the output is little-endian, as memory is");

/// Computes the tokens chunk by chunk and writes [n_tokens, vocab_size] floats.
void write_logits(const Model& model, const app::EngineFlags& engine, std::span<const TokenId> tokens,
                  std::size_t chunk, const std::string& path) {
  const std::size_t n_ctx = engine.context != 0 ? engine.context : model.config().max_seq_len;
  if (tokens.size() > n_ctx) {
    throw Error(EngineErrorCode::kContextFull, std::to_string(tokens.size()) +
                                                   " tokens do not fit the context of " +
                                                   std::to_string(n_ctx) + "; -c allows a longer one");
  }
  chunk = std::min(chunk, tokens.size());
  SessionOptions planned = engine.session_options();
  planned.n_ctx = tokens.size();
  planned.chunk = planned.logit_rows = chunk;
  plan_session(model, planned);  // checks --max-memory
  KvCache cache = model.make_cache({tokens.size(), engine.kv, chunk});
  Workspace workspace = model.make_workspace({chunk, chunk, engine.threads});
  std::atomic<bool> cancelled = false;
  const app::InterruptGuard guard(cancelled);  // a signal cancels the run, which removes the incomplete file
  app::WholeFile out(path);
  for (std::size_t done = 0; done < tokens.size(); done += chunk) {
    const Chunk part{tokens.subspan(done, std::min(chunk, tokens.size() - done)), &cache, Logits::kAll};
    out.write(std::as_bytes(model.forward({&part, 1}, workspace, &cancelled)));
  }
  out.commit();
}

int run(int argc, char** argv) {
  app::EngineFlags engine;
  std::string tokens_text;
  std::string tokens_file;
  std::string out;
  std::size_t chunk = 64;
  const app::CommandLine owner = app::command_line(
      "Logits of every position: float32, little-endian, [n_tokens, vocab_size], row by row.",
      "gemma-logits");
  CLI::App& cli = *owner;
  engine.add_to(cli);
  cli.get_option("--context")
      ->description("Context in tokens: maximum length of the list (default: the model's)");
  auto* tokens_option = cli.add_option("--tokens", tokens_text,
                                       "Token ids, comma-separated, exactly as the model is to see them "
                                       "(no BOS is added); --tokens or --tokens-file is required")
                            ->type_name("IDS");
  auto* file_option =
      cli.add_option("--tokens-file", tokens_file, "The same from a file; commas or white space between ids")
          ->excludes(tokens_option)
          ->type_name("FILE");
  cli.add_option("--out", out, "Where to write; it appears only when it is complete")
      ->required()
      ->type_name("FILE");
  cli.add_option("--chunk", chunk, "Tokens of one forward pass; any number gives the same bits (default: 64)")
      ->check(app::WholeNumber{1, 65536})
      ->type_name("N");
  app::parse(cli, argc, argv);
  if (tokens_option->count() + file_option->count() == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "--tokens or --tokens-file is required (--help lists the flags)");
  }

  std::vector<std::string> inputs = engine.files();
  inputs.push_back(tokens_file);
  app::refuse_same_file(out, inputs);
  const auto tokens = tokens_file.empty() ? app::parse_token_ids(tokens_text, "--tokens")
                                          : app::parse_token_ids(app::read_file(tokens_file), tokens_file);
  const Model model = engine.load();
  app::print_notes("gemma-logits", model.notes());
  try {
    write_logits(model, engine, tokens, chunk, out);
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    std::fputs("gemma-logits: stopped; nothing was written\n", stderr);
    return app::InterruptGuard::exit_status();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-logits", run);
}
