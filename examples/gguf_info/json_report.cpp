// The report for programs: one JSON object, with a line for each pair and each tensor. In strings that are
// not UTF-8 the invalid parts are replaced by U+FFFD; NaN and infinities, which JSON lacks, are strings.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/gguf_info/report.hpp"
#include "examples/program.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostElements = 8;
constexpr std::size_t kLongestText = 64 * 1024;  // bytes: a chat template is kept whole
constexpr std::size_t kLongestInArray = 256;

/// At most `most` bytes of `text`, cut between characters.
Json text_json(std::string_view text, std::size_t most) {
  const std::string_view part = text.substr(0, most);
  return utf8::replace_invalid(
      part.substr(0, part.size() < text.size() ? utf8::incomplete_tail(part) : most));
}

template <typename T>
Json number_json(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    // the shortest digits that give the same float32, not the same float64: 1e-06
    return std::strtod(fmt::format("{}", value).c_str(), nullptr);
  } else {
    return value;
  }
}

template <typename T>
Json elements_json(const gguf::Value& value) {
  Json out = Json::array();
  const std::vector<T> elements = value.first<T>(kMostElements).value();
  for (const T element : elements) {
    if constexpr (std::is_same_v<T, std::string_view>) {
      out.push_back(text_json(element, kLongestInArray));
    } else {
      out.push_back(number_json<T>(element));
    }
  }
  return out;
}

Json array_json(const gguf::Value& value) {
  using gguf::ValueType;
  switch (value.element_type()) {
    case ValueType::kString:
      return elements_json<std::string_view>(value);
    case ValueType::kF32:
      return elements_json<float>(value);
    case ValueType::kF64:
      return elements_json<double>(value);
    case ValueType::kBool:
      return elements_json<bool>(value);
    case ValueType::kU64:
      return elements_json<std::uint64_t>(value);
    default:
      return elements_json<std::int64_t>(value);
  }
}

Json scalar_json(const gguf::Value& value) {
  using gguf::ValueType;
  switch (value.type()) {
    case ValueType::kString:
      return text_json(value.as<std::string_view>().value(), kLongestText);
    case ValueType::kBool:
      return value.as<bool>().value();
    case ValueType::kF32:
      return number_json(value.as<float>().value());
    case ValueType::kF64:
      return number_json(value.as<double>().value());
    case ValueType::kU64:
      return value.as<std::uint64_t>().value();
    default:
      return value.as<std::int64_t>().value();
  }
}

Json pair_json(const gguf::Metadata& pair) {
  const gguf::Value& value = pair.value;
  const bool array = value.type() == gguf::ValueType::kArray;
  Json out = {{"key", text_json(pair.key, kLongestText)}, {"type", to_string(value.type())}};
  if (array) {
    out["element_type"] = to_string(value.element_type());
    out["count"] = value.count();
  }
  out["value"] = array ? array_json(value) : scalar_json(value);
  const bool long_text = value.type() == gguf::ValueType::kString && value.bytes().size() > kLongestText;
  if (long_text) out["bytes"] = value.bytes().size();
  if (long_text || (array && value.count() > kMostElements)) out["shortened"] = true;
  return out;
}

Json tensor_json(const gguf::File& file, const TensorView& t) {
  Json out = {{"name", text_json(t.name, kLongestText)},
              {"type", t.type_name()},
              {"shape", shape_of(t)},
              {"bytes", t.data.size()},
              {"offset", file.offset_of(t.data)}};
  if (!file.other_parts().empty()) out["file"] = text_json(file.path_of(t.data), kLongestText);
  if (!t.is_supported()) out["runs"] = false;
  if (!t.has_size()) out["bytes_known"] = false;  // "bytes" is the distance to the next tensor
  return out;
}

Json total_json(const Total& total) {
  return {{"tensors", total.tensors},
          {"weights", total.elements},
          {"bytes", total.bytes},
          {"bits_per_weight", total.bits_per_weight()}};
}

/// Writes `items` as the lines of an array, one by one, so that the memory does not grow with the file.
template <typename Range, typename ToJson>
void write_array(std::string_view name, const Range& items, ToJson to_json) {
  write_stdout(fmt::format(",\n\"{}\": [", name));
  const char* separator = "\n  ";
  for (const auto& item : items) {
    write_stdout(separator + to_json(item).dump());
    separator = ",\n  ";
  }
  write_stdout("]");
}

}  // namespace

void write_json(const gguf::File& file) {
  const Totals totals = Totals::of(file);
  write_stdout(
      fmt::format("{{\"file\": {},\n\"version\": {}, \"bytes\": {}, \"alignment\": {}, \"data_offset\": {}",
                  text_json(file.path(), kLongestText).dump(), file.version(), file.size_bytes(),
                  file.alignment(), file.data_offset()));
  if (!file.other_parts().empty()) {
    write_array("other_parts", file.other_parts(),
                [](const gguf::File& part) { return text_json(part.path(), kLongestText); });
  }
  write_array("notes", notes_of(file), [](const std::string& note) { return text_json(note, kLongestText); });
  write_array("metadata", file.metadata(), pair_json);
  write_array("tensors", file.tensors(), [&file](const TensorView& t) { return tensor_json(file, t); });
  write_array("totals", totals.by_type, [](const Totals::OfType& t) {
    Json out = {{"type", t.name}};
    out.update(total_json(t.total));
    return out;
  });
  write_stdout(",\n\"total\": " + total_json(totals.all).dump() + "}\n");
}

}  // namespace gemma::app
