// A small valid file, cut at every byte and with every byte of its header changed to every other value: each
// yields a File that can be read to the last byte, or an Error, and never takes more memory than a multiple
// of the file. The bytes lie in a buffer of exactly their size, so that AddressSanitizer sees a read beyond
// them.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"
#include "tests/allocations.hpp"
#include "tests/fuzz/gguf_target.hpp"
#include "tests/gguf/raw_builder.hpp"

namespace gemma::gguf {
namespace {

using gemma::test::allocations;
using test::RawBuilder;

/// A file of a few hundred bytes with every element of the format.
std::vector<std::byte> small_file() {
  const std::vector<std::byte> data(144, std::byte{1});
  return Writer()
      .add("general.alignment", std::uint32_t{16})
      .add("u8", std::uint8_t{1})
      .add("f64", 0.5)
      .add("flag", true)
      .add("text", "abc")
      .add_array("i16s", {std::int16_t{1}, std::int16_t{-1}})
      .add_array("words", {"a", "", "bc"})
      .add_array("flags", {true, false})
      .add_tensor("f32", DType::kF32, {2, 3}, std::span(data).first(24))
      .add_tensor("q4_k", DType::kQ4_K, {256}, data)
      .add_tensor("q8_0", DType::kQ8_0, {1, 2, 1, 32}, std::span(data).first(68))
      .bytes();
}

/// Opens `bytes` and checks that the allocated memory is proportional to their size. Returns the error, or
/// nullopt for a valid file.
std::optional<ErrorCode> open(const std::vector<std::byte>& bytes) {
  allocations.largest = 0;
  allocations.most_live = allocations.live.load();
  const std::size_t before = allocations.live;
  std::optional<ErrorCode> code;
  try {
    const File file = File::from_memory(bytes, "f");
    EXPECT_LE(allocations.largest.load(), 32 * 1024 + 16 * bytes.size());
    EXPECT_LE(allocations.most_live - before, 64 * 1024 + 32 * bytes.size());
    fuzz::read_everything(file);
  } catch (const Error& e) {
    EXPECT_LE(allocations.largest.load(), 32 * 1024 + 16 * bytes.size()) << e.what();
    EXPECT_LE(allocations.most_live - before, 64 * 1024 + 32 * bytes.size()) << e.what();
    code = e.code();
  }
  EXPECT_EQ(allocations.live.load(), before);
  return code;
}

TEST(Mutation, TheFileItselfIsValid) {
  EXPECT_EQ(open(small_file()), std::nullopt);
}

TEST(Mutation, CutAtEveryByte) {
  const std::vector<std::byte> whole = small_file();
  const std::size_t padding = 12;  // after the last tensor: 68 bytes to a multiple of 16
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    const auto code = open(cut);
    if (size < whole.size() - padding) {
      ASSERT_EQ(code, ErrorCode::kTruncated) << size;
    } else {
      ASSERT_EQ(code, std::nullopt) << size;
    }
  }
}

TEST(Mutation, EveryHeaderByteToEveryValue) {
  const std::vector<std::byte> valid = small_file();
  std::size_t header = 0;
  {
    const File file = File::from_memory(valid, "f");
    header = file.data_offset();
  }
  std::size_t taken = 0;
  std::size_t refused = 0;
  std::vector<std::byte> changed = valid;
  for (std::size_t at = 0; at < header; ++at) {
    for (int v = 0; v < 256; ++v) {
      changed[at] = static_cast<std::byte>(v);
      (open(changed) ? refused : taken) += 1;
    }
    changed[at] = valid[at];
  }
  EXPECT_EQ(taken + refused, header * 256);
  EXPECT_GT(refused, taken / 4);
  EXPECT_GT(taken, refused / 16);
}

TEST(Mutation, ClaimsOfAMegabyteFileAreBoundedByIt) {
  constexpr std::size_t kSize = 1 << 20;
  for (const std::uint64_t n : {std::uint64_t{kSize / 33 - 1}, std::uint64_t{kSize / 14 - 2}}) {
    EXPECT_TRUE(open(RawBuilder().header(0, n).fill(kSize).bytes()).has_value());
    EXPECT_TRUE(open(RawBuilder().header(n, 0).fill(kSize).bytes()).has_value());
  }
  EXPECT_TRUE(open(RawBuilder().header(0, 1).u64(kSize * 2).fill(kSize).bytes()).has_value());
  RawBuilder array;
  array.header(0, 1).array_key("a", ValueType::kString, kSize / 8).fill(kSize).pad(8);
  EXPECT_EQ(open(array.bytes()), std::nullopt);  // the file does contain so many empty strings
}

TEST(Mutation, TheSmallestPairsAndTensorsAreBoundedToo) {
  RawBuilder pairs;
  pairs.header(0, 40'000);
  RawBuilder tensors;
  tensors.header(40'000, 0);
  for (std::uint32_t i = 0; i < 40'000; ++i) {
    const char name[] = {static_cast<char>(i), static_cast<char>(i >> 8)};
    pairs.key({name, 2}, ValueType::kU8).u8(0);
    tensors.tensor({name, 2}, {1}, DType::kF32, i * 32);
  }
  EXPECT_EQ(open(pairs.bytes()), std::nullopt);
  EXPECT_EQ(open(tensors.pad(32).fill(40'000 * 32).bytes()), std::nullopt);
}

/// The seeds of the fuzz target, and inputs that once revealed an error.
TEST(Corpus, EverySeedAndRegression) {
  std::size_t inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GEMMA_SOURCE_DIR "/tests/fuzz/corpus/gguf")) {
    SCOPED_TRACE(entry.path().string());
    const MappedFile input(entry.path().string());
    const std::vector<std::byte> bytes(input.bytes().begin(), input.bytes().end());
    EXPECT_NO_THROW(fuzz::gguf_target(bytes));
    ++inputs;
  }
  EXPECT_GT(inputs, 0u);
}

}  // namespace
}  // namespace gemma::gguf
