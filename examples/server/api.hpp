// The routes: what is answered at which path, who may ask, what is logged and counted.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/server/activity.hpp"
#include "examples/server/api_error.hpp"
#include "examples/server/http.hpp"
#include "examples/server/log.hpp"
#include "examples/server/model_pool.hpp"

namespace gemma::server {

/// How the routes behave.
struct ApiOptions {
  std::vector<std::string> keys;     // one of these is wanted, if there are any
  std::vector<std::string> origins;  // pages of these may ask from a browser; "*": all
};

/// The failure behind what a request threw.
ApiError api_error_of(const std::exception_ptr& thrown);

/// Answers requests; all functions are thread-safe.
class Api : public HttpHandler {
 public:
  /// What one request is answered with.
  struct Call {
    const HttpRequest& request;
    std::shared_ptr<LogFields> log;  // what its line is to hold beside time and status
  };

  /// The others must outlive it.
  Api(ModelPool& pool, Log& log, ApiOptions options);

  std::optional<HttpReply> refuse(const HttpRequest& head) override;
  HttpReply handle(const HttpRequest& request) override;
  HttpReply error(int status, const std::string& message, const HttpRequest* head) override;

  /// From now on new requests are refused.
  void drain() noexcept { draining_ = true; }
  /// From now on answers under way end.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_.load(); }
  ModelPool& pool() noexcept { return pool_; }
  Activity& activity() noexcept { return activity_; }
  /// How many connections there are, for /metrics.
  void count_connections(std::function<std::size_t()> count) { connections_ = std::move(count); }

 private:
  using Handler = HttpReply (Api::*)(const Call&);
  struct Route {
    std::string_view method, path;
    Handler handler;
    bool is_public = false;
    bool prefix = false;  // `path` is the beginning of it
  };

  static const std::vector<Route>& routes();
  /// The route, or nullptr; `methods` are those that the path has.
  static const Route* find(const HttpRequest& request, std::string& methods);
  bool has_key(const HttpRequest& head) const;
  void add_headers(const HttpRequest& request, HttpReply& reply) const;
  HttpReply failure(const HttpRequest& request, const ApiError& e) const;
  void finished(const HttpRequest& request, const std::string& path, int status, double seconds,
                const LogFields& more);

  HttpReply chat(const Call& call);
  HttpReply completions(const Call& call);
  HttpReply messages(const Call& call);
  HttpReply embeddings(const Call& call);
  HttpReply tokenize(const Call& call);
  HttpReply detokenize(const Call& call);
  HttpReply apply_template(const Call& call);
  HttpReply count_tokens(const Call& call);
  HttpReply page(const Call& call);
  HttpReply health(const Call& call);
  HttpReply models(const Call& call);
  HttpReply model(const Call& call);
  HttpReply props(const Call& call);
  HttpReply slots(const Call& call);
  HttpReply metrics(const Call& call);
  /// The model that a request names, loaded.
  ModelPool::Lease acquire(const std::string& name, const Call& call);

  ModelPool& pool_;
  Log& log_;
  ApiOptions options_;
  Activity activity_;
  std::function<std::size_t()> connections_ = [] { return std::size_t{0}; };
  std::int64_t created_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> cancelled_{false};
};

/// Seconds since 1970.
std::int64_t unix_time();

}  // namespace gemma::server
