// The fuzz target of the container, separate from the fuzzer so that tests can replay inputs.
// Invariant: every input gives a valid file or gguf's Error; any other outcome is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.hpp"
#include "gguf/writer.hpp"

namespace gemma::gguf::fuzz {

/// Fails the run unless `kept`: throws an exception that no code catches. `promise` names the broken promise.
inline void require(bool kept, const char* promise) {
  if (!kept) throw std::logic_error(promise);
}

/// A sum over bytes, so that the compiler cannot remove the reads.
inline std::uint64_t checksum(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (const std::byte b : bytes) sum = sum * 31 + static_cast<std::uint64_t>(b);
  return sum;
}

/// Reads every value as every type and every tensor to its last byte, and checks File's invariant.
inline std::uint64_t read_everything(const File& file) {
  std::uint64_t sum = 0;
  for (const Metadata& m : file.metadata()) {
    require(file.find(m.key) == &m.value, "every key is found");
    sum += checksum(m.value.bytes()) + m.value.type_name().size();
    sum += m.value.as<bool>().value_or(false);
    sum += m.value.as<std::uint8_t>().value_or(0);
    sum += static_cast<std::uint64_t>(m.value.as<std::int64_t>().value_or(0));
    sum += m.value.as<float>().has_value();
    sum += m.value.as<double>().has_value();
    sum += m.value.as<std::string_view>().value_or("").size();
    if (const auto v = m.value.as<ArrayView>()) sum += checksum(v->bytes);
    if (const auto v = m.value.as<std::vector<std::string_view>>()) {
      require(v->size() == m.value.count(), "an array has its count of strings");
      for (const std::string_view s : *v) sum += checksum(std::as_bytes(std::span(s.data(), s.size())));
    }
    if (const auto v = m.value.as<std::vector<std::int32_t>>()) sum += v->size();
    if (const auto v = m.value.as<std::vector<float>>()) sum += v->size();
    if (const auto v = m.value.as<std::vector<bool>>()) sum += v->size();
    sum += m.value.first<std::string_view>(3).has_value();
  }
  for (const TensorView& t : file.tensors()) {
    require(file.find_tensor(t.name) == &t, "every tensor is found");
    require(t.is_supported() == dtype_from_id(t.type_id).has_value(),
            "a type runs when it has an enumerator");
    require(!t.is_supported() || t.has_size(), "a type that runs has a size");
    require(!t.data.empty(), "a tensor has bytes");
    if (t.has_size()) require(t.data.size() == t.rows * t.row_size_bytes(), "a tensor has its rows");
    sum += t.type_name().size();
    require(t.dims[0] == t.cols && t.dims[1] * t.dims[2] * t.dims[3] == t.rows, "dimensions make rows");
    require(file.offset_of(t.data) % file.alignment() == 0, "tensors are aligned");
    require(file.offset_of(t.data) + t.data.size() <= file.size_bytes(), "tensors lie in the file");
    sum += checksum(t.data);
  }
  return sum;
}

/// Copies `file` with the writer.
inline std::vector<std::byte> rewritten(const File& file) {
  Writer writer(file.version());
  for (const Metadata& m : file.metadata()) writer.add(m.key, m.value);
  for (const TensorView& t : file.tensors()) {
    const std::vector<std::size_t> dims(t.dims, t.dims + t.n_dims);
    writer.add_tensor(t.name, t.type, std::vector<std::size_t>(dims.rbegin(), dims.rend()), t.data);
  }
  return writer.bytes();
}

/// Opens `bytes`. A file that opens is read to the end and copied by the writer; the copy must be equal.
inline void gguf_target(std::span<const std::byte> bytes) {
  try {
    const std::vector<std::byte> exact(bytes.begin(), bytes.end());  // aligned, and of exactly that size
    const File file = File::from_memory(exact, "fuzz");
    const std::uint64_t sum = read_everything(file);
    if (file.alignment() > 4096) return;  // the copy would be all padding
    for (const TensorView& t : file.tensors()) {
      if (!t.is_supported()) return;  // the writer supports only types that the engine supports
    }
    const std::vector<std::byte> copy = rewritten(file);
    const File again = File::from_memory(copy, "copy");
    require(again.metadata().size() == file.metadata().size(), "a copy has every pair");
    require(again.tensors().size() == file.tensors().size(), "a copy has every tensor");
    require(read_everything(again) == sum, "a copy holds the same");
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
    // the writer is stricter than the reader about the length of names only
    require(e.message().substr(0, 6) != "copy: ", "what the writer writes can be read");
  }
}

}  // namespace gemma::gguf::fuzz
