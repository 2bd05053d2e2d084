// Split models: joining from any part; missing parts, parts of other models, and malformed parts.
#include "gguf/split.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"
#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::gguf {
namespace {

using gemma::test::refusal_of;

class Split : public ::testing::Test {
 protected:
  /// A part with the tensors NAME0, NAME1, ... of 8 floats each, all equal to the number in the name.
  Writer part(std::uint16_t number, std::uint16_t count, int n_tensors, const std::string& name) {
    Writer writer;
    if (number == 0) writer.add("general.architecture", "gemma").add("general.name", "Split");
    writer.add("split.no", number).add("split.count", count).add("split.tensors.count", std::int32_t{5});
    add_tensors(writer, n_tensors, name);
    return writer;
  }
  void add_tensors(Writer& writer, int n_tensors, const std::string& name) {
    const std::size_t shape[] = {8};
    for (int i = 0; i < n_tensors; ++i) {
      writer.add_tensor(name + std::to_string(i), DType::kF32, shape, [i](std::span<std::byte> out) {
        auto* values = reinterpret_cast<float*>(out.data());
        for (int v = 0; v < 8; ++v) values[v] = static_cast<float>(i);
      });
    }
  }
  std::string path(int number, int count = 3, const std::string& name = "model") const {
    char suffix[64];
    std::snprintf(suffix, sizeof suffix, "-%05d-of-%05d.gguf", number + 1, count);
    return folder_.path(name + suffix);
  }
  /// Writes a model of three parts, the first without tensors.
  void write_model(const std::string& name = "model") {
    part(0, 3, 0, "").write(path(0, 3, name));
    part(1, 3, 2, "a").write(path(1, 3, name));
    part(2, 3, 3, "b").write(path(2, 3, name));
  }
  std::string opened(int number) const {
    return refusal_of([&] { File::open(path(number)); });
  }

