// gemma-convert FOLDER OUT: converts a published checkpoint (config.json, safetensors, tokenizer) to a GGUF
// file of floats.
// Invariant: OUT appears under its name only when it is complete; memory does not grow with the checkpoint.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "examples/convert/checkpoint.hpp"
#include "examples/interrupt.hpp"
#include "examples/program.hpp"
#include "examples/progress_bar.hpp"
#include "examples/same_file.hpp"
#include "gemma/gemma.hpp"

namespace {

using namespace gemma;
using namespace gemma::convert;

constexpr std::string_view kProgram = "gemma-convert";

struct Flags {
  std::string in, out, name;
  std::optional<DType> type;  // nullopt: each tensor's type in the checkpoint
};

Flags parse_flags(int argc, char** argv) {
  Flags f;
  const app::CommandLine owner = app::command_line(
      "A checkpoint as published (a folder of config.json, safetensors and a tokenizer) to a GGUF file of "
      "floats, which gemma-quantize makes smaller. Architectures: " +
          architecture_names() + ".",
      std::string(kProgram));
  CLI::App& cli = *owner;
  cli.add_option("FOLDER", f.in, "The checkpoint")->required()->type_name("");
  cli.add_option("OUT", f.out, "The file to write; it appears only when it is complete")
      ->required()
      ->type_name("");
  cli.add_option_function<std::string>(
         "--type",
         [&f](const std::string& type) {
           if (type != "auto")
             f.type = type == "f32" ? DType::kF32 : type == "f16" ? DType::kF16 : DType::kBF16;
         },
         "Type of the matrices: auto (as the checkpoint has them), f32, f16 or bf16 (default: auto)")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16"}).description(""))
      ->type_name("TYPE");
  cli.add_option("--name", f.name, "general.name of the file (default: the folder's)")->type_name("TEXT");
  app::parse(cli, argc, argv);
  return f;
}

DType type_of(const Placed& p, const Flags& flags) {
  if (p.keep_f32 || p.from == nullptr) return DType::kF32;
  return flags.type.value_or(p.from->type);
}

/// The row of the checkpoint's matrix that becomes row `r` of the file.
std::size_t source_row(const Placed& p, std::size_t r) {
  if (p.head_dim == 0) return r;
  const std::size_t in_head = r % p.head_dim;
  return r - in_head + in_head % 2 * (p.head_dim / 2) + in_head / 2;
}

/// Converts the rows of a tensor by way of floats, some at a time.
class Rows {
 public:
  Rows(app::ProgressBar& bar, const std::atomic<bool>& cancelled) : bar_(bar), cancelled_(cancelled) {}

  void write(const Placed& p, DType type, const gguf::Writer::Sink& sink) {
    if (p.from == nullptr) return sink(std::as_bytes(std::span(p.made)));
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < p.shape.size(); ++i) rows *= p.shape[i];
    rows -= write_part(p, *p.from, type, sink);
    for (const CheckpointTensor* part : p.more) rows -= write_part(p, *part, type, sink);
    const std::vector<std::byte> zeros(row_bytes(type, p.shape.back()));  // the same in every float type
    for (; rows > 0; --rows) sink(zeros);
  }

 private:
  /// Returns the number of rows.
  std::size_t write_part(const Placed& p, const CheckpointTensor& from, DType type,
                         const gguf::Writer::Sink& sink) {
    const std::size_t cols = p.shape.back(), rows = from.elements() / cols;
    const std::size_t in = row_bytes(from.type, cols), out = row_bytes(type, cols);
    const std::size_t step = std::clamp<std::size_t>((std::size_t{4} << 20) / out, 1, rows);
    const auto decode = kernels::best_table().dequantize[static_cast<std::size_t>(from.type)];
    const auto encode = kernels::best_encoder().find(type);
    floats_.resize(std::max(floats_.size(), cols));
    bytes_.resize(std::max(bytes_.size(), step * out));
    for (std::size_t row = 0; row < rows; row += step) {
      if (cancelled_) throw Error(EngineErrorCode::kCancelled, "cancelled");
      from.file->check_size();
      const std::size_t n = std::min(step, rows - row);
      for (std::size_t i = 0; i < n; ++i) {
        decode(from.data.data() + source_row(p, row + i) * in, cols, floats_.data());
        for (std::size_t c = 0; p.add != 0 && c < cols; ++c) floats_[c] += p.add;
        encode(floats_.data(), nullptr, cols, bytes_.data() + i * out);
      }
      sink(std::span(bytes_).first(n * out));
      from.file->will_not_need(from.data.subspan(row * in, n * in));
      done_ += n * in;
      bar_.show(done_, p.name);
    }
    return rows;
  }

