// GET /metrics, in Prometheus' text form.
#include <charconv>
#include <cstdio>

#include "examples/server/api.hpp"

namespace gemma::server {
namespace {

/// Writes metrics one after the other, each with its help and type.
class MetricsText {
 public:
  void begin(const char* name, const char* kind, const char* help) {
    name_ = name;
    out_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + kind + "\n";
  }
  void value(const std::string& labels, double v) {
    char digits[40];
    const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
    out_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + std::string(digits, end) + "\n";
  }
  void value(const std::string& labels, std::size_t v) {
    out_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + std::to_string(v) + "\n";
  }
  void counter(const char* name, const char* help, auto v) {
    begin(name, "counter", help);
    value("", v);
  }
  static std::string label(const char* name, const std::string& text) {
    std::string out = std::string(name) + "=\"";
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c == '\n' ? ' ' : c;
    }
    return out + "\"";
  }
  std::string take() { return std::move(out_); }

 private:
  std::string name_;
  std::string out_;
};

}  // namespace

HttpReply Api::metrics(const Call&) {
  const Activity::Counts c = activity_.counts();
  MetricsText m;
  m.begin("gemma_http_requests_total", "counter", "Requests answered, by path and status.");
  for (const auto& [key, n] : c.requests) {
    m.value(MetricsText::label("path", key.first) + "," +
                MetricsText::label("status", std::to_string(key.second)),
            n);
  }
  m.counter("gemma_prompt_tokens_total", "Tokens of prompts.", c.n_prompt);
  m.counter("gemma_cached_tokens_total", "Of them, those that were not computed again.", c.n_cached);
  m.counter("gemma_generated_tokens_total", "Tokens generated.", c.n_generated);
  m.counter("gemma_answers_total", "Requests that generate which have ended.", c.n_answers);
  m.counter("gemma_clients_left_total", "Of them, those whose client left before the end.", c.n_left);
  m.counter("gemma_queued_seconds_total", "Time that they waited for a slot.", c.queued_seconds);
  m.counter("gemma_first_token_seconds_total", "Time to their first token.", c.first_token_seconds);
  m.counter("gemma_answer_seconds_total", "Time to their end.", c.seconds);
  m.begin("gemma_connections", "gauge", "Connections.");
  m.value("", connections_());
  m.begin("gemma_uptime_seconds", "gauge", "Since the server began.");
  m.value("", static_cast<std::size_t>(unix_time() - created_));

  const auto loaded = pool_.loaded();
  const auto each = [&](const char* name, const char* kind, const char* help, auto of) {
    m.begin(name, kind, help);
    for (const auto& model : loaded) {
      if (model) m.value(MetricsText::label("model", model->name()), of(*model));
    }
  };
  const auto of_scheduler = [](auto part) {
    return [part](const ServedModel& model) {
      const Scheduler* s = model.scheduler_if_any();
      return s == nullptr ? std::size_t{0} : std::size_t{part(s->stats())};
    };
  };
  each("gemma_model_memory_bytes", "gauge", "Memory planned for a loaded model, its file included.",
       [](const ServedModel& model) { return model.memory_bytes(); });
  each("gemma_requests_running", "gauge", "Answers that have a slot.",
       of_scheduler([](const SchedulerStats& s) { return s.n_running; }));
  each("gemma_requests_queued", "gauge", "Answers that wait for one.",
       of_scheduler([](const SchedulerStats& s) { return s.n_queued; }));
  each("gemma_kv_bytes", "gauge", "Pages of keys and values that hold something.",
       of_scheduler([](const SchedulerStats& s) { return s.kv_bytes; }));
  each("gemma_kept_prefixes", "gauge", "Beginnings of prompts that are kept.",
       of_scheduler([](const SchedulerStats& s) { return s.n_prefixes; }));
  each("gemma_steps_total", "counter", "Forward passes.",
       of_scheduler([](const SchedulerStats& s) { return s.batch.n_steps; }));
  each("gemma_computed_tokens_total", "counter", "Tokens computed by them.",
       of_scheduler([](const SchedulerStats& s) { return s.batch.n_computed; }));
  HttpReply out;
  out.type = "text/plain; version=0.0.4; charset=utf-8";
  out.body = m.take();
  return out;
}

}  // namespace gemma::server
