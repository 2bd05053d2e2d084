// The program gguf-info: its output, its exit status, and one line on stderr for every error.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "gguf/writer.hpp"
#include "tests/gguf/raw_builder.hpp"
#include "tests/paths.hpp"
#include "tests/temporary_folder.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::gguf {
namespace {

using nlohmann::json;

struct Outcome {
  int status = -1;
  std::string out;
  std::string err;
};

class GgufInfo : public testing::Test {
 protected:
  /// Runs `gguf-info ARGUMENTS` in a shell, so arguments may redirect and pipe.
  Outcome run(const std::string& arguments) const {
    const std::string out = folder_.path("out");
    const std::string err = folder_.path("err");
    const std::string line = "exec 2>'" + err + "' >'" + out + "'; '" GEMMA_GGUF_INFO "' " + arguments;
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, gemma::test::read_bytes(out),
            gemma::test::read_bytes(err)};
  }
  /// Expects status 1 and exactly one line of stderr, which contains `reason`.
  void expect_refused(const std::string& arguments, std::string_view reason) const {
    SCOPED_TRACE(arguments);
    const Outcome o = run(arguments);
    EXPECT_EQ(o.status, 1);
    EXPECT_EQ(o.out, "");
    EXPECT_TRUE(o.err.starts_with("gguf-info: ")) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    EXPECT_TRUE(o.err.ends_with("\n")) << o.err;
    EXPECT_NE(o.err.find(reason), std::string::npos) << o.err;
  }

  gemma::test::TemporaryFolder folder_;
};

const std::vector<std::byte> kData(144, std::byte{1});

Writer small_file() {
  Writer writer;
  writer.add("general.name", "Tiny").add("eps", 1e-6f).add("flag", true).add("n", std::uint64_t{1} << 63);
  writer.add_array("words", {"a", "b"}).add_array("many", std::vector<int>(1000, -7));
  writer.add_tensor("m", DType::kQ4_K, {1, 256}, kData)
      .add_tensor("v", DType::kF32, {4}, std::span(kData).first(16));
  return writer;
}

