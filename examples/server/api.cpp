#include "examples/server/api.hpp"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "examples/server/response.hpp"
#include "gemma/engine_error_code.hpp"
#include "gemma/generation.hpp"

namespace gemma::server {
namespace {

/// Whether two keys are equal, in a time that reveals only the length.
bool same_key(std::string_view a, std::string_view b) {
  unsigned differ = a.size() != b.size();
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    differ |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  }
  return differ == 0;
}

bool is_anthropic(std::string_view path) {
  return path.starts_with("/v1/messages");
}

}  // namespace

std::int64_t unix_time() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(since).count();
}

ApiError api_error_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ApiError& e) {
    return e;
  } catch (const Error& e) {
    const std::string message(e.message());
    const ErrorCode code = e.code();
    if (code == EngineErrorCode::kContextFull) return {400, message, "", "context_length_exceeded"};
    if (code == ErrorCode::kInvalidArgument || code == ErrorCode::kUnsupported ||
        code == ErrorCode::kMalformed)
      return {400, message};
    if (code == ErrorCode::kOutOfMemory)
      return {message.find("queue") != std::string::npos ? 429 : 503, message};
    return {code == EngineErrorCode::kCancelled ? 503 : 500, message};
  } catch (const std::bad_alloc&) {
    return {503, "there is not enough memory for this request"};
  } catch (const std::exception& e) {
    return {500, std::string("the request failed: ") + e.what()};
  } catch (...) {
    return {500, "the request failed"};
  }
}

Api::Api(ModelPool& pool, Log& log, ApiOptions options)
    : pool_(pool), log_(log), options_(std::move(options)), created_(unix_time()) {}

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> all = {
      {"GET", "/", &Api::page, true},
      {"GET", "/health", &Api::health, true},
      {"GET", "/v1/health", &Api::health, true},
      {"GET", "/v1/models", &Api::models},
      {"GET", "/models", &Api::models},
      {"GET", "/v1/models/", &Api::model, false, true},
      {"POST", "/v1/chat/completions", &Api::chat},
      {"POST", "/chat/completions", &Api::chat},
      {"POST", "/v1/completions", &Api::completions},
      {"POST", "/completions", &Api::completions},
      {"POST", "/v1/embeddings", &Api::embeddings},
      {"POST", "/embeddings", &Api::embeddings},
      {"POST", "/v1/messages", &Api::messages},
      {"POST", "/v1/messages/count_tokens", &Api::count_tokens},
      {"POST", "/tokenize", &Api::tokenize},
      {"POST", "/detokenize", &Api::detokenize},
      {"POST", "/apply-template", &Api::apply_template},
      {"GET", "/props", &Api::props},
      {"GET", "/slots", &Api::slots},
      {"GET", "/metrics", &Api::metrics},
  };
  return all;
}

const Api::Route* Api::find(const HttpRequest& request, std::string& methods) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  const Route* found = nullptr;
  for (const Route& r : routes()) {
    const std::string_view path = request.path;
    if (r.prefix ? !path.starts_with(r.path) || path == r.path : path != r.path) continue;
    methods += (methods.empty() ? "" : ", ") + std::string(r.method) + (r.method == "GET" ? ", HEAD" : "");
    if (r.method == method) found = &r;
  }
  if (!methods.empty()) methods += ", OPTIONS";
  return found;
}

bool Api::has_key(const HttpRequest& head) const {
  if (options_.keys.empty()) return true;
  std::string given = head.header("x-api-key");  // as Anthropic's clients send it
  const std::string authorization = head.header("Authorization");
  if (authorization.size() > 7 &&
      (authorization.starts_with("Bearer ") || authorization.starts_with("bearer "))) {
    given = authorization.substr(7);
  }
  bool known = false;
  for (const std::string& key : options_.keys) known = same_key(key, given) || known;
  return known;
}

