// The models that are served, loaded when they are asked for. Invariant: together they take at most
// ServingOptions::engine.max_memory; a model that answers somebody is never unloaded.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "examples/server/served_model.hpp"

namespace gemma::server {

/// A name and a file.
struct ModelFile {
  std::string name;
  std::string path;
};

/// Thread-safe.
class ModelPool {
 public:
  /// A model in use; it stays loaded as long as one of these lives.
  class Lease {
   public:
    Lease(ModelPool& pool, std::size_t index, std::shared_ptr<ServedModel> model);
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    ServedModel& operator*() const noexcept { return *model_; }
    ServedModel* operator->() const noexcept { return model_.get(); }

   private:
    ModelPool* pool_;
    std::size_t index_;
    std::shared_ptr<ServedModel> model_;
  };

  /// `files`: one at least, of different names.
  /// `tell` is called with each model that was loaded, by the thread that loaded it.
  ModelPool(std::vector<ModelFile> files, ServingOptions options,
            std::function<void(const ServedModel&)> tell);

  /// A single model is loaded; of several, it is checked that each is a file that can be read. Throws Error.
  void check();
  const std::vector<ModelFile>& files() const noexcept { return files_; }
  /// The file that `name` means: any name where there is one model, "" is the first. Throws ApiError{404}.
  std::size_t find(const std::string& name) const;
  /// The model, loaded if it was not; where memory is short, others that nobody uses leave, those used
  /// longest ago first, and those in use are waited for. Throws ApiError, Error as ServedModel, {kCancelled}
  /// when it was told to give up.
  Lease acquire(const std::string& name, const std::function<bool()>& give_up);
  /// Those that are loaded now, by index; nullptr: it is not.
  std::vector<std::shared_ptr<const ServedModel>> loaded() const;
  std::size_t max_memory() const noexcept { return options_.engine.max_memory; }
  std::size_t parallel() const noexcept { return options_.parallel; }

 private:
  struct Entry {
    std::shared_ptr<ServedModel> model;
    std::size_t n_users = 0;
    std::uint64_t last_use = 0;
  };

  Lease lend(std::size_t index);
  void release(std::size_t index) noexcept;
  /// With the lock held, which it gives up while it loads.
  void load(std::size_t index, std::unique_lock<std::mutex>& lock, const std::function<bool()>& give_up);
  /// Another model leaves. False: none can.
  bool unload_one(std::size_t but, std::unique_lock<std::mutex>& lock);
  std::size_t bytes_of_others(std::size_t index) const;

  std::vector<ModelFile> files_;
  ServingOptions options_;
  std::function<void(const ServedModel&)> tell_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<Entry> entries_;  // as files_
  std::deque<std::uint64_t> waiting_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t n_uses_ = 0;
};

}  // namespace gemma::server
