// Valid files: metadata and tensors are read as they were written, without a copy.
#include "gguf/file.hpp"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/writer.hpp"
#include "tests/gguf/raw_builder.hpp"
#include "tests/paths.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::gguf {
namespace {

using gemma::test::refusal_of;
using gemma::test::TemporaryFolder;
using test::RawBuilder;

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>((i * 7 + seed * 31) & 0xFF);
  return out;
}
bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

TEST(File, TensorsOfEveryTypeInEveryVersion) {
  const TemporaryFolder folder;
  for (const std::uint32_t version : {2u, 3u}) {
    Writer writer(version);
    std::vector<std::vector<std::byte>> data;
    for (const DType type : kAllDTypes) data.push_back(pattern(row_bytes(type, 256) * 3, 1));
    for (std::size_t i = 0; i < data.size(); ++i) {
      writer.add_tensor(info(kAllDTypes[i]).name, kAllDTypes[i], {3, 256}, data[i]);
    }
    const std::string path = folder.path("m.gguf");
    writer.write(path);

    const File file = File::open(path);
    EXPECT_EQ(file.version(), version);
    EXPECT_EQ(file.path(), path);
    ASSERT_EQ(file.tensors().size(), data.size());
    EXPECT_EQ(file.n_elements(), data.size() * 3 * 256);
    for (std::size_t i = 0; i < data.size(); ++i) {
      const TensorView& t = file.tensors()[i];
      EXPECT_EQ(t.type, kAllDTypes[i]);
      EXPECT_EQ(t.name, info(t.type).name);
      EXPECT_EQ(t.rows, 3u);
      EXPECT_EQ(t.cols, 256u);
      EXPECT_TRUE(same(t.data, data[i])) << t.name;
      EXPECT_EQ(t.row(2), t.data.data() + 2 * t.row_size_bytes());
      EXPECT_EQ(file.find_tensor(t.name), &t);
    }
  }
}

TEST(File, TensorsOfTypesThatDoNotRunAreShown) {
  RawBuilder raw;
  raw.header(5, 0)
      .tensor("sized", {512, 3}, 144u, 0)
      .tensor("i32", {5}, 26u, 864);  // iq4_ks: 276 bytes a row
  raw.tensor("last", {1, 2, 3}, 0xFFFFFFFFu, 1024).tensor("unsized", {7}, 99u, 960);
  raw.tensor("runs", {32}, DType::kQ8_0, 896).pad(32).fill(1024 + 77);
  const File file = File::from_memory(raw.bytes(), "memory");
  const auto expect = [&](std::string_view name, std::string_view type, bool runs, bool has_size,
                          std::size_t row, std::size_t offset, std::size_t bytes) {
    SCOPED_TRACE(name);
    const TensorView& t = file.tensor(name);
    EXPECT_EQ(t.type_name(), type);
    EXPECT_EQ(t.type == DType::kUnsupported, !runs);
    EXPECT_EQ(t.is_supported(), runs);
    EXPECT_EQ(t.has_size(), has_size);
    EXPECT_EQ(t.row_size_bytes(), row);
    EXPECT_EQ(file.offset_of(t.data), file.data_offset() + offset);
    EXPECT_EQ(t.data.size(), bytes);
  };
  expect("sized", "iq4_ks", false, true, 276, 0, 3 * 276);
  expect("i32", "I32", false, true, 20, 864, 20);
  expect("runs", "Q8_0", true, true, 34, 896, 34);
  expect("unsized", "unknown type 99", false, false, 0, 960, 64);
  expect("last", "unknown type 4294967295", false, false, 0, 1024, 77);
  EXPECT_EQ(file.tensor("sized").type_id, 144u);
  EXPECT_EQ(file.tensor("sized").row(2), file.tensor("sized").data.data() + 2 * 276);
}

TEST(File, MetadataOfEveryTypeInTheFilesOrder) {
  Writer writer;
  writer.add("z", std::uint8_t{1}).add("a", -1.5).add("m", "text").add("flag", true);
  writer.add_array("list", {std::int32_t{-1}, std::int32_t{2}}).add_array("words", {"", "w"});
  const auto bytes = writer.bytes();
  const File file = File::from_memory(bytes, "memory");
  std::vector<std::string_view> keys;
  for (const Metadata& m : file.metadata()) keys.push_back(m.key);
  EXPECT_EQ(keys, (std::vector<std::string_view>{"z", "a", "m", "flag", "list", "words"}));
  EXPECT_EQ(file.get<std::uint32_t>("z"), 1u);
  EXPECT_EQ(file.get<float>("a"), -1.5f);
  EXPECT_EQ(file.get<std::string_view>("m"), "text");
  EXPECT_EQ(file.get<bool>("flag"), true);
  EXPECT_EQ(file.get<std::vector<int>>("list"), (std::vector<int>{-1, 2}));
  EXPECT_EQ(file.get<std::vector<std::string>>("words"), (std::vector<std::string>{"", "w"}));
}

