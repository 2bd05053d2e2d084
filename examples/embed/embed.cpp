// gemma-embed: texts to vectors; one JSON object per line in, one line out for each.
// Invariant: the bits of a vector do not depend on other lines, --chunk or -t; for a line that fails,
// {"error"} is written in its place, later lines are still processed, and the program ends with status 1.
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "examples/engine_flags.hpp"
#include "examples/program.hpp"
#include "examples/read_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using Json = nlohmann::json;

const std::map<std::string, Pooling> kPoolings = {
    {"mean", Pooling::kMean}, {"last", Pooling::kLast}, {"cls", Pooling::kFirst}, {"none", Pooling::kNone}};

/// Appends "[0.125,-3e-05]", with the shortest digits that give the same floats.
void append_numbers(std::span<const float> numbers, std::string& out) {
  char digits[32];
  char before = '[';
  for (const float x : numbers) {
    out += before;
    out.append(digits, std::to_chars(digits, digits + sizeof(digits), x).ptr);
    before = ',';
  }
  out += ']';
}

/// Reads lines, embeds many at a time, and writes lines in the same order.
class Lines {
 public:
  Lines(Embedder& embedder, EmbedPrompt prompt) : embedder_(embedder), prompt_(prompt) {}

  /// Adds the next line, or the error in it.
  void add(const std::string& line) {
    ++n_lines_;
    try {
      ids_.push_back(embedder_.encode(text_of(line), prompt_));
      errors_.emplace_back();
      n_tokens_ += ids_.back().size();
    } catch (const Error& e) {
      errors_.push_back("line " + std::to_string(n_lines_) + ": " + e.what());
      if (first_error_.empty()) first_error_ = errors_.back();
    }
  }

  /// Whether there are enough texts for an efficient forward pass.
  bool full() const noexcept { return n_tokens_ >= 4096 || errors_.size() >= 1024; }

  /// Embeds and writes the lines that were added.
  void write() {
    const auto vectors = embedder_.embed_ids(ids_);
    std::size_t next = 0;
    std::string out;
    for (const std::string& error : errors_) {
      if (error.empty()) {
        append_embedding(vectors[next++], out);
      } else {
        out += Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
      }
    }
    app::write_stdout(out);
    ids_.clear();
    errors_.clear();
    n_tokens_ = 0;
  }

  /// Throws Error{kInvalidArgument} naming the first line that failed, if any did.
  void report() const {
    if (!first_error_.empty()) throw Error(ErrorCode::kInvalidArgument, first_error_);
  }

 private:
  static std::string text_of(const std::string& line) {
    try {
      const Json in = Json::parse(line);
      if (in.is_object()) {
        if (const auto text = in.find("text"); text != in.end() && text->is_string()) return *text;
      }
    } catch (const Json::parse_error& e) {
      throw Error(ErrorCode::kInvalidArgument, "not JSON (at byte " + std::to_string(e.byte) + ")");
    } catch (const Json::exception& e) {  // for example a number out of range
      throw Error(ErrorCode::kInvalidArgument, std::string("JSON that is not supported: ") + e.what());
    }
    throw Error(ErrorCode::kInvalidArgument, R"(not a line of the form {"text": "..."})");
  }

  void append_embedding(std::span<const float> vector, std::string& out) const {
    out += "{\"embedding\":";
    if (embedder_.pooling() != Pooling::kNone) {
      append_numbers(vector, out);
    } else {
      char before = '[';
      for (std::size_t at = 0; at < vector.size(); at += embedder_.dims()) {
        out += before;
        append_numbers(vector.subspan(at, embedder_.dims()), out);
        before = ',';
      }
      out += ']';
    }
    out += "}\n";
  }

  Embedder& embedder_;
  EmbedPrompt prompt_;
  std::vector<std::vector<std::int32_t>> ids_;  // of the lines without an error
  std::vector<std::string> errors_;             // of every line; "": none
  std::string first_error_;
  std::size_t n_lines_ = 0;
  std::size_t n_tokens_ = 0;
};

/// The command line.
struct Command {
  app::EngineFlags engine;
  EmbedderOptions options;
  bool query = false;
  bool document = false;

  EmbedPrompt prompt() const noexcept {
    return query ? EmbedPrompt::kQuery : document ? EmbedPrompt::kDocument : EmbedPrompt::kNone;
  }
};

void add_flags(CLI::App& cli, Command& command) {
  auto& [engine, options, query, document] = command;
  engine.add_to(cli, app::EngineFlags::kModel | app::EngineFlags::kIsa | app::EngineFlags::kThreads |
                         app::EngineFlags::kMemory | app::EngineFlags::kLora);
  auto* q = cli.add_flag("--query", query, "Put the model's prompt for searching texts before each text");
  cli.add_flag("--document", document, "Put the model's prompt for texts to be found before each text")
      ->excludes(q);
  cli.add_option("--dims", options.dims,
                 "Only the first N numbers of each vector, of length 1 again (default: all)")
      ->check(app::WholeNumber{1, 1 << 24})
      ->type_name("N");
  cli.add_option_function<std::string>(
         "--pooling", [&command](const std::string& name) { command.options.pooling = kPoolings.at(name); },
         "How the tokens' final hidden states become one vector: mean, last, cls (the first) or none (a list "
         "of vectors, as they are) (default: the model's; last for models that generate)")
      ->check(CLI::IsMember({"mean", "last", "cls", "none"}).description(""))
      ->type_name("NAME");
  cli.add_option("-c,--context", options.n_ctx,
                 "Tokens that a text may have, prompt included (default: the model's context, at most " +
                     std::to_string(kDefaultContext) + ")")
      ->check(app::WholeNumber{1, 1 << 30})
      ->type_name("N");
  cli.add_flag("--truncate", options.truncate, "Cut a text that has more tokens, instead of an error");
  cli.add_option("--chunk", options.chunk,
                 "Tokens of one forward pass; any number gives the same bits (default: 512)")
      ->check(app::WholeNumber{1, 65536})
      ->type_name("N");
  app::add_kv_option(
      cli, [&command](KvType type) { command.options.kv_type = type; },
      "f16; f32 for models that only embed");
}

int run(int argc, char** argv) {
  Command command;
  const app::CommandLine cli = app::command_line(
      "Texts to vectors of length 1. Reads JSON objects from stdin, one per line:\n"
      "  {\"text\"} -> {\"embedding\": [...]} or {\"error\"}\n"
      "Exit status 1 if any line is an error; the others are computed all the same.",
      "gemma-embed");
  add_flags(*cli, command);
  app::parse(*cli, argc, argv);
  const EmbedPrompt prompt = command.prompt();
  command.options.n_threads = command.engine.threads;
  command.options.max_memory = command.engine.max_memory;

  const Model model = command.engine.load();
  model.tokenizer();  // refuses a file without a vocabulary before any line is read
  Embedder embedder(model, command.options);
  if (prompt != EmbedPrompt::kNone) embedder.encode("", prompt);  // refuses a model without prompts
  app::print_notes("gemma-embed", model.notes());
  Lines lines(embedder, prompt);
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    lines.add(line);
    const bool waits = std::cin.rdbuf()->in_avail() <= 0;  // the sender may wait for its answer
    if (!lines.full() && !waits) continue;
    lines.write();
    if (waits) app::flush_stdout();
  }
  app::check_stdin_was_read(std::cin);
  lines.write();
  lines.report();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-embed", run);
}
