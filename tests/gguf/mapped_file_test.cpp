#include "gguf/mapped_file.hpp"

#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/refusal.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma {
namespace {

using test::TemporaryFolder;

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string io_error_of(const std::string& path) {
  try {
    const MappedFile file(path);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kIo);
    return e.what();
  }
  return "nothing";
}

TEST(MappedFile, MapsTheWholeFile) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "some bytes");
  const MappedFile file(path);
  EXPECT_EQ(text_of(file), "some bytes");
  EXPECT_EQ(file.path(), path);
  file.will_need(file.bytes());
  file.will_need(file.bytes().subspan(5));
  file.will_need({});
  file.will_not_need(file.bytes());
  file.will_not_need({});
  EXPECT_EQ(text_of(file), "some bytes");
}

TEST(MappedFile, AnEmptyFileHasNoBytes) {
  const TemporaryFolder folder;
  EXPECT_TRUE(MappedFile(folder.write("a", "")).bytes().empty());
}

TEST(MappedFile, WhatIsNotAFileIsAnError) {
  const TemporaryFolder folder;
  const std::string missing = folder.path("missing");
  EXPECT_EQ(io_error_of(missing), missing + ": cannot open: No such file or directory");
  EXPECT_EQ(io_error_of(folder.path("")), folder.path("") + ": cannot open: Is a directory");
  EXPECT_EQ(io_error_of("/dev/null"), "/dev/null: not a regular file");
  EXPECT_EQ(io_error_of(""), "the file's name is empty");
}

TEST(MappedFile, AFifoIsRefusedNotWaitedFor) {
  const TemporaryFolder folder;
  const std::string path = folder.path("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(io_error_of(path), path + ": not a regular file");
}

TEST(MappedFile, APathIsNotCutAtANul) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "x") + std::string(1, '\0') + "b";
  EXPECT_NE(io_error_of(path), "nothing");
}

TEST(MappedFile, MovesKeepTheBytes) {
  const TemporaryFolder folder;
  MappedFile a(folder.write("a", "first"));
  MappedFile b(folder.write("b", "second"));
  const auto* place = a.bytes().data();
  MappedFile c(std::move(a));
  EXPECT_EQ(c.bytes().data(), place);
  EXPECT_EQ(text_of(c), "first");
  c = std::move(b);
  EXPECT_EQ(text_of(c), "second");
}

TEST(MappedFile, ARenamedReplacementLeavesTheOldBytes) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "old");
  const MappedFile file(path);
  std::filesystem::rename(folder.write("b", "new!"), path);
  EXPECT_EQ(text_of(file), "old");
  std::filesystem::remove(path);
  EXPECT_EQ(text_of(file), "old");
}

TEST(MappedFile, BorrowsWithoutCopying) {
  const std::vector<std::byte> bytes(10, std::byte{7});
  MappedFile file = MappedFile::borrow(bytes, "memory");
  EXPECT_EQ(file.bytes().data(), bytes.data());
  EXPECT_EQ(file.path(), "memory");
  const MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().data(), bytes.data());
  moved.will_need(moved.bytes());
}

TEST(MappedFile, AFileThatShrinksIsNoticed) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "0123456789");
  const MappedFile file(path);
  file.check_size();
  std::filesystem::resize_file(path, 20);  // bytes after the mapping may be removed
  file.check_size();
  std::filesystem::rename(path, folder.path("b"));  // the mapped file is checked under any name
  folder.write("a", "short");
  file.check_size();
  std::filesystem::resize_file(folder.path("b"), 9);
  EXPECT_EQ(gemma::test::refusal_of([&] { file.check_size(); }),
            "io: " + path + ": the file was truncated to 9 bytes while it was open; it had 10");
  const std::vector<std::byte> bytes(10);
  MappedFile::borrow(bytes, "memory").check_size();
}

TEST(MappedFile, OneDescriptorForEachAndNoneAfterwards) {
  const auto open_descriptors = [] {
    namespace fs = std::filesystem;
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const TemporaryFolder folder;
  const std::string path = folder.write("a", "bytes");
  const std::string empty = folder.write("empty", "");
  const auto before = open_descriptors();
  {
    std::vector<MappedFile> files;
    for (int i = 0; i < 100; ++i) {
      files.emplace_back(path);
      const MappedFile nothing(empty);
      io_error_of(folder.path(""));
      io_error_of("/dev/null");
    }
    EXPECT_EQ(open_descriptors(), before + 100);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace gemma
