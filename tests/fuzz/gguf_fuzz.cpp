// The container: whatever opens is read to the last byte, shown as gguf-info shows it (where the programs are
// built), and its copy by the writer holds the same.
#include <cstdint>
#include <cstdio>

#include <fcntl.h>
#include <unistd.h>

#include "examples/gguf_info/report.hpp"
#include "gguf/writer.hpp"
#include "tests/fuzz/gguf_target.hpp"
#include "tests/fuzz/targets.hpp"

namespace gemma::fuzz {
namespace {

/// Standard output goes nowhere while it lives.
class Silence {
 public:
  Silence() {
    std::fflush(stdout);
    saved_ = ::dup(STDOUT_FILENO);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(nowhere, STDOUT_FILENO);
    ::close(nowhere);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    std::fflush(stdout);
    ::dup2(saved_, STDOUT_FILENO);
    ::close(saved_);
  }

 private:
  int saved_;
};

void run(Bytes input) {
  gguf::fuzz::gguf_target(input);
  const Input exact(input.begin(), input.end());
  try {
    const auto file = gguf::File::from_memory(exact, "fuzz");
#ifdef GEMMA_FUZZ_INFO
    const Silence silence;
    app::write_text(file);
    app::write_json(file);
#endif
  } catch (const Error&) {
  }
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
  return out;
}

}  // namespace

const Target kGguf{"gguf", run, seeds, true};

}  // namespace gemma::fuzz
