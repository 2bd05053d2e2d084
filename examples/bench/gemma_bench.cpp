// gemma-bench: prefill and decode speed of a whole model, with llama-bench's flags and JSON fields, and as a
// share of this machine's limits (one_sequence.hpp); or the speed of many sequences at once, as in
// llama-batched-bench (batched.hpp); or the speed with guesses along a text (along_text.hpp).
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "examples/bench/along_text.hpp"
#include "examples/bench/batched.hpp"
#include "examples/bench/one_sequence.hpp"
#include "examples/bench/report.hpp"
#include "examples/engine_flags.hpp"
#include "examples/numbers.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using gemma::Model;
using gemma::bench::Report;

constexpr std::int64_t kMost = 1 << 30;  // tokens, or sequences

struct Options {
  gemma::bench::OneSequenceTests one_sequence = {.n_prompt = {512}, .n_gen = {128}, .depth = {0}};
  gemma::bench::BatchedTests batched;  // its lists are empty unless this test is requested
  gemma::bench::Setup setup;           // 0 repetitions: the default, 5, or 1 of many sequences
  std::string text_file;               // "": no test along a text
  std::string output = "md";
  bool no_warmup = false;
};

/// The parts of "a,b,c".
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// Adds a flag for a comma-separated list of whole numbers; given several times, the lists are joined.
template <class T>
CLI::Option* add_list(CLI::App& app, const char* flags, std::vector<T>& list, gemma::app::WholeNumber number,
                      const char* description) {
  const auto take = [&list](const std::vector<std::string>& texts) {
    list.clear();
    for (const std::string& text : texts) {
      for (const std::string& part : parts_of(text)) list.push_back(*gemma::app::parse_number<T>(part));
    }
  };
  const auto check = [number](const std::string& text) {
    for (const std::string& part : parts_of(text)) {
      if (std::string wrong = number(part); !wrong.empty()) return wrong;
    }
    return std::string();
  };
  return app.add_option_function<std::vector<std::string>>(flags, take, description)
      ->check(check)
      ->take_all()
      ->allow_extra_args(false)
      ->type_name("N");
}

void add_flags(CLI::App& app, Options& options) {
  CLI::Option* const single[] = {
      add_list(app, "-p,--n-prompt", options.one_sequence.n_prompt, {0, kMost},
               "Prompt lengths, comma-separated; 0: no prompt test (default: 512)"),
      add_list(app, "-n,--n-gen", options.one_sequence.n_gen, {0, kMost},
               "Tokens to generate, comma-separated; 0: no decode test (default: 128)"),
      add_list(app, "-d,--n-depth", options.one_sequence.depth, {0, kMost},
               "Tokens already in the cache, comma-separated (default: 0)")};
  CLI::Option* const batched[] = {
      add_list(app, "--npp", options.batched.pp, {1, kMost},
               "Prompt lengths of many sequences at once, as llama-batched-bench (or -npp)"),
      add_list(app, "--ntg", options.batched.tg, {0, kMost},
               "Tokens to generate for each of these sequences (or -ntg)"),
      add_list(app, "--npl", options.batched.pl, {1, kMost}, "Numbers of sequences (or -npl)")};
  for (CLI::Option* const b : batched) {
    for (CLI::Option* const s : single) b->excludes(s);
    for (CLI::Option* const other : batched) {
      if (other != b) b->needs(other);
    }
  }
  app.add_flag("--pps", options.batched.shared, "With -npl, one prompt that all sequences share (or -pps)")
      ->needs(batched[2]);
  CLI::Option* const text = app.add_option("--text", options.text_file,
                                           "Decode this file's text, whatever tokens the model would choose: "
                                           "its last -n tokens are decoded after the others; "
                                           "with --draft, alternately without and with guesses")
                                ->type_name("FILE");
  for (CLI::Option* const other : {single[0], single[2], batched[0], batched[1], batched[2]}) {
    text->excludes(other);
  }
  app.get_option("--draft")->needs(text);
  add_list(app, "-t,--threads", options.setup.threads, {1, 4096},
           "Threads, comma-separated (default: physical cores)");
  app.add_option(
         "-r,--repetitions", options.setup.repetitions,
         "Runs of each test (default: 5; with --npl: 1); with --npl, the median of the runs is reported")
      ->check(gemma::app::WholeNumber{1, 1000})
      ->type_name("N");
  app.add_option("-b,--batch-size,--ubatch-size", options.setup.chunk,
                 "Tokens of one forward pass (default: 512)")
      ->check(gemma::app::WholeNumber{1, 65536})
      ->type_name("N");
  app.add_option("-o,--output", options.output, "md or json (default: md)")
      ->check(CLI::IsMember({"md", "json"}).description(""))
      ->type_name("FORM");
  app.add_flag("--no-warmup", options.no_warmup, "Time the first run too");
}

/// argv, with -npp, -ntg, -npl and -pps in their long form, since CLI11 would read them as -n or -p with a
/// value.
std::vector<std::string> with_long_flags(int argc, char** argv) {
  std::vector<std::string> out(argv, argv + argc);
  for (std::string& arg : out) {
    for (const std::string_view flag : {"-npp", "-ntg", "-npl", "-pps"}) {
      if (arg == flag || (arg.starts_with(flag) && arg[flag.size()] == '=')) arg.insert(0, "-");
    }
  }
  return out;
}

int run(int argc, char** argv) {
  Options options;
  gemma::app::EngineFlags engine;
  const gemma::app::CommandLine owner =
      gemma::app::command_line("Prefill and decode speed of a GGUF model.", "gemma-bench");
  CLI::App& app = *owner;
  using Parts = gemma::app::EngineFlags;
  engine.add_to(app,
                Parts::kModel | Parts::kIsa | Parts::kMemory | Parts::kKv | Parts::kLora | Parts::kDraft);
  add_flags(app, options);
  std::vector<std::string> arguments = with_long_flags(argc, argv);
  std::vector<char*> pointers;
  pointers.reserve(arguments.size());
  for (std::string& arg : arguments) pointers.push_back(arg.data());
  gemma::app::parse(app, argc, pointers.data());
  const bool batched = !options.batched.pl.empty();
  gemma::bench::Setup& setup = options.setup;
  if (setup.threads.empty()) setup.threads = {gemma::physical_core_count()};
  if (setup.repetitions == 0) setup.repetitions = batched ? 1 : 5;
  setup.kv = engine.kv;
  setup.max_memory = engine.max_memory;
  setup.warmup = !options.no_warmup;

  const Model model = engine.load();
  gemma::app::print_notes("gemma-bench", model.notes());
  Report report(model, options.output == "json");
  if (!options.text_file.empty()) {
    gemma::bench::run_along_text(model,
                                 {.text = gemma::app::read_file(options.text_file),
                                  .n_gen = options.one_sequence.n_gen,
                                  .session = engine.session_options(),
                                  .draft = engine.draft},
                                 setup, report);
  } else if (batched) {
    gemma::bench::run_batched(model, options.batched, setup, report);
  } else {
    gemma::bench::run_one_sequence(model, options.one_sequence, setup, report);
  }
  report.finish();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-bench", run);
}