  app::ProgressBar& bar_;
  const std::atomic<bool>& cancelled_;
  std::vector<float> floats_;
  std::vector<std::byte> bytes_;
  std::size_t done_ = 0;
};

/// Adds the publisher's sampling options, if a file has them.
void add_sampling(const std::string& folder, gguf::Writer& writer) {
  const std::string path = folder + "/generation_config.json";
  if (!std::filesystem::exists(path)) return;
  const Json json = read_json(path);
  if (const auto it = json.find("top_k"); it != json.end() && it->is_number_unsigned())
    writer.add("general.sampling.top_k", it->get<std::int32_t>());
  for (const auto& [from, to] : {std::pair{"top_p", "top_p"}, std::pair{"temperature", "temp"}})
    if (const auto it = json.find(from); it != json.end() && it->is_number())
      writer.add(std::string("general.sampling.") + to, it->get<float>());
}

/// general.file_type: the type of most matrices.
std::uint32_t file_type(const Conversion& conversion, const Flags& flags) {
  std::map<DType, std::size_t> elements;
  for (const Placed& p : conversion.tensors)
    if (!p.keep_f32 && p.from != nullptr) elements[type_of(p, flags)] += p.from->elements();
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() || most->first == DType::kF32 ? 0 : most->first == DType::kF16 ? 1 : 32;
}

std::string folder_name(const std::string& folder) {
  std::error_code error;
  const auto path = std::filesystem::canonical(folder, error);
  return error ? folder : path.filename().string();
}

/// The files of the checkpoint. An earlier result may lie among them.
std::vector<std::string> inputs_of(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() != ".gguf") out.push_back(entry.path().string());
  return out;
}

int run(int argc, char** argv) {
  const Flags flags = parse_flags(argc, argv);
  std::error_code ignored;
  if (!std::filesystem::is_directory(flags.in, ignored))
    throw Error(ErrorCode::kIo, flags.in + ": not a folder of a checkpoint");
  app::refuse_same_file(flags.out, inputs_of(flags.in));
  if (std::filesystem::exists(flags.out, ignored) && !std::filesystem::is_regular_file(flags.out, ignored))
    throw Error(ErrorCode::kIo, flags.out + ": cannot write: not a regular file");
  const std::string config_path = flags.in + "/config.json";
  const Json config = read_json(config_path);
  const Safetensors checkpoint = Safetensors::open(flags.in);
  gguf::Writer writer;
  const Conversion conversion = place_tensors(checkpoint, config, config_path, writer);
  writer.add("general.name", flags.name.empty() ? folder_name(flags.in) : flags.name);
  writer.add("general.file_type", file_type(conversion, flags));
  writer.add("general.quantization_version", std::uint32_t{2});
  add_sampling(flags.in, writer);
  add_vocabulary(flags.in, config, conversion, writer);
  std::size_t total = 0;
  for (const Placed& p : conversion.tensors) {
    total += p.from == nullptr ? 0 : p.from->data.size();
    for (const CheckpointTensor* part : p.more) total += part->data.size();
  }
  std::atomic<bool> cancelled = false;
  const app::InterruptGuard guard(cancelled);
  app::ProgressBar bar(total);
  Rows rows(bar, cancelled);
  for (const Placed& p : conversion.tensors)
    writer.add_tensor_in_parts(
        p.name, type_of(p, flags), p.shape,
        [&, type = type_of(p, flags)](const auto& sink) { rows.write(p, type, sink); });
  try {
    writer.write(flags.out);
  } catch (const Error& e) {
    if (e.code() != EngineErrorCode::kCancelled) throw;
    bar.clear();
    std::fputs("gemma-convert: stopped; nothing was written\n", stderr);
    return app::InterruptGuard::exit_status();
  }
  bar.clear();
  std::string text = fmt::format("{}: {} tensors, {:.2f} MB\n", app::printable(flags.out),
                                 conversion.tensors.size(), static_cast<double>(writer.size_bytes()) / 1e6);
  if (!conversion.left_out.empty())
    text += fmt::format("left out: {} tensors, such as {}\n", conversion.left_out.size(),
                        app::printable(conversion.left_out.front()));
  app::write_stdout(text);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return gemma::app::run_program(argc, argv, kProgram, run);
}
