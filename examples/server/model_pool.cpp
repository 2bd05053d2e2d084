#include "examples/server/model_pool.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "examples/server/api_error.hpp"
#include "gemma/engine_error_code.hpp"

namespace gemma::server {

ModelPool::Lease::Lease(ModelPool& pool, std::size_t index, std::shared_ptr<ServedModel> model)
    : pool_(&pool), index_(index), model_(std::move(model)) {}
ModelPool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), index_(other.index_), model_(std::move(other.model_)) {}
ModelPool::Lease::~Lease() {
  model_.reset();
  if (pool_ != nullptr) pool_->release(index_);
}

ModelPool::ModelPool(std::vector<ModelFile> files, ServingOptions options,
                     std::function<void(const ServedModel&)> tell)
    : files_(std::move(files)),
      options_(std::move(options)),
      tell_(std::move(tell)),
      entries_(files_.size()) {}

void ModelPool::check() {
  if (files_.size() == 1) {
    acquire("", [] { return false; });
    return;
  }
  for (const ModelFile& f : files_) gguf::File::open(f.path);
}

std::size_t ModelPool::find(const std::string& name) const {
  if (name.empty() || files_.size() == 1) return 0;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].name == name) return i;
  }
  std::string names;
  for (const ModelFile& f : files_) names += (names.empty() ? "'" : ", '") + f.name + "'";
  throw ApiError(404, "there is no model '" + name.substr(0, 100) + "'; there are " + names, "model",
                 "model_not_found");
}

ModelPool::Lease ModelPool::lend(std::size_t index) {
  Entry& e = entries_[index];
  Lease lease(*this, index, e.model);
  ++e.n_users;
  e.last_use = ++n_uses_;
  return lease;
}

void ModelPool::release(std::size_t index) noexcept {
  const std::lock_guard lock(mutex_);
  --entries_[index].n_users;
  changed_.notify_all();
}

ModelPool::Lease ModelPool::acquire(const std::string& name, const std::function<bool()>& give_up) {
  const std::size_t index = find(name);
  std::unique_lock lock(mutex_);
  if (waiting_.empty() && entries_[index].model) return lend(index);
  // in the order of arrival, so that a model that is always in use does not block others
  const std::uint64_t ticket = next_ticket_++;
  waiting_.push_back(ticket);
  const auto leave = [&] {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
    changed_.notify_all();
  };
  try {
    while (waiting_.front() != ticket) {
      changed_.wait_for(lock, std::chrono::milliseconds(200));
      if (give_up())
        throw Error(EngineErrorCode::kCancelled, "the client left while it waited for the model");
    }
    if (!entries_[index].model) load(index, lock, give_up);
  } catch (...) {
    leave();
    throw;
  }
  leave();
  return lend(index);
}

std::size_t ModelPool::bytes_of_others(std::size_t index) const {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (i != index && entries_[i].model) sum += entries_[i].model->memory_bytes();
  }
  return sum;
}

bool ModelPool::unload_one(std::size_t but, std::unique_lock<std::mutex>& lock) {
  Entry* oldest = nullptr;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& e = entries_[i];
    if (i == but || !e.model || e.n_users != 0) continue;
    if (oldest == nullptr || e.last_use < oldest->last_use) oldest = &e;
  }
  if (oldest == nullptr) return false;
  std::shared_ptr<ServedModel> leaving = std::move(oldest->model);
  lock.unlock();  // destroying the model waits for its threads: not under the lock
  leaving.reset();
  lock.lock();
  return true;
}

void ModelPool::load(std::size_t index, std::unique_lock<std::mutex>& lock,
                     const std::function<bool()>& give_up) {
  const std::size_t most = options_.engine.max_memory;
  for (;;) {
    const std::size_t others = bytes_of_others(index);
    const std::size_t room = most == 0 ? 0 : most > others ? most - others : 1;
    try {
      lock.unlock();
      std::shared_ptr<ServedModel> model;
      try {
        model = std::make_shared<ServedModel>(files_[index].name, files_[index].path, options_, room);
        tell_(*model);
      } catch (...) {
        lock.lock();
        throw;
      }
      lock.lock();
      entries_[index].model = std::move(model);
      return;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kOutOfMemory || most == 0 || others == 0) throw;
    }
    while (!unload_one(index, lock)) {  // wait until one is not in use
      changed_.wait_for(lock, std::chrono::milliseconds(200));
      if (give_up())
        throw Error(EngineErrorCode::kCancelled, "the client left while it waited for the model");
      if (bytes_of_others(index) == 0) break;
    }
  }
}

std::vector<std::shared_ptr<const ServedModel>> ModelPool::loaded() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const ServedModel>> out;
  for (const Entry& e : entries_) out.push_back(e.model);
  return out;
}

}  // namespace gemma::server
