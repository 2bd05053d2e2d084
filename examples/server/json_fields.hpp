// Reads the fields of a request's JSON, checking types and ranges.
// Invariant: null is the same as an absent field; every refusal names the field with its path.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/api_error.hpp"
#include "examples/server/json.hpp"
#include "examples/server/request.hpp"

namespace gemma::server {

/// Limits of a body, checked while it is parsed. The parser compares each name with those before it in its
/// object, and at the end of each object searches everything that its parent has so far: both take quadratic
/// time, so their steps are counted.
struct BodyLimits {
  /// Throws ApiError, which ends the parsing.
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > static_cast<int>(RequestLimits::kDepth)) throw ApiError(400, "the body is nested too deep");
    std::size_t* const n_before = n_items.empty() ? nullptr : &n_items.back();
    switch (event) {
      case Event::key:
        n_steps += *n_before * (1 + parsed.get_ref<const std::string&>().size() / 32);
        break;
      case Event::object_start:
      case Event::array_start:
        if (n_before != nullptr && event == Event::object_start) n_steps += *n_before;
        if (n_before != nullptr) ++*n_before;
        n_items.push_back(0);
        break;
      case Event::object_end:
      case Event::array_end:
        n_items.pop_back();
        break;
      case Event::value:
        if (n_before != nullptr) ++*n_before;
        break;
    }
    if (n_steps > RequestLimits::kParseSteps) throw ApiError(400, "the body has objects of too many members");
    return true;
  }

  std::vector<std::size_t> n_items;  // number of items of each open object or array
  std::size_t n_steps = 0;
};

/// Parses a body: an object, in UTF-8, nested at most RequestLimits::kDepth deep, in bounded time. Throws
/// ApiError.
inline Json parse_body(std::string_view body) {
  BodyLimits limits;
  Json out;
  try {
    out = Json::parse(body.begin(), body.end(), std::ref(limits));
  } catch (const nlohmann::json::exception& e) {
    std::string why = e.what();
    why.erase(0, why.find("] ") == std::string::npos ? 0 : why.find("] ") + 2);
    // the message quotes the input, which may not be UTF-8
    for (char& c : why)
      c = static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7E ? '?' : c;
    throw ApiError(400, "the body is not JSON: " + why.substr(0, 200));
  }
  if (!out.is_object()) throw ApiError(400, "the body is not a JSON object");
  return out;
}

/// An object of the request and its path.
class Fields {
 public:
  /// `path`: "" for the body, else for example "messages[2]". `json` must outlive this and be an object.
  Fields(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}
  /// The fields of `json`. Throws ApiError if it is not an object.
  static Fields of(const Json& json, const std::string& path) {
    if (!json.is_object()) throw wrong(path, "must be an object");
    return {json, path};
  }

  std::string path(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  }
  /// The field, or nullptr if it is absent or null.
  const Json* find(std::string_view name) const {
    const auto it = json_.find(name);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  const Json& need(std::string_view name) const {
    const Json* v = find(name);
    if (v == nullptr) throw wrong(path(name), "is missing");
    return *v;
  }
  std::optional<std::string> text(std::string_view name) const {
    const Json* v = find(name);
    if (v == nullptr) return std::nullopt;
    if (!v->is_string()) throw wrong(path(name), "must be a string");
    return v->get<std::string>();
  }
  std::optional<bool> flag(std::string_view name) const {
    const Json* v = find(name);
    if (v == nullptr) return std::nullopt;
    if (!v->is_boolean()) throw wrong(path(name), "must be true or false");
    return v->get<bool>();
  }
  std::optional<double> number(std::string_view name, double low, double high) const {
    const Json* v = find(name);
    if (v == nullptr) return std::nullopt;
    if (!v->is_number()) throw wrong(path(name), "must be a number");
    const double value = v->get<double>();
    if (!(value >= low && value <= high)) {
      throw wrong(path(name), "must be from " + shown(low) + " to " + shown(high));
    }
    return value;
  }
  std::optional<float> real(std::string_view name, double low, double high) const {
    const auto v = number(name, low, high);
    return v ? std::optional(static_cast<float>(*v)) : std::nullopt;
  }
  /// An integer of 64 bits, which may be written 5.0.
  std::optional<std::int64_t> whole(std::string_view name, std::int64_t low, std::int64_t high) const {
    const Json* v = find(name);
    if (v == nullptr) return std::nullopt;
    return whole_of(*v, path(name), low, high);
  }
  static std::int64_t whole_of(const Json& v, const std::string& path, std::int64_t low, std::int64_t high) {
    if (!v.is_number()) throw wrong(path, "must be a whole number");
    std::int64_t value = 0;
    if (v.is_number_unsigned()) {
      const auto n = v.get<std::uint64_t>();
      value = n > std::uint64_t{INT64_MAX} ? INT64_MAX : static_cast<std::int64_t>(n);
    } else if (v.is_number_integer()) {
      value = v.get<std::int64_t>();
    } else {
      const double d = v.get<double>();
      if (!(std::abs(d) < 0x1p53) || d != std::floor(d)) throw wrong(path, "must be a whole number");
      value = static_cast<std::int64_t>(d);
    }
    if (value < low || value > high) {
      throw wrong(path, "must be from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value;
  }
  const Json* list(std::string_view name) const {
    const Json* v = find(name);
    if (v != nullptr && !v->is_array()) throw wrong(path(name), "must be an array");
    return v;
  }
  std::optional<Fields> object(std::string_view name) const {
    const Json* v = find(name);
    return v == nullptr ? std::nullopt : std::optional(of(*v, path(name)));
  }
  const Json& json() const noexcept { return json_; }
  const std::string& own_path() const noexcept { return path_; }

 private:
  static std::string shown(double v) {
    std::string out = std::to_string(v);
    out.erase(out.find_last_not_of('0') + 1);
    if (out.ends_with('.')) out.pop_back();
    return out;
  }

  const Json& json_;
  std::string path_;
};

/// "PATH[I]".
inline std::string item_path(const std::string& path, std::size_t i) {
  return path + "[" + std::to_string(i) + "]";
}

/// The ids of a list. Throws ApiError.
inline std::vector<std::int32_t> ids_of(const Json& list, const std::string& path) {
  if (list.size() > RequestLimits::kTokens) throw wrong(path, "holds too many tokens");
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    out.push_back(static_cast<std::int32_t>(Fields::whole_of(list[i], item_path(path, i), 0, INT32_MAX)));
  }
  return out;
}

/// "top_p"; clients use 0 for the likeliest token.
inline std::optional<float> top_p_of(const Fields& f) {
  const auto p = f.real("top_p", 0, 1);
  return p && *p == 0 ? std::optional(1e-6F) : p;
}

/// Reads the fields that all generating routes in OpenAI's form share.
void read_generation(const Fields& f, Generation& out);

}  // namespace gemma::server
