#include "gguf/reader.hpp"

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/gguf/raw_builder.hpp"
#include "tests/refusal.hpp"

namespace gemma::gguf {
namespace {

using gemma::test::refusal_of;
using test::RawBuilder;

TEST(Reader, ReadsLittleEndianValuesInOrder) {
  const auto raw = RawBuilder().u8(1).u32(0x01020304).u64(0x0102030405060708).string("a\0b").bytes();
  Reader reader(raw, "f");
  EXPECT_EQ(reader.read<std::uint8_t>("x"), 1);
  EXPECT_EQ(reader.read<std::uint32_t>("x"), 0x01020304u);
  EXPECT_EQ(reader.offset(), 5u);
  EXPECT_EQ(reader.read<std::uint64_t>("x"), 0x0102030405060708u);
  EXPECT_EQ(reader.read_string("x"), "a");
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(Reader, StringsMayHoldNul) {
  const std::string text("a\0b", 3);
  const auto raw = RawBuilder().string(text).bytes();
  Reader reader(raw, "f");
  EXPECT_EQ(reader.read_string("x"), text);
}

TEST(Reader, AReadBeyondTheEndThrowsAndMovesNothing) {
  const auto raw = RawBuilder().u32(7).u8(0).bytes();
  Reader reader(raw, "f");
  reader.read<std::uint32_t>("x");
  EXPECT_EQ(refusal_of([&] { reader.read<std::uint64_t>("the count"); }),
            "truncated: f: the count needs 8 bytes, 1 are left (at byte 4)");
  EXPECT_EQ(reader.offset(), 4u);
  EXPECT_EQ(reader.read<std::uint8_t>("x"), 0);
  EXPECT_EQ(refusal_of([&] { reader.take(1, "the end"); }),
            "truncated: f: the end needs 1 bytes, 0 are left (at byte 5)");
  EXPECT_TRUE(reader.take(0, "nothing").empty());
}

TEST(Reader, HugeLengthsDoNotWrap) {
  for (const std::uint64_t length :
       {std::uint64_t{1}, std::uint64_t{1} << 32, std::uint64_t{1} << 63,
        std::numeric_limits<std::uint64_t>::max() - 7, std::numeric_limits<std::uint64_t>::max()}) {
    const auto raw = RawBuilder().u64(length).bytes();
    Reader reader(raw, "f");
    EXPECT_EQ(refusal_of([&] { reader.read_string("the key"); }),
              "truncated: f: the key needs " + std::to_string(length) + " bytes, 0 are left (at byte 8)");
  }
}

TEST(Reader, ErrorsNameTheirSubject) {
  const auto raw = RawBuilder().u32(0).u32(0).bytes();
  Reader reader(raw, "f");
  reader.read<std::uint32_t>("x");
  reader.read<std::uint32_t>("x");
  EXPECT_EQ(refusal_of([&] { reader.fail(ErrorCode::kMalformed, "odd"); }), "malformed: f: odd (at byte 4)");
  reader.about("metadata pair", 3);
  EXPECT_EQ(refusal_of([&] { reader.fail(ErrorCode::kMalformed, "odd"); }),
            "malformed: f: metadata pair 3: odd (at byte 4)");
  reader.about("key", "a\nb");
  EXPECT_EQ(refusal_of([&] { reader.fail_at(77, ErrorCode::kMalformed, "odd"); }),
            "malformed: f: key 'a\\x0ab': odd (at byte 77)");
}

TEST(Reader, SinceGivesWhatWasPassed) {
  const auto raw = RawBuilder().u32(1).u32(2).u32(3).bytes();
  Reader reader(raw, "f");
  reader.read<std::uint32_t>("x");
  const std::size_t begin = reader.offset();
  reader.read<std::uint32_t>("x");
  EXPECT_EQ(reader.since(begin).data(), raw.data() + 4);
  EXPECT_EQ(reader.since(begin).size(), 4u);
}

}  // namespace
}  // namespace gemma::gguf
