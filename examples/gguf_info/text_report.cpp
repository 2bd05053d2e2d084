// The report for people: tables, long values shortened, everything escaped.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "examples/gguf_info/report.hpp"
#include "examples/printable.hpp"
#include "examples/program.hpp"

namespace gemma::app {
namespace {

constexpr std::size_t kLongestText = 80;     // characters of a string value
constexpr std::size_t kLongestInArray = 24;  // characters of a string in an array
constexpr std::uint64_t kMostElements = 6;   // elements of an array
constexpr std::size_t kWidestName = 48;      // a longer name pushes its row to the right

/// 1234567 -> "1,234,567"
std::string grouped(std::uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

/// 5326905728 -> "5.33 GB"
std::string scaled(std::uint64_t bytes) {
  constexpr std::string_view kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  for (; value >= 999.995 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

/// The widest of the names, within bounds.
template <typename Range, typename NameOf>
std::size_t name_width(const Range& range, NameOf name_of) {
  std::size_t width = 0;
  for (const auto& item : range) width = std::max(width, printable(name_of(item)).size());
  return std::min(width, kWidestName);
}

std::string type_text(const gguf::Value& value) {
  const std::string element(to_string(value.element_type()));
  return value.type() == gguf::ValueType::kArray ? fmt::format("{}[{}]", element, value.count()) : element;
}

template <typename T>
void append_elements(std::string& out, const gguf::Value& value) {
  const std::vector<T> elements = value.first<T>(kMostElements).value();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (i != 0) out += ", ";
    if constexpr (std::is_same_v<T, std::string_view>) {
      out += quoted_printable(elements[i], kLongestInArray);
    } else {
      const T element = elements[i];
      out += fmt::format("{}", element);
    }
  }
}

std::string array_text(const gguf::Value& value) {
  using gguf::ValueType;
  std::string out = "[";
  switch (value.element_type()) {
    case ValueType::kString:
      append_elements<std::string_view>(out, value);
      break;
    case ValueType::kF32:
      append_elements<float>(out, value);
      break;
    case ValueType::kF64:
      append_elements<double>(out, value);
      break;
    case ValueType::kBool:
      append_elements<bool>(out, value);
      break;
    case ValueType::kU64:
      append_elements<std::uint64_t>(out, value);
      break;
    default:
      append_elements<std::int64_t>(out, value);
  }
  if (value.count() > kMostElements) out += fmt::format(", {} more", grouped(value.count() - kMostElements));
  return out + "]";
}

std::string value_text(const gguf::Value& value) {
  using gguf::ValueType;
  switch (value.type()) {
    case ValueType::kArray:
      return array_text(value);
    case ValueType::kString: {
      const auto text = value.as<std::string_view>().value();
      const std::string shown = quoted_printable(text, kLongestText);
      return shown.ends_with("...") ? fmt::format("{} ({} bytes)", shown, grouped(text.size())) : shown;
    }
    case ValueType::kBool:
      return value.as<bool>().value() ? "true" : "false";
    case ValueType::kF32:
      return fmt::format("{}", value.as<float>().value());
    case ValueType::kF64:
      return fmt::format("{}", value.as<double>().value());
    case ValueType::kU64:
      return fmt::format("{}", value.as<std::uint64_t>().value());
    default:
      return fmt::format("{}", value.as<std::int64_t>().value());
  }
}

void write_total(std::string_view name, std::size_t width, const Total& total) {
  write_stdout(fmt::format("  {:<{}} {:>7} {:>18} {:>18} {:>8.4g}\n", name, width, grouped(total.tensors),
                           grouped(total.elements), grouped(total.bytes), total.bits_per_weight()));
}

}  // namespace

void write_text(const gguf::File& file) {
  write_stdout(fmt::format("{}: GGUF version {}, {} ({} bytes), alignment {}, data at byte {}\n",
                           printable(file.path()), file.version(), scaled(file.size_bytes()),
                           grouped(file.size_bytes()), file.alignment(), grouped(file.data_offset())));
  for (const gguf::File& part : file.other_parts()) {
    write_stdout(fmt::format("and {}: {} ({} bytes), {} tensors\n", printable(part.path()),
                             scaled(part.size_bytes()), grouped(part.size_bytes()),
                             grouped(part.tensors().size())));
  }

  for (const std::string& note : notes_of(file)) write_stdout("note: " + printable(note) + "\n");
  write_stdout(fmt::format("\nmetadata: {} pairs\n", grouped(file.metadata().size())));
  std::size_t width = name_width(file.metadata(), [](const gguf::Metadata& m) { return m.key; });
  for (const gguf::Metadata& m : file.metadata()) {
    write_stdout(fmt::format("  {:<{}}  {:<16}  {}\n", printable(m.key), width, type_text(m.value),
                             value_text(m.value)));
  }

  write_stdout(fmt::format("\ntensors: {}; rows first\n", grouped(file.tensors().size())));
  width = name_width(file.tensors(), [](const TensorView& t) { return t.name; });
  std::size_t type_width = 6;
  for (const TensorView& t : file.tensors()) type_width = std::max(type_width, t.type_name().size());
  bool all_run = true, all_sized = true;
  for (const TensorView& t : file.tensors()) {
    all_run &= t.is_supported();
    all_sized &= t.has_size();
    const std::string shape = fmt::format("{}", fmt::join(shape_of(t), " x "));
    write_stdout(fmt::format("  {:<{}}  {:<{}}  {:>16}  {:>14}\n", printable(t.name), width, t.type_name(),
                             type_width, shape, (t.has_size() ? "" : "<= ") + grouped(t.data.size())));
  }

  if (file.tensors().empty()) return;
  const Totals totals = Totals::of(file);
  type_width = std::max<std::size_t>(type_width, 8);
  write_stdout(fmt::format("\n  {:<{}} {:>7} {:>18} {:>18} {:>8}\n", "type", type_width, "tensors", "weights",
                           "bytes", "bits"));
  for (const Totals::OfType& t : totals.by_type) write_total(t.name, type_width, t.total);
  write_total("all", type_width, totals.all);
  if (!all_sized) write_stdout("\n  <=: the type's size is not known; the room up to the next tensor\n");
  if (!all_run) write_stdout("\n  not every type here runs in this engine\n");
}

}  // namespace gemma::app
