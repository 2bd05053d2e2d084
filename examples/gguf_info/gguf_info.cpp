// gguf-info FILE [--json]: shows the content of a GGUF file. Opening it checks the whole file's structure:
// header, metadata, tensor table, and that every tensor's data lie in the file, are aligned and do not
// overlap.
#include <string>

#include <CLI/CLI.hpp>

#include "examples/gguf_info/report.hpp"
#include "examples/program.hpp"
#include "gguf/file.hpp"

namespace gemma::app {

namespace {

int run(int argc, char** argv) {
  const CommandLine owner =
      command_line("Shows what a GGUF file holds, and checks its structure.", "gguf-info");
  CLI::App& app = *owner;
  std::string path;
  bool json = false;
  app.add_option("FILE", path, "The file")->required()->type_name("");
  app.add_flag("--json", json, "One JSON object instead of text");
  parse(app, argc, argv);

  const gguf::File file = gguf::File::open(path);
  json ? write_json(file) : write_text(file);
  return 0;
}

}  // namespace
}  // namespace gemma::app

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, "gguf-info", gemma::app::run);
}
