// Settings of a checkpoint's config.json.
// Invariant: every returned value has the requested kind and range; for others an Error names the file and
// the key.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "gguf/error.hpp"

namespace gemma::convert {

using Json = nlohmann::json;

/// The value for an absent key; nullopt: the key is required.
using Default = std::optional<double>;

/// Checked access to settings of config.json.
class Settings {
 public:
  Settings(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  bool has(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && !it->is_null();
  }
  double number(const char* key, Default otherwise = {}) const {
    if (!has(key)) {
      if (otherwise) return *otherwise;
      throw Error(ErrorCode::kMissingKey, where_ + ": " + gemma::quoted(key) + " is missing");
    }
    const Json& value = json_.at(key);
    if (!value.is_number()) malformed(key, "a number");
    return value.get<double>();
  }
  std::uint32_t count(const char* key, Default otherwise = {}) const {
    const double n = number(key, otherwise);
    if (!(n >= 1 && n <= 2147483647.0 && n == std::floor(n))) malformed(key, "a whole number of 1 or more");
    return static_cast<std::uint32_t>(n);
  }
  float positive(const char* key, Default otherwise = {}) const {
    const double n = number(key, otherwise);
    if (!(n > 0 && n <= static_cast<double>(std::numeric_limits<float>::max())))
      malformed(key, "a number above 0");
    return static_cast<float>(n);
  }
  std::string text(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && it->is_string() ? it->get<std::string>() : "";
  }
  /// A count that may be 0, which is also the value of an absent key.
  std::uint32_t count_or_none(const char* key) const { return has(key) && number(key) != 0 ? count(key) : 0; }
  bool flag(const char* key) const {
    const auto it = json_.find(key);
    return it != json_.end() && it->is_boolean() && it->get<bool>();
  }
  /// A number for each of n layers: from a list, or one number for all.
  std::vector<double> numbers_of_layers(const char* key, std::size_t n) const {
    if (!has(key) || json_.at(key).is_number()) return std::vector<double>(n, number(key));
    const Json& list = json_.at(key);
    if (!list.is_array() || list.size() != n) malformed(key, "a number, or a list of one for each layer");
    std::vector<double> out;
    for (const Json& value : list) {
      if (!value.is_number()) malformed(key, "a list of numbers");
      out.push_back(value.get<double>());
    }
    return out;
  }
  /// A positive integer for each of n layers.
  std::vector<std::int32_t> counts_of_layers(const char* key, std::size_t n) const {
    std::vector<std::int32_t> out;
    for (const double x : numbers_of_layers(key, n)) {
      if (!(x >= 1 && x <= 2147483647.0 && x == std::floor(x))) malformed(key, "whole numbers of 1 or more");
      out.push_back(static_cast<std::int32_t>(x));
    }
    return out;
  }
  /// For each of n layers, whether its element in the list of texts equals `wanted`.
  std::vector<bool> layers_that_are(const char* key, std::string_view wanted, std::size_t n) const {
    const auto it = json_.find(key);
    if (it == json_.end() || !it->is_array() || it->size() != n)
      malformed(key, "a list of one text for each layer");
    std::vector<bool> out;
    for (const Json& text : *it) {
      if (!text.is_string()) malformed(key, "a list of texts");
      out.push_back(text.get_ref<const std::string&>() == wanted);
    }
    return out;
  }
  /// A nested object, or an empty one.
  Settings inner(const char* key) const {
    static const Json kEmpty = Json::object();
    const auto it = json_.find(key);
    return {it != json_.end() && it->is_object() ? *it : kEmpty, where_ + " " + key};
  }
  [[noreturn]] void malformed(const char* key, const std::string& expected) const {
    throw Error(ErrorCode::kMalformed, where_ + ": " + gemma::quoted(key) + " is not " + expected);
  }

 private:
  const Json& json_;
  std::string where_;
};

}  // namespace gemma::convert
