// Definitions of split.hpp, and of File::join, which joins the parts.
#pragma once

#include <algorithm>
#include <string>

#include "error.hpp"
#include "file.hpp"
#include "linkage.hpp"
#include "split.hpp"

namespace gemma::gguf {
namespace detail {

/// "-00002-of-00003.gguf"
GEMMA_INLINE std::string part_suffix(std::size_t number, std::size_t count) {
  const auto digits = [](std::size_t n) {
    const std::string text = std::to_string(n);
    return std::string(5 - std::min<std::size_t>(5, text.size()), '0') + text;
  };
  return "-" + digits(number + 1) + "-of-" + digits(count) + ".gguf";
}

/// "part 2 of 3"
GEMMA_INLINE std::string part_name(std::size_t number, std::size_t count) {
  return "part " + std::to_string(number + 1) + " of " + std::to_string(count);
}

[[noreturn]] GEMMA_INLINE void refuse_part(const std::string& path, const std::string& what) {
  gemma::detail::refuse(ErrorCode::kMalformed, [&] { return path + ": " + what; });
}

/// Throws unless `part` can belong to the model whose first part is `first`. `facts` are the split.* keys of
/// the part at the path `other`.
GEMMA_INLINE void check_part(const File& first, const SplitPart& facts, const std::string& other,
                             const File& part, std::size_t number) {
  const auto there = read_split(part);
  if (!there || there->number != number || there->count != facts.count) {
    refuse_part(part.path(), "is not " + part_name(number, facts.count) +
                                 (there ? ", but " + part_name(there->number, there->count)
                                        : ", but a file of its own (split.count)"));
  }
  if (there->n_tensors && facts.n_tensors && *there->n_tensors != *facts.n_tensors) {
    refuse_part(part.path(), "belongs to another model than " + other + ": split.tensors.count is " +
                                 std::to_string(*there->n_tensors) + ", not " +
                                 std::to_string(*facts.n_tensors));
  }
  for (const Metadata& pair : part.metadata()) {
    if (pair.key == "split.no" || pair.key == kAlignmentKey) continue;  // these may differ between parts
    const Value* value = first.find(pair.key);
    if (value == nullptr || pair.key.starts_with("split.")) continue;
    const auto a = value->bytes(), b = pair.value.bytes();
    if (value->type() != pair.value.type() || !std::equal(a.begin(), a.end(), b.begin(), b.end())) {
      refuse_part(part.path(), "belongs to another model than " + first.path() + ": key " +
                                   gemma::quoted(pair.key) + " differs");
    }
  }
}

GEMMA_INLINE std::optional<SplitPart> read_split(const File& file) {
  const auto count = file.get_or<std::uint64_t>("split.count", 0);
  if (count <= 1) return std::nullopt;
  SplitPart part;
  if (count > kMostParts) {
    refuse_part(file.path(), "key 'split.count': " + std::to_string(count) + " parts; at most " +
                                 std::to_string(kMostParts) + " can be named");
  }
  const auto number = file.get<std::uint64_t>("split.no");
  if (number >= count) {
    refuse_part(file.path(), "key 'split.no': " + std::to_string(number) +
                                 " is out of range: " + std::to_string(count) + " parts are numbered from 0");
  }
  part.number = static_cast<std::size_t>(number);
  part.count = static_cast<std::size_t>(count);
  part.n_tensors = file.get_if<std::uint64_t>("split.tensors.count");
  return part;
}

GEMMA_INLINE std::string path_of_part(const std::string& path, const SplitPart& part, std::size_t number) {
  const std::string suffix = part_suffix(part.number, part.count);
  if (!path.ends_with(suffix)) {
    refuse_part(path, "is " + part_name(part.number, part.count) +
                          " of a model; to find the others, its name must end in " + suffix);
  }
  return path.substr(0, path.size() - suffix.size()) + part_suffix(number, part.count);
}

}  // namespace detail

GEMMA_INLINE File File::join(File given, const detail::SplitPart& facts) {
  const std::string path = given.path();
  const auto open_part = [&](std::size_t number) {
    const std::string name = detail::path_of_part(path, facts, number);
    if (number == facts.number) return std::move(given);
    try {
      return make(MappedFile(name));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kIo) throw;
      gemma::detail::refuse(ErrorCode::kIo, [&] {
        return std::string(error.message()) + " (it is " + detail::part_name(number, facts.count) +
               " of the model of " + path + ")";
      });
    }
  };
  File whole = open_part(0);
  detail::check_part(whole, facts, path, whole, 0);
  const std::optional<detail::SplitPart> wanted = detail::read_split(whole);
  for (std::size_t number = 1; number < facts.count; ++number) {
    File part = open_part(number);
    detail::check_part(whole, *wanted, whole.path(), part, number);
    for (const TensorView& tensor : part.tensors_) {
      if (whole.names_.add(tensor.name) != detail::NameIndex::Added::kYes) {
        detail::refuse_part(part.path(),
                            "tensor " + gemma::quoted(tensor.name) +
                                " appears in another part too: the parts are of different models");
      }
      whole.tensors_.push_back(tensor);
    }
    whole.others_.push_back(std::move(part));
  }
  if (wanted->n_tensors && *wanted->n_tensors != whole.tensors_.size()) {
    detail::refuse_part(whole.path(), "its " + std::to_string(facts.count) + " parts hold " +
                                          std::to_string(whole.tensors_.size()) +
                                          " tensors; split.tensors.count says " +
                                          std::to_string(*wanted->n_tensors));
  }
  return whole;
}

}  // namespace gemma::gguf