void Api::add_headers(const HttpRequest& request, HttpReply& reply) const {
  reply.headers.emplace_back("X-Content-Type-Options", "nosniff");
  if (options_.origins.empty()) return;
  const std::string origin = request.header("Origin");
  const auto& all = options_.origins;
  const bool any = std::find(all.begin(), all.end(), "*") != all.end();
  if (!any) reply.headers.emplace_back("Vary", "Origin");
  if (!any && std::find(all.begin(), all.end(), origin) == all.end()) return;
  reply.headers.emplace_back("Access-Control-Allow-Origin", any ? "*" : origin);
  if (request.method != "OPTIONS") return;
  std::string wanted = request.header("Access-Control-Request-Headers");
  const auto odd = [](char c) {
    return c <= ' ' || c > '~';
  };  // a space may be removed too, a line break must
  wanted.erase(std::remove_if(wanted.begin(), wanted.end(), odd), wanted.end());
  reply.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  reply.headers.emplace_back("Access-Control-Allow-Headers",
                             wanted.empty() ? "Authorization, Content-Type, X-Api-Key" : wanted);
  reply.headers.emplace_back("Access-Control-Max-Age", "600");
}

HttpReply Api::failure(const HttpRequest& request, const ApiError& e) const {
  HttpReply out;
  out.status = e.status();
  out.body = is_anthropic(request.path) ? anthropic_error_body(e) : error_body(e);
  if (e.status() == 401) out.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (e.status() == 429 || e.status() == 503) out.headers.emplace_back("Retry-After", "1");
  return out;
}

HttpReply Api::error(int status, const std::string& message, const HttpRequest* head) {
  HttpRequest unknown;
  unknown.header = [](const char*) { return std::string(); };
  const HttpRequest& request = head != nullptr ? *head : unknown;
  HttpReply out = failure(request, ApiError(status, message));
  add_headers(request, out);
  activity_.answered("other", status);
  log_.write("request", {{"status", std::to_string(status)}, {"error", Log::text(message)}});
  return out;
}

std::optional<HttpReply> Api::refuse(const HttpRequest& head) {
  std::string methods;
  const Route* route = find(head, methods);
  HttpReply out;
  if (methods.empty()) {
    out = failure(head, ApiError(404, "there is no route " + head.method + " " + head.path.substr(0, 200), "",
                                 "unknown_url"));
  } else if (head.method == "OPTIONS") {
    out.status = 204;
    out.headers.emplace_back("Allow", methods);
  } else if (route == nullptr) {
    out =
        failure(head, ApiError(405, head.path + " takes " + methods + ", not " + head.method.substr(0, 20)));
    out.headers.emplace_back("Allow", methods);
  } else if (!route->is_public && !has_key(head)) {
    out = failure(head, ApiError(401, "the API key is missing or wrong: send Authorization: Bearer KEY", "",
                                 "invalid_api_key"));
  } else if (draining_.load()) {
    out = failure(head, ApiError(503, "the server is shutting down"));
  } else {
    return std::nullopt;
  }
  add_headers(head, out);
  finished(head, route != nullptr ? std::string(route->path) : "other", out.status, 0, {});
  return out;
}

HttpReply Api::handle(const HttpRequest& request) {
  const detail::Stopwatch since_begin;
  std::string methods;
  const Route& route = *find(request, methods);
  const Call call{request, std::make_shared<LogFields>()};
  HttpReply out;
  try {
    out = (this->*route.handler)(call);
  } catch (...) {
    const ApiError e = api_error_of(std::current_exception());
    out = failure(request, e);
    call.log->emplace_back("error", Log::text(e.message()));
  }
  add_headers(request, out);
  const std::string path(route.path);
  if (!out.stream) {
    finished(request, path, out.status, since_begin.seconds(), *call.log);
    return out;
  }
  HttpRequest told;  // copied for the log line, which is written after the request is destroyed
  told.method = request.method;
  told.path = request.path;
  out.stream = [this, told, path, log = call.log, since_begin,
                stream = std::move(out.stream)](HttpSink& sink) {
    const bool ok = stream(sink);
    finished(told, path, 200, since_begin.seconds(), *log);
    return ok;
  };
  return out;
}

void Api::finished(const HttpRequest& request, const std::string& path, int status, double seconds,
                   const LogFields& more) {
  activity_.answered(path, status);
  char ms[32];
  std::snprintf(ms, sizeof ms, "%.1f", seconds * 1000);
  LogFields fields = {{"method", Log::text(request.method.substr(0, 20))},
                      {"path", Log::text(request.path.substr(0, 200))},
                      {"status", std::to_string(status)},
                      {"ms", ms}};
  fields.insert(fields.end(), more.begin(), more.end());
  log_.write("request", fields);
}

ModelPool::Lease Api::acquire(const std::string& name, const Call& call) {
  return pool_.acquire(name, [&] { return cancelled() || call.request.client_left(); });
}

}  // namespace gemma::server
