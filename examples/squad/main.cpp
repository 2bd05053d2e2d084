// gemma-squad: asks models the questions of SQuAD and tests which answered better and faster.
#include "examples/program.hpp"
#include "examples/squad/commands.hpp"

namespace {

int run(int argc, char** argv) {
  const gemma::app::CommandLine owner = gemma::app::command_line(
      "Asks models the questions of SQuAD and says which answered better and faster.\n"
      "  gemma-squad demo\n"
      "  gemma-squad run --model gemma=A.gguf --model llama=B.gguf --squad dev-v1.1.json -n 60 --out DIR",
      "gemma-squad");
  CLI::App& app = *owner;
  app.require_subcommand(1);
  gemma::squad::Command chosen;
  using namespace gemma::squad;
  for (const auto add : {add_run, add_demo, add_judge, add_report, add_merge, add_score}) add(app, chosen);
  gemma::app::parse(app, argc, argv);
  return chosen();
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gemma-squad", run);
}
