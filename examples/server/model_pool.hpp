// The served models, loaded when they are requested.
// Invariant: together they take at most ServingOptions::engine.max_memory; a model in use is never unloaded.
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

/// The pool. Thread-safe.
class ModelPool {
 public:
  /// A model in use; it stays loaded as long as a lease of it exists.
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

  /// `files`: at least one, with different names. `tell` is called with each model after loading, by the
  /// thread that loaded it.
  ModelPool(std::vector<ModelFile> files, ServingOptions options,
            std::function<void(const ServedModel&)> tell);

  /// Loads a single model; of several, checks that each file can be read. Throws Error.
  void check();
  const std::vector<ModelFile>& files() const noexcept { return files_; }
  /// The index of the file called `name`; "" is the first, and with a single model every name means that one.
  /// Throws ApiError{404}.
  std::size_t find(const std::string& name) const;
  /// Returns a lease of the model, which is loaded if necessary. If memory is short, unused models are
  /// unloaded, least recently used first, and models in use are waited for. Throws ApiError, Error as
  /// ServedModel, {kCancelled} if `give_up` returned true.
  Lease acquire(const std::string& name, const std::function<bool()>& give_up);
  /// The models by index; nullptr: not loaded.
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
  /// Loads a model. The lock must be held; it is released while loading.
  void load(std::size_t index, std::unique_lock<std::mutex>& lock, const std::function<bool()>& give_up);
  /// Unloads a model other than `but`. Returns false if none can be unloaded.
  bool unload_one(std::size_t but, std::unique_lock<std::mutex>& lock);
  std::size_t bytes_of_others(std::size_t index) const;

  std::vector<ModelFile> files_;
  ServingOptions options_;
  std::function<void(const ServedModel&)> tell_;
  mutable std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::vector<Entry> entries_;  // [files_.size()]
  std::deque<std::uint64_t> waiting_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t n_uses_ = 0;
};

}  // namespace gemma::server
