#include "examples/server/activity.hpp"

namespace gemma::server {

std::shared_ptr<Running> Activity::begin(std::string id, std::string model, std::size_t n_prompt) {
  auto out = std::make_shared<Running>();
  out->id = std::move(id);
  out->model = std::move(model);
  out->n_prompt = n_prompt;
  const std::lock_guard lock(mutex_);
  running_.remove_if([](const std::weak_ptr<Running>& r) { return r.expired(); });
  running_.push_back(out);
  return out;
}

void Activity::ended(const Ended& e) {
  const std::lock_guard lock(mutex_);
  counts_.n_prompt += e.usage.prompt;
  counts_.n_cached += e.usage.cached;
  counts_.n_generated += e.usage.completion;
  ++counts_.n_answers;
  counts_.queued_seconds += e.queued_seconds;
  counts_.first_token_seconds += e.first_token_seconds;
  counts_.seconds += e.seconds;
}

void Activity::client_left() {
  const std::lock_guard lock(mutex_);
  ++counts_.n_left;
}

void Activity::answered(const std::string& path, int status) {
  const std::lock_guard lock(mutex_);
  ++counts_.requests[{path, status}];
}

std::vector<std::shared_ptr<const Running>> Activity::running() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const Running>> out;
  for (const std::weak_ptr<Running>& r : running_) {
    if (auto held = r.lock()) out.push_back(std::move(held));
  }
  return out;
}

Activity::Counts Activity::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace gemma::server