TEST(File, AskingForAnotherTypeOrAnAbsentKey) {
  const auto bytes = Writer().add("n", -1).add_array("list", {1.0f}).bytes();
  const File file = File::from_memory(bytes, "m");
  EXPECT_EQ(file.find("x"), nullptr);
  EXPECT_EQ(file.get_if<int>("x"), std::nullopt);
  EXPECT_EQ(file.get_or<int>("x", 7), 7);
  EXPECT_EQ(file.get_or<int>("n", 7), -1);
  EXPECT_EQ(refusal_of([&] { file.get<int>("x"); }), "missing_key: m: key 'x' is missing");
  EXPECT_EQ(refusal_of([&] { file.get_or<std::uint32_t>("n", 7); }),
            "wrong_type: m: key 'n': int32 where uint32 is expected, or out of its range (at byte 37)");
  EXPECT_EQ(
      refusal_of([&] { file.get<std::vector<int>>("list"); }),
      "wrong_type: m: key 'list': array of float32 where array of int32 is expected, or out of its range "
      "(at byte 69)");
  EXPECT_EQ(refusal_of([&] { file.tensor("t"); }), "missing_tensor: m: tensor 't' is missing");
}

TEST(File, ReadsInPlace) {
  const TemporaryFolder folder;
  const auto data = pattern(64, 3);
  Writer().add("key", "value").add_tensor("t", DType::kF32, {16}, data).write(folder.path("m.gguf"));
  const File file = File::open(folder.path("m.gguf"));
  const auto inside = [&](const void* p) {
    const auto all = file.map().bytes();
    return std::less_equal<>()(static_cast<const void*>(all.data()), p) &&
           std::less<>()(p, static_cast<const void*>(all.data() + all.size()));
  };
  EXPECT_TRUE(inside(file.tensor("t").data.data()));
  EXPECT_TRUE(inside(file.tensor("t").name.data()));
  EXPECT_TRUE(inside(file.metadata()[0].key.data()));
  EXPECT_TRUE(inside(file.get<std::string_view>("key").data()));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor("t").data.data()) % 32, 0u);
  EXPECT_EQ(file.offset_of(file.tensor("t").data), file.data_offset());
}

TEST(File, MovesKeepEveryView) {
  const TemporaryFolder folder;
  const auto data = pattern(64, 3);
  Writer().add("key", "value").add_tensor("t", DType::kF32, {16}, data).write(folder.path("m.gguf"));
  File from = File::open(folder.path("m.gguf"));
  const TensorView view = from.tensor("t");
  const File to = std::move(from);
  EXPECT_TRUE(same(view.data, data));
  EXPECT_EQ(to.tensor("t").data.data(), view.data.data());
  EXPECT_EQ(to.get<std::string>("key"), "value");
}

TEST(File, AlignmentsOtherThan32) {
  for (const std::uint32_t alignment : {8u, 16u, 64u, 4096u, 65536u}) {
    const auto data = pattern(12, alignment);
    const auto bytes = Writer()
                           .add(kAlignmentKey, alignment)
                           .add_tensor("a", DType::kF32, {3}, data)
                           .add_tensor("b", DType::kF32, {3}, data)
                           .bytes();
    const File file = File::from_memory(bytes, "memory");
    EXPECT_EQ(file.alignment(), alignment);
    EXPECT_EQ(file.data_offset() % alignment, 0u);
    EXPECT_TRUE(same(file.tensor("a").data, data));
    EXPECT_TRUE(same(file.tensor("b").data, data));
    EXPECT_EQ(file.offset_of(file.tensor("b").data) - file.offset_of(file.tensor("a").data),
              std::max(16u, alignment));
  }
}

TEST(File, TensorDataInAnyOrderAndWithGaps) {
  RawBuilder raw;
  raw.header(3, 0).tensor("c", {4}, DType::kF32, 192).tensor("a", {4}, DType::kF32, 0);
  raw.tensor("b", {4}, DType::kF32, 64).pad(32);
  raw.fill(64, 0xA).fill(128, 0xB).fill(16, 0xC);
  const File file = File::from_memory(raw.bytes(), "memory");
  EXPECT_EQ(file.tensors()[0].name, "c");
  EXPECT_EQ(file.tensor("a").data[0], std::byte{0xA});
  EXPECT_EQ(file.tensor("b").data[0], std::byte{0xB});
  EXPECT_EQ(file.tensor("c").data[15], std::byte{0xC});
}

