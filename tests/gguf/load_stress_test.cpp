// Opening and closing a file repeatedly leaks neither memory nor descriptors.
// GEMMA_STRESS_CYCLES=10000 in the environment makes it the long run of docs/security.md.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include "gguf/file.hpp"
#include "tests/paths.hpp"
#include "tests/temporary_folder.hpp"
#include "tokenizer/tokenizer.hpp"

namespace gemma::gguf {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#elif defined(__has_feature)
constexpr bool kAddressSanitizer = __has_feature(address_sanitizer);
#else
constexpr bool kAddressSanitizer = false;
#endif

std::size_t cycles() {
  const char* text = std::getenv("GEMMA_STRESS_CYCLES");
  return text != nullptr ? std::strtoul(text, nullptr, 10) : 300;
}

struct Use {
  std::size_t heap = 0;  // bytes allocated by malloc()
  // number of mappings; under AddressSanitizer, of files only, since its allocator maps ever more memory
  std::size_t mappings = 0;
  std::size_t descriptors = 0;

  static Use now() {
    Use u;
    u.heap = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
      u.mappings += !kAddressSanitizer || line.find('/') != std::string::npos ? 1 : 0;
    namespace fs = std::filesystem;
    u.descriptors = static_cast<std::size_t>(
        std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
    return u;
  }
};

void expect_no_growth(const Use& before, const Use& after) {
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_LE(after.mappings, before.mappings + 2);  // malloc may have created another arena
  EXPECT_LE(after.heap,
            before.heap + 64 * 1024);  // a constant amount that libraries keep, not one per file
}

TEST(LoadStress, FilesAndTheirTokenizers) {
  const std::string path = gemma::test::demo_model();
  Use before;
  for (std::size_t i = 0; i < cycles() + 10; ++i) {
    if (i == 10) before = Use::now();  // after one-time allocations
    const File file = File::open(path);
    const auto tokenizer = make_tokenizer(Vocab::from(file));
    ASSERT_FALSE(tokenizer->encode("The Normans").empty());
  }
  expect_no_growth(before, Use::now());
}

TEST(LoadStress, FilesThatAreRefused) {
  const gemma::test::TemporaryFolder folder;
  const std::string whole = gemma::test::read_bytes(gemma::test::demo_model("llama"));
  Use before;
  for (std::size_t i = 0; i < cycles() + 10; ++i) {
    if (i == 10) before = Use::now();
    const std::string path = folder.write("cut.gguf", whole.substr(0, 40 + i * 97 % 60'000));
    EXPECT_THROW(File::open(path), Error);
    EXPECT_THROW(File::open(folder.path("missing")), Error);
  }
  expect_no_growth(before, Use::now());
}

}  // namespace
}  // namespace gemma::gguf