TEST_F(GgufInfo, Text) {
  small_file().write(folder_.path("m.gguf"));
  const Outcome o = run("'" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(o.err, "");
  for (const char* part :
       {"GGUF version 3", "6 pairs", "general.name  string            \"Tiny\"\n", "1e-06\n",
        "int32[1000]       [-7, -7, -7, -7, -7, -7, 994 more]\n", "string[2]         [\"a\", \"b\"]\n",
        "9223372036854775808\n", "tensors: 2", "1 x 256", "Q4_K", "4.923\n"}) {
    EXPECT_NE(o.out.find(part), std::string::npos) << part << "\nin\n" << o.out;
  }
}

TEST_F(GgufInfo, Json) {
  small_file().write(folder_.path("m.gguf"));
  const Outcome o = run("--json '" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(o.err, "");
  const json j = json::parse(o.out);
  EXPECT_EQ(j["version"], 3);
  EXPECT_EQ(j["bytes"], std::filesystem::file_size(folder_.path("m.gguf")));
  EXPECT_EQ(j["alignment"], 32);
  ASSERT_EQ(j["metadata"].size(), 6u);
  EXPECT_EQ(j["metadata"][0], json::parse(R"({"key":"general.name","type":"string","value":"Tiny"})"));
  EXPECT_EQ(j["metadata"][1]["value"], 1e-6);
  EXPECT_EQ(j["metadata"][3]["value"], std::uint64_t{1} << 63);
  EXPECT_EQ(j["metadata"][4], json::parse(R"({"key":"words","type":"array","element_type":"string","count":2,
                                              "value":["a","b"]})"));
  EXPECT_EQ(j["metadata"][5]["count"], 1000);
  EXPECT_EQ(j["metadata"][5]["shortened"], true);
  EXPECT_EQ(j["metadata"][5]["value"].size(), 8u);
  const std::uint64_t data_offset = j["data_offset"];
  EXPECT_EQ(
      j["tensors"][0],
      (json{{"name", "m"}, {"type", "Q4_K"}, {"shape", {1, 256}}, {"bytes", 144}, {"offset", data_offset}}));
  EXPECT_EQ(
      j["totals"][0],
      (json{{"type", "Q4_K"}, {"tensors", 1}, {"weights", 256}, {"bytes", 144}, {"bits_per_weight", 4.5}}));
  EXPECT_EQ(j["total"]["bytes"], 160);
}

/// A file with one tensor and with missing and wrong metadata.
TEST_F(GgufInfo, NotesSayWhatAFileIsAndWhatItGetsWrong) {
  Writer adapter = small_file();
  adapter.add("general.type", "adapter").add("adapter.type", "lora").write(folder_.path("m.gguf"));
  const std::string note = "this is a LoRA adapter, not a model: ";
  Outcome o = run("'" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(o.status, 0);
  EXPECT_NE(o.out.find("\nnote: " + note), std::string::npos) << o.out;
  json j = json::parse(run("--json '" + folder_.path("m.gguf") + "'").out);
  ASSERT_EQ(j["notes"].size(), 1u);
  EXPECT_TRUE(std::string(j["notes"][0]).starts_with(note));

  Writer vocabulary = small_file();
  vocabulary.add("tokenizer.ggml.model", "llama").add_array("tokenizer.ggml.tokens", {"<unk>", "a"});
  vocabulary.add("tokenizer.ggml.bos_token_id", 17).write(folder_.path("m.gguf"));
  o = run("'" + folder_.path("m.gguf") + "'");
  EXPECT_NE(o.out.find("\nnote: key 'tokenizer.ggml.bos_token_id' is 17"), std::string::npos) << o.out;
  small_file().write(folder_.path("m.gguf"));
  j = json::parse(run("--json '" + folder_.path("m.gguf") + "'").out);
  EXPECT_TRUE(j["notes"].empty());
}

TEST_F(GgufInfo, TypesThatDoNotRun) {
  test::RawBuilder raw;
  raw.header(2, 0).tensor("ks", {256}, 144u, 0).tensor("new", {256}, 4711u, 160).pad(32).fill(200);
  const auto chars = std::string(reinterpret_cast<const char*>(raw.bytes().data()), raw.size());
  std::ofstream(folder_.path("m.gguf"), std::ios::binary) << chars;
  const Outcome text = run("'" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(text.status, 0);
  EXPECT_EQ(text.err, "");
  for (const char* part : {"ks   iq4_ks             ", "new  unknown type 4711", "<= 40\n", "not every type"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\nin\n" << text.out;
  const json j = json::parse(run("--json '" + folder_.path("m.gguf") + "'").out);
  EXPECT_EQ(j["tensors"][0]["type"], "iq4_ks");
  EXPECT_EQ(j["tensors"][0]["bytes"], 140);
  EXPECT_EQ(j["tensors"][0]["runs"], false);
  EXPECT_FALSE(j["tensors"][0].contains("bytes_known"));
  EXPECT_EQ(j["tensors"][1]["type"], "unknown type 4711");
  EXPECT_EQ(j["tensors"][1]["bytes"], 40);
  EXPECT_EQ(j["tensors"][1]["bytes_known"], false);
}

TEST_F(GgufInfo, HostileStringsNeitherSteerTheTerminalNorBreakJson) {
  const std::string odd("\x1b]0;owned\x07\r\n\0\xff\xe2\x80\xae\"\\", 18);
  Writer writer;
  writer.add(odd, odd).add_array("list", {odd, odd}).add("long", std::string(100'000, '\xe2'));
  writer.add("nan", std::numeric_limits<float>::quiet_NaN())
      .add("inf", -std::numeric_limits<double>::infinity());
  writer.add_tensor(odd, DType::kF32, {4}, std::span(kData).first(16)).write(folder_.path("m.gguf"));

  const Outcome text = run("'" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(text.status, 0);
  EXPECT_EQ(utf8::valid_prefix(text.out), text.out.size());
  for (const char c : text.out) {
    const auto byte = static_cast<unsigned char>(c);
    ASSERT_TRUE(byte >= 0x20 || byte == '\n') << int{byte};
    ASSERT_NE(byte, 0x7F);
  }
  EXPECT_EQ(text.out.find("\xe2\x80\xae"), std::string::npos);
  EXPECT_NE(text.out.find("(100,000 bytes)"), std::string::npos);

  const Outcome o = run("--json '" + folder_.path("m.gguf") + "'");
  EXPECT_EQ(o.status, 0);
  EXPECT_EQ(utf8::valid_prefix(o.out), o.out.size());
  const json j = json::parse(o.out);
  EXPECT_EQ(j["metadata"][0]["value"], utf8::replace_invalid(odd));
  EXPECT_EQ(j["metadata"][2]["bytes"], 100'000);
  EXPECT_EQ(j["metadata"][3]["value"], "NaN");
  EXPECT_EQ(j["metadata"][4]["value"], "-Infinity");
}

TEST_F(GgufInfo, WhatGoesWrongIsOneLine) {
  expect_refused("", "FILE is required");
  expect_refused("--no-such-flag x", "--no-such-flag");
  expect_refused("a b", "b");
  expect_refused("'" + folder_.path("missing") + "'", "No such file or directory");
  expect_refused("'" + folder_.path("") + "'", "Is a directory");
  expect_refused("\"$(printf 'a\\nb\\033[2J')\"", "a\\nb\\x1b[2J: cannot open");
  expect_refused("'" + folder_.write("notes.txt", "Some text.\n") + "'", "not a GGUF file");
  expect_refused("'" + folder_.write("empty", "") + "'", "the file is empty");
  const auto whole = small_file().bytes();
  for (const std::size_t size : {std::size_t{3}, std::size_t{20}, whole.size() / 2, whole.size() - 32}) {
    expect_refused("'" + folder_.write("cut.gguf", std::span(whole).first(size)) + "'", "(at byte ");
    expect_refused("--json '" + folder_.path("cut.gguf") + "'", "(at byte ");
  }
}

TEST_F(GgufInfo, HelpAndVersionAreNoErrors) {
  for (const char* flag : {"--help", "-h", "--version"}) {
    const Outcome o = run(flag);
    EXPECT_EQ(o.status, 0) << flag;
    EXPECT_EQ(o.err, "") << flag;
    EXPECT_NE(o.out.find("gguf-info"), std::string::npos) << flag;
  }
}

TEST_F(GgufInfo, AFullDiskIsNoticed) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  small_file().write(folder_.path("m.gguf"));
  expect_refused("'" + folder_.path("m.gguf") + "' >/dev/full",
                 "cannot write to standard output: No space left");
  expect_refused("--help >/dev/full", "cannot write to standard output");
}

TEST_F(GgufInfo, AClosedPipeEndsItQuietly) {
  Writer writer;
  for (int i = 0; i < 5000; ++i) writer.add("a.key.that.makes.much.output." + std::to_string(i), i);
  writer.write(folder_.path("m.gguf"));
  for (const char* flag : {"", "--json "}) {
    const Outcome o = run(flag + ("'" + folder_.path("m.gguf") + "' | head -n 1"));
    EXPECT_EQ(o.status, 0);
    EXPECT_EQ(o.err, "");
    EXPECT_EQ(std::count(o.out.begin(), o.out.end(), '\n'), 1);
  }
}

TEST_F(GgufInfo, FilesOfOtherTools) {
  GEMMA_NEEDS_SHARED("tokenizers");
  std::size_t files = 0;
  for (const char* folder : {"goldens", "tokenizers"}) {
    if (!std::filesystem::exists(gemma::test::shared_dir() / folder)) continue;
    for (const auto& entry : std::filesystem::directory_iterator(gemma::test::shared_dir() / folder)) {
      if (entry.path().extension() != ".gguf") continue;
      SCOPED_TRACE(entry.path().string());
      const File file = File::open(entry.path().string());
      const Outcome o = run("--json '" + entry.path().string() + "'");
      EXPECT_EQ(o.status, 0);
      const json j = json::parse(o.out);
      EXPECT_EQ(j["metadata"].size(), file.metadata().size());
      EXPECT_EQ(j["tensors"].size(), file.tensors().size());
      EXPECT_EQ(run("'" + entry.path().string() + "'").status, 0);
      ++files;
    }
  }
  EXPECT_GT(files, 0u);
}

}  // namespace
}  // namespace gemma::gguf
