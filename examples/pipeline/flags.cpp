#include "examples/pipeline/flags.hpp"

#include <algorithm>
#include <string_view>

#include <CLI/CLI.hpp>

#include "examples/chat_template_flag.hpp"
#include "examples/numbers.hpp"
#include "examples/program.hpp"
#include "examples/same_file.hpp"

namespace gemma::app {
namespace {

void add_logits(CLI::App& cli, PipelineFlags& f) {
  auto* tokens = cli.add_option("--tokens", f.tokens,
                                "Logits of these token ids, comma-separated, exactly as the model is to see "
                                "them; may be repeated, for many sequences at once")
                     ->take_all()
                     ->allow_extra_args(false)
                     ->type_name("IDS");
  cli.add_option("--tokens-file", f.tokens_file, "The same from a file; commas or white space between ids")
      ->excludes(tokens)
      ->type_name("FILE");
  cli.add_option("--out", f.out,
                 "Where to write logits: float32, little-endian, [n_tokens, vocab_size], one sequence after "
                 "another; it appears only when it is complete")
      ->type_name("FILE");
}

void add_answers(CLI::App& cli, PipelineFlags& f) {
  auto* p = cli.add_option("-p,--prompt", f.prompts,
                           "Answer this prompt; if repeated, all prompts at once, with answers in this order")
                ->take_all()
                ->allow_extra_args(false)
                ->type_name("TEXT");
  cli.add_option("--prompts-file", f.prompts_file, "The same: each line of this file is a prompt")
      ->excludes(p)
      ->type_name("FILE");
  auto* raw = cli.add_flag("--raw", f.raw,
                           "No chat template: the model continues the text as given (control markers in it, "
                           "such as <start_of_turn>, are recognised)");
  add_chat_template(cli, f.chat_template)->excludes(raw);
  cli.add_option("--system", f.system, "The system prompt: how the model is to behave")
      ->excludes(raw)
      ->type_name("TEXT");
  cli.add_flag("--json", f.json, "A line of JSON for each answer, as gemma-chat's");
  f.answer.add_to(cli);
  f.sampling.add_to(cli);
}

void add_pipeline(CLI::App& cli, PipelineFlags& f) {
  cli.add_option("--chunk", f.chunk,
                 "Tokens of a sequence that a rank computes at a time, while the next rank computes those "
                 "before; any number gives the same bits (default: 128)")
      ->check(WholeNumber{1, 65536})
      ->type_name("N");
  cli.add_option_function<std::string>(
         "--split", [&f](const std::string& text) { f.split = parse_split(text); },
         "Divide the layers by bytes (decode), by the work of long prompts (prefill), or by the "
         "number of layers of each rank (a,b,c) (default: decode)")
      ->type_name("HOW");
  cli.add_option("--timeout", f.timeout,
                 "Seconds without a sign of life from a rank after which all ranks end; 0: wait forever "
                 "(default: 30)")
      ->check(RealNumber{0.0, 1e6})
      ->type_name("S");
  cli.add_flag("--stats", f.stats,
               "Print the layers, time and memory of each rank on standard error at the end");
}

}  // namespace

std::variant<SplitBy, std::vector<std::size_t>> parse_split(const std::string& text) {
  if (text == "prefill") return SplitBy::kPrefill;
  if (text == "decode") return SplitBy::kDecode;
  std::vector<std::size_t> layers;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const auto n = parse_number<std::size_t>(std::string_view(text).substr(at, end - at));
    if (!n) {
      throw Error(ErrorCode::kInvalidArgument,
                  "--split: '" + text + "' is neither prefill nor decode nor numbers of layers (10,9,9)");
    }
    if (*n == 0) throw Error(ErrorCode::kInvalidArgument, "--split: each rank needs at least one layer");
    layers.push_back(*n);
    at = end + 1;
  }
  return layers;
}

PipelineFlags PipelineFlags::parse(int argc, char** argv) {
  PipelineFlags f;
  const CommandLine owner = command_line(
      "One model over many processes: mpirun -n RANKS gemma-pipeline ... Each rank runs a part of the "
      "layers; logits and answers are those of one process, to the bit. Either --tokens or --tokens-file "
      "(with --out), or -p or --prompts-file is required.",
      "gemma-pipeline");
  f.engine.add_to(*owner);
  owner->get_option("--threads")
      ->description(
          "Threads of each rank (default: one for each core that mpirun bound it to, or its share of the "
          "cores that several ranks of a machine may all use)");
  add_pipeline(*owner, f);
  add_logits(*owner, f);
  add_answers(*owner, f);
  app::parse(*owner, argc, argv);
  const bool asks = !f.prompts.empty() || !f.prompts_file.empty();
  if (f.wants_logits() == asks) {
    throw Error(ErrorCode::kInvalidArgument,
                "either --tokens or --tokens-file, or -p or --prompts-file (--help lists the flags)");
  }
  if (f.wants_logits() && f.out.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "--out is required: where to write the logits");
  }
  std::vector<std::string> inputs = f.engine.files();
  inputs.push_back(f.tokens_file);
  refuse_same_file(f.out, inputs);
  return f;
}

}  // namespace gemma::app
