// The response to a request that fails: a status and one JSON object in OpenAI's form.
// Invariant: every failure of a request has this form.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace gemma::server {

/// Thrown to refuse a request.
class ApiError : public std::exception {
 public:
  /// `param`: the field with the error, such as "messages[2].content"; "": none. `code`: a code for programs;
  /// "": none.
  ApiError(int status, std::string message, std::string param = {}, std::string code = {})
      : status_(status), message_(std::move(message)), param_(std::move(param)), code_(std::move(code)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  int status() const noexcept { return status_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& param() const noexcept { return param_; }
  const std::string& code() const noexcept { return code_; }
  /// OpenAI's name for the kind of failure.
  const char* type() const noexcept {
    switch (status_) {
      case 401:
        return "authentication_error";
      case 403:
        return "permission_error";
      case 404:
        return "not_found_error";
      case 429:
        return "rate_limit_error";
      default:
        return status_ >= 500 ? "server_error" : "invalid_request_error";
    }
  }

 private:
  int status_;
  std::string message_, param_, code_;
};

/// An error for a wrong field of a request: status 400, with the field's name before the message.
inline ApiError wrong(const std::string& param, const std::string& why) {
  return ApiError(400, "'" + param + "' " + why, param);
}

}  // namespace gemma::server