  gemma::test::TemporaryFolder folder_;
};

TEST_F(Split, AnyPartGivesTheWholeModel) {
  write_model();
  for (int given = 0; given < 3; ++given) {
    const File file = File::open(path(given));
    EXPECT_EQ(file.path(), path(0));
    EXPECT_EQ(file.get<std::string_view>("general.name"), "Split");
    ASSERT_EQ(file.tensors().size(), 5U);
    EXPECT_EQ(file.tensors()[0].name, "a0");
    EXPECT_EQ(file.tensors()[4].name, "b2");
    for (const auto& [name, value] : {std::pair("a1", 1.0f), std::pair("b2", 2.0f)}) {
      const TensorView& tensor = file.tensor(name);
      EXPECT_EQ(reinterpret_cast<const float*>(tensor.data.data())[7], value);
      EXPECT_EQ(file.path_of(tensor.data), path(name[0] == 'a' ? 1 : 2));
    }
    EXPECT_EQ(file.other_parts().size(), 2U);
    EXPECT_EQ(file.offset_of(file.tensor("b0").data), file.other_parts()[1].data_offset());
    std::size_t bytes = 0;
    for (int i = 0; i < 3; ++i) bytes += std::filesystem::file_size(path(i));
    EXPECT_EQ(file.size_bytes(), bytes);
    file.check_size();
    file.read_ahead();
  }
}

TEST_F(Split, ViewsStayValidWhenTheFileMoves) {
  write_model();
  File file = File::open(path(1));
  const TensorView tensor = file.tensor("b1");
  const File moved = std::move(file);
  EXPECT_EQ(moved.tensor("b1").data.data(), tensor.data.data());
  EXPECT_EQ(reinterpret_cast<const float*>(tensor.data.data())[0], 1.0f);
}

TEST_F(Split, AMissingPartIsNamed) {
  write_model();
  for (int missing = 0; missing < 3; ++missing) {
    std::filesystem::rename(path(missing), folder_.path("away"));
    for (int given = 0; given < 3; ++given) {
      if (given == missing) continue;
      const std::string error = opened(given);
      EXPECT_NE(error.find(path(missing) + ": cannot open"), std::string::npos) << error;
      EXPECT_NE(error.find("it is part " + std::to_string(missing + 1) + " of 3"), std::string::npos)
          << error;
      EXPECT_TRUE(error.starts_with("io: ")) << error;
    }
    std::filesystem::rename(folder_.path("away"), path(missing));
  }
  std::filesystem::rename(path(1), folder_.path("renamed.gguf"));
  const std::string error = refusal_of([&] { File::open(folder_.path("renamed.gguf")); });
  EXPECT_NE(error.find("is part 2 of 3 of a model; to find the others, its name must end in "
                       "-00002-of-00003.gguf"),
            std::string::npos)
      << error;
}

TEST_F(Split, PartsOfOtherModelsAreRefused) {
  write_model();
  const auto with = [&](const std::function<void(Writer&)>& change) {
    Writer writer;
    change(writer);
    writer.write(path(1));
    return opened(0);
  };
  const auto keys = [&](Writer& writer, std::uint16_t number, std::uint16_t count, std::int32_t total) {
    writer.add("split.no", number).add("split.count", count).add("split.tensors.count", total);
  };
  std::string error = with([&](Writer& w) { keys(w, 1, 3, 9), add_tensors(w, 2, "a"); });
  EXPECT_NE(error.find("belongs to another model than " + path(0) + ": split.tensors.count is 9, not 5"),
            std::string::npos)
      << error;
  EXPECT_NE(opened(1).find(path(0) + ": belongs to another model than " + path(1) +
                           ": split.tensors.count is 5, not 9"),
            std::string::npos)
      << opened(1);
  error = with([&](Writer& w) { keys(w, 1, 3, 5), add_tensors(w, 4, "a"); });
  EXPECT_NE(error.find("its 3 parts hold 7 tensors; split.tensors.count says 5"), std::string::npos) << error;
  error = with([&](Writer& w) { keys(w, 1, 3, 5), add_tensors(w, 2, "b"); });
  EXPECT_NE(error.find("tensor 'b0' appears in another part too"), std::string::npos) << error;
  error = with([&](Writer& w) {
    keys(w, 1, 3, 5);
    w.add("general.architecture", "llama");
    add_tensors(w, 2, "a");
  });
  EXPECT_NE(error.find("belongs to another model than " + path(0) + ": key 'general.architecture' differs"),
            std::string::npos)
      << error;
  error = with([&](Writer& w) { keys(w, 2, 3, 5), add_tensors(w, 2, "a"); });
  EXPECT_NE(error.find(path(1) + ": is not part 2 of 3, but part 3 of 3"), std::string::npos) << error;
  error = with([&](Writer& w) { add_tensors(w, 2, "a"); });
  EXPECT_NE(error.find("is not part 2 of 3, but a file of its own"), std::string::npos) << error;
  // keys that may differ between parts
  error = with([&](Writer& w) {
    w.add("general.alignment", std::uint32_t{64}).add("general.architecture", "gemma");
    keys(w, 1, 3, 5);
    add_tensors(w, 2, "a");
  });
  EXPECT_EQ(error, "no error");
}

TEST_F(Split, KeysThatLie) {
  const auto open = [&](const std::function<void(Writer&)>& change) {
    Writer writer;
    change(writer);
    writer.write(path(0));
    return opened(0);
  };
  // not split: gguf-split writes 0 when it joins parts
  for (const std::uint16_t count : {std::uint16_t{0}, std::uint16_t{1}}) {
    EXPECT_EQ(open([&](Writer& w) { w.add("split.count", count).add("split.no", std::uint16_t{7}); }),
              "no error");
  }
  EXPECT_NE(open([](Writer& w) { w.add("split.count", std::uint16_t{3}); }).find("missing_key: "),
            std::string::npos);
  EXPECT_NE(open([](Writer& w) { w.add("split.count", "3"); }).find("wrong_type: "), std::string::npos);
  EXPECT_NE(open([](Writer& w) { w.add("split.count", std::int32_t{-3}); }).find("wrong_type: "),
            std::string::npos);
  EXPECT_NE(open([](Writer& w) {
              w.add("split.count", std::uint64_t{1} << 40).add("split.no", std::uint16_t{0});
            }).find("parts; at most 99999 can be named"),
            std::string::npos);
  EXPECT_NE(open([](Writer& w) {
              w.add("split.count", std::uint16_t{3}).add("split.no", std::uint16_t{3});
            }).find("3 is out of range: 3 parts are numbered from 0"),
            std::string::npos);
  EXPECT_NE(open([](Writer& w) {
              w.add("split.count", std::uint16_t{3}).add("split.no", std::uint16_t{0});
              w.add("split.tensors.count", "five");
            }).find("wrong_type: "),
            std::string::npos);
  // the largest count: the first missing part ends the search
  part(0, 65535, 0, "").write(path(0, 65535));
  const std::string error = refusal_of([&] { File::open(path(0, 65535)); });
  EXPECT_NE(error.find("-00002-of-65535.gguf: cannot open"), std::string::npos) << error;
}

// A part that is truncated anywhere, or with one byte of its header changed, gives an error or a consistent
// model.
TEST_F(Split, DamagedParts) {
  write_model();
  const std::vector<std::byte> whole = part(2, 3, 3, "b").bytes();
  const std::size_t header = File::from_memory(whole, "part").data_offset();
  for (std::size_t size = 0; size < whole.size(); size += size < header ? 1 : 13) {
    folder_.write(std::filesystem::path(path(2)).filename().string(), std::span(whole).first(size));
    EXPECT_NE(opened(1), "no error") << size;
  }
  for (std::size_t i = 0; i < header; ++i) {
    std::vector<std::byte> changed = whole;
    changed[i] ^= std::byte{0x55};
    folder_.write(std::filesystem::path(path(2)).filename().string(), changed);
    refusal_of([&] {
      const File file = File::open(path(0));
      EXPECT_EQ(file.tensors().size(), 5U);
    });
  }
}

}  // namespace
}  // namespace gemma::gguf
