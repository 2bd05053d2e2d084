// The server's log on standard error: a line for each event, as text or as JSON.
// Invariant: a line is written as a whole; client data is escaped.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemma::server {

/// Fields of a line, in order. Values are JSON: a number, or text in quotes (Log::text()).
using LogFields = std::vector<std::pair<std::string, std::string>>;

/// The log. Thread-safe.
class Log {
 public:
  enum class Form { kOff, kText, kJson };
  explicit Log(Form form) : form_(form) {}

  /// {"time", "event", fields...}, or "TIME EVENT name=value ...".
  void write(std::string_view event, const LogFields& fields);
  /// A text as a JSON string.
  static std::string text(std::string_view value);

 private:
  Form form_;
  std::mutex mutex_;
};

}  // namespace gemma::server
