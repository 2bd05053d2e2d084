#include "examples/server/log.hpp"

#include <chrono>
#include <cstdio>
#include <ctime>

#include <nlohmann/json.hpp>

#include "examples/printable.hpp"

namespace gemma::server {
namespace {

/// "2026-01-31T12:00:00.123Z".
std::string now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(ms % 1000));
  return text;
}

}  // namespace

std::string Log::text(std::string_view value) {
  return nlohmann::json(app::printable(value)).dump();
}

void Log::write(std::string_view event, const LogFields& fields) {
  if (form_ == Form::kOff) return;
  std::string line;
  if (form_ == Form::kJson) {
    line = "{\"time\":" + text(now()) + ",\"event\":" + text(event);
    for (const auto& [name, value] : fields) line += "," + text(name) + ":" + value;
    line += "}\n";
  } else {
    line = now() + " " + std::string(event);
    for (const auto& [name, value] : fields) line += " " + name + "=" + value;
    line += "\n";
  }
  const std::lock_guard lock(mutex_);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace gemma::server
