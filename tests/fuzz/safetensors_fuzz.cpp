// A safetensors file: if it opens, every tensor can be read to its last byte, and no two tensors overlap.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/convert/safetensors.hpp"
#include "gguf/error.hpp"
#include "tests/fuzz/targets.hpp"

namespace gemma::fuzz {
namespace {

void run(Bytes input) {
  try {
    const auto checkpoint = convert::Safetensors::from_memory(input, "fuzz");
    std::vector<std::pair<const std::byte*, const std::byte*>> places;
    unsigned sum = 0;
    for (const auto& [name, t] : checkpoint.tensors()) {
      require(name == t.name && checkpoint.find(name) == &t, "a tensor is found by its name");
      for (const std::byte b : t.data) sum += static_cast<unsigned>(b);
      if (t.data.empty()) continue;
      const std::byte* const begin = t.data.data();
      const std::byte* const end = begin + t.data.size();
      require(begin >= input.data() && end <= input.data() + input.size(), "a tensor lies in the file");
      places.emplace_back(begin, end);
      const DTypeInfo& type = info(t.type);
      require(type.block_bytes == 0 || t.elements() * type.block_bytes == t.data.size(),
              "a tensor has its bytes");
    }
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i)
      require(places[i - 1].second <= places[i].first, "tensors do not overlap");
    static_cast<void>(sum);
  } catch (const Error& e) {
    require(!e.message().empty(), "an error says what is wrong");
  }
}

Input file_of(std::string_view header, std::size_t n_data) {
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(header.size() >> (8 * i));
  text += header;
  text.append(n_data, 'x');
  return to_input(text);
}

std::vector<Input> seeds() {
  return {
      file_of(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
              R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"__metadata__":{"format":"pt"}})",
              32),
      file_of(R"({"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]},)"
              R"("e":{"dtype":"I64","shape":[0,7],"data_offsets":[2,2]}}   )",
              2),
      file_of("{}", 0)};
}

}  // namespace

const Target kSafetensors{"safetensors", run, seeds, false};

}  // namespace gemma::fuzz
