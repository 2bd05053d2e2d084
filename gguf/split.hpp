// Split models: files that say by split.no, split.count and split.tensors.count that they are one of several,
// named NAME-00002-of-00003.gguf (as llama.cpp's gguf-split writes them). The first has all metadata and may
// have no tensors; the others have tensors.
// Invariant: the split.* keys are checked against the files that are really there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace gemma::gguf {

class File;

namespace detail {

/// The split.* keys of one part of a split file.
struct SplitPart {
  std::size_t number = 0;                  // from 0, below count
  std::size_t count = 0;                   // of parts, 2 to kMostParts
  std::optional<std::uint64_t> n_tensors;  // total of all parts; absent if the file does not state it
};

/// Maximum number of parts: their names have five digits.
inline constexpr std::size_t kMostParts = 99999;

/// Whether `file` is one of several; nothing for a count of 0 (gguf-split writes that when it joins parts)
/// or 1. Throws Error{kWrongType, kMalformed} naming the key.
std::optional<SplitPart> read_split(const File& file);

/// The path of part `number` beside `path`, which is that of `part`. Throws Error{kMalformed} unless it ends
/// as the part's name must.
std::string path_of_part(const std::string& path, const SplitPart& part, std::size_t number);

}  // namespace detail
}  // namespace gemma::gguf

#if defined(GEMMA_HEADER_ONLY)
#include "file.hpp"  // which ends with split.inl: it needs a whole File
#endif
