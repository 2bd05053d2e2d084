// One named test for each class of malformed file: the code of the error, and a message that names the file,
// the key or tensor, and the offset of the wrong field.
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"
#include "tests/gguf/raw_builder.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::gguf {
namespace {

using detail::NameIndex;
using test::RawBuilder;

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

/// Expects an error about `subject` ("key 'a'", or "" for the file as a whole) at byte `at`, whose message
/// contains `reason`.
void expect_error(const RawBuilder& raw, ErrorCode code, std::string_view subject, std::size_t at,
                  std::string_view reason) {
  try {
    // a copy without spare capacity, so that a sanitizer sees what is read past its end
    const std::vector<std::byte> exact = raw.bytes();  // NOLINT(performance-unnecessary-copy-initialization)
    const File file = File::from_memory(exact, "FILE");
    ADD_FAILURE() << "the file was taken";
  } catch (const Error& e) {
    const std::string_view what = e.what();
    EXPECT_EQ(e.code().name(), code.name()) << what;
    const std::string begin = "FILE: " + (subject.empty() ? "" : std::string(subject) + ": ");
    EXPECT_EQ(what.substr(0, begin.size()), begin) << what;
    EXPECT_NE(what.find(reason), std::string_view::npos) << what;
    EXPECT_TRUE(what.ends_with(" (at byte " + std::to_string(at) + ")")) << what;
  }
}

// ---- the header
// --------------------------------------------------------------------------------------------

TEST(MalformedHeader, EmptyFile) {
  expect_error(RawBuilder(), ErrorCode::kTruncated, "", 0, "the file is empty");
}

TEST(MalformedHeader, WrongMagic) {
  expect_error(RawBuilder().text("GGML").u32(3).fill(16), ErrorCode::kBadMagic, "", 0, "not a GGUF file");
  expect_error(RawBuilder().text("# A text file\n"), ErrorCode::kBadMagic, "", 0, "not a GGUF file");
  expect_error(RawBuilder().text("a"), ErrorCode::kBadMagic, "", 0, "not a GGUF file");
  expect_error(RawBuilder().text("gguf").u32(3).fill(16), ErrorCode::kBadMagic, "", 0, "not a GGUF file");
}

TEST(MalformedHeader, ByteSwapped) {
  RawBuilder big;
  big.text("GGUF").u8(0).u8(0).u8(0).u8(3).fill(16);
  expect_error(big, ErrorCode::kUnsupportedVersion, "", 4, "big-endian");
  RawBuilder words;
  words.text("FUGG").u8(0).u8(0).u8(0).u8(3).fill(16);
  expect_error(words, ErrorCode::kUnsupportedVersion, "", 0, "byte-swapped");
}

TEST(MalformedHeader, VersionsThatAreNotRead) {
  for (const std::uint32_t version : {0u, 1u, 4u, 5u, 1000u, 0x80000003u, 0xFFFFFFFFu}) {
    expect_error(RawBuilder().header(0, 0, version), ErrorCode::kUnsupportedVersion, "", 4,
                 "GGUF version " + std::to_string(version));
  }
}

TEST(MalformedHeader, PairCountBeyondTheFile) {
  for (const std::uint64_t n : {std::uint64_t{3}, std::uint64_t{1} << 32, kMost / 14, kMost / 2 + 1, kMost}) {
    RawBuilder raw;
    raw.header(0, n).key("a", ValueType::kU8).u8(0).key("b", ValueType::kU8).u8(0);
    expect_error(raw, ErrorCode::kTruncated, "", 16, std::to_string(n) + " metadata pairs");
  }
}

TEST(MalformedHeader, TensorCountBeyondTheFile) {
  for (const std::uint64_t n : {std::uint64_t{3}, std::uint64_t{1} << 59, kMost / 33, kMost / 2 + 1, kMost}) {
    RawBuilder raw;
    raw.header(n, 0).tensor("a", {1}, DType::kF32, 0).tensor("b", {1}, DType::kF32, 32);
    expect_error(raw, ErrorCode::kTruncated, "", 8, std::to_string(n) + " tensors");
  }
}

TEST(MalformedHeader, OnePairOrTensorMoreThanThereAre) {
  RawBuilder pairs;
  pairs.header(0, 2).key("a", ValueType::kString).string("text long enough for another pair");
  expect_error(pairs, ErrorCode::kTruncated, "metadata pair 1", pairs.size(), "the key needs 8 bytes");
  RawBuilder tensors;
  tensors.header(2, 0).tensor("a name long enough for another tensor", {1}, DType::kF32, 0);
  expect_error(tensors, ErrorCode::kTruncated, "tensor 1", tensors.size(), "the name needs 8 bytes");
}

// ---- metadata
// ----------------------------------------------------------------------------------------------

TEST(MalformedMetadata, KeyLengthBeyondTheFile) {
  for (const std::uint64_t length : {std::uint64_t{30}, std::uint64_t{1} << 32, kMost - 31, kMost}) {
    RawBuilder raw;
    raw.header(0, 1).u64(length).fill(20);
    expect_error(raw, ErrorCode::kTruncated, "metadata pair 0", 32,
                 "the key needs " + std::to_string(length) + " bytes, 20 are left");
  }
}

TEST(MalformedMetadata, EmptyKey) {
  RawBuilder raw;
  raw.header(0, 1).string("").u32(0).fill(20);
  expect_error(raw, ErrorCode::kMalformed, "metadata pair 0", 24, "the key is empty");
}

TEST(MalformedMetadata, StringLengthBeyondTheFile) {
  for (const std::uint64_t length : {std::uint64_t{30}, std::uint64_t{1} << 32, kMost - 44, kMost}) {
    RawBuilder raw;
    raw.header(0, 1).key("name", ValueType::kString).u64(length).fill(20);
    expect_error(raw, ErrorCode::kTruncated, "key 'name'", 48,
                 "the string needs " + std::to_string(length) + " bytes, 20 are left");
  }
}

TEST(MalformedMetadata, UnknownValueType) {
  for (const std::uint32_t type : {13u, 14u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
    RawBuilder raw;
    raw.header(0, 1).string("odd").u32(type).fill(20);
    expect_error(raw, ErrorCode::kMalformed, "key 'odd'", 35, "value type " + std::to_string(type));
  }
}

TEST(MalformedMetadata, UnknownElementType) {
  for (const std::uint32_t type : {13u, 14u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
    for (const std::uint64_t count : {std::uint64_t{0}, std::uint64_t{1}, kMost}) {
      RawBuilder raw;
      raw.header(0, 1).key("odd", ValueType::kArray).u32(type).u64(count).fill(20);
      expect_error(raw, ErrorCode::kMalformed, "key 'odd'", 39, "element type " + std::to_string(type));
    }
  }
}

TEST(MalformedMetadata, ArrayOfArrays) {
  RawBuilder raw;
  raw.header(0, 1).array_key("deep", ValueType::kArray, 1).u32(9).u64(1).u32(9).u64(1).fill(20);
  expect_error(raw, ErrorCode::kUnsupported, "key 'deep'", 40, "array of arrays");
}

TEST(MalformedMetadata, ArrayCountBeyondTheFile) {
  constexpr ValueType kTypes[] = {ValueType::kU8,  ValueType::kI8,  ValueType::kU16, ValueType::kI16,
                                  ValueType::kU32, ValueType::kI32, ValueType::kF32, ValueType::kBool,
                                  ValueType::kU64, ValueType::kI64, ValueType::kF64, ValueType::kString};
  for (const ValueType type : kTypes) {
    // counts whose product with the element's size wraps around to a small number, among others
    for (const std::uint64_t count : {std::uint64_t{33}, std::uint64_t{1} << 61, (std::uint64_t{1} << 62) + 1,
                                      (std::uint64_t{1} << 63) + 1, kMost}) {
      RawBuilder raw;
      raw.header(0, 1).array_key("list", type, count).fill(32);
      expect_error(raw, ErrorCode::kTruncated, "key 'list'", 44, std::to_string(count) + " elements");
    }
  }
}

TEST(MalformedMetadata, StringInAnArrayBeyondTheFile) {
  for (const std::uint64_t length : {std::uint64_t{10}, std::uint64_t{1} << 63, kMost}) {
    RawBuilder raw;
    raw.header(0, 1).array_key("words", ValueType::kString, 2).string("ab").u64(length).fill(5);
    expect_error(raw, ErrorCode::kTruncated, "key 'words'", 71, "needs " + std::to_string(length) + " bytes");
  }
}

TEST(MalformedMetadata, BoolThatIsNeither) {
  RawBuilder raw;
  raw.header(0, 1).key("flag", ValueType::kBool).u8(2);
  expect_error(raw, ErrorCode::kMalformed, "key 'flag'", 40, "neither 0 nor 1");
  RawBuilder array;
  array.header(0, 1).array_key("flags", ValueType::kBool, 3).u8(0).u8(1).u8(0xFF);
  expect_error(array, ErrorCode::kMalformed, "key 'flags'", 53, "neither 0 nor 1");
}

TEST(MalformedMetadata, DuplicateKey) {
  RawBuilder raw;
  raw.header(0, 2).key("same", ValueType::kU8).u8(1);
  const std::size_t at = raw.size();
  raw.key("same", ValueType::kU32).u32(1);
  expect_error(raw, ErrorCode::kMalformed, "key 'same'", at, "appears twice");
}

TEST(MalformedMetadata, KeysChosenToCollide) {
  RawBuilder raw;
  raw.header(0, NameIndex::kLongestProbe + 1);
  std::string last;
  std::size_t at = 0;
  std::size_t found = 0;
  for (std::uint64_t i = 0; found <= NameIndex::kLongestProbe; ++i) {
    last = std::to_string(i);
    if ((NameIndex::hash(last) & 0xFFF) != 0) continue;
    ++found;
    at = raw.size();
    raw.key(last, ValueType::kU8).u8(0);
  }
  expect_error(raw, ErrorCode::kMalformed, "key '" + last + "'", at, "chosen to collide");
}

TEST(MalformedMetadata, AlignmentThatIsNone) {
  for (const std::uint32_t alignment : {0u, 1u, 2u, 4u, 7u, 24u, 33u, 0x80000001u, 0xFFFFFFFFu}) {
    RawBuilder raw;
    raw.header(0, 1).key("general.alignment", ValueType::kU32).u32(alignment);
    expect_error(raw, ErrorCode::kMalformed, "key 'general.alignment'", 53,
                 std::to_string(alignment) + " is not a power of two");
  }
}

TEST(MalformedMetadata, AlignmentOfAnotherType) {
  RawBuilder wide;
  wide.header(0, 1).key("general.alignment", ValueType::kU64).u64(32);
  expect_error(wide, ErrorCode::kWrongType, "key 'general.alignment'", 53, "uint64 where uint32");
  RawBuilder is_signed;
  is_signed.header(0, 1).key("general.alignment", ValueType::kI32).u32(32);
  expect_error(is_signed, ErrorCode::kWrongType, "key 'general.alignment'", 53, "int32 where uint32");
  RawBuilder text;
  text.header(0, 1).key("general.alignment", ValueType::kString).string("32");
  expect_error(text, ErrorCode::kWrongType, "key 'general.alignment'", 53, "string where uint32");
  RawBuilder array;
  array.header(0, 1).array_key("general.alignment", ValueType::kU32, 1).u32(32);
  expect_error(array, ErrorCode::kWrongType, "key 'general.alignment'", 65, "array of uint32 where uint32");
}

TEST(MalformedMetadata, NamesInMessagesAreEscapedAndShort) {
  RawBuilder raw;
  raw.header(0, 1).string("\x1b[2J\n" + std::string(1'000'000, 'k')).u32(13);
  expect_error(raw, ErrorCode::kMalformed, "key '\\x1b[2J\\x0a" + std::string(59, 'k') + "...'", 1000037,
               "value type 13");
}

// ---- the tensor table
// --------------------------------------------------------------------------------------

TEST(MalformedTensor, NameLengthBeyondTheFile) {
  for (const std::uint64_t length : {std::uint64_t{60}, std::uint64_t{1} << 32, kMost - 31, kMost}) {
    RawBuilder raw;
    raw.header(1, 0).u64(length).fill(40);
    expect_error(raw, ErrorCode::kTruncated, "tensor 0", 32, "the name needs " + std::to_string(length));
  }
}

TEST(MalformedTensor, EmptyName) {
  expect_error(RawBuilder().header(1, 0).tensor("", {1}, DType::kF32, 0).fill(40), ErrorCode::kMalformed,
               "tensor 0", 24, "the name is empty");
}

TEST(MalformedTensor, DuplicateName) {
  RawBuilder raw;
  raw.header(2, 0).tensor("t", {8}, DType::kF32, 0);
  const std::size_t at = raw.size();
  raw.tensor("t", {8}, DType::kF32, 32).pad(32).fill(64);
  expect_error(raw, ErrorCode::kMalformed, "tensor 't'", at, "appears twice");
}

TEST(MalformedTensor, DimensionCount) {
  for (const std::uint32_t n : {0u, 5u, 0x80000000u, 0xFFFFFFFFu}) {
    RawBuilder raw;
    raw.header(1, 0).string("t").u32(n).fill(80);
    expect_error(raw, ErrorCode::kMalformed, "tensor 't'", 33, std::to_string(n) + " dimensions");
  }
}

TEST(MalformedTensor, DimensionZeroOrNegative) {
  for (const std::uint64_t d : {std::uint64_t{0}, kMost, std::uint64_t{1} << 63}) {
    const std::string reason = "dimension " + std::to_string(d) + " is out of range";
    RawBuilder first;
    first.header(1, 0).tensor("t", {d, 2}, DType::kF32, 0).fill(64);
    expect_error(first, ErrorCode::kMalformed, "tensor 't'", 37, reason);
    RawBuilder second;
    second.header(1, 0).tensor("t", {2, d}, DType::kF32, 0).fill(64);
    expect_error(second, ErrorCode::kMalformed, "tensor 't'", 45, reason);
  }
}

TEST(MalformedTensor, ElementsOverflow) {
  constexpr std::uint64_t k32 = std::uint64_t{1} << 32;
  RawBuilder wraps_to_zero;
  wraps_to_zero.header(1, 0).tensor("t", {k32, k32}, DType::kF32, 0).fill(64);
  expect_error(wraps_to_zero, ErrorCode::kMalformed, "tensor 't'", 45,
               "dimension 4294967296 is out of range");
  RawBuilder in_the_last;
  in_the_last.header(1, 0).tensor("t", {1u << 20, 1u << 20, 1u << 20, 1u << 20}, DType::kF32, 0).fill(64);
  expect_error(in_the_last, ErrorCode::kMalformed, "tensor 't'", 61, "dimension 1048576 is out of range");
}

TEST(MalformedTensor, BytesOverflow) {
  // 2^62 elements fit in 64 bits; their 2^64 bytes do not
  RawBuilder raw;
  raw.header(1, 0).tensor("t", {std::uint64_t{1} << 62}, DType::kF32, 0).fill(64);
  expect_error(raw, ErrorCode::kTruncated, "tensor 't'", 37, "larger than the file");
}

TEST(MalformedTensor, SizesThatSumBeyondTheFile) {
  RawBuilder raw;
  raw.header(2, 0).tensor("a", {24}, DType::kF32, 0);
  const std::size_t at = raw.size() + 9 + 4 + 8 + 4;
  raw.tensor("b", {24}, DType::kF32, 96).pad(32).fill(96 + 92);
  expect_error(raw, ErrorCode::kTruncated, "tensor 'b'", at, "96 bytes at offset 96");
  RawBuilder wraps;
  wraps.header(1, 0).tensor("a", {16}, DType::kF32, kMost - 31).pad(32).fill(96);
  expect_error(wraps, ErrorCode::kTruncated, "tensor 'a'", 49, "64 bytes at offset 18446744073709551584");
}

TEST(MalformedTensor, TypesThatDoNotRunAreBoundedLikeOthers) {
  // iq4_ks, 144: 256 weights in 136 bytes, and 4 bytes a row
  RawBuilder blocks;
  blocks.header(1, 0).tensor("t", {288}, 144u, 0).fill(2048);
  expect_error(blocks, ErrorCode::kMalformed, "tensor 't'", 37,
               "288 elements are not whole iq4_ks blocks of 256");
  RawBuilder large;
  large.header(1, 0).tensor("t", {256, std::uint64_t{1} << 50}, 144u, 0).fill(2048);
  expect_error(large, ErrorCode::kTruncated, "tensor 't'", 37, "larger than the file");
  RawBuilder cut;
  cut.header(1, 0).tensor("t", {256, 2}, 144u, 0).pad(32).fill(279);
  expect_error(cut, ErrorCode::kTruncated, "tensor 't'", 57, "280 bytes at offset 0");
  RawBuilder overlap;
  overlap.header(2, 0).tensor("a", {512, 2}, 144u, 0).tensor("b", {8}, DType::kF32, 544).pad(32).fill(576);
  expect_error(overlap, ErrorCode::kMalformed, "tensor 'b'", 90, "overlap those of tensor 'a'");
}

TEST(MalformedTensor, TypesOfUnknownSizeHaveAPlaceOfTheirOwn) {
  for (const std::uint32_t type : {4u, 36u, 99u, 0x80000000u, 0xFFFFFFFFu}) {
    RawBuilder same;
    same.header(2, 0).tensor("a", {7}, type, 32).tensor("b", {7}, type, 32).pad(32).fill(64);
    EXPECT_THROW(File::from_memory(same.bytes(), "FILE"), Error) << type;
    RawBuilder within;
    within.header(2, 0).tensor("a", {16}, DType::kF32, 0).tensor("b", {7}, type, 32).pad(32).fill(64);
    expect_error(within, ErrorCode::kMalformed, "tensor 'b'", 82, "overlap those of tensor 'a'");
    RawBuilder behind;
    behind.header(1, 0).tensor("a", {7}, type, 64).pad(32).fill(64);
    expect_error(behind, ErrorCode::kTruncated, "tensor 'a'", 49, "past the end of the 64 bytes of data");
  }
}

TEST(MalformedTensor, AnOlderForksQ2_0IsToldFromNoise) {
  // 128 weights in 34 bytes under the number of 64 in 18: two tensors of 16 such blocks a row
  RawBuilder raw;
  raw.header(2, 0).tensor("a", {2048}, DType::kQ2_0, 0).tensor("b", {2048}, DType::kQ2_0, 544);
  raw.pad(32).fill(2 * 544 + 64);
  expect_error(raw, ErrorCode::kMalformed, "tensor 'b'", 82, "an older fork's, which had 128 weights");
  RawBuilder one;
  one.header(1, 0).tensor("a", {2048}, DType::kQ2_0, 0).pad(32).fill(544);
  expect_error(one, ErrorCode::kTruncated, "tensor 'a'", 49, "an older fork's, which had 128 weights");
}

TEST(MalformedTensor, RowsThatAreNotWholeBlocks) {
  RawBuilder short_row;
  short_row.header(1, 0).tensor("t", {16, 2}, DType::kQ8_0, 0).fill(2048);
  expect_error(short_row, ErrorCode::kMalformed, "tensor 't'", 37,
               "16 elements are not whole Q8_0 blocks of 32");
  RawBuilder long_row;
  long_row.header(1, 0).tensor("t", {288}, DType::kQ4_K, 0).fill(2048);
  expect_error(long_row, ErrorCode::kMalformed, "tensor 't'", 37,
               "288 elements are not whole Q4_K blocks of 256");
}

TEST(MalformedTensor, UnalignedOffset) {
  for (const std::uint64_t offset : {std::uint64_t{1}, std::uint64_t{16}, std::uint64_t{33}, kMost}) {
    RawBuilder raw;
    raw.header(1, 0).tensor("t", {4}, DType::kF32, offset).pad(32).fill(128);
    expect_error(raw, ErrorCode::kMalformed, "tensor 't'", 49, "not a multiple of the alignment 32");
  }
}

TEST(MalformedTensor, OffsetPastTheEnd) {
  for (const std::uint64_t offset : {std::uint64_t{128}, std::uint64_t{1} << 40, kMost - 31}) {
    RawBuilder raw;
    raw.header(1, 0).tensor("t", {4}, DType::kF32, offset).pad(32).fill(128);
    expect_error(raw, ErrorCode::kTruncated, "tensor 't'", 49, "past the end of the 128 bytes of data");
  }
}

TEST(MalformedTensor, NoDataAtAll) {
  RawBuilder raw;
  raw.header(1, 0).tensor("t", {4}, DType::kF32, 0);
  expect_error(raw, ErrorCode::kTruncated, "tensor 't'", 49, "past the end of the 0 bytes of data");
}

TEST(MalformedTensor, AlignmentBeyondTheFile) {
  RawBuilder raw;
  raw.header(1, 1).key("general.alignment", ValueType::kU32).u32(1u << 31);
  raw.tensor("t", {4}, DType::kF32, 0);
  const std::size_t at = raw.size() - 8;
  raw.fill(128);
  expect_error(raw, ErrorCode::kTruncated, "tensor 't'", at, "past the end of the 0 bytes of data");
}

TEST(MalformedTensor, Overlaps) {
  const auto overlap = [](std::uint64_t first, std::uint64_t second, std::string_view named,
                          std::string_view other) {
    RawBuilder raw;
    raw.header(2, 0).tensor("a", {16}, DType::kF32, first).tensor("b", {16}, DType::kF32, second);
    raw.pad(32).fill(256);
    expect_error(raw, ErrorCode::kMalformed, "tensor '" + std::string(named) + "'", named == "a" ? 49 : 82,
                 "overlap those of tensor '" + std::string(other) + "'");
  };
  overlap(0, 32, "b", "a");
  overlap(64, 32, "a", "b");
  RawBuilder within;
  within.header(2, 0).tensor("small", {4}, DType::kF32, 32);
  const std::size_t at = within.size() - 8;
  within.tensor("large", {32}, DType::kF32, 0).pad(32).fill(256);
  expect_error(within, ErrorCode::kMalformed, "tensor 'small'", at, "overlap those of tensor 'large'");
  RawBuilder same;
  same.header(2, 0).tensor("a", {16}, DType::kF32, 0).tensor("b", {16}, DType::kF32, 0).pad(32).fill(64);
  EXPECT_THROW(File::from_memory(same.bytes(), "FILE"), Error);
}

// ---- on disk
// -----------------------------------------------------------------------------------------------

TEST(MalformedFile, TheMessageNamesThePath) {
  const gemma::test::TemporaryFolder folder;
  const std::string path = folder.write("notes.txt", "Just text.\n");
  EXPECT_EQ(gemma::test::refusal_of([&] { File::open(path); }),
            "bad_magic: " + path + ": not a GGUF file (at byte 0)");
}

TEST(MalformedFile, ASparseFileOfATebibyteCostsNoMemory) {
  const gemma::test::TemporaryFolder folder;
  constexpr std::uint64_t kTebibyte = std::uint64_t{1} << 40;
  for (const bool tensors : {false, true}) {
    const std::uint64_t most = (kTebibyte - 24) / (tensors ? 33 : 14);
    const std::string path =
        folder.write("sparse.gguf", RawBuilder().header(tensors ? most : 0, tensors ? 0 : most).bytes());
    std::error_code failed;
    std::filesystem::resize_file(path, kTebibyte, failed);
    if (failed) GTEST_SKIP() << "this file system holds no sparse files: " << failed.message();
    // an emulator may refuse to map a tebibyte
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    void* const room = ::mmap(nullptr, kTebibyte, PROT_READ, MAP_SHARED, fd, 0);
    if (room == MAP_FAILED) GTEST_SKIP() << "a tebibyte cannot be mapped here: " << std::strerror(errno);
    ::munmap(room, kTebibyte);
    ::close(fd);
    EXPECT_EQ(gemma::test::code_of([&] { File::open(path); }),
              ErrorCode::kMalformed);  // the first name is empty
  }
}

}  // namespace
}  // namespace gemma::gguf
