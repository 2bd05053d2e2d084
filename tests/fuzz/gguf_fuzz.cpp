// The container: every file that opens is read to the last byte, reported as by gguf-info (if the programs
// are built), and copied by the writer; the copy must be equal.
//
// An input that contains the magic more than once is also tested as a split model: its parts, one after the
// other, become files of a folder.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "examples/gguf_info/report.hpp"
#include "gguf/writer.hpp"
#include "tests/fuzz/gguf_target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::fuzz {
namespace {

/// While an object exists, standard output is discarded by a stream of glibc that makes no system calls.
class Silence {
 public:
  Silence() : saved_(stdout) { stdout = nowhere(); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    std::fflush(stdout);
    stdout = saved_;
  }

 private:
  static std::FILE* nowhere() {
    cookie_io_functions_t functions{};
    functions.write = [](void*, const char*, std::size_t size) { return static_cast<ssize_t>(size); };
    static std::FILE* const stream = ::fopencookie(nullptr, "w", functions);
    return stream;
  }

  std::FILE* saved_;
};

void show([[maybe_unused]] const gguf::File& file) {
#ifdef GEMMA_FUZZ_INFO
  const Silence silence;
  app::write_text(file);
  app::write_json(file);
#endif
}

/// The offsets at which parts begin; at most 4.
std::vector<std::size_t> magics(std::string_view text) {
  std::vector<std::size_t> out;
  for (std::size_t at = text.find("GGUF"); at != text.npos && out.size() < 4; at = text.find("GGUF", at + 4))
    out.push_back(at);
  return out;
}

/// Opens all parts by the path of one of them, and reads them to the end. Returns false if the input is not a
/// split model.
bool open_parts(Bytes input) {
  static const test::TemporaryFolder folder("/dev/shm");  // files that are not on a disk
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  std::vector<std::size_t> begins = magics(text);
  const std::size_t n = begins.size();
  if (n < 2) return false;
  begins.push_back(text.size());
  const auto name = [n](std::size_t i) {
    return "part-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(n) + ".gguf";
  };
  for (std::size_t i = 0; i < n; ++i)
    folder.write(name(i), text.substr(begins[i], begins[i + 1] - begins[i]));
  try {
    const auto whole = gguf::File::open(folder.path(name(text.size() % n)));
    require(whole.other_parts().size() < n, "no more parts than there are");
    std::uint64_t sum = 0;
    for (const gguf::Metadata& pair : whole.metadata()) sum += gguf::fuzz::checksum(pair.value.bytes());
    for (const TensorView& t : whole.tensors()) {
      require(whole.find_tensor(t.name) == &t, "every tensor of every part is found");
      require(whole.offset_of(t.data) + t.data.size() <= whole.size_bytes(), "tensors lie in the files");
      sum += gguf::fuzz::checksum(t.data) + whole.path_of(t.data).size();
    }
    show(whole);
    static volatile std::uint64_t kept;
    kept = kept + sum;  // so that the compiler cannot remove the reads
    return true;
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
    return false;
  }
}

void run(Bytes input) {
  gguf::fuzz::gguf_target(input);
  open_parts(input);
  const Input exact(input.begin(), input.end());
  try {
    show(gguf::File::from_memory(exact, "fuzz"));
  } catch (const Error&) {
  }
}

/// A split model: its parts one after the other. The first part has the metadata and at most one tensor.
Input split_model(std::size_t count, bool first_has_tensor) {
  const std::vector<std::byte> data(64, std::byte{0x22});
  Input out;
  for (std::size_t i = 0; i < count; ++i) {
    gguf::Writer part;
    if (i == 0) part.add("general.architecture", "llama").add("llama.block_count", std::uint32_t{1});
    const auto n_tensors = static_cast<std::int32_t>(count - (first_has_tensor ? 0 : 1));
    part.add("split.no", static_cast<std::uint16_t>(i)).add("split.count", static_cast<std::uint16_t>(count));
    part.add("split.tensors.count", n_tensors);
    if (i != 0 || first_has_tensor) part.add_tensor("t" + std::to_string(i), DType::kF32, {16}, data);
    const std::vector<std::byte> bytes = part.bytes();
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

std::vector<Input> seeds() {
  const std::vector<std::byte> data(4096, std::byte{0x11});
  std::vector<Input> out;
  gguf::Writer scalars(2);
  scalars.add("u8", std::uint8_t{1}).add("i8", std::int8_t{-1}).add("u16", std::uint16_t{2});
  scalars.add("i16", std::int16_t{-2}).add("u32", std::uint32_t{3}).add("i32", -3).add("f32", 0.5F);
  scalars.add("u64", std::uint64_t{4}).add("i64", std::int64_t{-4}).add("f64", 1e-6).add("yes", true);
  scalars.add("text", "\x1b[2J na\xc3\xafve\n");
  out.push_back(scalars.bytes());
  gguf::Writer arrays;
  arrays.add("general.alignment", std::uint32_t{64});
  arrays.add_array("words", {"a", "", "bc"}).add_array("floats", {1.0F, -2.0F});
  arrays.add_array("flags", {true, false}).add_array("longs", {std::int64_t{1} << 40});
  arrays.add_tensor("a", DType::kF32, {2, 3}, std::span(data).first(24));
  arrays.add_tensor("b", DType::kF16, {4}, std::span(data).first(8));
  out.push_back(arrays.bytes());
  gguf::Writer types;
  for (std::uint32_t id = 0; id < kDTypeLimit; ++id) {
    const auto type = dtype_from_id(id);
    if (type) types.add_tensor(info(*type).name, *type, {256}, std::span(data).first(row_bytes(*type, 256)));
  }
  out.push_back(types.bytes());
  out.push_back(split_model(2, true));
  out.push_back(split_model(3, false));
  for (std::size_t i = out.size() - 2; i < out.size(); ++i) require(open_parts(out[i]), "a split seed opens");
  gguf::Writer adapter;
  adapter.add("general.type", "adapter").add("adapter.type", "lora").add("general.architecture", "llama");
  adapter.add_tensor("blk.0.attn_q.weight.lora_a", DType::kF32, {2, 3}, std::span(data).first(24));
  out.push_back(adapter.bytes());
  return out;
}

}  // namespace

const Target kGguf{"gguf", run, seeds, true};

}  // namespace gemma::fuzz
