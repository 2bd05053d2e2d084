// A sequence as bytes, for a file: written once, read by another process that runs the same model.
// Invariant: a restored sequence continues with the same bits as the saved one (law 1), on the same
// instruction set; bytes that are damaged, cut off or of another model are refused before an object is made.
//
// All numbers are little-endian:
//   char     magic[8]              "GEMMASEQ"
//   u32      version               1
//   u32      kv type               as in kernels::KvType
//   u64      model                 Model::fingerprint()
//   u64      n_tokens, n_computed  keys and values are stored for the first n_computed
//   u64      n_logits, n_hidden    floats of the row after the last token, or 0
//   u64      n_groups
//   n_groups times:
//     u64    window, page_bytes    of the group (KvLayout::Group)
//     u64    begin, end            blocks of kKeyBlock positions whose pages follow
//   u64      checksum              of all bytes before it
//   i32      tokens[n_tokens]
//   f32      logits[n_logits], hidden[n_hidden]
//   pages, group by group
//   u64      checksum              of all bytes after the first checksum
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "model.hpp"
#include "sequence.hpp"

namespace gemma {

/// Writes a snapshot in pieces by calls of `write`, which may throw to stop. Its exceptions pass through.
void write_snapshot(const Snapshot& snapshot, const Model& model,
                    const std::function<void(std::span<const std::byte>)>& write);

/// Reads a snapshot for sequences of `options` (Session::kv_options(), Batch::kv_options()), whose context
/// and chunk may differ from those at saving. Throws Error{kMalformed} naming `source` for bytes that are not
/// a whole snapshot; {kInvalidArgument} for another model, another kv type, or more tokens than the context;
/// {kOutOfMemory}. Allocates no more than the bytes require.
Snapshot read_snapshot(std::span<const std::byte> bytes, const Model& model, const KvCacheOptions& options,
                       const std::string& source);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "session_file.inl"
#endif
