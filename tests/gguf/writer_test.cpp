// The writer: its bytes, compared with a file that is built field by field; its refusals; files after errors.
#include "gguf/writer.hpp"

#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "gguf/file.hpp"
#include "tests/gguf/raw_builder.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::gguf {
namespace {

using gemma::test::code_of;
using gemma::test::TemporaryFolder;
using test::RawBuilder;

const std::vector<std::byte> kSixteen(16, std::byte{0x5A});

TEST(Writer, WritesTheGrammar) {
  const std::uint8_t small[] = {1, 2, 3};
  Writer writer;
  writer.add("u8", std::uint8_t{200})
      .add("i8", std::int8_t{-2})
      .add("u16", std::uint16_t{60000})
      .add("i16", std::int16_t{-300})
      .add("u32", std::uint32_t{4000000000})
      .add("i32", std::int32_t{-70000})
      .add("u64", std::uint64_t{1} << 60)
      .add("i64", std::int64_t{-5})
      .add("f32", 1.5f)
      .add("f64", -2.25)
      .add("yes", true)
      .add("text", "abc")
      .add_array("bytes", small)
      .add_array("words", {"x", "yz"})
      .add_array("flags", std::vector<bool>{true, false})
      .add_tensor("t", DType::kF32, {2, 2}, kSixteen)
      .add_tensor("h", DType::kF16, {8}, kSixteen);

  RawBuilder raw;
  raw.header(2, 15).key("u8", ValueType::kU8).u8(200).key("i8", ValueType::kI8).put(std::int8_t{-2});
  raw.key("u16", ValueType::kU16).put(std::uint16_t{60000});
  raw.key("i16", ValueType::kI16).put(std::int16_t{-300});
  raw.key("u32", ValueType::kU32).u32(4000000000).key("i32", ValueType::kI32).put(std::int32_t{-70000});
  raw.key("u64", ValueType::kU64).u64(std::uint64_t{1} << 60);
  raw.key("i64", ValueType::kI64).put(std::int64_t{-5});
  raw.key("f32", ValueType::kF32).put(1.5f).key("f64", ValueType::kF64).put(-2.25);
  raw.key("yes", ValueType::kBool).u8(1).key("text", ValueType::kString).string("abc");
  raw.array_key("bytes", ValueType::kU8, 3).u8(1).u8(2).u8(3);
  raw.array_key("words", ValueType::kString, 2).string("x").string("yz");
  raw.array_key("flags", ValueType::kBool, 2).u8(1).u8(0);
  raw.tensor("t", {2, 2}, DType::kF32, 0).tensor("h", {8}, DType::kF16, 32).pad(32);
  raw.fill(16, 0x5A).fill(16).fill(16, 0x5A).fill(16);
  EXPECT_EQ(writer.bytes(), raw.bytes());
  EXPECT_EQ(writer.size_bytes(), raw.size());
}

TEST(Writer, FlipsShapesToTheFilesOrder) {
  const std::vector<std::byte> data(4 * 2 * 3 * 5);
  const auto bytes = Writer().add_tensor("t", DType::kF32, {2, 3, 5}, data).bytes();
  const File file = File::from_memory(bytes, "memory");
  const TensorView& t = file.tensor("t");
  EXPECT_EQ(t.n_dims, 3u);
  EXPECT_EQ(t.dims[0], 5u);
  EXPECT_EQ(t.dims[1], 3u);
  EXPECT_EQ(t.dims[2], 2u);
  EXPECT_EQ(t.dims[3], 1u);
  EXPECT_EQ(t.cols, 5u);
  EXPECT_EQ(t.rows, 6u);
}

TEST(Writer, NoTensorsNoPadding) {
  const auto bytes = Writer().add("a", true).bytes();
  EXPECT_EQ(bytes, RawBuilder().header(0, 1).key("a", ValueType::kBool).u8(1).bytes());
  EXPECT_EQ(Writer().bytes().size(), 24u);
}

TEST(Writer, Version2) {
  EXPECT_EQ(Writer(2).bytes(), RawBuilder().header(0, 0, 2).bytes());
  for (const std::uint32_t version : {0u, 1u, 4u}) {
    EXPECT_EQ(code_of([&] { Writer w(version); }), ErrorCode::kInvalidArgument);
  }
}

TEST(Writer, AlignmentIsAPairLikeAnyOther) {
  const auto bytes = Writer()
                         .add("general.alignment", std::uint32_t{128})
                         .add_tensor("a", DType::kF32, {4}, kSixteen)
                         .add_tensor("b", DType::kF32, {4}, kSixteen)
                         .bytes();
  const File file = File::from_memory(bytes, "memory");
  EXPECT_EQ(file.data_offset() % 128, 0u);
  EXPECT_EQ(file.offset_of(file.tensor("b").data), file.data_offset() + 128);
  EXPECT_EQ(bytes.size(), file.data_offset() + 256);
}

TEST(Writer, RefusesWhatWouldBeInvalid) {
  const auto refuses = [](const std::function<void(Writer&)>& action) {
    Writer writer;
    writer.add("key", 1).add_tensor("tensor", DType::kF32, {4}, kSixteen);
    const auto before = writer.bytes();
    EXPECT_EQ(code_of([&] { action(writer); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(writer.bytes(), before);
  };
  refuses([](Writer& w) { w.add("", 1); });
  refuses([](Writer& w) { w.add(std::string(65536, 'k'), 1); });
  refuses([](Writer& w) { w.add("key", 2); });
  refuses([](Writer& w) { w.add_array("key", {2}); });
  refuses([](Writer& w) { w.add("general.alignment", std::uint32_t{64}); });  // after a tensor
  refuses([](Writer& w) { w.add_tensor("", DType::kF32, {4}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor(std::string(64, 't'), DType::kF32, {4}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("tensor", DType::kF32, {4}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kF32, {3}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kF32, {0}, {}); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kUnsupported, {4}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kF32, std::initializer_list<std::size_t>{}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kF32, {1, 1, 1, 1, 4}, kSixteen); });
  refuses([](Writer& w) { w.add_tensor("t", DType::kQ8_0, {16}, kSixteen); });
  refuses([](Writer& w) {
    w.add_tensor("t", DType::kF32, {std::size_t{1} << 40, std::size_t{1} << 40}, {});
  });
  refuses([](Writer& w) { w.add_tensor("t", DType::kF32, std::vector<std::size_t>{4}, Writer::Fill()); });
}

TEST(Writer, RefusesImpossibleAlignments) {
  const auto refuses = [](auto value) {
    Writer writer;
    EXPECT_EQ(code_of([&] { writer.add("general.alignment", value); }), ErrorCode::kInvalidArgument);
    EXPECT_EQ(writer.bytes(), Writer().bytes());
  };
  for (const std::uint32_t v : {0u, 1u, 4u, 24u, 33u, 0xFFFFFFFFu}) refuses(v);
  refuses(std::uint64_t{32});
  refuses(std::int32_t{32});
  refuses("32");
  EXPECT_EQ(code_of([] { Writer().add_array("general.alignment", {std::uint32_t{32}}); }),
            ErrorCode::kInvalidArgument);
}

TEST(Writer, PartsOfATensorAreItsBytes) {
  const std::vector<std::size_t> shape = {4};
  const auto parts = [](std::size_t first, std::size_t second) {
    return [=](const Writer::Sink& sink) {
      sink(std::span(kSixteen).first(first));
      sink(std::span(kSixteen).first(second));
    };
  };
  Writer writer;
  writer.add_tensor_in_parts("t", DType::kF32, shape, parts(3, 13))
      .add_tensor("u", DType::kF32, {4}, kSixteen);
  EXPECT_EQ(writer.bytes(), Writer()
                                .add_tensor("t", DType::kF32, {4}, kSixteen)
                                .add_tensor("u", DType::kF32, {4}, kSixteen)
                                .bytes());
  for (const std::size_t second : {12u, 14u, 16u}) {
    Writer wrong;
    wrong.add_tensor_in_parts("t", DType::kF32, shape, parts(3, second));
    EXPECT_EQ(code_of([&] { static_cast<void>(wrong.bytes()); }), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(code_of([&] { Writer().add_tensor_in_parts("t", DType::kF32, shape, Writer::Produce()); }),
            ErrorCode::kInvalidArgument);
}

TEST(Writer, FillsAreCalledInOrderWithTheTensorsBytes) {
  std::vector<std::size_t> sizes;
  const auto fill_with = [&sizes](int value) {
    return [&sizes, value](std::span<std::byte> out) {
      sizes.push_back(out.size());
      std::memset(out.data(), value, out.size());
    };
  };
  Writer writer;
  const std::vector<std::size_t> shape = {2, 64};
  writer.add_tensor("a", DType::kQ8_0, shape, fill_with(1)).add_tensor("b", DType::kF32, shape, fill_with(2));
  const auto bytes = writer.bytes();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{136, 512}));
  const File file = File::from_memory(bytes, "memory");
  EXPECT_EQ(file.tensor("a").data[135], std::byte{1});
  EXPECT_EQ(file.tensor("b").data[0], std::byte{2});
}

TEST(Writer, WritesAFile) {
  const TemporaryFolder folder;
  const std::string path = folder.write("m.gguf", "what was there before");
  folder.write("m.gguf.part", "left by a run that was killed");
  Writer writer;
  writer.add("a", 1).add_tensor("t", DType::kF32, {4}, kSixteen).write(path);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  const File file = File::open(path);
  EXPECT_EQ(file.get<int>("a"), 1);
  EXPECT_EQ(std::memcmp(file.map().bytes().data(), writer.bytes().data(), writer.size_bytes()), 0);
}

TEST(Writer, AFailureLeavesNothingAndKeepsWhatWasThere) {
  const TemporaryFolder folder;
  const std::string path = folder.write("m.gguf", "before");
  Writer writer;
  writer.add_tensor("t", DType::kF32, std::vector<std::size_t>{4},
                    [](std::span<std::byte>) { throw std::runtime_error("the source failed"); });
  EXPECT_THROW(writer.write(path), std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(path + ".part"));
  EXPECT_EQ(std::filesystem::file_size(path), 6u);

  EXPECT_EQ(code_of([&] { Writer().write(folder.path("no/such/folder")); }), ErrorCode::kIo);
  EXPECT_EQ(code_of([&] { Writer().write(folder.path("")); }), ErrorCode::kIo);
}

TEST(Writer, AFullDiskIsAnError) {
  const TemporaryFolder folder;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);  // write() then fails with EFBIG, much as with ENOSPC
  rlimit small = before;
  small.rlim_cur = 20;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const ErrorCode code = code_of([&] { Writer().write(folder.path("m.gguf")); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(code, ErrorCode::kIo);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("")));
}

}  // namespace
}  // namespace gemma::gguf