TEST(File, NoTensorsNeedNoPadding) {
  RawBuilder raw;
  raw.header(0, 1).key("a", ValueType::kU8).u8(1);
  const File file = File::from_memory(raw.bytes(), "memory");
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_EQ(file.data_offset(), raw.size());
  EXPECT_TRUE(File::from_memory(RawBuilder().header(0, 0).bytes(), "memory").metadata().empty());
}

TEST(File, OneToFourDimensions) {
  RawBuilder raw;
  raw.header(4, 0).tensor("1", {8}, DType::kF32, 0).tensor("2", {4, 2}, DType::kF32, 32);
  raw.tensor("3", {2, 2, 2}, DType::kF32, 64).tensor("4", {2, 1, 2, 2}, DType::kF32, 96).pad(32).fill(128);
  const File file = File::from_memory(raw.bytes(), "memory");
  const std::size_t rows[] = {1, 2, 4, 4};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(file.tensors()[i].n_dims, i + 1);
    EXPECT_EQ(file.tensors()[i].rows, rows[i]);
    EXPECT_EQ(file.tensors()[i].rows * file.tensors()[i].cols, 8u);
  }
}

TEST(File, ManyTensorsAndUnknownKeysAreFoundByName) {
  const auto data = pattern(4, 1);
  Writer writer;
  for (int i = 0; i < 20'000; ++i) {
    writer.add("some.vendor.key." + std::to_string(i), i);
    writer.add_tensor("extra." + std::to_string(i), DType::kF32, {1}, data);
  }
  const auto bytes = writer.bytes();
  const File file = File::from_memory(bytes, "memory");
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_EQ(file.get<int>("some.vendor.key." + std::to_string(i)), i);
    ASSERT_EQ(&file.tensor("extra." + std::to_string(i)), &file.tensors()[static_cast<std::size_t>(i)]);
  }
  EXPECT_EQ(file.find("some.vendor.key.20000"), nullptr);
  EXPECT_EQ(file.find_tensor("extra."), nullptr);
}

TEST(File, BytesInMemoryMustBeAligned) {
  const auto bytes = Writer().add("a", 1).bytes();
  std::vector<std::byte> shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_EQ(refusal_of([&] { File::from_memory(std::span(shifted).subspan(1), "m"); }),
            "invalid_argument: m: a file in memory must be aligned to 8 bytes");
}

TEST(File, KeysTensorsAndStringsOfAnyBytes) {
  const std::string odd("\x1b[2J\0\xff\n", 7);
  const auto data = pattern(4, 1);
  const auto bytes = Writer().add(odd, odd).add_tensor(odd, DType::kF32, {1}, data).bytes();
  const File file = File::from_memory(bytes, "memory");
  EXPECT_EQ(file.get<std::string>(odd), odd);
  EXPECT_NE(file.find_tensor(odd), nullptr);
  EXPECT_EQ(
      refusal_of([&] { file.get<int>(odd); }),
      "wrong_type: memory: key '\\x1b[2J\\x00\\xff\\x0a': string where int32 is expected, or out of its "
      "range (at byte 51)");
}

/// Every GGUF file in ../shared opens, and a copy by the writer, pair by pair and tensor by tensor, equals it
/// to the byte.
TEST(File, FilesOfOtherToolsOpenAndCopy) {
  GEMMA_NEEDS_SHARED("goldens");
  std::size_t files = 0;
  for (const char* folder : {"goldens", "tokenizers", "demo_models"}) {
    if (!std::filesystem::exists(gemma::test::shared_dir() / folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(gemma::test::shared_dir() / folder)) {
      if (entry.path().extension() != ".gguf") continue;
      SCOPED_TRACE(entry.path().string());
      const File file = File::open(entry.path().string());
      Writer writer(file.version());
      for (const Metadata& m : file.metadata()) writer.add(m.key, m.value);
      for (const TensorView& t : file.tensors()) {
        std::vector<std::size_t> shape(t.dims, t.dims + t.n_dims);
        writer.add_tensor(t.name, t.type, std::vector<std::size_t>(shape.rbegin(), shape.rend()), t.data);
      }
      EXPECT_TRUE(same(writer.bytes(), file.map().bytes()));
      ++files;
    }
  }
  EXPECT_GT(files, 0u);
}

}  // namespace
}  // namespace gemma::gguf
