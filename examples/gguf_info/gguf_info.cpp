// gguf-info FILE [--json]: what a GGUF file holds. Opening it checks the whole file's structure: header,
// metadata, tensor table, and that every tensor's data lie in the file, aligned and apart from each other.
#include <algorithm>
#include <string>

#include <CLI/CLI.hpp>

#include "examples/gguf_info/report.hpp"
#include "examples/program.hpp"
#include "gguf/file.hpp"

namespace gemma::app {

Totals Totals::of(const gguf::File& file) {
  Totals totals;
  for (const TensorView& t : file.tensors()) {
    auto it = std::find_if(totals.by_type.begin(), totals.by_type.end(),
                           [name = t.type_name()](const OfType& of_type) { return of_type.name == name; });
    if (it == totals.by_type.end()) it = totals.by_type.insert(it, {t.type_name(), {}});
    it->total.add(t);
    totals.all.add(t);
  }
  std::stable_sort(totals.by_type.begin(), totals.by_type.end(),
                   [](const OfType& a, const OfType& b) { return a.total.bytes > b.total.bytes; });
  return totals;
}

std::vector<std::size_t> shape_of(const TensorView& tensor) {
  std::vector<std::size_t> shape(tensor.dims, tensor.dims + tensor.n_dims);
  std::reverse(shape.begin(), shape.end());
  return shape;
}

namespace {

int run(int argc, char** argv) {
  CLI::App app("Shows what a GGUF file holds, and checks its structure.", "gguf-info");
  std::string path;
  bool json = false;
  app.add_option("FILE", path, "The file")->required()->type_name("");
  app.add_flag("--json", json, "One JSON object instead of text");
  add_version(app);
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
